"""Deadlines that count the time which this process can use: not that in which it is stopped (Ctrl-Z), or frozen with its container."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

_SLICE = 1.0
"""Seconds that are counted at once, however long they have taken."""


class Timer(threading.Timer):
    """A `threading.Timer` that does not count what it could not see pass."""

    def run(self) -> None:
        left = self.interval
        while left > 0:
            if self.finished.wait(min(left, _SLICE)):
                return
            left -= _SLICE
        self.function(*self.args, **self.kwargs)


@contextlib.asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Do as `asyncio.timeout` does, after so many seconds that could be used. A loop that is blocked uses its time.

    Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        def expire() -> None:
            with contextlib.suppress(RuntimeError):  # the block has ended meanwhile
                limit.reschedule(loop.time())

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(expire)

        timer = Timer(seconds, wake)
        timer.daemon = True
        timer.start()
        try:
            yield limit
        finally:
            timer.cancel()
