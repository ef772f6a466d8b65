"""Metrics over HTTP, for a Prometheus that asks: ``GET /metrics`` and nothing else, one answer for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

_LONGEST = 8192
"""Bytes of a request."""
_MOST = 16
"""Connections at a time; more are closed at once."""
_DEADLINE = 5.0
_BACKLOG = 128


async def serve(listener: socket.socket, text: Callable[[], Awaitable[str]]) -> None:
    """Answer with what `text` returns, until this is cancelled."""
    open_now = 0

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= _MOST:
                async with asyncio.timeout(_DEADLINE):
                    writer.write(await _answer(await reader.readuntil(b"\r\n\r\n"), text))
                    await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError):  # it left, was slow, or said too much
            pass
        finally:
            open_now -= 1
            writer.close()

    server = await asyncio.start_server(attend, sock=listener, limit=_LONGEST, backlog=_BACKLOG)
    with contextlib.closing(server):
        await server.serve_forever()


async def _answer(request: bytes, text: Callable[[], Awaitable[str]]) -> bytes:
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
