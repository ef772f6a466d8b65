"""The application of the posts."""

from django.apps import AppConfig


class PostsConfig(AppConfig):
    """As Django finds it."""

    name = "blog.posts"

    def ready(self) -> None:
        """Listen to what is saved."""
        from . import signals  # noqa: F401
