"""How instances of a type are looked at: its elements, its attributes and slots, and what a base of C holds; found once a type."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

from ..release import plain_values
from . import objects, opaque
from .node import LONGEST, Flag, element_label, is_plain, is_told, key_label

CACHES: Mapping[str, frozenset[str]] = {
    "logging.Logger": frozenset({"_cache"}),
    "logging.RootLogger": frozenset({"_cache"}),
    "functools.singledispatch": frozenset({"dispatch_cache", "cache_token", "_clear_cache"}),
    **dict.fromkeys(
        ("weakref.WeakKeyDictionary", "weakref.WeakValueDictionary", "_weakrefset.WeakSet"),
        frozenset({"_dirty_len", "_iterating", "_pending_removals"}),
    ),
    **dict.fromkeys(
        ("builtins.staticmethod", "builtins.classmethod"),
        frozenset({"__module__", "__name__", "__qualname__", "__doc__", "__wrapped__", "__annotations__"}),
    ),
}
"""What is filled by use, or repeats what is looked at anyway: attributes, by type, and cells, by function of the library."""

_WORD = object.__basicsize__ // 2


@dataclass(frozen=True)
class Layout:
    """How instances of a type are looked at; found once a type."""

    elements: Callable[[Any], Iterable[tuple[str, Any]]] | None
    """The elements of a container."""
    flags: int
    base: opaque.Rule | None
    """The rule for what a base of C holds."""
    attributes: Any
    """What reads the dict."""
    slots: tuple[tuple[str, MemberDescriptorType], ...]
    plain: Callable[[Any], object] | None
    """What makes the plain value that an instance of a subclass of a plain type is."""
    without: frozenset[str]


def _dict_edges(value: Any) -> Iterator[tuple[str, Any]]:
    items = list(dict.items(value))
    if issubclass(type(value), collections.OrderedDict) and all(is_plain(key) for key, _ in items):
        items = [(key, dict.__getitem__(value, key)) for key in collections.OrderedDict.__iter__(value)]
    for key, item in items:
        if type(key) is str and len(told := repr(key)) <= LONGEST:  # which most are
            yield f"[{told}]", item
            continue
        label = key_label(key)
        if not is_told(key):
            yield f"<key {label}>", key
        yield label, item


def _set_edges(value: Any) -> list[tuple[str, Any]]:
    elements = list((set if issubclass(type(value), set) else frozenset).__iter__(value))
    return sorted(((element_label(element), element) for element in elements), key=lambda edge: edge[0])


def _row(kind: Any) -> Callable[[Any], Iterator[tuple[str, Any]]]:
    def edges(value: Any) -> Iterator[tuple[str, Any]]:
        for number, element in enumerate(list(kind.__iter__(value))):
            yield f"[{number}]", element

    return edges


def _queue(value: Any) -> Iterator[tuple[str, Any]]:
    yield from _row(collections.deque)(value)
    yield "<maxlen>", collections.deque.__dict__["maxlen"].__get__(value)


def _frozen_edges(value: Any) -> Iterator[tuple[str, Any]]:
    kind: Any = plain_values.FROZEN_DICT
    return _dict_edges(dict(kind.items(value)))


ELEMENTS: Mapping[type, tuple[Callable[[Any], Iterable[tuple[str, Any]]], int]] = {
    dict: (_dict_edges, Flag.MUTABLE | Flag.ORDERED),
    list: (_row(list), Flag.MUTABLE | Flag.SEQUENCE),
    tuple: (_row(tuple), Flag.SEQUENCE),
    set: (_set_edges, Flag.MUTABLE),
    frozenset: (_set_edges, 0),
    collections.deque: (_queue, Flag.MUTABLE | Flag.SEQUENCE),
    **({} if plain_values.FROZEN_DICT is None else {plain_values.FROZEN_DICT: (_frozen_edges, int(Flag.ORDERED))}),
}
"""What reads the elements of a container, and the flags of a node of that."""

_PLAIN_BASES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (complex, complex.__complex__),
)


_KNOWN = frozenset(
    map(
        id, (object, *opaque.CONTAINERS, *(base for base, _ in _PLAIN_BASES), collections.OrderedDict, ModuleType, type)
    )
)


def layout_of(kind: type) -> Layout:
    """How instances of a type are looked at."""
    mro = objects.mro(kind)
    numbers = frozenset(map(id, mro))
    container = next((base for base in opaque.CONTAINERS if id(base) in numbers), None)
    elements, flags = ELEMENTS[container] if container is not None else (None, int(Flag.MUTABLE))
    plain = next((read for base, read in _PLAIN_BASES if id(base) in numbers), None)
    if objects.name_of(kind) in opaque.HASHED:
        plain = None
    ruled = opaque.base_of(mro)
    told = frozenset(map(id, objects.mro(ruled[0]) if ruled is not None else ()))
    if any(_has_hidden_state(base) for base in mro if id(base) not in told and not _is_known(base)):
        flags |= Flag.OPAQUE
    reads = objects.attributes_of(kind)
    return Layout(
        elements=elements,
        flags=flags | (Flag.MUTABLE if reads is not None else 0),
        base=ruled[1] if ruled is not None else None,
        attributes=None if reads is None else reads.__get__,
        slots=tuple(_slots(base for base in mro if id(base) not in told and not _is_known(base))),
        plain=plain,
        without=CACHES.get(objects.name_of(kind), frozenset()),
    )


def _is_known(cls: type) -> bool:
    """Whether what a class of C keeps is looked at by the rules for containers, plain values and exceptions."""
    return id(cls) in _KNOWN or (
        (issubclass(cls, BaseException) and objects.module_of(cls) == "builtins")
        or objects.name_of(cls) in opaque.NOTHING_MORE
    )


def _slots(mro: Iterable[type]) -> Iterator[tuple[str, MemberDescriptorType]]:
    for cls in mro:
        for name, member in objects.members(cls).items():
            if type(member) is MemberDescriptorType and name not in ("__weakref__", "__dict__", "__weaklistoffset__"):
                yield f".{name}", member


def _has_hidden_state(cls: type) -> bool:
    """Whether instances of a class are larger than its base and what its members show can tell."""
    base = objects.base_of(cls)
    if base is None:
        return False
    grown = objects.size_of(cls) - objects.size_of(base)
    shown = 0
    for name, member in objects.members(cls).items():
        if type(member) is MemberDescriptorType or (
            name in ("__dict__", "__weakref__") and type(member) is GetSetDescriptorType
        ):
            shown += _WORD
    return grown > shown
