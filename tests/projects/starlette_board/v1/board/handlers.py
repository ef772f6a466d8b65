"""What is answered."""

import logging
from pathlib import Path

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket

from .notices import board
from .settings import GREETING, LONGEST

logger = logging.getLogger("board")
templates = Jinja2Templates(Path(__file__).parent / "templates")


async def home(request: Request) -> Response:
    """The page."""
    texts = [each.short(LONGEST) for each in board.notices]
    return templates.TemplateResponse(request, "board.html", {"greeting": GREETING, "texts": texts})


class Notices(HTTPEndpoint):
    """All of them."""

    async def get(self, request: Request) -> Response:
        """What is there."""
        return JSONResponse([{"text": each.text, "likes": each.likes} for each in board.notices])

    async def post(self, request: Request) -> Response:
        """Put one up."""
        number = board.post(str((await request.json())["text"]))
        logger.info("notice %d", number)
        return JSONResponse({"number": number}, 201)


async def like(request: Request) -> Response:
    """Like one."""
    return JSONResponse({"likes": board.like(request.path_params["number"])})


async def missing(request: Request, error: Exception) -> Response:
    """There is no such notice."""
    return PlainTextResponse("no such notice", 404)


async def echo(socket: WebSocket) -> None:
    """Says what it is told."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
