"""How servers that a `main` function runs tell their clients to come back when another version has taken over.

Each does it by means of its own, as the table below says; what all have in common is here: they accept no more, they are given
until the deadline, and only then the function gets its signal. A server is known by the module that it is in. It is looked for
where a declared address is bound, where a process first accepts, and where the drain begins; what is changed in it then, is so
in the children that a process makes by fork, as gunicorn's workers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from ..frozen import Frozen
from ..process.proc_sockets import connected
from ..process.process_table import family
from . import plain_servers
from .socket_sharing import Flag

_LOOK = 0.2


class Server(Frozen):
    """One of the servers that are known, or a part of one."""

    name: str
    module: str
    """Where it is; loaded when it is used."""
    take: Callable[[Leaving, Any], object]
    """Makes it do so; is given the module."""
    does: str
    """What its clients meet."""
    is_used: Callable[[Leaving], bool] = lambda leaving: True
    """Whether it serves, where to be loaded does not say so."""
    is_whole: bool = True
    """Whether all of its clients are told; else it depends on what they speak."""


class Leaving:
    """What a node does with the servers of its main function."""

    def __init__(self, is_shared: Callable[[Any], object] = bool) -> None:
        """`is_shared` is true of descriptors of sockets that the function has declared. Where a loop runs, it is the node's."""
        self.is_shared = is_shared
        self.of_node: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self.of_node = asyncio.get_running_loop()
        self.begun = Flag()
        """That of the children too."""
        self._taken: dict[str, str] = {}
        self._lock = threading.Lock()
        self._websockets: WeakKeyDictionary[Any, tuple[asyncio.AbstractEventLoop, Callable[[Any], Awaitable[Any]]]] = (
            WeakKeyDictionary()
        )
        self.ends: list[Callable[[float], list[concurrent.futures.Future[Any]]]] = []
        """What is called when it begins, with the seconds that it gets."""
        self._told: WeakSet[Any] = WeakSet()
        """WebSockets that are being closed, or have been."""
        self.finds: list[Callable[[Leaving], object]] = []
        """What notes the WebSockets that are open, of servers that do not tell when one is opened."""
        self._closed = 0
        self.talks: list[plain_servers.Talk] = []
        """Connections of servers that are told one by one."""

    def take(self) -> None:
        """Know the servers that are loaded by now; any number of times, in any process."""
        with self._lock:
            for server in SERVERS:
                module = sys.modules.get(server.module)
                # one that is being imported has not all of its names yet
                if module is None or server.module in self._taken or getattr(module.__spec__, "_initializing", False):
                    continue
                if not server.is_used(self):
                    continue
                self._taken[server.module] = f"{server.name}: {server.does}"
                try:
                    server.take(self, module)
                except (AttributeError, TypeError, KeyError) as error:
                    self._taken[server.module] = (
                        f"{server.name}, of a version that is not known ({error}): as its handler for SIGTERM ends it"
                    )

    @property
    def known(self) -> list[str]:
        """What becomes of clients of the servers that are known."""
        return [*dict.fromkeys(self._taken.values())]

    @property
    def is_whole(self) -> bool:
        """Whether a server is known that tells all of its clients."""
        return any(server.is_whole for server in SERVERS if server.module in self._taken)

    @property
    def is_told(self) -> bool:
        """Whether all connections that are told one by one are closed, or can't be told."""
        return bool(self.talks) and all(talk.is_over for talk in self.talks)

    def websocket(self, websocket: Any, close: Callable[[Any], Awaitable[Any]]) -> None:
        """Note one that was opened in the loop that runs; `close` closes it with 1012."""
        self.note(websocket, asyncio.get_running_loop(), close)

    def note(self, websocket: Any, loop: asyncio.AbstractEventLoop, close: Callable[[Any], Awaitable[Any]]) -> None:
        """Note one of a loop; `close` closes it with 1012, and returns whether it was open."""
        self._websockets[websocket] = (loop, close)

    async def drain(self, ports: Collection[int], timeout: float) -> int:
        """Have clients told, and wait until they have gone; returns how many WebSockets were closed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        self.begun.raise_()
        ends = [future for begin in self.ends for future in begin(timeout)]
        if ends:
            await asyncio.wait([asyncio.wrap_future(future) for future in ends], timeout=timeout)
        self._find()
        spread = asyncio.ensure_future(self._close_one_by_one(end))
        try:
            while (left := end - loop.time()) > 0:
                open_ = await loop.run_in_executor(None, lambda: connected(family(os.getpid()), ports))
                if not open_ or (self.is_told and not self.is_whole):
                    return self._closed
                await asyncio.sleep(min(left, _LOOK))
        finally:
            spread.cancel()
        self._find()
        if closing := [*map(self._close, self._open())]:
            await asyncio.wait(closing, timeout=TO_CLOSE)
        return self._closed

    def _find(self) -> None:
        for find in self.finds:
            find(self)

    def _open(self) -> list[Any]:
        """Those that are not told yet; some may have ended by themselves."""
        return [websocket for websocket in list(self._websockets) if websocket not in self._told]

    async def _close_one_by_one(self, end: float) -> None:
        """Close them evenly spread over the time until `end`, so that not all clients come back at once; the last is left for then."""
        loop = asyncio.get_running_loop()
        while (left := end - loop.time()) > 0:
            many = len(self._open())
            await asyncio.sleep(left / many if many > 1 else min(left, _LOOK))
            for websocket in self._open()[:-1]:
                done, _ = await asyncio.wait({closing := self._close(websocket)}, timeout=_LOOK)
                if not done or closing.result():
                    break

    def _close(self, websocket: Any) -> asyncio.Future[bool]:
        """Close one in its loop; the result is whether it was open."""
        self._told.add(websocket)
        loop, close = self._websockets[websocket]

        async def quietly() -> bool:
            with contextlib.suppress(Exception):
                if await close(websocket):
                    self._closed += 1
                    return True
            return False

        async def nothing() -> bool:
            return False

        try:
            return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(quietly(), loop))
        except RuntimeError:  # its loop is closed
            return asyncio.ensure_future(nothing())


TO_CLOSE = 5.0
"""Seconds for WebSockets: what they have received is answered, and their clients close them too."""


def _living(kind: type) -> list[Any]:
    """The objects of a class that are there; those that the collector has put aside too."""
    gc.unfreeze()
    return [candidate for candidate in gc.get_objects() if type(candidate) is kind]


# --------------------------------------------------------------------------------------------------------------- aiohttp


def _aiohttp(leaving: Leaving, module: Any) -> None:
    """End connections by ``force_close`` of an answer, its own way; close a WebSocket as an application would."""
    before = module.StreamResponse.prepare

    @functools.wraps(before)
    async def prepare(response: Any, request: Any) -> Any:
        if hasattr(response, "send_str"):
            leaving.websocket(response, close)
        elif leaving.begun:
            response.force_close()
        return await before(response, request)

    async def close(websocket: Any) -> bool:
        return bool(not websocket.closed and await websocket.close(code=1012, message=b"service restart"))

    module.StreamResponse.prepare = prepare


# ------------------------------------------------------------------------------------------------------------- hypercorn


def _hypercorn(leaving: Leaving, module: Any) -> None:
    """Let a connection have no more requests than it has had: ``Connection: close``, or GOAWAY in HTTP/2."""
    config, name = sys.modules["hypercorn.config"].Config, "keep_alive_max_requests"
    default = getattr(config, name)

    def most(self: Any) -> Any:
        return 0 if leaving.begun else vars(self).get(name, default)

    def set_most(self: Any, value: Any) -> None:
        vars(self)[name] = value

    setattr(config, name, property(most, set_most))
    before = module.WSStream.__init__

    @functools.wraps(before)
    def made(stream: Any, *arguments: Any, **named: Any) -> None:
        before(stream, *arguments, **named)
        leaving.websocket(stream, close)

    async def close(stream: Any) -> bool:
        if stream.closed or stream.state.name != "CONNECTED":
            return False
        await stream.app_send({"type": "websocket.close", "code": 1012})
        return True

    module.WSStream.__init__ = made


# --------------------------------------------------------------------------------------------------------------- uvicorn


def _uvicorn(leaving: Leaving, module: Any) -> None:
    """End a connection by the header of an application; close WebSockets as its own shutdown does."""
    from .asgi_closing import more_to_come

    before = module.RequestResponseCycle.send

    @functools.wraps(before)
    async def send(cycle: Any, message: Any) -> None:
        if message["type"] == "http.response.start" and leaving.begun and not more_to_come(cycle):
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await before(cycle, message)

    module.RequestResponseCycle.send = send
    if _note_those_of_uvicorn not in leaving.finds:
        leaving.finds.append(_note_those_of_uvicorn)


def _note_those_of_uvicorn(leaving: Leaving) -> None:
    for server in _living(sys.modules["uvicorn.server"].Server):
        connections = server.server_state.connections
        for connection in list(connections):
            if server.config.ws_protocol_class in type(connection).__mro__:
                leaving.note(connection, connection.loop, functools.partial(_close_of_uvicorn, connections))


async def _close_of_uvicorn(connections: Collection[Any], connection: Any) -> bool:
    if connection not in connections:
        return False
    connection.shutdown()
    return True


# -------------------------------------------------------------------------------------------------------------- gunicorn


def _gunicorn(leaving: Leaving, module: Any) -> None:
    """End connections as where a client has asked for it."""
    before = module.Response.should_close

    @functools.wraps(before)
    def should_close(response: Any) -> bool:
        return bool(leaving.begun) or bool(before(response))

    module.Response.should_close = should_close


# -------------------------------------------------------------------------------------------------------------- grpc.aio


def _grpc(leaving: Leaving, module: Any) -> None:
    """Call ``stop`` with a time of grace: GOAWAY, no new calls, and those that are under way end."""

    def end(timeout: float) -> list[concurrent.futures.Future[Any]]:
        return [
            asyncio.run_coroutine_threadsafe(server.stop(timeout), server._loop) for server in _living(module.Server)
        ]

    leaving.ends.append(end)


# --------------------------------------------------------------------------------------------------------------- tornado


def _tornado(leaving: Leaving, module: Any) -> None:
    """End a connection with an answer, as where its client has asked for it."""
    connection = sys.modules["tornado.http1connection"].HTTP1Connection
    before = connection.write_headers

    @functools.wraps(before)
    def write_headers(self: Any, start_line: Any, *arguments: Any, **named: Any) -> Any:
        if leaving.begun and not self.is_client and start_line.code >= 200:
            self._disconnect_on_finish = True
        return before(self, start_line, *arguments, **named)

    connection.write_headers = write_headers


def _tornado_websockets(leaving: Leaving, module: Any) -> None:
    """Close a WebSocket as its handler would."""
    before = module.WebSocketProtocol13.accept_connection

    @functools.wraps(before)
    async def accept_connection(protocol: Any, handler: Any) -> None:
        leaving.websocket(handler, close)
        await before(protocol, handler)

    async def close(handler: Any) -> bool:
        if handler.ws_connection is None or handler.ws_connection.is_closing():
            return False
        handler.close(1012, "service restart")
        return True

    module.WebSocketProtocol13.accept_connection = accept_connection


# ------------------------------------------------------------------------------------------------- the standard library


def _http_server(leaving: Leaving, module: Any) -> None:
    """End a connection by the header that it knows."""
    plain_servers.close_after_answers(leaving.begun, module)
    plain_servers.look_up_from_accept(leaving.is_shared)


def _asyncio(leaving: Leaving, module: Any) -> None:
    """Have answers that are written by hand say so, where they are HTTP."""
    leaving.ends.append(lambda timeout: plain_servers.tell_by_hand(leaving.talks, leaving.of_node))


def _is_plain(leaving: Leaving) -> bool:
    """Whether asyncio serves, and no server that is known on top of it."""
    return not leaving.is_whole and plain_servers.is_asyncio_used(leaving.is_shared, leaving.of_node)


_CLOSES = "its answers say `Connection: close`"

_ENDS = "WebSockets are closed with 1012, one by one until the deadline"

SERVERS = (
    Server("aiohttp", "aiohttp.web_response", _aiohttp, f"{_CLOSES}; {_ENDS}"),
    Server("hypercorn", "hypercorn.protocol.ws_stream", _hypercorn, f"{_CLOSES}, or GOAWAY; {_ENDS}"),
    Server("uvicorn", "uvicorn.protocols.http.h11_impl", _uvicorn, f"{_CLOSES}; {_ENDS}"),
    Server("uvicorn", "uvicorn.protocols.http.httptools_impl", _uvicorn, f"{_CLOSES}; {_ENDS}"),
    Server("gunicorn", "gunicorn.http.wsgi", _gunicorn, f"{_CLOSES}, in each worker"),
    Server("grpc.aio", "grpc.aio._server", _grpc, "GOAWAY, and calls under way end"),
    Server("tornado", "tornado.httpserver", _tornado, f"{_CLOSES}; {_ENDS}"),
    Server("tornado", "tornado.websocket", _tornado_websockets, f"{_CLOSES}; {_ENDS}"),
    Server(
        "http.server",
        "http.server",
        _http_server,
        _CLOSES,
        lambda leaving: plain_servers.is_http_server_used(leaving.is_shared),
    ),
    Server("asyncio", "asyncio", _asyncio, "answers in HTTP say `Connection: close`", _is_plain, is_whole=False),
)
