from aiohttp import web

from .version import VERSION


async def index(request):
    return web.Response(text=VERSION)


async def room(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_str(VERSION + message.data)
    return websocket


def application():
    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/room", room)])
    return app
