"""Who is in the cluster, as one node of it knows: the workers, and what happened to them. Knows nothing of the engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..release.errors import UnderwayError

SILENT = 5.0
"""Seconds without a sign of life after which a node counts as lost."""
BEAT = 1.0
"""Seconds between two signs of life."""
MOST_REFUSED = 1000
"""Strangers that are remembered."""


class MemberLost(UnderwayError):
    """The node that was to do something is gone; what it held is lost."""


@dataclass(frozen=True)
class Member:
    """A node that takes work."""

    name: str
    tags: tuple[str, ...]
    since: float
    """When it joined, in seconds since 1970."""
    address: str
    """The engine's, for the engine."""


@dataclass(frozen=True)
class Event:
    """Something that happened to the cluster, after Skitter's telemetry."""

    kind: Literal["up", "down", "deployed"]
    member: str
    """The name of the node; of the master where the kind is ``deployed``."""


class Members:
    """The workers of a cluster, by name."""

    def __init__(self, log: Callable[[str], object]) -> None:
        """`log` is told who comes and goes."""
        self._log = log
        self._all: dict[str, Member] = {}
        self._changed = asyncio.Event()
        self._updated = asyncio.Event()
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._gone: dict[str, asyncio.Future[None]] = {}
        self.refused: dict[str, str] = {}
        """Who was refused last, by name or else by address, and why; until it joins."""
        self._called: dict[str, float] = {}  # when those were refused last
        self._expected: dict[str, float] = {}  # who is to come back after a handover, and until when

    def all(self, tag: str | None = None) -> list[Member]:
        """Those with a tag, or all, by name."""
        return [member for _, member in sorted(self._all.items()) if tag is None or tag in member.tags]

    def named(self, name: str) -> Member | None:
        return self._all.get(name)

    def update(self, now: Iterable[Member], *, told: bool = True) -> None:
        """Take over who is there now; the log is told who has gone, unless it knows."""
        present = {member.name: member for member in now}
        for name in [name for name, member in self._all.items() if present.get(name) != member]:
            gone = self._gone.pop(self._all.pop(name).address, None)
            if gone is not None:
                gone.set_result(None)
            how = "hands over to its successor" if self._left(name) > 0 else "is gone"
            self.tell(Event("down", name), f"{name} {how}" if told else "")
        for name, member in present.items():
            if name not in self._all:
                self._all[name] = member
                self.refused.pop(name, None)
                self._expected.pop(name, None)
                tags = f", with {', '.join(member.tags)}" if member.tags else ""
                self.tell(Event("up", name), f"{name} has joined{tags}")
        self._updated.set()

    async def news(self) -> None:
        """Wait until it is known again who is there, or for two beats."""
        self._updated.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * BEAT):
                await self._updated.wait()

    def refuse(self, who: str, reason: str) -> None:
        """Remember, and say once, why somebody may not join."""
        self._called[who] = time.monotonic()
        for known in (self._called, self.refused):
            if len(known) > MOST_REFUSED:  # whoever can connect has as many addresses as he likes
                known.pop(next(other for other in known if other != who), None)
        if self.refused.get(who) != reason:
            self.refused[who] = reason
            self._log(f"{who} is refused: {reason}")

    def expect(self, name: str, timeout: float) -> None:
        """Expect the successor of a member that hands over, within so many seconds; 0 where that comes to nothing."""
        self._expected[name] = time.monotonic() + timeout

    async def comes_back(self, name: str) -> bool:
        """Whether one that has gone was expected to, and joins again in time. One that is refused meanwhile is still there."""
        while name not in self._all:
            if name not in self._expected or max(self._expected[name], self._knocked(name) + SILENT) < time.monotonic():
                return False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._changed.wait()
        return True

    def _knocked(self, name: str) -> float:
        """When it was refused last."""
        return self._called.get(name, float("-inf")) if name in self.refused else float("-inf")

    def _left(self, name: str) -> float:
        return self._expected.get(name, float("-inf")) - time.monotonic()

    def missing(self, names: Iterable[str]) -> list[str]:
        """A line for each of these that is not there, and for each other that was refused."""
        wanted = list(names)
        lines = [f"{n}: {self.refused.get(n, 'it has not called')}" for n in wanted if n not in self._all]
        return [*lines, *(f"{who} is refused: {why}" for who, why in self.refused.items() if who not in wanted)]

    def tell(self, event: Event, line: str) -> None:
        """Let everybody know."""
        if line:
            self._log(line)
        self._changed.set()
        for queue in self._listeners:
            queue.put_nowait(event)

    def gone(self, address: str) -> asyncio.Future[None]:
        """Done when the member at this address is known to have gone, which it may not be known to have come yet; not to be
        cancelled."""
        return self._gone.setdefault(address, asyncio.get_running_loop().create_future())

    async def events(self) -> AsyncIterator[Event]:
        """What happens from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def wait_for(self, names: Iterable[str], *, patience: float = float("inf")) -> None:
        """Wait until all of these are there, or all that are missing have been refused for so many seconds."""
        wanted, refused = set(names), float("inf")
        while missing := wanted - self._all.keys():
            now = time.monotonic()
            refused = min(refused, now) if missing <= self.refused.keys() else float("inf")
            if now - refused > patience:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT):  # who is refused is not an event
                    await self._changed.wait()
