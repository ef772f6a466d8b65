"""The proof: where fresh starts of two versions differ, a process that has become the newer one is as that.

=====================  ================================================================================================
``expected``           both versions are imported on this host, each in an interpreter of its own with the environment and the
                       configuration of the node, and a copy of the older one becomes the newer one; nothing of that is
                       within the pause, nor in this process: it gets excerpts of what another has seen
``raise_for_staging``  for who asks beforehand, where there is nothing to compare: a copy of the older one is made ready
``differences``        once the swap is done, before it is forgotten: the paths at which both differ are walked here
=====================  ================================================================================================

Where they agree, what is there is state of this process, and is left alone.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...observation import objects
from ...observation.look import Looker
from ...observation.node import Flag, digest_of
from ...observation.picture import without_addresses, word_for
from ...release.instruction_json import to_json
from ...release.instructions import Instruction, Load
from . import CannotSwap
from .expected import WITHIN, Check, Excerpt, Surroundings, ask
from .rehearsed import Unobservable, rehearsed

_NAMED = 5
"""Differences that a message lists."""

_GONE = object()


def expected(old: Surroundings, new: Surroundings, instructions: Sequence[Instruction]) -> Excerpt | None:
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
        outcome = ask(old, new, instructions, modules)
    except Unobservable as error:
        raise CannotSwap([str(error)]) from None
    if problems := [*_set_since(outcome.made)] or outcome.problems:
        raise CannotSwap(problems)
    return outcome.fresh


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


def _set_since(made: Excerpt) -> Iterator[str]:
    """What is to be bound to something else, and is not what the module has made any longer."""
    walk = _Walk(made, "what the module has made")
    yield from (path for check in made.checks for path in walk.differences(check))


def differences(fresh: Excerpt) -> list[str]:
    """Where this process is not as a fresh start, of all that was to change; each with its path."""
    walk = _Walk(fresh, "as in a fresh start")
    paths = dict.fromkeys(path for check in fresh.checks for path in walk.differences(check))
    return [*paths][:_NAMED]


class _Walk:
    def __init__(self, excerpt: Excerpt, wanted: str) -> None:
        self._nodes, self._wanted = excerpt.nodes, wanted
        self._look = Looker(frozenset(excerpt.modules))
        self._compared: dict[tuple[int, int], Any] = {}
        """By their addresses and their nodes, the objects, which keeps an address from being used twice."""
        self._words: dict[int, str | None] = {}
        """What stands for addresses; None for a number that is none."""

    def differences(self, check: Check) -> Iterator[str]:
        """Yield the paths at which this process is otherwise than it is to be."""
        value = self.find(check.path)
        if check.kind == "gone":
            if value is not _GONE:
                yield f"{check.path} is there still"
        elif value is _GONE:
            yield f"{check.path} is not there"
        elif check.kind == "row":
            yield from self._row(check, value)
        elif check.kind == "order":
            yield from self._order(check, value)
        else:
            yield from self._same(value, check.node, str(check.path))

    def _row(self, check: Check, value: Any) -> Iterator[str]:
        """All elements of a row, each as far as it is new; what was there before only by what it is."""
        have = [element for label, element in self._look(value).edges if label[1:-1].isdecimal()]
        if len(have) != len(check.elements):
            yield f"{check.path} has {len(have)} elements, and not {len(check.elements)}"
            return
        for element, (label, to) in zip(have, check.elements, strict=True):
            yield from self._same(element, to, f"{check.path}{label}")

    def _order(self, check: Check, value: Any) -> Iterator[str]:
        wanted = [label for label, _ in check.elements]
        have = [label for label, _ in self._look(value).edges if label in wanted]
        if have != [label for label in wanted if label in have]:
            yield f"{check.path} is in another order"

    def _same(self, value: Any, number: int, path: str) -> Iterator[str]:
        """Whether an object is what the excerpt has there; what it holds too, where the excerpt has that."""
        waiting = [(value, number, path)]
        for live, at, here in waiting:
            node = self._nodes[at]
            if node.flags & Flag.NOISE or (id(live), at) in self._compared:
                continue
            self._compared[id(live), at] = live
            seen, kind = self._look(live), objects.name_of(type(live))
            alike = seen.digest == node.digest or (
                type(live) is str and digest_of(self._without_addresses(live)) == node.digest
            )
            if (kind, seen.name) != (node.type, node.name) or not alike:
                yield f"{here} is {objects.shown(live)}, and not {self._wanted}"
                continue
            edges = dict(seen.edges)
            if node.flags & Flag.WHOLE and (more := [name for name in edges if name not in dict(node.edges)]):
                yield f"{here}{more[0]} is there, and is not {self._wanted}"
            for name, to in node.edges:
                if name in edges:
                    waiting.append((edges[name], to, f"{here}{name}"))
                else:
                    yield f"{here}{name} is not there"

    def _without_addresses(self, text: str) -> str:
        """A text as pictures tell it: with what is at an address, which differs in each process, in the place of that."""
        return without_addresses(text, self._word)

    def _word(self, address: int, otherwise: str) -> str:
        if address not in self._words:
            values = [value for value in gc.get_objects() if id(value) == address]
            self._words[address] = (
                word_for(objects.name_of(type(values[0])), self._look(values[0]).name) if values else None
            )
        return self._words[address] or otherwise

    def find(self, path: Sequence[str]) -> Any:
        """Return what is at a path in this process."""
        value: Any = sys.modules.get(path[0], _GONE)
        for label in path[1:]:
            if value is _GONE:
                return _GONE
            value = dict(reversed(self._look(value).edges)).get(label, _GONE)
        return value
