"""The application."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from . import __version__, items, pages
from .db import Base, engine
from .settings import TITLE


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The tables are there before the first request."""
    Base.metadata.create_all(engine)
    yield
    engine.dispose()


app = FastAPI(title=TITLE, version=__version__, lifespan=lifespan)
served = 0


@app.middleware("http")
async def counted(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Counts what is asked."""
    global served
    served += 1
    began = time.perf_counter()
    answer = await call_next(request)
    answer.headers["x-took"] = f"{time.perf_counter() - began:.3f}"
    return answer


@app.get("/health")
async def health() -> dict[str, object]:
    """Whether it serves."""
    return {"up": True, "version": __version__}


app.include_router(items.router)
app.include_router(pages.router)
