"""What changes within objects that stay: by the parts that a relup names, and by what fragments do to them.

Fragments run before the swap, and may put something into an object that is in use: a route into an application. So all containers
of the objects that a relup says they touch are noted before; what they hold afterwards, with the parts of the relup put in, is
taken back at once, and becomes acts: it is put in place with all else.
"""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

from ...observation import objects
from ...release.parts import Part, Step
from . import CannotSwap, guards
from .containers import (
    MISSING,
    Container,
    bind,
    containers,
    containers_of,
    delete,
    dict_of,
    get,
    identical,
    put_dict,
    reached,
)
from .targets import Target
from .undo_log import Acts

_PATHS = (pathlib.PosixPath, pathlib.PurePosixPath)
_OF_ALL = ("order", "elements")
"""Kinds of parts that are all of a container, which stays itself."""
_NOTHING = partial(tuple)
"""An act that is none, and is of C."""


def problems(loaded: Iterable[Target]) -> Iterator[str]:
    """Which parts are not as the relup says that the module has made them."""
    for target in loaded:
        for part in target.load.parts:
            if part.kind in ("forgotten", "dropped", "counted", "meanwhile", "order", "made"):
                continue
            try:
                holder, step = _holder(target, part)
                yield from _unlike(target, part, get(holder, step, MISSING))
            except LookupError:
                yield f"{target.name}.{part} is not there"


def taken_out(loaded: Iterable[Target], known_of: Callable[[], Iterable[Any]] = tuple) -> dict[int, Any]:
    """What elements hold that go away, with them and what holds them now, by id: what goes away too may be held by these.

    `known_of` tells what frameworks know of such elements, and forget with them.
    """
    roots: list[Any] = []
    known: dict[int, Any] = {}
    for target in loaded:
        for part in target.load.parts:
            if part.kind not in ("gone", "order"):
                continue
            try:
                holder, step = _holder(target, part)
                value = get(holder, step)
            except LookupError:
                continue
            if part.kind == "gone":
                known |= {id(ignored): ignored for ignored in (holder, objects.own_dict(holder))}
                roots.append(value)
            elif objects.is_a(value, list):
                stay = [index for index in part.now if type(index) is int]
                known[id(value)] = value
                roots += [element for number, element in enumerate(list.__iter__(value)) if number not in stay]
    if not roots:
        return known
    stay = [value for module in list(sys.modules.values()) for value in (objects.own_dict(module) or {}).values()]
    return known | reached([*roots, *known_of()], stay)


class Within:
    """The objects that the fragments of some modules touch, and the parts of them that change.

    Each method raises CannotSwap for what is not as the relup says.
    """

    def __init__(self, loaded: Sequence[Target]) -> None:
        self._loaded = loaded
        self._kept: list[Container] = []
        self._meanwhile: list[Callable[[], object]] = []

    def _note(self) -> None:
        roots = [_root(module, name) for target in self._loaded for module, name in target.load.touches]
        self._kept = list(containers(roots))
        known = {id(container.of) for container in self._kept}
        for target in self._loaded:
            for part in target.load.parts:
                if part.kind == "placed":
                    continue
                holder, step = _part_of(target, part)
                for container in containers_of(
                    _value_of(target, part, holder, step) if part.kind in _OF_ALL else holder
                ):
                    if id(container.of) not in known:
                        known.add(id(container.of))
                        self._kept.append(container)
                if part.kind == "meanwhile":
                    self._meanwhile.append(partial(bind, holder, step, _value_of(target, part, holder, step)))
                    bind(holder, step, deepcopy(part.now))

    def during(self, run: Callable[[], object]) -> Acts:
        """Run the fragments; what puts in place what they have done, and the parts. All is as it was before, in any case."""
        self._note()
        try:
            run()
            self._end_meanwhile()
            for target in self._loaded:
                for part in target.load.parts:
                    _apply(target, part)
            result = self._content_acts()
            result.extend(self._row_acts())
            return result
        finally:
            self._take_back()

    def _end_meanwhile(self) -> None:
        for undo in self._meanwhile:
            undo()
        self._meanwhile.clear()

    def _content_acts(self) -> Acts:
        result = Acts()
        for container in self._kept:
            after = container.content()
            if not identical(container.before, after):
                for undo in reversed(container.calls(after, container.before)):
                    result.add(_NOTHING, undo)
                for do in container.calls(container.before, after):
                    result.add(do, _NOTHING)
        return result

    def _row_acts(self) -> Acts:
        """What binds rows of texts again, each with another place in it."""
        result = Acts()
        for target in self._loaded:
            for part in (part for part in target.load.parts if part.kind == "placed"):
                [(_, name)] = part.path
                row = target.names.get(name, MISSING)
                if wrong := list(_unlike(target, part, row)):
                    raise CannotSwap(wrong)
                here = _here(target, part, row)
                result.item(target.names, name, tuple(here.now if text == here.was else text for text in row))
        return result

    def _take_back(self) -> None:
        self._end_meanwhile()
        for container in self._kept:
            if not identical(container.before, container.content()):
                container.put_back()
        self._kept = []


