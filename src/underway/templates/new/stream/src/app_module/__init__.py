"""Counts words: ``source ~> flat_map ~> keyed_reduce ~> print``, Skitter's first example, spread over a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from .flow import Running, flat_map, keyed_reduce, sink

TEXT = [
    "a rose is a rose is a rose",
    "round the rugged rock the ragged rascal ran",
    "the more you take the more you leave behind",
]

_running: list[Running[str]] = []
"""The stream that this node has deployed; it lives as long as the node."""


def words(line: str) -> list[tuple[str, int]]:
    """Each word, once."""
    return [(word, 1) for word in line.lower().split()]


def add(total: int | None, number: int) -> int:
    return (total or 0) + number


def show(counted: tuple[str, int]) -> None:
    """Print a word and how often it has come so far, where it was counted."""
    print(*counted, flush=True)


async def deploy(lines: Iterable[str] = TEXT, *, cut: str | None = None, count: str | None = None) -> dict[str, int]:
    """Spread the stream over the cluster and send it some lines; what was counted. The master's ``--deploy`` calls it.

    Lines are cut up on the nodes with the tag `cut`, words counted and printed on those with the tag `count`, each on all
    where no tag is given.
    """
    flow = flat_map(words, on=cut) >> keyed_reduce(add, on=count) >> sink(show, on=count)
    _running[:] = [await flow.deploy()]
    return await feed(lines)


async def feed(lines: Iterable[str]) -> dict[str, int]:
    """Send more lines; what was counted so far. On the node that has deployed."""
    await _deployed().feed(lines)
    return await counts()


async def counts() -> dict[str, int]:
    """All words with their numbers, the most frequent first."""
    counted = await _deployed().states(1)
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _deployed() -> Running[str]:
    if not _running:
        raise LookupError("nothing was deployed from this node; `bin/cluster local start --deploy app_module:deploy`")
    return _running[0]
