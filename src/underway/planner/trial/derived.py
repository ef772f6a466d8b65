"""What an object may have made of one of its attributes and keeps: the value before would live on in it.

A part changes an attribute of an object that stays; a fresh start makes the whole object. The two are the same where the object has
made nothing of the attribute meanwhile. What methods of its class, and functions next to it, assign to attributes where they read the
one that changes, by name and through others that they call, is looked at in the process: it has to be what the module has made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from underway_runtime.observation.node import Path as At
from underway_runtime.observation.picture import Picture
from underway_runtime.release.parts import Part, Step
from underway_runtime.upgrade.hot.rehearsed import Rehearsed

from ..graph import Loads, labels_of, step_of
from ..releases import Opened
from ..source import Function, functions_in, statements, walk

_CHANGING = ("value", "place", "pattern", "added", "made", "gone", "order", "elements")
"""Kinds of parts after which an object is not what it was."""
_REMEMBERING = ("cache", "lru_cache")
_PATHS = "pathlib:"


@dataclass(frozen=True)
class Keeping:
    """What some functions keep that is made of an attribute."""

    attributes: frozenset[str] = frozenset()
    remembering: frozenset[str] = frozenset()
    """Functions that are called once for each argument."""


@dataclass
class Derived:
    """Looks for that in the older release, whose code has made it."""

    release: Opened
    picture: Picture
    before: Rehearsed
    problems: list[tuple[At, str]] = field(default_factory=list)
    """What can't be looked at, and why."""

    def asked(self, loads: Loads, ran: Iterable[Sequence[str]]) -> Mapping[str, tuple[Part, ...]]:
        """By module: the parts that have a process look, for what the parts of some loads change, and for what running them has."""
        changed = [
            labels_of((name, part.path))
            for name, load in loads.items()
            for part in load.parts
            if part.kind in _CHANGING
        ]
        parts = {labels_of((name, part.path)) for name, load in loads.items() for part in load.parts}
        result: dict[str, tuple[Part, ...]] = {}
        for above, names in _by_holder([*changed, *map(tuple, ran)]).items():
            if above[0] in loads and (part := self._part(above, names, parts)) is not None:
                result[above[0]] = (*result.get(above[0], ()), part)
        return result

    def _part(self, above: tuple[str, ...], names: set[str], parts: set[tuple[str, ...]]) -> Part | None:
        number = self.picture.at(above)
        steps = self._steps(above)
        if number is None or steps is None:
            return None
        modules = set()
        for cls in self._classes(self.picture.nodes[number].type):
            if cls.startswith(_PATHS):
                self.problems.append((At(above), "a path keeps what it was asked for"))
            modules.add(cls.partition(":")[0])
        files = [self.release.modules[name][1] for name in sorted(modules) if name in self.release.modules]
        keeping = _keeping(tuple(self.release.root / file for file in files), frozenset(names))
        self.problems += ((At(above), f"{name} remembers what it has returned") for name in sorted(keeping.remembering))
        was: dict[str, list[object]] = {}
        for name in sorted(keeping.attributes - names):
            at = (*above, f".{name}")
            if at in parts:
                continue
            if self.picture.at(at) is None:
                was[name] = []
            elif (value := self._scalar(at)) is not None:
                was[name] = [*value]
        return Part("untouched", steps, was) if was else None

    def _scalar(self, at: tuple[str, ...]) -> tuple[object] | None:
        """A text, number or the like, or None, in a tuple; what holds others is state, and no value that is made of another."""
        try:
            value = self.before.value(at)
        except LookupError:
            return None
        return (value,) if value is None or isinstance(value, str | bytes | int | float) else None

    def _steps(self, above: tuple[str, ...]) -> tuple[Step, ...] | None:
        steps = []
        for depth in range(1, len(above)):
            number = self.picture.at(above[:depth])
            step = step_of(above[depth], self.picture.nodes[number]) if number is not None else None
            if step is None:
                return None
            steps.append(step)
        return tuple(steps)

    def _classes(self, of: str) -> Iterator[str]:
        """The class of this name, as pictures write types, and those that it comes from, as pictures write classes."""
        module = max((name for name in self.release.modules if of.startswith(f"{name}.")), key=len, default="")
        waiting, seen = [f"{module}:{of[len(module) + 1 :]}"] if module else [], set[str]()
        while waiting:
            cls = waiting.pop()
            if cls in seen:
                continue
            seen.add(cls)
            yield cls
            waiting += self._bases.get(cls, ())

    @cached_property
    def _bases(self) -> Mapping[str, Sequence[str]]:
        nodes = self.picture.nodes
        return {
            node.name: [nodes[to].name for label, to in node.edges if label.startswith("<base ")]
            for node in nodes
            if any(label.startswith("<base ") for label, _ in node.edges)
        }


def _by_holder(changed: Iterable[Sequence[str]]) -> dict[tuple[str, ...], set[str]]:
    """By the object: the attributes of it that change, or in which something does."""
    result: dict[tuple[str, ...], set[str]] = {}
    for labels in changed:
        for depth in range(2, len(labels)):
            if labels[depth][0] == "." and labels[depth][1:].isidentifier():
                result.setdefault(tuple(labels[:depth]), set()).add(labels[depth][1:])
    return result


@cache
def _keeping(files: tuple[Path, ...], names: frozenset[str]) -> Keeping:
    """What the functions of these files keep that read such attributes, by name or through others that they name."""
    functions = [function for file in files for _, function in functions_in(statements(file))]
    loaded = {function: _loaded(function) for function in functions if not function.name.startswith("__")}
    reading, before = set(names), set[str]()
    while reading != before:
        before = set(reading)
        reading |= {function.name for function, names in loaded.items() if names & before}
    concerned = [function for function, names in loaded.items() if names & reading]
    cached = {function.name for function in concerned if "cached_property" in _decorators(function)}
    return Keeping(
        frozenset(cached.union(*map(_assigned, concerned))),
        frozenset(function.name for function in concerned if {*_REMEMBERING} & _decorators(function)),
    )


def _loaded(function: Function) -> set[str]:
    """The attributes that a function reads, and what it calls."""
    nodes = [*walk(function)]
    called = {inner.func.id for inner in nodes if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name)}
    return called | {
        inner.attr for inner in nodes if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Load)
    }


def _assigned(function: Function) -> set[str]:
    """The attributes that a function binds to what it has made, and not to a constant."""
    result = set()
    for inner in walk(function):
        match inner:
            case ast.Assign(targets, value) if not isinstance(value, ast.Constant):
                result |= {target.attr for target in targets if isinstance(target, ast.Attribute)}
            case ast.AnnAssign(ast.Attribute(attr=name), _, ast.expr() as value) if not isinstance(value, ast.Constant):
                result.add(name)
    return result


def _decorators(function: Function) -> set[str]:
    called = (decorator.func if isinstance(decorator, ast.Call) else decorator for decorator in function.decorator_list)
    return {ast.unparse(decorator).rpartition(".")[2] for decorator in called}
