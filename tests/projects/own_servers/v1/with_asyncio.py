import asyncio
import os
import signal

from .version import PORT, says


async def serve(*, stops, forks=False):
    stopped = asyncio.Event()
    if stops:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", PORT)
    says()
    if forks:
        fork()
    await stopped.wait()
    server.close()


def fork():
    """A child that has all that is open, until this process ends."""
    reading, writing = os.pipe()
    if not os.fork():
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)


def main():
    asyncio.run(serve(stops=True))


def without_a_handler():
    asyncio.run(serve(stops=False))


def with_a_child():
    asyncio.run(serve(stops=False, forks=True))


def in_uvloop():
    import uvloop

    uvloop.run(serve(stops=False))
