"""Who holds an object, in words: for messages to a person who has to do something about it.

And what belongs to something that goes away, and to nobody else: what an enum's members or a model's validators are to their class.
That is told by counting: an object belongs if all references to it come from what belongs too.
"""

from __future__ import annotations

import gc
import os
import sys
import weakref
from abc import ABCMeta
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from types import (
    CellType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

from ...observation import objects

DEPTH = 5
"""How many containers are looked through."""

UNKNOWN = "something that can't be seen from Python"

_HERE = f"{os.path.dirname(__file__)}/"

_CONTAINERS = (list, tuple, set, frozenset, CellType, MethodType, TracebackType)
_OF_PYTHON = ("builtins", "functools", "types", "collections", "weakref")
"""Modules whose objects say nothing by their class."""


def holder(held: Any, ignored: Collection[int] = (), direct: Collection[int] = ()) -> str:
    """Who holds an object, through containers up to something with a name.

    `ignored` are ids of objects that don't count, `direct` of those that don't count where they hold it themselves.
    """
    return seen_holder(held, ignored, direct) or UNKNOWN


def seen_holder(held: Any, ignored: Collection[int] = (), direct: Collection[int] = ()) -> str | None:
    """The same; None where nobody is seen that holds it."""
    return _holder(held, {*ignored}, {*direct}, DEPTH)


def _holder(held: Any, ignored: set[int], direct: set[int], depth: int) -> str | None:
    # The list of referrers has no name: the frame of this call may be in it, and would hold it for good.
    others = [
        referrer
        for referrer in gc.get_referrers(held)
        if id(referrer) not in ignored and id(referrer) not in direct and not is_ours(referrer)
    ]
    for other in others:
        if (text := _named(other, held)) is not None:
            return text
    if depth:
        ignored.add(id(others))
        for other in others:
            ignored.add(id(other))
            if (above := _holder(other, ignored, set(), depth - 1)) is not None:
                return above if objects.is_a(other, (dict, CellType)) else f"{objects.kind_of(other)} in {above}"
    return f"a {objects.kind_of(others[0])}" if others else None


def is_own_frame(frame: FrameType) -> bool:
    """Whether this is a frame of who asks, and so no part of what is looked at."""
    package = dict.get(frame.f_globals, "__package__")
    return type(package) is str and package == __package__


def is_ours(referrer: Any) -> bool:
    """Whether this belongs to who asks: a frame, or what it has found."""
    if type(referrer) is FrameType:
        return is_own_frame(referrer)
    if type(referrer) is GeneratorType:
        return referrer.gi_code.co_filename.startswith(_HERE)
    return objects.module_of(type(referrer)).startswith(f"{__package__}.")


def _named(referrer: Any, held: Any) -> str | None:
    """A referrer that can be told by name."""
    kind = type(referrer)
    if kind is dict:
        return _name_in(referrer, held)
    if kind is FrameType:
        return f"a local of {referrer.f_code.co_qualname}, {referrer.f_code.co_filename}:{referrer.f_lineno}"
    if kind is FunctionType:
        return f"function {objects.text(referrer.__module__)}.{referrer.__qualname__}"
    if issubclass(kind, type):
        return f"class {objects.name_of(referrer)}"
    if issubclass(kind, ModuleType):
        return f"module {objects.text(objects.names_of(referrer).get('__name__'))}"
    if prefix := objects.suspendable(kind):
        code = getattr(referrer, f"{prefix}_code")
        return f"a local of {code.co_qualname}, {code.co_filename}:{code.co_firstlineno}"
    if issubclass(kind, (dict, *_CONTAINERS)) or objects.module_of(kind) in _OF_PYTHON:
        return None
    return f"a {objects.name_of(kind)}"


def _name_in(names: dict[Any, Any], held: Any) -> str | None:
    """``MODULE.NAME``, where the names are those of a module."""
    name = names.get("__name__")
    if type(name) is not str or objects.own_dict(sys.modules.get(name)) is not names:
        return None
    key = next((key for key, value in list(names.items()) if value is held and type(key) is str), None)
    return None if key is None else f"{name}.{key}"


_ARGUMENT = 1
"""The reference of an argument of getrefcount."""


def _uncounted(alone: Sequence[type]) -> int:
    """How many references to the one class in a list nothing that the collector knows has; the list itself is known."""
    # By its number: whether a variable is counted depends on the version of Python.
    referrers = gc.get_referrers(alone[0])
    seen = sum(sum(referent is alone[0] for referent in gc.get_referents(referrer)) for referrer in referrers)
    del referrers
    return sys.getrefcount(alone[0]) - _ARGUMENT - seen


def _weak_holder(cls: type) -> str | None:
    """Who has a class without keeping it; None for nobody but Python itself."""
    references = weakref.getweakrefs(cls)
    with_callbacks = any(reference.__callback__ is not None for reference in references)
    known = dict(_of_abstract_classes()) if with_callbacks else {}
    for n in range(len(references)):
        if (registered := known.get(id(references[n]))) is not None:
            if registered:
                return f"{registered}, as one that is registered with it,"
        elif not _is_for_subclasses(references, n, cls):
            return "a weak reference"
    return None


def _is_for_subclasses(references: Sequence[Any], n: int, cls: type) -> bool:
    """Whether a reference of a list is that by which its bases have a class, and nobody else has that."""
    if type(references[n]) is not weakref.ReferenceType or references[n].__callback__ is not None:
        return False
    return sys.getrefcount(references[n]) - _ARGUMENT - 1 <= len(objects.bases(cls))  # the list has it too


def _of_abstract_classes() -> Iterator[tuple[int, str]]:
    """The ids of the references that abstract classes have, each with the name of who has it as registered; empty for an answer."""
    for abstract in gc.get_objects():
        if objects.is_a(abstract, ABCMeta) and "_abc_impl" in objects.members(abstract):
            registry, *answers, _ = objects.dump_of_abstract(abstract)
            yield from ((id(reference), "") for of in answers for reference in of)
            yield from ((id(reference), objects.name_of(abstract)) for reference in registry)


def unseen_holder(alone: list[Any]) -> str | None:
    """Who has the one class in a list, and no object that the collector knows shows it, or without keeping it; None for nobody.

    A variable of a thread, an extension, and an instance that the collector does not know (of a class without attributes) show in the
    count of references alone. A weak reference may be a registry's; those that Python itself has, for ``__subclasses__`` and for
    answers of `isinstance`, are not.
    """
    if count := _uncounted(alone):
        return f"something that can't be seen from Python, an instance or a variable perhaps ({count} references),"
    return _weak_holder(alone[0])


MOST = 10_000
"""Objects that are looked at; what has more belongs to somebody else for all one knows."""

_OTHERS = (type, ModuleType, FunctionType)
_ASKED = 2
"""References to an object of a list while it is asked for: the list's, and the argument of getrefcount."""


class Belonging:
    """What belongs to these values, each of which is referred to once by what goes away, and by nobody who asks.

    `gone`, by id, goes away too, whoever else holds that.
    """

    def __init__(self, values: Iterable[Any], gone: Mapping[int, Any] = MappingProxyType({})) -> None:
        self.classes: set[int] = set()
        """The ids of the classes among them, of each of which it is asked by itself who holds it."""
        roots: Counter[int] = Counter()
        alone = _alone(_reached(values, roots, self.classes, gone), roots)  # which nothing else may refer to here
        self.ids = {id(value) for value in alone}
        self.references = Counter(id(referent) for one in alone for referent in gc.get_referents(one))
        """By the id of an object: how many of the references to it come from these."""


def held_by(value: Any) -> Iterator[Any]:
    """What a class or a function holds, and would take along: members, annotations, defaults; nothing of what is neither."""
    if type(value) is FunctionType:
        read = {id(value.__globals__), id(getattr(value, "__builtins__", None))}
        yield from (referent for referent in gc.get_referents(value) if id(referent) not in read)
    elif objects.is_a(value, type):
        for member in objects.members(value).values():
            yield member
            yield from held_by(member) if type(member) is FunctionType else ()


def _reached(values: Iterable[Any], roots: Counter[int], classes: set[int], gone: Mapping[int, Any]) -> list[Any]:
    """The values and what they refer to, but for what is `gone`; the ids of classes among the values come into `classes`.

    In `roots` is counted how often each is referred to by what goes away, and is not among what is returned.
    """
    roots.update(id(referent) for one in gone.values() for referent in gc.get_referents(one))
    reached: dict[int, Any] = {}
    for value in values:
        if objects.is_a(value, type):
            classes.add(id(value))
        if gc.is_tracked(value) and not objects.is_a(value, _OTHERS):
            roots[id(value)] += 1
            reached[id(value)] = value
    waiting = list(reached)
    while waiting and len(reached) < MOST:
        for referent in gc.get_referents(reached[waiting.pop()]):
            if id(referent) not in reached and gc.is_tracked(referent) and not objects.is_a(referent, _OTHERS):
                reached[id(referent)] = referent
                waiting.append(id(referent))
    return [one for number, one in reached.items() if number not in gone]


def _alone(values: list[Any], outside: Counter[int]) -> list[Any]:
    """Those of these to which nothing else refers; `outside`: known references, by id."""
    while True:
        known = outside + Counter(id(referent) for one in values for referent in gc.get_referents(one))
        alone = [sys.getrefcount(values[n]) <= _ASKED + known[id(values[n])] for n in range(len(values))]
        if all(alone):
            return values
        values = list(compress(values, alone))
