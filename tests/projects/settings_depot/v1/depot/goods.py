"""What is in it."""

from .settings import settings


class Goods:
    """What there is of a kind."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0


goods = Goods(settings.doors * 10)


def full(count: int, most: int = 5) -> bool:
    """Whether no more fits in."""
    return count > most