def _here(target: Target, part: Part, value: object) -> Part:
    """A part that speaks of places below the root of the release, in terms of where that is; as a path, if that is one.

    In a trial each version may have a root of its own.
    """
    if part.kind not in ("place", "placed"):
        return part
    assert target.spec.origin is not None
    before, after = (file.rpartition("/lib/")[0] for file in (target.old.code.co_filename, target.spec.origin))
    kind: Any = type(value) if objects.is_exactly(value, _PATHS) else str
    becomes = "value" if part.kind == "place" else part.kind
    return replace(part, kind=becomes, was=kind(f"{before}/{part.was}"), now=kind(f"{after}/{part.now}"))


def _apply(target: Target, part: Part) -> None:
    holder, step = _part_of(target, part)
    value = get(holder, step, MISSING)
    part = _here(target, part, value)
    match part.kind:
        case "value" | "added":
            if value is not MISSING and _same(value, part.now):
                return
            if wrong := list(_unlike(target, part, value)):
                raise CannotSwap(wrong)
            bind(holder, step, deepcopy(part.now))
        case "pattern":
            if wrong := list(_unlike(target, part, value)):
                raise CannotSwap(wrong)
            bind(holder, step, re.compile(*part.now))
        case "forgotten":
            bind(holder, step, deepcopy(part.now))
        case "elements":
            elements = _value_of(target, part, holder, step)
            if wrong := list(_unlike(target, part, elements)):
                raise CannotSwap(wrong)
            set.clear(elements)
            set.update(elements, part.now)
        case "counted":
            value = _value_of(target, part, holder, step)
            bind(holder, step, value + 1 if type(value) is int else value)
        case "made":
            made: Any = target.staged
            bind(holder, step, made.made(part.now))
        case "gone":
            delete(holder, step)
        case "dropped" if value is not MISSING:
            delete(holder, step)
        case "untouched":
            if wrong := list(_unlike(target, part, value)):
                raise CannotSwap(wrong)
        case "order":
            _order(target, part, _value_of(target, part, holder, step))


def _unlike(target: Target, part: Part, value: object) -> Iterator[str]:
    part = _here(target, part, value)
    where = f"{target.name}.{part}"
    if part.kind == "added" and value is not MISSING:
        yield f"{where} is there already, as {objects.shown(value)}"
    elif part.kind == "elements" and not any(guards.same(value, elements) for elements in (part.was, part.now)):
        yield f"{where} is {objects.shown(value)}, and not {objects.shown(part.was)} as the module has made it"
    elif part.kind == "value" and not _same(value, part.was) and not _same(value, part.now):
        shown = "not there" if value is MISSING else objects.shown(value)
        yield f"{where} is {shown}, and not {objects.shown(part.was)} as the module has made it"
    elif part.kind == "placed" and not _has_once(value, part.was, part.now):
        yield f"{where} is {objects.shown(value)}, and not a row with {part.was} as the module has made it"
    elif part.kind == "pattern" and not (
        type(value) is re.Pattern and (value.pattern, value.flags) in (part.was, part.now)
    ):
        yield f"{where} is {objects.shown(value)}, and not the pattern that the module has made"
    elif part.kind == "untouched":
        for name, made in part.was.items():
            now = get(value, ("attribute", name), MISSING)
            if (now is not MISSING) if not made else not guards.same(now, made[0]):
                shown = "nothing" if now is MISSING else objects.shown(now)
                yield f"{where} has {shown} as its {name} by now, which may be made of what changes in it"
    elif part.kind == "gone" and (value is MISSING or objects.name_of(type(value)) != part.was):
        yield f"{where} is not a {part.was} as the module has made it"


def _has_once(row: object, was: object, now: object) -> bool:
    """Whether it is a row of texts with one of two, once."""
    texts = row if type(row) is tuple and all(type(text) is str for text in row) else ()
    return texts.count(was) + texts.count(now) == 1


def _same(held: object, value: object) -> bool:
    return held == value if objects.is_exactly(held, _PATHS) and type(held) is type(value) else guards.same(held, value)


def _order(target: Target, part: Part, value: Any) -> None:
    if objects.is_a(value, dict):
        content = dict_of(value)
        content |= {key: content.pop(key) for key in part.now if key in content}
        for call in put_dict(value, dict_of(value), content):
            call()
        return
    if not objects.is_a(value, list) or list.__len__(value) != part.was:
        raise CannotSwap([f"{target.name}.{part} holds something else than the module has put there"])
    made: Any = target.staged
    items = [
        deepcopy(item[0])
        if type(item) is tuple
        else made.made(item)
        if type(item) is str
        else list.__getitem__(value, item)
        for item in part.now
    ]
    list.__setitem__(value, slice(None), items)


def _part_of(target: Target, part: Part) -> tuple[Any, Step]:
    try:
        return _holder(target, part)
    except LookupError:
        raise CannotSwap([f"{target.name}.{part} is not there"]) from None


def _value_of(target: Target, part: Part, holder: Any, step: Step) -> Any:
    if (value := get(holder, step, MISSING)) is MISSING:
        raise CannotSwap([f"{target.name}.{part} is not there"])
    return value


def _holder(target: Target, part: Part) -> tuple[Any, Step]:
    """The object that holds a part, and the last step to it. Raises LookupError."""
    holder: Any = target.module
    for step in part.path[:-1]:
        holder = get(holder, step)
    return holder, part.path[-1]


def _root(module: str, name: str) -> Any:
    try:
        return objects.module_names(module)[name]
    except KeyError:
        raise CannotSwap([f"{module}.{name} is not there"]) from None
