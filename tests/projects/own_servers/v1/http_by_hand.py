"""HTTP as some write it: by streams, or by a protocol of their own, on asyncio's server."""

import asyncio
import contextlib
import signal

from .version import PORT, VERSION, says

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
WITH_CONNECTION = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n"


def answer(head=HEAD):
    body = VERSION.encode()
    return head % len(body) + body


async def talk(reader, writer):
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer())
            await writer.drain()
    writer.close()


class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.endswith(b"\r\n\r\n"):
            self.transport.writelines([answer(WITH_CONNECTION)])


async def serve(*, stops=True, streams=True):
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    if stops:
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if streams:
        server = await asyncio.start_server(talk, "127.0.0.1", PORT)
    else:
        server = await loop.create_server(Protocol, "127.0.0.1", PORT)
    says()
    await stopped.wait()
    server.close()


def main():
    asyncio.run(serve())


def without_a_handler():
    asyncio.run(serve(stops=False))


def by_protocol():
    asyncio.run(serve(streams=False))
