"""What several modules need of the application."""

from flask import Flask


class Counter:
    """Counts requests, as an extension does."""

    def __init__(self) -> None:
        self.count = 0

    def init_app(self, app: Flask) -> None:
        """Count those of an application."""
        app.extensions["counter"] = self
        app.before_request(self.add)

    def add(self) -> None:
        """One more."""
        self.count += 1


counter = Counter()
