"""The ends of connections that uvicorn serves: by half, so that no answer is lost, and of what goes on without an end.

A connection is closed by half, and then read to its end: what is closed with something unread resets its client, which
loses an answer that it has not read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from itertools import islice
from typing import Any

from .asgi_streams import Answer, Gone, Streams, end_answers, is_of_the_end
from .serving import TO_END, unread

TO_ANSWER = 5.0
"""Seconds for what WebSockets have received when their time is over; and in which an answer follows, or something that was sent."""


class Talk:
    """What an application does with a WebSocket.

    Who reads in one task and answers in others has not answered while it reads: then messages are counted. Whether one of them
    wants an answer nobody can know, so one that had none for a while does not.
    """

    def __init__(self) -> None:
        self.reading = self.over = False
        self.accepted = False
        self.closed = False
        """It was accepted, and has been closed for the application, which may not know."""
        self._owed = self._least = 0
        """How many more messages were read than sent, and the least that it was."""
        self._answers = 0.0
        """When it last sent, or read what it then had not answered: by the clock of the loop."""

    def has_read(self, now: float) -> None:
        """Count a message."""
        if self._owed == self._least:
            self._answers = now
        self._owed += 1

    def has_sent(self, now: float) -> None:
        """Count what may be an answer."""
        self._owed -= 1
        self._least = min(self._least, self._owed)
        self._answers = now

    def waits(self, now: float) -> bool:
        """Whether it waits for a message, and has answered those before."""
        return self.reading and (self._owed <= self._least or now - self._answers > TO_ANSWER)


class ClosingApplication:
    """The application, and what its answers say about the connection once `begun`."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.begun = False
        self.ended = False
        """What goes on is to end, and that is nothing to be logged."""
        self.streams = Streams()
        self.answers: dict[Answer, None] = {}
        """Those that have begun, and whose application has not ended."""
        self.cut = 0
        """How many have ended before their end."""
        self.half_closed: set[asyncio.Transport] = set()
        self.talks: dict[Any, Talk] = {}
        """By uvicorn's connection, the WebSockets that are open."""
        self.told: dict[Any, asyncio.Future[None]] = {}
        """By uvicorn's connection, the WebSockets that are told to come back; each is done when that is said."""

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]
    ) -> Any:
        if scope["type"] != "lifespan":
            self.streams.watch()
        talk = Talk()
        try:
            if scope["type"] == "websocket":
                await self._talk(talk, scope, receive, send)
            else:
                await self._answer(scope, receive, send)
        except BaseException as error:
            if not ((self.ended or talk.closed) and is_of_the_end(error)):
                raise
            self.streams.failed(error)
        if self.ended:
            await self.streams.close_mine()

    async def end_streams(self, end: float) -> None:
        """Have applications end that send without an end, from within: their next `send` raises, as where a client has gone; who
        sends nothing in half of the time has the task cancelled that sends.

        That is not yet what they are told when their client has gone: anyio then cancels what their generators await at their end, too.
        """
        self.ended = True
        await end_answers(lambda: [answer for answer in self.answers if answer.streams], self.streams, end)

    @property
    def open_talks(self) -> int:
        """How many WebSockets have not been told."""
        return sum(connection not in self.told for connection in self.talks)

    def in_wait(self, now: float, most: int) -> list[Any]:
        """The connections of some of them that wait for a message, and have answered those before."""
        waiting = (
            connection
            for connection, talk in self.talks.items()
            if connection not in self.told and talk.accepted and talk.waits(now) and not _has_more(connection)
        )
        return [*islice(waiting, most)]

    async def _talk(self, talk: Talk, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        connection = getattr(receive, "__self__", None)
        self.talks[connection] = talk
        time = asyncio.get_running_loop().time

        async def read() -> Any:
            talk.reading = True
            try:
                message = await receive()
            finally:
                talk.reading = False
            if message["type"] == "websocket.receive":
                talk.has_read(time())
            return message

        async def tell(message: Any) -> None:
            if talk.closed:
                await self._say_closed(message)
                return
            await send(message)
            if message["type"] == "websocket.send":
                talk.has_sent(time())
            elif message["type"] == "websocket.accept":
                talk.accepted = True

        try:
            await self._application(scope, read, tell)
        finally:
            talk.over = True
            self.talks.pop(connection, None)

    async def _say_closed(self, message: Any) -> None:
        """Raise, as where the client has gone, when what the task iterates over has ended; not for its own close."""
        if message["type"] != "websocket.close":
            await self.streams.close_mine()
            raise Gone

    async def _answer(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http" or not scope["http_version"].startswith("1"):
            await self._application(scope, receive, send)
            return
        cycle = getattr(receive, "__self__", None)
        answer = Answer(cycle)

        async def tell(message: Any) -> None:
            answer.sender, answer.sends = asyncio.current_task(), True
            try:
                await self._end_before(answer, message)
                if self.begun and message["type"] == "http.response.start" and not more_to_come(cycle):
                    self._close_gently(cycle)
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
                self.answers[answer] = None
                answer.streams = message["type"] != "http.response.body" or message.get("more_body", False)
                await send(message)
                await self._end_before(answer, message)  # its client reads slowly
            finally:
                answer.sends = False

        async def hear() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect":
                await answer.told_that_its_client_has_gone()
            return message

        try:
            await self._application(scope, hear, tell)
        except BaseException as error:
            if not answer.cut or is_of_the_end(error):
                raise
            # what a framework makes of a task of its own that was cancelled
        finally:
            self.answers.pop(answer, None)
            if self.ended and cycle is not None and cycle.response_started and not cycle.response_complete:
                self.cut += not (cycle.response_complete or cycle.disconnected)
                self._close_gently(cycle)
                cycle.disconnected = True  # which is how uvicorn knows that nothing is missing
                cycle.transport.close()

    async def _end_before(self, answer: Answer, message: Any) -> None:
        """Raise where a stream is to end, when what it iterates over has."""
        if not self.ended or not answer.streams or not (message.get("more_body") or answer.cut):
            return
        answer.cut = True
        await answer.others_ended.wait()
        await self.streams.close_mine()
        raise Gone

    def _close_gently(self, cycle: Any) -> None:
        protocol = cycle.transport.get_protocol()
        if isinstance(cycle.transport, HalfClosing) or not hasattr(protocol, "transport"):
            return
        cycle.transport = protocol.transport = HalfClosing(cycle.transport, self.half_closed)


def _has_more(connection: Any) -> bool:
    sock = connection.transport.get_extra_info("socket")
    return sock is not None and unread(sock)


def more_to_come(cycle: Any) -> bool:
    """Whether the client has sent, or is sending, more than has been read of this request: closing would reset it."""
    protocol = cycle.transport.get_protocol()
    waiting = getattr(protocol, "pipeline", ()) or (getattr(protocol, "conn", None) and protocol.conn.trailing_data[0])
    connection = cycle.transport.get_extra_info("socket")
    return bool(cycle.more_body or waiting or (connection is not None and unread(connection)))


class HalfClosing:
    """A transport whose `close` closes by half and reads to the end, for a while."""

    def __init__(self, transport: asyncio.Transport | Deaf, half_closed: set[asyncio.Transport]) -> None:
        self._transport = transport.transport if isinstance(transport, Deaf) else transport
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
        self.transport = transport
        transport.pause_reading()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

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
