import asyncio
import signal

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from .version import PORT, VERSION, says


class Index(RequestHandler):
    def get(self):
        self.write(VERSION)


class Room(WebSocketHandler):
    def on_message(self, message):
        self.write_message(VERSION + message)


async def serve(*, stops=True):
    stopped = asyncio.Event()
    if stops:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = Application([("/", Index), ("/room", Room)]).listen(PORT, "127.0.0.1")
    says()
    await stopped.wait()
    server.stop()
    await server.close_all_connections()


def main():
    asyncio.run(serve())


def without_a_handler():
    asyncio.run(serve(stops=False))
