import asyncio
import signal

from aiohttp import web

from .rooms_aiohttp import application
from .version import PORT, says


async def serve(*, stops=True):
    stopped = asyncio.Event()
    if stops:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    says()
    await stopped.wait()
    await runner.cleanup()


def main():
    asyncio.run(serve())


def without_a_handler():
    asyncio.run(serve(stops=False))


def in_uvloop():
    import uvloop

    uvloop.run(serve())
