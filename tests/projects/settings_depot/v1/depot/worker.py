"""What is told of it."""

from underway_runtime import Application

from . import goods
from .settings import settings


class Worker(Application):
    """Keeps it open."""

    async def start(self) -> None:
        """Begin."""


def about() -> dict[str, object]:
    """What it is like."""
    return {"settings": settings.model_dump(), "limit": goods.goods.limit, "full": goods.full(6)}
