from aiohttp import web

from .rooms_aiohttp import application
from .version import PORT, says


async def started(app):
    says()


def main():
    app = application()
    app.on_startup.append(started)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None, shutdown_timeout=1)
