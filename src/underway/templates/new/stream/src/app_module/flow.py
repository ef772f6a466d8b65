"""A stream: operators in a row, each on as many nodes as have its tag, on the actors of the cluster.

::

    flow = flat_map(str.split, on="split") >> keyed_reduce(count, on="count") >> sink(show)
    running = await flow.deploy()
    await running.feed(["a rose is a rose"])

What goes from one operator to the next goes in batches, and `feed` returns when its batch has come through all of them: that
is what keeps a fast source from a slow operator. What is keyed always goes to the same node for the same key.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from underway_runtime import cluster
from underway_runtime.cluster import Actor

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Station:
    """One operator on one node: an actor. A subclass says what becomes of a batch."""

    keyed = False
    """Whether a batch is pairs of key and value, of which each has its own station."""

    def __init__(self, function: Callable[..., Any], after: Next) -> None:
        self.function = function
        self.after = after

    async def put(self, batch: list[Any]) -> None:
        """Take a batch; returns when it has come through what follows."""
        if out := self.work(batch):
            await self.after.put(out)

    def work(self, batch: list[Any]) -> list[Any]:
        raise NotImplementedError


class FlatMap(Station):
    """Each record becomes any number of records."""

    def work(self, batch: list[Any]) -> list[Any]:
        return [out for record in batch for out in self.function(record)]


class KeyedReduce(Station):
    """Each key has a state, on the node that it belongs to: ``function(state or None, value)`` is the next one."""

    keyed = True

    def __init__(self, function: Callable[..., Any], after: Next) -> None:
        super().__init__(function, after)
        self.states: dict[Any, Any] = {}

    def work(self, batch: list[Any]) -> list[Any]:
        for key, value in batch:
            self.states[key] = self.function(self.states.get(key), value)
        return [(key, self.states[key]) for key in dict.fromkeys(key for key, _ in batch)]

    async def all(self) -> dict[Any, Any]:
        """The state of every key of this node."""
        return self.states


class Sink(Station):
    """Each record goes to a function, and no further."""

    def work(self, batch: list[Any]) -> list[Any]:
        for record in batch:
            self.function(record)
        return []


@dataclass(frozen=True)
class Next:
    """Where a batch goes: the stations of the next operator."""

    stations: Sequence[Actor[Any]]
    keyed: bool = False

    async def put(self, batch: list[Any]) -> None:
        """Share it out by key, or send it to the station on this node or else to one after the other; wait until it has come
        through."""
        if not self.stations:
            return
        shares: dict[Actor[Any], list[Any]] = {}
        if self.keyed:
            for record in batch:
                number = zlib.crc32(repr(record[0]).encode()) % len(self.stations)
                shares.setdefault(self.stations[number], []).append(record)
        else:
            near = [station for station in self.stations if station.member == cluster.here()]
            shares[(near or self.stations)[next(_turns) % len(near or self.stations)]] = batch
        async with asyncio.TaskGroup() as group:
            for station, share in shares.items():
                group.create_task(station.call(Station.put, share))


_turns = count()


@dataclass(frozen=True)
class Operator:
    """What is to be where: a kind of station with its function, on all nodes with a tag, or on all."""

    kind: type[Station]
    function: Callable[..., Any]
    on: str | None


@dataclass(frozen=True)
class Flow(Generic[A, B]):
    """Operators in a row, that take A and give B."""

    operators: tuple[Operator, ...]

    def __rshift__(self, after: Flow[B, C]) -> Flow[A, C]:
        return Flow((*self.operators, *after.operators))

    async def deploy(self) -> Running[A]:
        """Make the stations, the last ones first. Raises NobodyThere where a tag has no node."""
        after, made = Next(()), []
        for operator in reversed(self.operators):
            names: list[str | None] = [member.name for member in cluster.members(operator.on)]
            stations = [
                await cluster.actor(operator.kind, operator.function, after, tag=operator.on, member=name)
                for name in names or [None]  # where there is nobody, this says so
            ]
            after = Next(stations, operator.kind.keyed)
            made.append(stations)
        return Running(after, made[::-1])


@dataclass(frozen=True)
class Running(Generic[A]):
    """A stream that was deployed."""

    first: Next
    stations: Sequence[Sequence[Actor[Any]]]
    """Of each operator."""

    async def feed(self, source: Iterable[A] | AsyncIterable[A], batch: int = 50, at_once: int = 4) -> int:
        """Send all of a source through, so many batches at once; how many records it had."""
        total, waiting = 0, asyncio.Semaphore(at_once)

        async def send(records: list[A]) -> None:
            try:
                await self.first.put(records)
            finally:
                waiting.release()

        async with asyncio.TaskGroup() as group:
            records: list[A] = []
            async for record in _records(source):
                records.append(record)
                if len(records) == batch:
                    await waiting.acquire()
                    group.create_task(send(records))
                    total, records = total + batch, []
            await waiting.acquire()
            group.create_task(send(records))
        return total + len(records)

    async def states(self, operator: int) -> dict[Any, Any]:
        """The state of every key of a keyed operator, from all of its nodes."""
        parts = await asyncio.gather(*(station.call(KeyedReduce.all) for station in self.stations[operator]))
        return {key: state for part in parts for key, state in part.items()}


async def _records(source: Iterable[A] | AsyncIterable[A]) -> Any:
    if isinstance(source, AsyncIterable):
        async for record in source:
            yield record
    else:
        for record in source:
            yield record


def flat_map(function: Callable[[A], Iterable[B]], *, on: str | None = None) -> Flow[A, B]:
    return Flow((Operator(FlatMap, function, on),))


def keyed_reduce(function: Callable[[V | None, Any], V], *, on: str | None = None) -> Flow[tuple[K, Any], tuple[K, V]]:
    return Flow((Operator(KeyedReduce, function, on),))


def sink(function: Callable[[A], object], *, on: str | None = None) -> Flow[A, None]:
    return Flow((Operator(Sink, function, on),))
