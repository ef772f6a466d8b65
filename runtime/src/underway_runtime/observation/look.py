"""Looks at one object: what it is, and what it holds. None of its code runs.

Objects of the modules that are walked are entered. A function or class of another module is told by its name where that module
has it under that name; one that was made by a call (a closure, a class made by a function) is entered wherever it is from.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

from ..release import code_tree
from . import objects, opaque
from .node import DIGITS, Flag, Seen, digest_of, element_label, is_plain, key_label

OF_IMPORT = frozenset(
    [
        "__builtins__",
        "__cached__",
        "__file__",
        "__spec__",
        "__loader__",
        "__path__",
        "__package__",
        "__name__",
        "__warningregistry__",
    ]
)
"""Names in a module that say where it is, or what it is called, and are another's matter."""

OF_CLASSES = frozenset(
    ["__dict__", "__weakref__", "__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "_abc_impl"]
) | {"__annotations_cache__"}
"""Members of a class that the interpreter keeps there for itself."""

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

_OWN_DEFAULTS = FunctionType.__dict__["__defaults__"].__get__
_OWN_KEYWORD_DEFAULTS = FunctionType.__dict__["__kwdefaults__"].__get__
_OWN_DOC = FunctionType.__dict__["__doc__"].__get__
_LAZY_ANNOTATIONS = "__annotate__" in FunctionType.__dict__
_OWN_ANNOTATIONS = FunctionType.__dict__["__annotate__" if _LAZY_ANNOTATIONS else "__annotations__"].__get__

_DUMP: Callable[[type], Any] = import_module("_abc")._get_dump
_TYPE_GETATTRIBUTE = type.__dict__["__getattribute__"]


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


@dataclass
class Looker:
    """Looks at objects, for a walk of some modules."""

    walked: frozenset[str]
    """Names of the modules whose objects are entered."""
    layouts: dict[int, Layout] = field(default_factory=dict)
    """By the address of the type, whose metaclass is not asked for a hash."""
    entered: dict[int, bool] = field(default_factory=dict)
    """Whether a class is, by its address."""
    digests: dict[int, str] = field(default_factory=dict)
    """Of code objects, by address."""
    of_modules: frozenset[int] = field(
        default_factory=lambda: frozenset(id(objects.names_of(m)) for m in sys.modules.values())
    )
    """The addresses of the dicts of all modules."""
    elsewhere: dict[int, _Elsewhere] = field(default_factory=dict)
    """Other globals of functions, by address."""

    def __call__(self, value: Any) -> Seen:
        """What an object is and holds."""
        kind = type(value)
        if (entered := _RULES.get(id(kind))) is not None:
            return entered(self, value)
        if (rule := opaque.rule_of(kind)) is not None:
            return rule(value)
        if issubclass(kind, type):
            return self.look_at_class(value)
        if issubclass(kind, ModuleType):
            return self.look_at_module(value)
        return self.look_at_instance(value)

    def look_at_module(self, module: ModuleType) -> Seen:
        """A module: all that it binds, if it is one of those that are walked."""
        names = objects.names_of(module)
        name = objects.text(names.get("__name__"))
        if name not in self.walked or sys.modules.get(name) is not module:
            return Seen(name, flags=Flag.NAMED)
        items = list(names.items())
        return Seen(name, edges=[(_attribute(key), each) for key, each in items if key not in OF_IMPORT])

    def look_at_function(self, function: FunctionType) -> Seen:
        """A function: its code, and what it holds besides."""
        module, qualname, code = objects.text(function.__module__), function.__qualname__, function.__code__
        name = f"{module}:{qualname}"
        if module not in self.walked and _stands_there(module, qualname, function):
            return Seen(name, "" if _is_standard(module) else self.digest(code), Flag.NAMED | Flag.CODE)
        return Seen(
            name, self.digest(code), Flag.MUTABLE | Flag.CODE, list(self._function_edges(function, code, module))
        )

    def _function_edges(self, function: FunctionType, code: CodeType, module: str) -> Iterator[tuple[str, Any]]:
        for number, each in enumerate(_OWN_DEFAULTS(function) or ()):
            yield f"<default {number}>", each
        for key, each in (_OWN_KEYWORD_DEFAULTS(function) or {}).items():
            yield f"<kwdefault {key}>", each
        without = CACHES.get(f"{module}.{function.__qualname__.partition('.')[0]}", frozenset())
        for key, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            if key not in without:
                yield f"<cell {key}>", cell
        if annotations := _OWN_ANNOTATIONS(function):
            if _LAZY_ANNOTATIONS:
                yield "<annotate>", annotations
            else:
                yield from ((f"<annotation {key}>", each) for key, each in annotations.items())
        documentation = _OWN_DOC(function)
        written = code.co_consts[0] if code.co_consts else None
        if documentation is not None and (type(documentation) is not type(written) or documentation != written):
            yield ".__doc__", documentation
        yield from ((_attribute(key), each) for key, each in list(function.__dict__.items()) if key not in without)
        names = function.__globals__
        if id(names) not in self.of_modules:
            yield "<globals>", self.elsewhere.setdefault(id(names), _Elsewhere(names))

    def look_at_class(self, cls: type) -> Seen:
        """A class: its bases and members."""
        module, qualname = objects.module_of(cls), objects.qualname_of(cls)
        name = f"{module}:{qualname}"
        if module not in self.walked and _stands_there(module, qualname, cls):
            return Seen(name, flags=Flag.NAMED)
        members = objects.members(cls)
        edges = self._kind(type(cls))
        edges += [(f"<base {number}>", each) for number, each in enumerate(objects.bases(cls))]
        edges += [(_attribute(key), each) for key, each in list(members.items()) if key not in OF_CLASSES]
        if "_abc_impl" in members and _asks_nothing(type(cls)):
            edges.append(("<registered>", _registered(cls)))
        return Seen(name, edges=edges)

    def look_at_instance(self, value: Any) -> Seen:
        """An instance of whatever class: its elements, attributes and slots, and what a base of C holds."""
        kind = type(value)
        if (layout := self.layouts.get(id(kind))) is None:
            layout = self.layouts[id(kind)] = layout_of(kind)
        digest, flags, edges = "", layout.flags, self._kind(kind)
        if layout.plain is not None:
            digest = digest_of(repr(layout.plain(value)))
        if layout.base is not None:
            seen = layout.base(value)
            digest, edges = seen.digest, [*edges, *seen.edges]
        if layout.elements is not None:
            edges += layout.elements(value)
        if layout.attributes is not None:
            try:
                names = layout.attributes(value)
            except Exception:
                names = None  # a type of C that has it, and can't give it now
            if type(names) is dict:
                edges += [(_attribute(key), each) for key, each in list(names.items()) if key not in layout.without]
        for label, slot in layout.slots:
            try:
                edges.append((label, slot.__get__(value)))
            except AttributeError:
                continue  # nothing was put there yet
        return Seen("", digest, flags, edges)

    def _kind(self, kind: type) -> list[tuple[str, Any]]:
        """The edge to the class of an object, where that is entered: one that a function has made may be reached by no other way."""
        if (entered := self.entered.get(id(kind))) is None:
            module = objects.module_of(kind)
            entered = module in self.walked or not _stands_there(module, objects.qualname_of(kind), kind)
            self.entered[id(kind)] = entered
        return [("<class>", kind)] if entered else []

    def digest(self, code: CodeType) -> str:
        """The digest of a code object that stays alive during the walk."""
        if (known := self.digests.get(id(code))) is None:
            known = self.digests[id(code)] = code_tree.digest(code)[:DIGITS]
        return known


class _Elsewhere:
    """The globals of a function that are those of no module."""

    __slots__ = ("names",)

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names


class _Registered:
    """The virtual subclasses of an abstract class."""

    __slots__ = ("classes",)

    def __init__(self, classes: Iterable[type]) -> None:
        self.classes = classes


def _registered(cls: type) -> _Registered:
    found = [each() for each in _DUMP(cls)[0]]
    return _Registered([each for each in found if each is not None])


def _asks_nothing(metaclass: type) -> bool:
    """Whether attributes of its classes are read without code of the metaclass."""
    return next(
        m["__getattribute__"] for m in map(objects.members, objects.mro(metaclass)) if "__getattribute__" in m
    ) is (_TYPE_GETATTRIBUTE)


def _dict_edges(value: Any) -> Iterator[tuple[str, Any]]:
    items = list(dict.items(value))
    if issubclass(type(value), collections.OrderedDict) and all(is_plain(key) for key, _ in items):
        items = [(key, dict.__getitem__(value, key)) for key in collections.OrderedDict.__iter__(value)]
    for key, each in items:
        label = key_label(key)
        if not is_plain(key):
            yield f"<key {label}>", key
        yield label, each


def _set_edges(value: Any) -> list[tuple[str, Any]]:
    elements = list((set if issubclass(type(value), set) else frozenset).__iter__(value))
    return sorted(((element_label(each), each) for each in elements), key=lambda edge: edge[0])


def _row(kind: Any) -> Callable[[Any], Iterator[tuple[str, Any]]]:
    def edges(value: Any) -> Iterator[tuple[str, Any]]:
        for number, each in enumerate(list(kind.__iter__(value))):
            yield f"[{number}]", each

    return edges


def _queue(value: Any) -> Iterator[tuple[str, Any]]:
    yield from _row(collections.deque)(value)
    yield "<maxlen>", collections.deque.__dict__["maxlen"].__get__(value)


_ELEMENTS: Mapping[type, tuple[Callable[[Any], Iterable[tuple[str, Any]]], int]] = {
    dict: (_dict_edges, Flag.MUTABLE | Flag.ORDERED),
    list: (_row(list), Flag.MUTABLE | Flag.SEQUENCE),
    tuple: (_row(tuple), Flag.SEQUENCE),
    set: (_set_edges, Flag.MUTABLE),
    frozenset: (_set_edges, 0),
    collections.deque: (_queue, Flag.MUTABLE | Flag.SEQUENCE),
}

_PLAIN_BASES: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (complex, complex.__complex__),
)


