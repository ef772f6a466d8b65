"""An ASGI application, served by the uvicorn of the release's own lock on the node's loop.

uvicorn's own shutdown closes connections that a client may be writing to at that moment. So a drain is ours:

=====================  ================================================================================================
a request              is answered, and told ``Connection: close``, unless its client has sent more already
a connection in wait   stays; its next request is such a one
a WebSocket            stays
a new connection       goes to whom the listening socket is shared with
at the deadline        streams end, WebSockets are closed with 1012, connections closed, other requests cancelled
=====================  ================================================================================================

A connection is closed by half, and then read to its end: what is closed with something unread resets its client, which
loses an answer that it has not read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from ..release.bootscript import Load
from ..release.errors import BootError
from ..release.references import find
from .applications import CutOff, Service
from .servers import REQUESTS_SHARE, TO_END, Sockets, World, bad_option, no_server, server_options, unread
from .suspension import HeldAsgi


async def run(load: Load, reference: str, world: World) -> Service:
    """Import the application, start its lifespan and serve it on its private socket; `accept` adds the others."""
    try:
        import uvicorn
        from uvicorn.lifespan.on import LifespanOn
    except ModuleNotFoundError as error:
        raise no_server(load, "an ASGI application", "uvicorn", error) from error

    class Lifespan(LifespanOn):
        cause = ""

        async def send(self, message: Any) -> None:
            if message["type"].endswith(".failed"):
                self.cause = message.get("message", "")
            await super().send(message)

    application = find(reference)
    options = {"log_config": None, **server_options(load, world)}
    graceful = options.pop("timeout_graceful_shutdown", None)
    try:
        config = uvicorn.Config(application, **options)
    except TypeError as error:
        raise bad_option(load, "uvicorn", error) from None
    config.load()
    if issubclass(config.lifespan_class, LifespanOn):
        config.lifespan_class = Lifespan
    config.loaded_app = closing = _Closing(HeldAsgi(config.loaded_app, world.suspension))
    server = uvicorn.Server(config)
    server.lifespan = lifespan = config.lifespan_class(config)
    sockets = Sockets(load, world)
    try:
        sockets.bind()
        await server.startup(sockets.private)
        if not server.started:
            raise SystemExit  # newer versions of uvicorn do so themselves
    except BaseException as error:
        for listening in getattr(server, "servers", []):
            listening.close()
        sockets.close()
        if isinstance(error, SystemExit):
            raise BootError(f"its lifespan failed at startup: {_last_line(lifespan)}") from None
        raise
    serving = asyncio.ensure_future(server.main_loop())

    async def accept() -> None:
        async def has_started() -> None:
            pass

        lifespan.startup = has_started  # uvicorn's startup does both
        before = server.servers
        await server.startup(sockets.public)
        server.servers += before
        sockets.announce()

    async def drain(within: float) -> CutOff:
        sockets.share()
        closing.begun = True
        return await _drain(server, closing, within)

    async def stop(within: float) -> None:
        serving.cancel()
        share = within * REQUESTS_SHARE
        config.timeout_graceful_shutdown = share if graceful is None else min(graceful, share)  # type: ignore[assignment]
        try:
            await server.shutdown([*sockets.public, *sockets.private])
        finally:
            sockets.close()
        if getattr(lifespan, "shutdown_failed", False):
            raise RuntimeError(f"its lifespan failed at shutdown: {_last_line(lifespan)}")

    return Service(application, serving, stop, accept, drain)


def _last_line(lifespan: Any) -> str:
    """What a framework tells is a traceback; uvicorn has logged all of it."""
    lines: list[str] = getattr(lifespan, "cause", "").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


async def _drain(server: Any, closing: _Closing, within: float) -> CutOff:
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    state = server.server_state
    for listening in server.servers:
        for each in listening.sockets:
            loop.remove_reader(each.fileno())
    # asyncio needs the server open for two more turns: to make a transport of what it has accepted, and to tell of it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for listening in server.servers:
        listening.close()

    async def until(end: float) -> None:
        while (state.connections or state.tasks or closing.half_closed) and (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, 0.05))

    await until(end)
    websockets = idle = 0
    unanswered = []
    streams = sum(each.get_write_buffer_size() > 0 for each in closing.half_closed)  # to clients that read slowly
    for connection in list(state.connections):
        connection.transport = gentle = _Gentle(connection.transport, closing.half_closed)
        cycle = getattr(connection, "cycle", None)
        if isinstance(connection, server.config.ws_protocol_class or ()):
            websockets += 1
            connection.shutdown()
        elif cycle is None or cycle.response_complete:
            idle += 1
            connection.shutdown()
        elif cycle.response_started:
            streams += 1
            gentle.close()
        else:
            unanswered.append(cycle)
    await until(loop.time() + TO_END)
    for task in state.tasks:
        task.cancel(msg="the time to drain is over")
    return CutOff(streams + sum(not cycle.response_complete for cycle in unanswered), websockets, idle)


class _Closing:
    """The application, and what its answers say about the connection once `begun`."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.begun = False
        self.half_closed: set[asyncio.Transport] = set()

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]
    ) -> Any:
        if scope["type"] != "http" or not scope["http_version"].startswith("1"):
            return await self._application(scope, receive, send)
        cycle = getattr(receive, "__self__", None)

        async def tell(message: Any) -> None:
            if self.begun and message["type"] == "http.response.start" and not _more_to_come(cycle):
                self._close_gently(cycle)
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        return await self._application(scope, receive, tell)

    def _close_gently(self, cycle: Any) -> None:
        protocol = cycle.transport.get_protocol()
        cycle.transport = protocol.transport = _Gentle(cycle.transport, self.half_closed)


def _more_to_come(cycle: Any) -> bool:
    """Whether the client has sent, or is sending, more than has been read of this request: closing would reset it."""
    protocol = cycle.transport.get_protocol()
    waiting = getattr(protocol, "pipeline", ()) or (getattr(protocol, "conn", None) and protocol.conn.trailing_data[0])
    connection = cycle.transport.get_extra_info("socket")
    return bool(cycle.more_body or waiting or (connection is not None and unread(connection)))


class _Gentle:
    """A transport whose `close` closes by half and reads to the end, for a while."""

    def __init__(self, transport: asyncio.Transport, half_closed: set[asyncio.Transport]) -> None:
        self._transport = transport
        self._half_closed = half_closed
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def close(self) -> None:
        transport = self._transport
        if self._closed:
            return
        if transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        loop.call_soon(transport.get_protocol().connection_lost, None)
        transport.set_protocol(_ToTheEnd(transport, self._half_closed))
        transport.resume_reading()
        transport.write_eof()
        loop.call_later(TO_END, transport.close)


class _ToTheEnd(asyncio.Protocol):
    """Reads what a client still sends, and drops it."""

    def __init__(self, transport: asyncio.Transport, half_closed: set[asyncio.Transport]) -> None:
        self._transport = transport
        self._half_closed = half_closed
        half_closed.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._half_closed.discard(self._transport)
