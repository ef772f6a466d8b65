"""Notes, by Starlette: its routes are a list that the application is made with."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

GREETING = "hello"
SMALLEST = 500
notes: list[str] = []


async def home(request: Request) -> Response:
    """Greets."""
    return PlainTextResponse(GREETING)


async def bump(request: Request) -> Response:
    """Takes a note."""
    notes.append(request.query_params.get("text", ""))
    return JSONResponse({"notes": len(notes)})


async def last(request: Request) -> Response:
    """The last note."""
    return PlainTextResponse(notes[-1])


app = Starlette(
    routes=[
        Route("/", home),
        Route("/bump", bump, methods=["POST"]),
        Mount("/notes", routes=[Route("/last", last)]),
    ],
    middleware=[Middleware(GZipMiddleware, minimum_size=SMALLEST)],
)
