"""Metrics over HTTP, for a Prometheus that asks: ``GET /metrics`` and nothing else, one answer for each connection.

==============================  ========================================================================================
a connection that               ends
==============================  ========================================================================================
has not asked yet               after `_DEADLINE`; before, when `_MOST_SILENT` are open and one more comes: the oldest of
                                the address that has most of them
has asked                       when it has its answer; who does not take that, after `_DEADLINE`
==============================  ========================================================================================

Whoever can connect can be silent, slow, or many; none of them keeps a scraper from its answer. Before a connection makes
room, what it has sent meanwhile is read, so one that has asked is never taken for one that is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable

_LONGEST = 8192
"""Bytes of a request."""
_MOST_SILENT = 32
_MOST_ANSWERED = 64
_DEADLINE = 5.0
_MOMENT = 0.25
_BACKLOG = 128
_END = b"\r\n\r\n"

Text = Callable[[], Awaitable[str]]


async def serve(listener: socket.socket, text: Text) -> None:
    """Answer with what `text` returns, until this is cancelled; who has connected by then is still answered."""
    await _Scraping(listener, text).accept()


class _Client:
    """One connection, until it has asked."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.address = _address(connected)
        self.request = b""
        self.more = asyncio.Event()
        """Set when there may be something to read, or when it has been read."""
        self.task: asyncio.Task[None] | None = None

    @property
    def has_asked(self) -> bool:
        return _END in self.request or len(self.request) > _LONGEST

    def read(self) -> bool:
        """Take what it has sent. Returns whether more may come; raises OSError."""
        try:
            more = self.socket.recv(_LONGEST + 1 - len(self.request))
        except BlockingIOError:
            return True
        self.request += more
        return bool(more) and not self.has_asked

    async def asks(self) -> bool:
        """Return when it has asked, whether for something that can be answered; raises OSError."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.socket, self.more.set)
        try:
            while not self.has_asked and self.read():
                self.more.clear()
                await self.more.wait()
        finally:
            loop.remove_reader(self.socket)
        return _END in self.request

    async def take(self, answer: bytes) -> None:
        """Send it all; raises OSError. What it has sent beyond its request is thrown away: unread, it would take the answer back."""
        await asyncio.get_running_loop().sock_sendall(self.socket, answer)
        self.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(BlockingIOError):
            self.socket.recv(_LONGEST)


class _Scraping:
    """The connections at one listening socket."""

    def __init__(self, listener: socket.socket, text: Text) -> None:
        self._listener = listener
        self._text = text
        self._silent: dict[_Client, None] = {}
        self._answered: dict[_Client, float] = {}
        """Who has asked, and since when its answer waits to be taken; 0 while there is none."""
        self._asked: asyncio.Task[str] | None = None
        self._left = asyncio.Event()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        some = _MOST_ANSWERED if files == resource.RLIM_INFINITY else max(2, files // 16)
        self._most_silent, self._most_answered = min(_MOST_SILENT, some), min(_MOST_ANSWERED, some)

    async def accept(self) -> None:
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        loop = asyncio.get_running_loop()
        while True:
            await self._room()
            await _readable(self._listener)
            try:
                connected, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError:  # no more files, or it was gone before it was taken
                await asyncio.sleep(_MOMENT)
                continue
            connected.setblocking(False)
            client = _Client(connected)
            self._silent[client] = None
            client.task = loop.create_task(self._attend(client))

    async def _room(self) -> None:
        """Return when there is room for one more, having ended who keeps it."""
        while len(self._silent) >= self._most_silent:
            self._end_one_that_is_silent()
        while len(self._answered) >= self._most_answered:
            slow = next(
                (c for c, since in self._answered.items() if since and time.monotonic() - since > _MOMENT), None
            )
            if slow is not None:
                self._end(slow)
                continue
            self._left.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MOMENT):
                    await self._left.wait()

    def _end_one_that_is_silent(self) -> None:
        """Let go the oldest of the address that has most, unless it has asked just now."""
        counts = Counter(client.address for client in self._silent)
        most = max(counts.values())
        oldest = next(client for client in self._silent if counts[client.address] == most)
        with contextlib.suppress(OSError):
            oldest.read()
        if oldest.has_asked:
            self._has_asked(oldest)
            oldest.more.set()
        else:
            self._end(oldest)

    def _has_asked(self, client: _Client) -> None:
        self._silent.pop(client, None)
        self._answered.setdefault(client, 0.0)

    def _end(self, client: _Client) -> None:
        self._forget(client)
        if client.task is not None:
            client.task.cancel()

    def _forget(self, client: _Client) -> None:
        self._silent.pop(client, None)
        self._answered.pop(client, None)
        self._left.set()

    async def _attend(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                if not await client.asks():
                    return
            self._has_asked(client)
            answer = await _response(client.request, self._figures)
            self._answered[client] = time.monotonic()
            async with asyncio.timeout(_DEADLINE):
                await client.take(answer)
        except (OSError, TimeoutError):  # it left, or was slow
            pass
        finally:
            self._forget(client)
            client.socket.close()

    async def _figures(self) -> str:
        """What `text` returns; who asks while it is made gets the same."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(self._text())
        return await asyncio.shield(self._asked)


async def _response(request: bytes, text: Text) -> bytes:
    match request.partition(b"\r\n")[0].split(b" "):
        case [b"GET" | b"HEAD" as method, target, _] if target.partition(b"?")[0] == b"/metrics":
            status, kind, body = "200 OK", "text/plain; version=0.0.4; charset=utf-8", (await text()).encode()
        case [b"GET" | b"HEAD" as method, _, _]:
            status, kind, body = "404 Not Found", "text/plain", b"the metrics are at /metrics\n"
        case _:
            method = b"GET"
            status, kind, body = "405 Method Not Allowed", "text/plain", b""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)


async def _readable(source: socket.socket) -> None:
    """Return when there is something to read, or to accept."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(source, waiting.set)
    try:
        await waiting.wait()
    finally:
        loop.remove_reader(source)


def _address(connected: socket.socket) -> str:
    """Of the other end, without its port; one for all at a Unix socket."""
    try:
        where = connected.getpeername()
    except OSError:
        return ""
    return str(where[0]) if isinstance(where, tuple) else ""
