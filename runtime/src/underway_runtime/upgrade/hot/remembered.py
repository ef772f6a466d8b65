"""What a function without parameters remembers that it has made, by `lru_cache`: settings, which it makes again when it is asked.

It can be let go of where nobody else holds it, and where it is still what the function makes: else it is somebody's state.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Collection, Iterable, Iterator
from types import FunctionType
from typing import Any

from ...observation import objects
from ...observation.look import Looker
from ...observation.node import Flag
from . import holders
from .targets import Target

KIND = "remembered"
"""The guard."""
_CACHED: Any = functools._lru_cache_wrapper
_OF_THE_CACHE = (dict, tuple, type, FunctionType, object)
"""Types of what a cache refers to besides: its keys, the function, itself."""
_LINK = "_lru_list_elem"


def values(function: Any) -> list[Any]:
    """What a function has made and remembers, as the objects that it has made: one, or none."""
    if type(function) is not _CACHED:
        return []
    held = [*gc.get_referents(function)]
    held += [value for cache in _caches(function) for value in cache.values()]
    return [value for value in held if not objects.is_exactly(value, _OF_THE_CACHE) and not _is_link(value)]


def leaving(function: Any) -> Iterator[Any]:
    """What goes with a function of which the cache goes, each with the one reference that it, or its cache, has."""
    if type(function) is _CACHED:
        yield from values(function)
        yield (names := objects.names_of(function))
        yield from holders.held_by(names.get("__wrapped__"))


def of(loaded: Iterable[Target]) -> list[Any]:
    """All that functions remember by now of which some modules let go with the swap."""
    functions = [target.names.get(guard.of) for target in loaded for guard in target.load.guards if guard.kind == KIND]
    return [value for function in functions for value in values(function)]


def problems(function: Any, where: str, going: Collection[int]) -> Iterator[str]:
    """Why what a function remembers can't be let go of; `going` are the ids of what nobody else holds."""
    every = values(function)
    for value in every:
        kind = objects.name_of(type(value))
        if id(value) not in going:
            holder = holders.holder(value, direct={id(every), id(function), *map(id, _caches(function))})
            yield f"{where} remembers a {kind}, and {holder} refers to it"
            continue
        try:
            path = _apart(value, objects.names_of(function)["__wrapped__"]())
        except Exception as error:
            yield f"{where} remembers a {kind}, and can't make another: {type(error).__name__}"
            continue
        if path is not None:
            yield f"{where}(){path} is not what {where} makes by now: it was set since, or what it is read from has changed"


def _caches(function: Any) -> list[dict[Any, Any]]:
    attributes = objects.own_dict(function)
    return [held for held in gc.get_referents(function) if type(held) is dict and held is not attributes]


def _is_link(value: Any) -> bool:
    return type(value).__module__ == "functools" and type(value).__name__ == _LINK


def _apart(one: Any, other: Any) -> str | None:
    """Where two objects differ, or hold what can't be seen; None where they are alike."""
    look = Looker(frozenset())
    waiting, seen = [(one, other, "")], set()
    for a, b, here in waiting:
        if a is b or (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        x, y = look(a), look(b)
        labels = [sorted(label for label, _ in side.edges) for side in (x, y)]
        if type(a) is not type(b) or (x.name, x.digest) != (y.name, y.digest) or labels[0] != labels[1]:
            return here
        if x.flags & Flag.OPAQUE:
            return here
        pairs = zip(sorted(x.edges, key=_label), sorted(y.edges, key=_label), strict=True)
        waiting += ((inner, partner, f"{here}{label}") for (label, inner), (_, partner) in pairs)
    return None


def _label(edge: tuple[str, Any]) -> tuple[bool, str]:
    """What a person has named first."""
    return edge[0].startswith("._"), edge[0]
