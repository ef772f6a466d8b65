"""The proof: where fresh starts of two versions differ, a process that has become the newer one is as that.

=====================  ================================================================================================
``expected``           both versions are imported on this host, each in an interpreter of its own with the environment and the
                       configuration of the node, and a copy of the older one becomes the newer one; nothing of that is
                       within the pause
``raise_for_staging``  for who asks beforehand, where there is nothing to compare: a copy of the older one is made ready
``differences``        once the swap is done, before it is forgotten: the paths at which both differ are walked here
=====================  ================================================================================================

Where they agree, what is there is state of this process, and is left alone.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...observation import compare, objects
from ...observation.compare import Difference
from ...observation.look import Looker
from ...observation.node import Flag, digest_of
from ...observation.picture import Picture, without_addresses, word_for
from ...release.directory import VersionDirectory
from ...release.instruction_json import to_json
from ...release.instructions import Instruction, Load
from . import CannotSwap
from .rehearsed import Unobservable, rehearsed

WITHIN = 120.0
"""Seconds for all that is asked of one version."""

_NAMED = 5
"""Differences that a message lists."""

_UNTOLD = ("opaque", "alias")
"""What can't be told of a process by looking at one path."""

_GONE = object()


@dataclass(frozen=True)
class Surroundings:
    """A version, and what it is started with here."""

    place: VersionDirectory
    environ: Mapping[str, str]
    configuration: Mapping[str, Any]


@dataclass(frozen=True)
class Expected:
    """What a fresh start of the version that comes has, and that of the one that runs has not."""

    wanted: Picture
    differences: tuple[Difference, ...]
    partners: Mapping[int, int]
    """By number, what was there before."""


def expected(old: Surroundings, new: Surroundings, instructions: Sequence[Instruction]) -> Expected | None:
    """What the process is to be like; None where the relup does not rest on what was seen.

    Raises CannotSwap where a version can't be looked at here, or the older one does not become what a fresh start of the newer one is.
    """
    modules = [
        instruction.module
        for instruction in instructions
        if isinstance(instruction, Load) and instruction.seen and instruction.module in sys.modules
    ]
    if not modules:
        return None
    try:
        return _expected(old, new, instructions, modules)
    except Unobservable as error:
        raise CannotSwap([str(error)]) from None


def raise_for_staging(old: Surroundings, new: Surroundings, instructions: Sequence[Instruction]) -> None:
    """Make everything ready in a copy of the older version. Raises CannotSwap with what fails, or where that does not end.

    Where that version can't be imported in a trial nothing is known.
    """
    loads = [
        instruction
        for instruction in instructions
        if isinstance(instruction, Load) and instruction.module in sys.modules
    ]
    if all(load.fragment is None for load in loads):
        return
    problems: Sequence[str] = ()
    with suppress(Unobservable), rehearsed(old.place, old.environ, Path.cwd(), WITHIN) as process:
        process.boot([load.module for load in loads], old.configuration)
        try:
            problems = process.stage(new.place, [to_json(instruction) for instruction in instructions])
        except Unobservable as error:
            problems = [str(error)]
    if problems:
        raise CannotSwap(
            [f"in a trial on this host it could not be made ready: {problem}" for problem in problems[:_NAMED]]
        )


def _expected(
    old: Surroundings, new: Surroundings, instructions: Sequence[Instruction], modules: Sequence[str]
) -> Expected:
    documents = [to_json(instruction) for instruction in instructions]
    before, become = _look(old, modules, new.place, documents)
    if set_since := [*_set_since(before, instructions)]:
        raise CannotSwap(set_since)
    if not isinstance(become, Picture):
        raise CannotSwap(become)
    wanted, _ = _look(new, modules)
    again, _ = _look(old, modules)
    noise: set[Any] = {difference.path for difference in compare.compare(before, again) if difference.kind != "opaque"}
    noise |= _counted(instructions)
    if left := [
        difference
        for difference in compare.compare(become, wanted)
        if difference.kind != "opaque" and not _is_noise(difference, noise)
    ]:
        told = [
            f"{difference.path} ({difference.kind}: {difference.was or 'nothing'}, and not {difference.becomes or 'nothing'})"
            for difference in left
        ]
        raise CannotSwap(
            [f"in a trial on this host something differs from a fresh start: {line}" for line in told[:_NAMED]]
        )
    differences = [difference for difference in compare.compare(before, wanted) if not _is_noise(difference, noise)]
    return Expected(wanted, tuple(differences), compare.partners(before, wanted))


def _counted(instructions: Sequence[Instruction]) -> set[tuple[str, ...]]:
    """The paths of numbers that never go back."""
    return {
        (load.module, *(f".{of}" if kind == "attribute" else f"[{of!r}]" for kind, of in part.path))
        for load in instructions
        if isinstance(load, Load)
        for part in load.parts
        if part.kind == "counted"
    }


