"""Servers of the standard library that a `main` function runs, and how their clients are told to come back.

=================  ====================================================================================================
``http.server``    each answer says ``Connection: close``, by its own ``send_header``
asyncio            so does an answer of HTTP/1 that is written by hand, whether by streams or by a protocol of its own:
                   where what a client sends begins with a request, and what is written next with a status. Of another
                   protocol nothing is known, and nothing is changed
=================  ====================================================================================================

A server counts where it is being served: by a thread that is in its loop now, on a socket that is declared, or in the main thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

_TURNS = 5
"""Turns of a loop in which it makes transports of what it has accepted."""

_TO_LOOK_UP = 0.5
"""Seconds; as ``serve_forever`` looks whether it is to end."""

# Texts, which `re` compiles when they are first used: most nodes have no such server.
_REQUEST = rb"[A-Z]+ [^ \r\n]+ HTTP/1\.[01]\r\n"
_FINAL = rb"HTTP/1\.[01] [2-5]\d\d[ \r][^\n]*\n"
_INTERIM = rb"HTTP/1\.[01] 1\d\d[ \r]"


class Begun(Protocol):
    """What is true when a node leaves."""

    def __bool__(self) -> bool: ...


def is_http_server_used(is_shared: Callable[[Any], object]) -> bool:
    """Whether a server of ``http.server`` serves a socket of which this is true, or the main thread serves one."""
    from socketserver import BaseServer

    kind = sys.modules["http.server"].HTTPServer
    return any(
        isinstance(server, kind) and (in_main or is_shared(server.socket.fileno()))
        for server, in_main in _that_run(BaseServer.serve_forever)
    )


def is_asyncio_used(is_shared: Callable[[Any], object], of_node: asyncio.AbstractEventLoop | None) -> bool:
    """Whether a loop of asyncio's own, other than that of the node, accepts on a socket of which this is true, or in the main
    thread on any."""
    for loop, in_main in _loops(of_node):
        with contextlib.suppress(RuntimeError, AttributeError):  # it changes meanwhile, or is of another kind
            for key in list(loop._selector.get_map().values()):
                accepts = getattr(getattr(key.data[0], "_callback", None), "__name__", "") == "_accept_connection"
                if accepts and (in_main or is_shared(key.fd)):
                    return True
    return False


def close_after_answers(begun: Begun, module: Any) -> None:
    """Have handlers of ``http.server`` end their connections by the header that they know."""
    handler = module.BaseHTTPRequestHandler
    send_header, end_headers = handler.send_header, handler.end_headers

    def lines(self: Any) -> list[bytes]:
        """The head of a final answer, as far as it goes."""
        head: list[bytes] = getattr(self, "_headers_buffer", [])
        return head if head and re.match(_FINAL, head[0]) else []

    @functools.wraps(send_header)
    def send(self: Any, keyword: str, value: str) -> None:
        is_closed = keyword.lower() == "connection" and begun and lines(self)
        send_header(self, keyword, "close" if is_closed else value)

    @functools.wraps(end_headers)
    def end(self: Any) -> None:
        if begun and (head := lines(self)) and not any(line.lower().startswith(b"connection:") for line in head):
            send_header(self, "Connection", "close")
        end_headers(self)

    handler.send_header, handler.end_headers = send, end


def look_up_from_accept(is_shared: Callable[[Any], object]) -> None:
    """Have servers of `socketserver` whose socket others accept on wait in ``accept`` for a moment only: a connection that woke one may
    be another's by then, and who waits there for the next can't be told to end by ``shutdown``."""
    from socketserver import BaseServer

    kind: Any = BaseServer
    before = kind._handle_request_noblock

    @functools.wraps(before)
    def handle(server: Any) -> None:
        if server.socket.gettimeout() is None and is_shared(server.socket.fileno()):
            server.socket.settimeout(_TO_LOOK_UP)
        before(server)

    kind._handle_request_noblock = handle


def tell_by_hand(talks: list[Talk], of_node: asyncio.AbstractEventLoop | None) -> list[concurrent.futures.Future[Any]]:
    """Have what is open in loops of asyncio's own say so; each connection is a `Talk` afterwards."""

    async def tell(loop: Any) -> None:
        for _ in range(_TURNS):
            talks.extend(_talks(loop))
            await asyncio.sleep(0)

    return [asyncio.run_coroutine_threadsafe(tell(loop), loop) for loop, _ in _loops(of_node)]


class Talk:
    """One connection whose server may be HTTP; its transport and protocol are looked at from now on."""

    def __init__(self, transport: Any, protocol: Any) -> None:
        self._transport = transport
        self._write, self._writelines = transport.write, transport.writelines
        self._received = protocol.data_received
        self._is_asked = self._is_http = self._is_other = False
        protocol.data_received = self._data_received
        transport.write, transport.writelines = self._write_first, self._write_lines

    @property
    def is_over(self) -> bool:
        """Whether it is closed, or speaks something else."""
        return self._is_other or bool(self._transport.is_closing())

    def _data_received(self, data: bytes) -> None:
        if re.match(_REQUEST, data):
            self._is_asked = self._is_http = True
        self._is_other = not self._is_http
        self._received(data)

    def _write_first(self, data: Any) -> None:
        if self._is_asked and data:
            data = bytes(data)
            self._is_asked = bool(re.match(_INTERIM, data))
            data = closing(data)
        self._write(data)

    def _write_lines(self, lines: Any) -> None:
        if self._is_asked:
            self._write_first(b"".join(lines))
        else:
            self._writelines(lines)


def closing(data: bytes) -> bytes:
    r"""Return what begins with a final answer of HTTP/1 with ``Connection: close`` in it, and all else as it is.

    >>> closing(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1")
    b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1'
    """
    if not (status := re.match(_FINAL, data)):
        return data
    head, end, body = data[status.end() :].partition(b"\r\n\r\n")
    if data[status.end() :].startswith(b"\r\n"):
        head, end, body = b"", b"", data[status.end() :]
    fields = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([status[0] + b"Connection: close", *fields]) + end + body


def _talks(loop: Any) -> Iterator[Talk]:
    """The connections of servers of a loop that are not looked at yet."""
    for accepted in list(getattr(loop, "_transports", {}).values()):
        if getattr(accepted, "_server", None) is None or accepted.is_closing():
            continue
        transport, protocol = accepted, accepted.get_protocol()
        if inner := getattr(protocol, "_app_transport", None):  # TLS
            transport, protocol = inner, protocol._app_protocol
        if isinstance(protocol, asyncio.BufferedProtocol) or "write" in vars(transport):
            continue
        with contextlib.suppress(AttributeError):  # of a class with slots
            yield Talk(transport, protocol)


def _loops(of_node: asyncio.AbstractEventLoop | None) -> Iterator[tuple[Any, bool]]:
    return ((loop, in_main) for loop, in_main in _that_run(asyncio.BaseEventLoop.run_forever) if loop is not of_node)


def _that_run(method: Callable[..., Any]) -> Iterator[tuple[Any, bool]]:
    """The objects whose method is being called in some thread, and whether it is the main one."""
    code = method.__code__
    main = threading.main_thread().ident
    for ident, top in sys._current_frames().items():
        frame: FrameType | None = top
        while frame is not None:
            if frame.f_code is code:
                yield frame.f_locals["self"], ident == main
            frame = frame.f_back
