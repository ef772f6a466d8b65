"""The ends of connections that uvicorn serves: by half, so that no answer is lost, and of what goes on without an end.

A connection is closed by half, and then read to its end: what is closed with something unread resets its client, which
loses an answer that it has not read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from .serving import TO_END, unread


class _Gone(OSError):
    """Nobody hears what is sent any more."""


def _of_the_end(error: BaseException | None) -> bool:
    """Whether an error of an application comes of what it was told, or cancelled with, at the end."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_of_the_end, error.exceptions))
    if error is None or isinstance(error, (_Gone, asyncio.CancelledError)):
        return error is not None
    return _of_the_end(error.__cause__ or error.__context__)


class Talk:
    """What an application does with a WebSocket."""

    def __init__(self) -> None:
        self.reading = self.over = False


class ClosingApplication:
    """The application, and what its answers say about the connection once `begun`."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.begun = False
        self.ended = False
        """What goes on is to end, and that is nothing to be logged."""
        self.sending: dict[Any, asyncio.Task[Any] | None] = {}
        """Of the answers that have begun and not ended, by uvicorn's cycle, the task that sends; None once it has been told to end."""
        self.cut = 0
        """How many have ended before their end."""
        self.half_closed: set[asyncio.Transport] = set()
        self.talks: dict[Any, Talk] = {}
        """By uvicorn's connection, the WebSockets that are open."""

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]
    ) -> Any:
        try:
            if scope["type"] == "websocket":
                await self._talk(scope, receive, send)
                return
            await self._answer(scope, receive, send)
        except BaseException as error:
            if not (self.ended and _of_the_end(error)):
                raise

    async def _talk(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        connection = getattr(receive, "__self__", None)
        self.talks[connection] = talk = Talk()

        async def read() -> Any:
            talk.reading = True
            try:
                return await receive()
            finally:
                talk.reading = False

        try:
            await self._application(scope, read, send)
        finally:
            talk.over = True
            self.talks.pop(connection, None)

    async def _answer(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> Any:
        if scope["type"] != "http" or not scope["http_version"].startswith("1"):
            return await self._application(scope, receive, send)
        cycle = getattr(receive, "__self__", None)

        async def tell(message: Any) -> None:
            if self.ended and message.get("more_body"):
                self.sending[cycle] = None
                raise _Gone
            self.sending[cycle] = asyncio.current_task()
            if self.begun and message["type"] == "http.response.start" and not more_to_come(cycle):
                self._close_gently(cycle)
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            return await self._application(scope, receive, tell)
        finally:
            self.sending.pop(cycle, None)
            if self.ended and cycle is not None and cycle.response_started and not cycle.response_complete:
                self.cut += not (cycle.response_complete or cycle.disconnected)
                self._close_gently(cycle)
                cycle.disconnected = True  # which is how uvicorn knows that nothing is missing
                cycle.transport.close()

    def _close_gently(self, cycle: Any) -> None:
        protocol = cycle.transport.get_protocol()
        if isinstance(cycle.transport, HalfClosing) or not hasattr(protocol, "transport"):
            return
        cycle.transport = protocol.transport = HalfClosing(cycle.transport, self.half_closed)


def more_to_come(cycle: Any) -> bool:
    """Whether the client has sent, or is sending, more than has been read of this request: closing would reset it."""
    protocol = cycle.transport.get_protocol()
    waiting = getattr(protocol, "pipeline", ()) or (getattr(protocol, "conn", None) and protocol.conn.trailing_data[0])
    connection = cycle.transport.get_extra_info("socket")
    return bool(cycle.more_body or waiting or (connection is not None and unread(connection)))


class HalfClosing:
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


class Deaf:
    """A transport from which nothing more is read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.pause_reading()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def resume_reading(self) -> None:
        """Do nothing: nothing is read any more."""


class _ToTheEnd(asyncio.Protocol):
    """Reads what a client still sends, and drops it."""

    def __init__(self, transport: asyncio.Transport, half_closed: set[asyncio.Transport]) -> None:
        self._transport = transport
        self._half_closed = half_closed
        half_closed.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._half_closed.discard(self._transport)