def _set_since(before: Picture, instructions: Sequence[Instruction]) -> Iterator[str]:
    """What is to be bound to something else, and is not what the module has made any longer."""
    fixed = {number: number for number, node in enumerate(before.nodes) if node.flags & Flag.MUTABLE}
    walk = _Walk(Expected(before, (), fixed))  # what can change is told by what it is
    for load in (instruction for instruction in instructions if isinstance(instruction, Load) and instruction.seen):
        for name in load.replaced:
            number = before.at((load.module, f".{name}"))
            bound = objects.module_names(load.module).get(name, _GONE)
            if number is not None and any(walk.same(bound, number, f"{load.module}.{name}")):
                yield f"{load.module}.{name} is {objects.shown(bound)}, and not what the module has made"


def _look(
    version: Surroundings, modules: Sequence[str], other: VersionDirectory | None = None, documents: Sequence[Any] = ()
) -> tuple[Picture, Picture | list[str]]:
    with rehearsed(version.place, version.environ, Path.cwd(), WITHIN) as process:
        process.boot(modules, version.configuration)
        taken = process.picture(modules)
        return taken, taken if other is None else process.become(other, documents, modules)


def _is_noise(difference: Difference, noise: set[Any]) -> bool:
    return any(difference.path[:depth] in noise for depth in range(1, len(difference.path) + 1))


def differences(wanted: Expected) -> list[str]:
    """Where this process is not as a fresh start, of all that was to change; each with its path."""
    walk = _Walk(wanted)
    paths = dict.fromkeys(
        path for difference in wanted.differences if difference.kind not in _UNTOLD for path in walk.check(difference)
    )
    return [*paths][:_NAMED]


class _Walk:
    def __init__(self, wanted: Expected) -> None:
        self._picture = wanted.wanted
        self._partners = wanted.partners
        self._look = Looker(frozenset(self._picture.modules))
        self._compared: set[tuple[int, int]] = set()
        self._words: dict[int, str | None] = {}
        """What stands for addresses; None for a number that is none."""

    def check(self, difference: Difference) -> Iterator[str]:
        """Yield the paths at which this process is otherwise, where two fresh starts differ."""
        above = difference.path[:-1]
        row = self._picture.at(above) if above else None
        if row is not None and self._picture.nodes[row].flags & Flag.SEQUENCE:
            yield from self._row(row, self._find(above), "".join(above))
            return
        value = self._find(difference.path)
        if difference.kind == "removed":
            if value is not _GONE:
                yield f"{difference.path} is there still"
        elif value is _GONE:
            yield f"{difference.path} is not there"
        elif difference.kind == "order":
            yield from self._order(difference, value)
        elif difference.b is not None:
            yield from self.same(value, difference.b, str(difference.path))

    def _row(self, number: int, value: Any, path: str) -> Iterator[str]:
        """All elements of a row, each as far as it is new; what was there before only by what it is."""
        if value is _GONE:
            yield f"{path} is not there"
            return
        have = [element for label, element in self._look(value).edges if label[1:-1].isdecimal()]
        wanted = [(label, to) for label, to in self._picture.nodes[number].edges if label[1:-1].isdecimal()]
        if len(have) != len(wanted):
            yield f"{path} has {len(have)} elements, and not {len(wanted)}"
            return
        for element, (label, to) in zip(have, wanted, strict=True):
            yield from self.same(element, to, f"{path}{label}")

    def _order(self, difference: Difference, value: Any) -> Iterator[str]:
        assert difference.b is not None
        wanted = [label for label, _ in self._picture.nodes[difference.b].edges]
        have = [label for label, _ in self._look(value).edges if label in wanted]
        if have != [label for label in wanted if label in have]:
            yield f"{difference.path} is in another order"

    def same(self, value: Any, number: int, path: str) -> Iterator[str]:
        """Whether an object is what the picture has there; what it holds too, where all of it is new."""
        waiting = [(value, number, path)]
        for live, at, here in waiting:
            node = self._picture.nodes[at]
            if node.flags & Flag.NOISE or (id(live), at) in self._compared:
                continue
            self._compared.add((id(live), at))
            seen, kind = self._look(live), objects.name_of(type(live))
            alike = seen.digest == node.digest or (type(live) is str and digest_of(self._told(live)) == node.digest)
            if (kind, seen.name) != (node.type, node.name) or not alike:
                yield f"{here} is {objects.shown(live)}, and not as in a fresh start"
                continue
            if at in self._partners:
                continue  # it was there before: what it holds is compared where it changes
            edges = dict(seen.edges)
            for name, to in node.edges:
                if name in edges:
                    waiting.append((edges[name], to, f"{here}{name}"))
                else:
                    yield f"{here}{name} is not there"

    def _told(self, text: str) -> str:
        """A text as pictures tell it: with what is at an address, which is another in each process, in the place of that."""
        return without_addresses(text, self._word)

    def _word(self, address: int, otherwise: str) -> str:
        if address not in self._words:
            values = [value for value in gc.get_objects() if id(value) == address]
            self._words[address] = (
                word_for(objects.name_of(type(values[0])), self._look(values[0]).name) if values else None
            )
        return self._words[address] or otherwise

    def _find(self, path: Sequence[str]) -> Any:
        value: Any = sys.modules.get(path[0], _GONE)
        for label in path[1:]:
            if value is _GONE:
                return _GONE
            value = dict(reversed(self._look(value).edges)).get(label, _GONE)
        return value
