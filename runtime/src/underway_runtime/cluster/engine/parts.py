"""The scheduler and the workers, with signs of life in both directions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

from distributed import Scheduler, Security, Worker
from distributed.comm.core import Comm, CommClosedError, FatalCommClosedError, connect
from distributed.diagnostics.plugin import SchedulerPlugin

from ..members import BEAT, SILENT, Member, Members
from .connections import CLOSED, SCHEME, Backend

ENOUGH = 2**30
"""How much of each tag a worker has; a task takes one."""
TO_CLOSE = 2.0
"""Seconds that a part of the engine gets to end."""
TOGETHER = 0.001
"""Seconds that the engine collects what it sends; by itself it takes five to ten."""


class _NoHttp:
    """Mixed into the engine's servers: what they would open a port for is not opened."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        pass

    async def _stop_services(self) -> None:
        pass  # there are none, which the engine would not expect


class _Scheduler(_NoHttp, Scheduler):
    pass


class _Worker(_NoHttp, Worker):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.heard_all = asyncio.Event()  # what the scheduler has sent until it closed the connection
        super().__init__(*arguments, **options)

    async def handle_stream(self, comm: Comm, extra: dict[str, Any] | None = None) -> None:
        try:
            await super().handle_stream(comm, extra)
        finally:
            self.heard_all.set()


class _Watch(SchedulerPlugin):
    """Tells who has come and who has gone."""

    def __init__(self, came: Callable[[str], None], went: Callable[[str], None]) -> None:
        self._came = came
        self._went = went

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self._came(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._went(worker)


class Master:
    """The scheduler, in this process."""

    def __init__(self, members: Members, **where: Any) -> None:
        """`where` is what the engine takes to say where it listens."""
        self._members = members
        self._there: dict[str, Member] = {}
        self._heard: dict[str, float] = {}
        self._patience = 0.0
        self._crossing: dict[str, float] = {}  # what each has said that it knows of a handover
        self._said = asyncio.Event()
        self.releases: dict[str, str] = {}
        """What each member has said of its release last."""
        self.scheduler: Any = _Scheduler(dashboard=False, plugins=[_Watch(self._came, self._went)], **where)

    async def start(self) -> None:
        """Begin to listen. Raises OSError where that can't be."""
        self.scheduler.handlers["underway_beat"] = self._on_beat
        self.scheduler.stream_handlers["underway_leaves"] = self._on_leaves
        await self.scheduler

    async def watch(self) -> None:
        """Take out, until cancelled, who gives no sign of life."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            if now - before > SILENT / 2:  # it was this node that slept
                self._heard.clear()
            for address, member in list(self._there.items()):
                if now - self._heard.setdefault(member.name, now) > SILENT:
                    stream = self.scheduler.stream_comms.get(address)
                    await self.scheduler.remove_worker(address, stimulus_id="underway-silent", close=False)
                    if stream is not None:
                        stream.abort()

    def _came(self, address: str) -> None:
        stream = self.scheduler.stream_comms[address]
        stream.interval = TOGETHER
        stream.send({"op": "underway_handover", "patience": self._patience})
        worker = self.scheduler.workers[address]
        tags = sorted(tag.removeprefix("tag:") for tag in worker.resources if tag.startswith("tag:"))
        self._there[address] = Member(str(worker.name), tuple(tags), time.time(), address)
        self._members.update(self._there.values())

    def _went(self, address: str) -> None:
        self._heard.pop(self._there.pop(address).name, None)
        self._members.update(self._there.values())

    async def hand_over(self, patience: float) -> list[str]:
        """Tell all members, and who joins later, that another master follows: when this one is gone they are to wait for it for so
        many seconds; 0: none does. Returns when all know, or after two beats: the names of those that do."""
        self._patience = patience
        self._crossing.clear()
        for stream in list(self.scheduler.stream_comms.values()):
            with contextlib.suppress(CommClosedError):
                stream.send({"op": "underway_handover", "patience": patience})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * BEAT):
                while len(self._knowing(patience)) < len(self._there):
                    self._said.clear()
                    await self._said.wait()
        return self._knowing(patience)

    def _knowing(self, patience: float) -> list[str]:
        return [member.name for member in self._there.values() if self._crossing.get(member.name) == patience]

    async def _on_beat(self, name: str, release: str = "", crossing: float | None = None) -> list[list[Any]]:
        self._heard[name] = time.monotonic()
        self.releases[name] = release
        if crossing is not None:
            self._crossing[name] = crossing
            self._said.set()
        return [[member.name, member.tags, member.since, member.address] for member in self._there.values()]

    def _on_leaves(self, worker: str, timeout: float) -> None:
        if member := self._there.get(worker):
            self._members.expect(member.name, timeout)

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TO_CLOSE):
                await self.scheduler.close(reason="underway-stop")


class Joined:
    """One membership of a worker, from its first word with the master until one of them is gone."""

    def __init__(
        self, comm: Comm, name: str, members: Members, release: Callable[[], str] = str, patience: float = 0
    ) -> None:
        """`release` gives what this node says of its own now; `patience` is what the master before has said."""
        self._comm = comm
        self._name = name
        self._members = members
        self._release = release
        self.left = False  # the master knows that this node hands over
        self._more: dict[str, float] = {}  # to be told with the next sign of life
        self._wake = asyncio.Event()
        self._told = asyncio.Event()
        self.patience = patience
        """Seconds for which the master has said that its successor is to be waited for, when it is gone; 0: it has none."""
        self.worker: Any = None

    async def start(self, master: str, tags: Iterable[str], **where: Any) -> None:
        """Become a worker. Raises OSError, TimeoutError and ValueError."""
        self.worker = _worker(f"{SCHEME}://{master}", self._name, tags, death_timeout=2 * SILENT, **where)
        self.worker.stream_handlers["underway_handover"] = self._on_handover
        await self.worker

    def _on_handover(self, patience: float) -> None:
        self.patience = patience
        self._say(crossing=patience)

    def _say(self, **more: float) -> None:
        self._more |= more
        self._told.clear()
        self._wake.set()

    async def leave(self, timeout: float) -> None:
        """Tell the master that this node hands over, to one that joins within so many seconds; 0: it does not. Returns when it
        knows, or after two beats."""
        self.leaves(timeout)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * BEAT):
                await self._told.wait()
                self.left = bool(timeout)

    def leaves(self, timeout: float) -> None:
        """Tell the same, and wait for nothing; on the connection whose end is the loss, so that no master reads that first."""
        with contextlib.suppress(CommClosedError):
            self.worker.batched_stream.send({"op": "underway_leaves", "timeout": timeout})
        self._say()

    async def beat(self) -> None:
        """Give signs of life, and take those of the master, until there are none. Raises OSError or TimeoutError then."""
        while True:
            self._wake.clear()
            more, self._more = self._more, {}
            members = await _ask(self._comm, self._name, release=self._release(), **more)
            self._members.update(members)
            if self._members.named(self._name) is None:
                raise TimeoutError("the master counts this node as lost")
            if not self._wake.is_set():
                self._told.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await self._wake.wait()

    async def last_word(self, timeout: float) -> None:
        """Take all that the master has sent before it went, for so many seconds at most: that it hands over comes by another
        connection than its signs of life, and a node that was frozen, or had no processor, has not read either."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.worker.heard_all.wait()

    async def close(self) -> None:
        self._comm.abort()
        self._members.update([], told=False)
        if self.worker is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TO_CLOSE):
                    await self.worker.close(timeout=TO_CLOSE / 2, executor_wait=False, reason="underway-stop")


