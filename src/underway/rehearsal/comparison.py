"""Answers of an upgraded service next to those of fresh starts; what differs between two of those is noise: a time, a pid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
Answers: TypeAlias = Sequence[Any]

MOST_SHOWN = 60
"""Characters of a value that is told."""


@dataclass(frozen=True)
class Difference:
    """One place at which an answer is not that of a fresh start."""

    exchange: str
    place: str
    """Within the answer: ``body.rooms[2].name``."""
    found: str
    wanted: str


def differences(answers: Answers, references: Sequence[Answers], ignored: Collection[str] = ()) -> list[Difference]:
    """What is in `answers` otherwise than in the first reference, and the same in all references.

    `ignored` are patterns, as of shells, for ``EXCHANGE PLACE``.
    """
    first, *others = references
    noise = {path for other in others for path, _, _ in _differing(first, other, ())}
    return [
        difference
        for path, one, other in _differing(answers, first, ())
        if not any(path[: len(start)] == start for start in noise)
        and not _is_ignored(difference := _difference(path, one, other, answers), ignored)
    ]


def nearest(answers: Answers, choices: Sequence[Sequence[Answers]], ignored: Collection[str] = ()) -> list[Difference]:
    """The fewest differences to one of several, each with its references."""
    measured = [differences(answers, choice, ignored) for choice in choices]
    return min(measured, key=len)


def _is_ignored(difference: Difference, ignored: Collection[str]) -> bool:
    return any(fnmatchcase(f"{difference.exchange} {difference.place}", pattern) for pattern in ignored)


def _difference(path: Path, one: Any, other: Any, answers: Answers) -> Difference:
    exchange = answers[path[0]] if path and isinstance(path[0], int) and path[0] < len(answers) else None
    name = exchange.get("exchange", f"answer {path[0]}") if isinstance(exchange, dict) else "the answers"
    path_text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:]).removeprefix(".")
    return Difference(name, path_text, _shown(one), _shown(other))


def _differing(one: Any, other: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    """Each place at which two values differ; lists of another length differ as a whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            if key in one and key in other:
                yield from _differing(one[key], other[key], (*path, key))
            else:
                yield (*path, key), one.get(key), other.get(key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(left, right, (*path, number))
    elif type(one) is not type(other) or one != other:
        yield path, one, other


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
