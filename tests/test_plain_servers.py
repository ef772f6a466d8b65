"""Answers of HTTP that are written by hand say that their connection ends; all else that a server writes stays as it is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import TIMEOUT
from tls_files import write_tls
from underway_runtime.apps.plain_servers import Talk, closing, is_asyncio_used, tell_by_hand

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"
TOLD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (PLAIN, TOLD),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nCONNECTION: Keep-Alive\r\n\r\n", None),
        (b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\nConnection: x", b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nConnection: x"),
        (b"HTTP/1.1 204 \r\n\r\n", b"HTTP/1.1 204 \r\nConnection: close\r\n\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nConn"),
        (b"HTTP/1.1 200 O", b"HTTP/1.1 200 O"),
        (b"+OK HTTP/1.1 200 OK\r\n", b"+OK HTTP/1.1 200 OK\r\n"),
        (b"", b""),
    ],
)  # fmt: skip
def test_a_final_answer_says_close_and_nothing_else_does(written: bytes, sent: bytes | None) -> None:
    """Where its head says otherwise that goes; a body, an interim answer and another protocol are left alone."""
    if sent is None:
        sent = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n"
    assert closing(written).startswith(sent)


@asynccontextmanager
async def talking(serve: Callable[..., Any], **how: Any) -> AsyncIterator[Callable[[bytes, int], Any]]:
    """A server whose one connection was open when its clients began to be told; gives what sends and reads so many bytes."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, **how)
    tls = how.get("ssl") and {"ssl": ssl._create_unverified_context()}
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), **(tls or {}))

    async def ask(data: bytes, size: int) -> bytes:
        writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            return await reader.readexactly(size)

    assert await ask(REQUEST, len(PLAIN)) == PLAIN
    talks: list[Talk] = []
    for told in tell_by_hand(talks, None):
        await asyncio.wrap_future(told)
    assert len(talks) == 1
    yield ask
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(TIMEOUT):
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # those that serve
            await asyncio.wait(tasks)
        while not talks[0].is_over:
            await asyncio.sleep(0)
    server.close()
    await asyncio.sleep(0)


async def by_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer; to an upload that waits for it with 100 first, and to what is not HTTP with an answer that looks like it."""
    while line := await reader.readline():
        rest = b""
        while line.rstrip().endswith(b"HTTP/1.1") and (field := await reader.readline()) != b"\r\n":
            rest += field
        if b"Expect" in rest:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.readexactly(1)
        writer.write(PLAIN)
        if b"stream" in line:
            for _ in range(2):
                await writer.drain()
                writer.write(PLAIN)
        await writer.drain()
    writer.close()


def test_streams_and_uploads_are_told_once() -> None:
    """The head is, a body that looks like a head is not; after an interim answer the final one is; a line protocol never is."""

    async def talk() -> None:
        async with talking(by_streams) as ask:
            assert await ask(REQUEST, len(TOLD)) == TOLD
            stream = TOLD + PLAIN + PLAIN
            assert await ask(REQUEST.replace(b"/ ", b"/stream "), len(stream)) == stream
            upload = REQUEST.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue")
            interim = b"HTTP/1.1 100 Continue\r\n\r\n"
            assert await ask(upload, len(interim)) == interim
            assert await ask(b"x", len(TOLD)) == TOLD
            assert await ask(b"line\r\n", len(PLAIN)) == PLAIN

    asyncio.run(talk())


def test_a_connection_with_tls_is_told(tmp_path: Path) -> None:
    """By what the server writes, not by what is sent."""
    tls = write_tls(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "crt", tls / "key")

    async def talk() -> None:
        async with talking(by_streams, ssl=context) as ask:
            assert await ask(REQUEST, len(TOLD)) == TOLD

    asyncio.run(talk())


def test_a_loop_counts_where_it_serves_what_is_declared() -> None:
    """In the main thread on any socket, and never that of the node itself."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        assert not is_asyncio_used(lambda sock: True, None)
        server = await asyncio.start_server(by_streams, "127.0.0.1", 0)
        assert is_asyncio_used(lambda sock: False, None)
        assert not is_asyncio_used(lambda sock: True, loop)
        in_thread = asyncio.to_thread(asyncio.run, elsewhere(loop))
        assert await in_thread == (False, True)
        server.close()
        await asyncio.sleep(0)

    async def elsewhere(main: asyncio.AbstractEventLoop) -> tuple[bool, bool]:
        server = await asyncio.start_server(by_streams, "127.0.0.1", 0)
        descriptors = {sock.fileno() for sock in server.sockets}
        found = is_asyncio_used(lambda sock: False, main), is_asyncio_used(descriptors.__contains__, main)
        server.close()
        await asyncio.sleep(0)
        return found

    asyncio.run(look())