async def call(backend: Backend, security: Security, name: str) -> Comm:
    """Make a connection to the master, which answers. Raises OSError or TimeoutError where there is none."""
    async with asyncio.timeout(SILENT):
        arguments = security.get_connection_args("worker")
        comm = await connect(f"{SCHEME}://{backend.master}", timeout=2 * BEAT, **arguments)
    try:
        await _ask(comm, name)
    except BaseException:
        comm.abort()
        raise
    return comm


async def _ask(comm: Comm, name: str, **more: Any) -> list[Member]:
    async with asyncio.timeout(SILENT):
        await comm.write({"op": "underway_beat", "name": name, "reply": True, **more})
        answer = await comm.read()
    return [Member(name, tuple(tags), *rest) for name, tags, *rest in answer]


def reason(error: Exception) -> str:
    """Why there is no connection, or no more."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return f"its certificate is not valid: {getattr(cause, 'verify_message', None) or cause}"
    if isinstance(error, FatalCommClosedError) or not isinstance(error, (CommClosedError, TimeoutError)):
        return "nobody answers" if "Timed out" in str(error) else str(error)
    if isinstance(error, TimeoutError):
        return str(error) or f"it has not answered for {SILENT:g} s"
    return CLOSED


def local_worker(scheduler: Scheduler, name: str, directory: str) -> Any:
    """A worker in the process of its scheduler; to be awaited and closed."""
    worker = _worker(scheduler.address, name, (), local_directory=directory)
    worker.stream_handlers["underway_handover"] = lambda patience: None  # they go together
    return worker


def _worker(master: str, name: str, tags: Iterable[str], **where: Any) -> Any:
    cores = len(os.sched_getaffinity(0))
    tagged = {f"tag:{tag}": ENOUGH for tag in tags}
    return _Worker(master, nthreads=cores, name=name, resources=tagged, memory_limit=0, dashboard=False, **where)
