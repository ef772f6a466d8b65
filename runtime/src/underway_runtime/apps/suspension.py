"""New work waits while other code is put in place.

============================  =======================================================================================
what comes                    while it is held
============================  =======================================================================================
a request                     waits before its application sees it; what has begun goes on to its end
a message of a WebSocket      waits before its application reads it; the connection stays
work that an application      waits where it offers `Application.suspend` and `resume`
takes up by itself
============================  =======================================================================================

Nothing is refused or lost: who asks meanwhile has the answer later.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any


class Suspension:
    """What of a node may go on. `hold` and `release` belong to its loop."""

    def __init__(self) -> None:
        self.held = False
        self.connections: set[asyncio.Task[Any] | None] = set()
        """The tasks of open WebSockets."""
        self.reading: set[asyncio.Task[Any] | None] = set()
        """Tasks that wait for a message of a WebSocket."""
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._released = threading.Event()
        self._released.set()

    def hold(self) -> None:
        """Let new work wait from now on."""
        self._released.clear()
        self.held = True

    def release(self) -> None:
        """Let all go on that waits, in the order in which it came."""
        self.held = False
        self._released.set()
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def over(self) -> None:
        """Return when nothing is held; on the loop."""
        while self.held:
            released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[released] = None
            try:
                await released
            finally:
                self._waiting.pop(released, None)

    def keeps(self, task: object, *, late: bool) -> bool:
        """Whether a task goes on from where it is only after `release`: it reads messages, or, where it had time to leave and is still
        there, is of a WebSocket whose messages others read for it."""
        return task is not None and (task in self.reading or (late and task in self.connections))

    def wait(self) -> None:
        """Return when nothing is held; in a thread."""
        self._released.wait()


class HeldAsgi:
    """An ASGI application whose requests, and messages of WebSockets, wait while they are held."""

    def __init__(self, application: Any, suspension: Suspension) -> None:
        self._application = application
        self._suspension = suspension

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        suspension = self._suspension
        if suspension.held and scope["type"] != "lifespan":
            await suspension.over()
        if scope["type"] != "websocket":
            await self._application(scope, receive, send)
            return

        unread: list[Any] = []

        async def receive_or_wait() -> Any:
            reader = asyncio.current_task()
            suspension.reading.add(reader)
            try:
                message = unread.pop(0) if unread else await receive()
                if suspension.held:
                    try:
                        await suspension.over()
                    except asyncio.CancelledError:
                        unread.append(message)  # a loop that is begun again reads it then
                        raise
                return message
            finally:
                suspension.reading.discard(reader)

        task = asyncio.current_task()
        suspension.connections.add(task)
        try:
            await self._application(scope, receive_or_wait, send)
        finally:
            suspension.connections.discard(task)


def held_wsgi(application: Any, suspension: Suspension) -> Callable[..., Any]:
    """A WSGI application whose requests wait while they are held."""

    def application_or_wait(environ: Any, start_response: Any) -> Any:
        suspension.wait()
        return application(environ, start_response)

    return application_or_wait
