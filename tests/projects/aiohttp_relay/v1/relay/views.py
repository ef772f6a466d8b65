"""What is answered."""

import logging

from aiohttp import web

from . import __version__
from .settings import LIMIT, PREFIX
from .store import Store

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()
STORE = web.AppKey("STORE", Store)


@routes.get("/")
async def home(request: web.Request) -> web.Response:
    """What it is."""
    return web.json_response({"name": PREFIX, "version": __version__})


@routes.get("/topics/{name}")
async def last(request: web.Request) -> web.Response:
    """The last message of a topic."""
    return web.Response(text=request.app[STORE].last(request.match_info["name"]))


@routes.post("/topics/{name}")
async def send(request: web.Request) -> web.Response:
    """Send a message to a topic."""
    text = await request.text()
    if len(text) > LIMIT:
        raise web.HTTPRequestEntityTooLarge(LIMIT, len(text))
    return web.json_response({"kept": request.app[STORE].topics[request.match_info["name"]].add(text)})


@routes.view("/status")
class Status(web.View):
    """How it is."""

    async def get(self) -> web.Response:
        """How many messages are kept."""
        store = self.request.app[STORE]
        return web.json_response({name: len(topic.messages) for name, topic in store.topics.items()})
