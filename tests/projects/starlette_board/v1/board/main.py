"""The application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from . import __version__, handlers, settings
from .middleware import Stamped
from .notices import board


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, object]]:
    """What requests find in their state."""
    board.post("welcome")
    yield {"opened": True}


async def about(request: Request) -> Response:
    """What it is."""
    return JSONResponse({"version": __version__, "opened": request.state.opened})


routes = [
    Route("/", handlers.home),
    Route("/about", about),
    Mount(
        "/notices",
        routes=[
            Route("/", handlers.Notices),
            Route("/{number:int}/like", handlers.like, methods=["POST"]),
        ],
    ),
    WebSocketRoute("/echo", handlers.echo),
]

app = Starlette(
    debug=settings.DEBUG,
    routes=routes,
    middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=settings.HOSTS), Middleware(Stamped)],
    exception_handlers={IndexError: handlers.missing},
    lifespan=lifespan,
)
