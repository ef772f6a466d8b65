import asyncio
import signal

from hypercorn.asyncio import serve
from hypercorn.config import Config

from .rooms_asgi import app
from .version import PORT, says


async def both():
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.graceful_timeout = 1
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    says()
    await serve(app, config, shutdown_trigger=stopped.wait)


def main():
    asyncio.run(both())
