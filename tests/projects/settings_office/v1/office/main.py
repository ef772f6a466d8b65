"""The application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI

from .settings import Settings, get_settings, limits

logger = logging.getLogger(__name__)
seen: list[str] = []


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """How much is logged, as long as it serves."""
    logger.setLevel(get_settings().log_level)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/desks")
def desks(settings: Annotated[Settings, Depends(get_settings)]) -> dict[str, object]:
    """What there is."""
    return {"desks": settings.desks, "all": settings.model_dump(mode="json"), "level": logger.level}


@app.get("/limits")
def let_in() -> dict[str, object]:
    """Who is let in."""
    return dict(vars(limits()))


@app.post("/seen/{name}")
def see(name: str) -> int:
    """Somebody comes."""
    seen.append(name)
    return len(seen)