_KNOWN = frozenset(
    map(
        id, (object, *opaque.CONTAINERS, *(each for each, _ in _PLAIN_BASES), collections.OrderedDict, ModuleType, type)
    )
)


def layout_of(kind: type) -> Layout:
    """How instances of a type are looked at."""
    mro = objects.mro(kind)
    own = frozenset(map(id, mro))
    container = next((each for each in opaque.CONTAINERS if id(each) in own), None)
    elements, flags = _ELEMENTS[container] if container is not None else (None, int(Flag.MUTABLE))
    plain = next((read for each, read in _PLAIN_BASES if id(each) in own), None)
    if objects.name_of(kind) in opaque.HASHED:
        plain = None
    ruled = opaque.base_of(mro)
    told = frozenset(map(id, objects.mro(ruled[0]) if ruled is not None else ()))
    if any(_has_hidden_state(each) for each in mro if id(each) not in told and not _is_known(each)):
        flags |= Flag.OPAQUE
    reads = objects.attributes_of(kind)
    return Layout(
        elements=elements,
        flags=flags | (Flag.MUTABLE if reads is not None else 0),
        base=ruled[1] if ruled is not None else None,
        attributes=None if reads is None else reads.__get__,
        slots=tuple(_slots(each for each in mro if id(each) not in told and not _is_known(each))),
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


def _attribute(name: object) -> str:
    return f".{name}" if type(name) is str else f".{objects.identified(name)}"


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _stands_there(module: str, qualname: str, value: object) -> bool:
    """Whether a module has this object under its qualified name, as it is or in a descriptor."""
    found: Any = None
    names: Mapping[str, Any] = objects.module_names(module)
    for part in qualname.split("."):
        if part not in names:
            return False
        found = names[part]
        names = objects.members(found) if issubclass(type(found), type) else {}
    return found is value or any(
        each is value for each in (_unwrapped(found) if type(found) in (staticmethod, classmethod, property) else ())
    )


def _unwrapped(descriptor: Any) -> Iterator[object]:
    if type(descriptor) is property:
        yield from (descriptor.fget, descriptor.fset, descriptor.fdel)
    else:
        yield descriptor.__func__


def _look_at_plain(_: Looker, value: Any) -> Seen:
    return Seen("", digest_of(repr(value)) if type(value) is not str else digest_of(value), 0)


def _look_at(kind: type) -> Callable[[Looker, Any], Seen]:
    elements, flags = _ELEMENTS[kind]
    return lambda _, value: Seen("", "", flags, list(elements(value)))


_BY_TYPE: dict[type, Callable[[Looker, Any], Seen]] = {
    **dict.fromkeys(
        (str, int, bool, type(None), bytes, float, complex, type(...), type(NotImplemented)), _look_at_plain
    ),
    **{kind: _look_at(kind) for kind in opaque.CONTAINERS},
    FunctionType: Looker.look_at_function,
    ModuleType: Looker.look_at_module,
    type: Looker.look_at_class,
    CodeType: lambda looker, value: Seen(value.co_qualname, looker.digest(value), Flag.CODE),
    _Elsewhere: lambda _, value: Seen(
        edges=[(_attribute(key), each) for key, each in list(value.names.items()) if key not in OF_IMPORT]
    ),
    _Registered: lambda _, value: Seen(
        edges=sorted(((element_label(each), each) for each in value.classes), key=lambda edge: edge[0])
    ),
}
_RULES = {id(kind): rule for kind, rule in _BY_TYPE.items()}
