"""Whether the node's loop answers: asked once a second, from another thread."""

from __future__ import annotations

import asyncio
import time

PERIOD = 1.0
_TO_ANSWER = 0.1


class LoopMonitor:
    """All but `watch` belongs to the server's loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: float | None = None
        self._took = 0.0

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to ask this loop."""
        self._loop = loop

    async def beat(self) -> None:
        """Ask, and ask again when it has answered; for as long as the node lives."""
        while True:
            self._ask()
            await asyncio.sleep(PERIOD)

    async def take(self) -> dict[str, object]:
        """Return ``answers``: whether it does within a tenth of a second; ``seconds``: how long it took, or has not answered."""
        self._ask()
        end = time.monotonic() + _TO_ANSWER
        while self._asked is not None and time.monotonic() < end:
            await asyncio.sleep(0.002)
        asked = self._asked
        return {
            "answers": asked is None,
            "seconds": round(self._took if asked is None else time.monotonic() - asked, 6),
        }

    def _ask(self) -> None:
        if self._loop is None or self._asked is not None:
            return
        self._asked = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._answered)
        except RuntimeError:  # it is closed: the node stops
            self._asked = None

    def _answered(self) -> None:
        if self._asked is not None:
            self._took = time.monotonic() - self._asked
            self._asked = None
