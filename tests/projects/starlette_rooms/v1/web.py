import asyncio
import contextlib

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute


async def home(request):
    return PlainTextResponse("hello")


async def slow(request):
    print("slow", flush=True)
    await asyncio.sleep(0.5)
    return PlainTextResponse("at last")


async def endless(request):
    print("endless", flush=True)
    await asyncio.sleep(1000)


async def room(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


@contextlib.asynccontextmanager
async def lifespan(app):
    print("lifespan starts", flush=True)
    yield
    print("lifespan ends", flush=True)


routes = [Route("/", home), Route("/slow", slow), Route("/endless", endless), WebSocketRoute("/room", room)]
app = Starlette(routes=routes, lifespan=lifespan)
