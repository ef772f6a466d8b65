"""/metrics for whoever can connect: clients that are silent, slow, gone or many keep nobody from the figures."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from code_server_helpers import TIMEOUT
from underway_runtime.control import metrics_http

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 200
"""More than the node holds open."""


def given(clients: Callable[[Any], Any], text: Callable[[], Awaitable[str]] | None = None) -> Any:
    """What a function of the address returns, in a thread of its own, while this answers there."""

    async def figures() -> str:
        return "up 1\n"

    async def both() -> Any:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.ensure_future(metrics_http.serve(listener, text or figures))
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await asyncio.to_thread(clients, listener.getsockname())
            finally:
                serving.cancel()

    return asyncio.run(both())


@contextlib.contextmanager
def connected(address: Any, count: int, says: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many clients that have said this, and say no more."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection(address, timeout=TIMEOUT)) for _ in range(count)]
        for each in made:
            with contextlib.suppress(ConnectionError):
                each.sendall(says)
        yield made


def scraped(address: Any, request: bytes = GET) -> bytes:
    with socket.create_connection(address, timeout=TIMEOUT) as client:
        client.sendall(request)
        return answer(client)


def answer(client: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionError):
        while more := client.recv(65536):
            pieces.append(more)
    return b"".join(pieces)


@pytest.mark.parametrize(
    "says",
    [b"", b"G", GET[:-1], b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n"],
    ids=["silent", "G", "partial", "post"],
)
def test_who_does_not_ask_keeps_nobody_from_the_figures(says: bytes) -> None:
    """While more connections than are held say nothing, or never all of it, each scraper gets its answer."""

    def clients(address: Any) -> list[bytes]:
        with connected(address, MANY, says):
            return [scraped(address) for _ in range(20)]

    assert all(each.endswith(b"up 1\n") for each in given(clients))


def test_who_has_asked_is_answered_whoever_comes_after() -> None:
    """A scraper that waits for its figures keeps its place when silent ones come in numbers."""
    begins, goes_on = threading.Event(), threading.Event()

    async def slow() -> str:
        begins.set()
        await asyncio.to_thread(goes_on.wait, TIMEOUT)
        return "up 1\n"

    def clients(address: Any) -> bytes:
        with socket.create_connection(address, timeout=TIMEOUT) as first:
            first.sendall(GET)
            assert begins.wait(TIMEOUT)
            with connected(address, MANY) as silent:
                assert silent[0].recv(1) == b""  # it has made room
                goes_on.set()
                return answer(first)

    assert given(clients, slow).endswith(b"up 1\n")


def test_a_scraper_in_the_midst_of_a_crowd_is_answered() -> None:
    """What somebody has sent is read before it makes room, however many connect at the same moment."""

    def clients(address: Any) -> bytes:
        with connected(address, 50), socket.create_connection(address, timeout=TIMEOUT) as scraper:
            scraper.sendall(GET)
            with connected(address, MANY):
                return answer(scraper)

    assert given(clients).endswith(b"up 1\n")


def test_who_never_reads_makes_room() -> None:
    """Answers that nobody takes do not pile up: those that ask and read are answered all the same."""
    figures = "up 1\n" * 2_000_000

    async def large() -> str:
        return figures

    def clients(address: Any) -> list[int]:
        with contextlib.ExitStack() as stack:
            for _ in range(MANY):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.settimeout(TIMEOUT)
                client.connect(address)
                client.sendall(GET)
            return [len(scraped(address)) for _ in range(2)]

    assert all(size > len(figures) for size in given(clients, large))


def test_what_comes_after_a_request_does_not_take_its_answer_back() -> None:
    """A body, or a second request, that is not read does not lead to a reset in place of the answer."""
    assert b" 405 " in given(lambda address: scraped(address, b"POST /metrics HTTP/1.1\r\n\r\n" + b"x" * 4000))
    assert given(lambda address: scraped(address, GET + GET)).endswith(b"up 1\n")


def test_who_says_too_much_is_let_go() -> None:
    """A request has an end, at 8 KiB at the latest; then the connection has one."""
    assert given(lambda address: scraped(address, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 20000)) == b""
