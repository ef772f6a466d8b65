"""Deadlines that count the time which this process can use: not that in which it is stopped (Ctrl-Z), or frozen with its container."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial

_SLICE = 1.0
"""Seconds that are counted at once, however long they have taken."""
_TO_NOTICE = 5
"""So many of these a loop has to notice that a time is over; one that has not is held by what runs in it."""


class Timer(threading.Timer):
    """A `threading.Timer` that does not count what it could not see pass, and that can be begun again."""

    _begins = False

    def begin_again(self) -> None:
        """Count from now, or from the end of the second that is being counted."""
        self._begins = True

    def run(self) -> None:
        left = self.interval
        while left > 0:
            if self.finished.wait(min(left, _SLICE)):
                return
            left -= _SLICE
            if self._begins:
                self._begins, left = False, self.interval
        self.function(*self.args, **self.kwargs)


@contextlib.asynccontextmanager
async def timeout(seconds: float, held: Callable[[], object] = lambda: None) -> AsyncIterator[asyncio.Timeout]:
    """Do as `asyncio.timeout` does, after so many seconds that could be used. A loop that is blocked uses its time; where it does
    not notice that this is over, `held` is called, in a thread.

    Raises TimeoutError."""
    loop, noticed = asyncio.get_running_loop(), threading.Event()
    async with asyncio.timeout(None) as limit:

        def expire() -> None:
            noticed.set()
            with contextlib.suppress(RuntimeError):  # the block has ended meanwhile
                limit.reschedule(loop.time())

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(expire)
            if not any(noticed.wait(_SLICE) for _ in range(_TO_NOTICE)):
                held()

        timer = Timer(seconds, wake)
        timer.daemon = True
        timer.start()
        try:
            yield limit
        finally:
            noticed.set()
            timer.cancel()


class Limit:
    """How long each of some things may take on the loop."""

    def __init__(self, seconds: float, held: Callable[[str], object] = lambda what: None) -> None:
        """`held` is told, in a thread, by what the loop is held beyond that."""
        self.seconds = seconds
        self._held = held

    def __call__(self, what: str) -> contextlib.AbstractAsyncContextManager[asyncio.Timeout]:
        """Limit one of them; as `timeout`."""
        return timeout(self.seconds, partial(self._held, what))
