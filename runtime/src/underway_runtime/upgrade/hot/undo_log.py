"""What a swap does to this process, as calls that were prepared, and the calls that undo them.

All acts are done within one call of C: a ``deque`` that consumes ``map(call, acts)``. As no act runs Python code, no other
thread runs before all of them are done; a loop of assignments would let it in. The collector is off meanwhile, and what is
replaced stays referred to by what would undo it: else a finalizer could run in between.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import call, length_hint
from typing import Any

_GONE = object()


class Acts:
    """Calls to be done together, in this order, each with the one that undoes it."""

    def __init__(self) -> None:
        self.do: list[Callable[[], object]] = []
        self.undo: list[Callable[[], object]] = []

    def add(self, do: Callable[[], object], undo: Callable[[], object]) -> None:
        """Add a call. What raises has changed nothing."""
        self.do.append(do)
        self.undo.append(undo)

    def extend(self, others: Acts) -> None:
        """Add all of those."""
        self.do += others.do
        self.undo += others.undo

    def attribute(self, target: Any, name: str, value: object) -> None:
        """Set an attribute that is there, of a function, a module or whatever needs no Python code for it."""
        self.add(partial(setattr, target, name, value), partial(setattr, target, name, getattr(target, name)))

    def item(self, names: dict[Any, Any], key: Any, value: object) -> None:
        """Set an item of a dict."""
        self.add(partial(dict.__setitem__, names, key, value), _undo_item(names, key))

    def no_item(self, names: dict[Any, Any], key: Any) -> None:
        """Take an item out of a dict; it may be missing."""
        self.add(partial(dict.pop, names, key, None), _undo_item(names, key))

    def member(self, cls: type, name: str, value: object) -> None:
        """Set a member of a class, whatever its metaclass would do."""
        self.add(partial(type.__setattr__, cls, name, value), _undo_member(cls, name))

    def no_member(self, cls: type, name: str) -> None:
        """Take a member out of a class. Undone, it is the last in the order of its members."""
        if name in cls.__dict__:
            self.add(partial(type.__delattr__, cls, name), _undo_member(cls, name))


BASES = "__bases__"
"""What a class comes from can be set as a member is, and is none."""


class Journal:
    """What was done, so that all of it can be undone."""

    def __init__(self) -> None:
        self._done: list[_Entry] = []

    def perform(self, acts: Acts) -> None:
        """Do them all. Raises what one of them raises; those before it are done then, and `undo` knows which."""
        entry = _Entry(acts)
        self._done.append(entry)
        _at_once(entry.calls, entry)

    def note(self, undo: Callable[[], object]) -> None:
        """Note what undoes something that was done."""
        acts = Acts()
        acts.add(nothing, undo)
        self.perform(acts)

    def holding(self) -> set[int]:
        """The ids of what keeps what was replaced until it is forgotten: of what undoes it, but not of what that is put into."""
        ids: set[int] = set()
        for acts in (entry.acts for entry in self._done):
            does, undoes = ([act for act in of if type(act) is partial] for of in (acts.do, acts.undo))
            ids |= {id(part) for act in (*does, *undoes) for part in (act, act.args)}
            ids |= {id(part) for act in undoes for part in act.args[1:]}
        return ids

    def undo(self) -> None:
        """Undo everything, the last first."""
        calls: list[Callable[[], object]] = []
        for entry in reversed(self._done):
            calls += reversed(entry.acts.undo[: entry.count()])
        self._done.clear()
        _at_once(iter(calls))

    def forget(self) -> None:
        """Let go of what was replaced; it can't be undone from now on."""
        self._done.clear()


class _Entry:
    def __init__(self, acts: Acts) -> None:
        self.acts = acts
        self.calls = iter(acts.do)
        self.failed = False

    def count(self) -> int:
        """How many of the acts were done."""
        return len(self.acts.do) - length_hint(self.calls) - self.failed


def _at_once(calls: Any, entry: _Entry | None = None) -> None:
    with no_collection():
        try:
            deque(map(call, calls), maxlen=0)
        except BaseException:
            if entry is not None:
                entry.failed = True
            raise


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the garbage collector, as far as it is on."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _undo_item(names: dict[Any, Any], key: Any) -> Callable[[], object]:
    before = names.get(key, _GONE)
    return partial(dict.pop, names, key, None) if before is _GONE else partial(dict.__setitem__, names, key, before)


def _undo_member(cls: type, name: str) -> Callable[[], object]:
    before = cls.__bases__ if name == BASES else cls.__dict__.get(name, _GONE)
    return partial(type.__delattr__, cls, name) if before is _GONE else partial(type.__setattr__, cls, name, before)


def nothing() -> None:
    """Do nothing: for an act that needs no undoing, or the other way round."""
