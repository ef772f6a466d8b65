"""Looks at one object: what it is, and what it holds. None of its code runs.

Objects of the modules that are walked are entered. A function or class of another module is told by its name where that module
has it under that name; one that was made by a call (a closure, a class made by a function) is entered wherever it is from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..release import code_tree
from . import objects, opaque
from .layout import CACHES, ELEMENTS, Layout, layout_of
from .node import DIGITS, Flag, Seen, digest_of, element_label, plain_text

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
    [
        "__dict__",
        "__weakref__",
        "__module__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "_abc_impl",
        "__slotnames__",
    ]
) | {"__annotations_cache__"}
"""Members of a class that the interpreter keeps there for itself."""

_OWN_DEFAULTS = FunctionType.__dict__["__defaults__"].__get__
_OWN_KEYWORD_DEFAULTS = FunctionType.__dict__["__kwdefaults__"].__get__
_OWN_DOC = FunctionType.__dict__["__doc__"].__get__
_OWN_ANNOTATIONS = FunctionType.__dict__["__annotate__" if code_tree.IS_LAZY else "__annotations__"].__get__

_CLASS_DICT = "__classdict__"
"""The cell by which what computes annotations reads the members of its class, which are looked at there."""

_TYPE_GETATTRIBUTE = type.__dict__["__getattribute__"]


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
        """Look at a module: all that it binds, if it is one of those that are walked."""
        names = objects.names_of(module)
        name = objects.text(names.get("__name__"))
        if name not in self.walked or sys.modules.get(name) is not module:
            return Seen(name, flags=Flag.NAMED)
        items = list(names.items())
        return Seen(name, edges=[(_attribute(key), member) for key, member in items if key not in OF_IMPORT])

    def look_at_dict(self, value: dict[Any, Any]) -> Seen:
        """Look at a dict; the names of a module that somebody holds, ``NAMES = locals()``, without what says where it is, in any order."""
        elements, flags = ELEMENTS[dict]
        if id(value) not in self.of_modules:
            return Seen("", "", flags, list(elements(value)))
        where = {f"[{name!r}]" for name in OF_IMPORT}
        return Seen("", "", flags, sorted((edge for edge in elements(value) if edge[0] not in where), key=_label))

    def look_at_function(self, function: FunctionType) -> Seen:
        """Look at a function: its code, and what it holds besides."""
        module, qualname, code = objects.text(function.__module__), function.__qualname__, function.__code__
        name = f"{module}:{qualname}"
        if module not in self.walked and _stands_there(module, qualname, function):
            return Seen(name, "" if _is_standard(module) else self.digest(code), Flag.NAMED | Flag.CODE)
        return Seen(
            name, self.digest(code), Flag.MUTABLE | Flag.CODE, list(self._function_edges(function, code, module))
        )

    def _function_edges(self, function: FunctionType, code: CodeType, module: str) -> Iterator[tuple[str, Any]]:
        for number, default in enumerate(_OWN_DEFAULTS(function) or ()):
            yield f"<default {number}>", default
        for key, default in (_OWN_KEYWORD_DEFAULTS(function) or {}).items():
            yield f"<kwdefault {key}>", default
        without = CACHES.get(f"{module}.{function.__qualname__.partition('.')[0]}", frozenset())
        for key, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            if key not in without and key != _CLASS_DICT:
                yield f"<cell {key}>", cell
        if annotations := _OWN_ANNOTATIONS(function):
            if code_tree.IS_LAZY:
                yield "<annotate>", annotations
            else:
                yield from ((f"<annotation {key}>", annotation) for key, annotation in annotations.items())
        documentation = _OWN_DOC(function)
        written = code_tree.docstring(code)
        if documentation is not None and (type(documentation) is not type(written) or documentation != written):
            yield ".__doc__", documentation
        yield from (
            (_attribute(key), attribute) for key, attribute in list(function.__dict__.items()) if key not in without
        )
        names = function.__globals__
        if id(names) not in self.of_modules:
            yield "<globals>", self.elsewhere.setdefault(id(names), _Elsewhere(names))

    def look_at_class(self, cls: type) -> Seen:
        """Look at a class: its bases and members."""
        module, qualname = objects.module_of(cls), objects.qualname_of(cls)
        name = f"{module}:{qualname}"
        if module not in self.walked and _stands_there(module, qualname, cls):
            return Seen(name, flags=Flag.NAMED)
        members = objects.members(cls)
        edges = self._kind(type(cls))
        edges += [(f"<base {number}>", base) for number, base in enumerate(objects.bases(cls))]
        edges += [(_attribute(key), member) for key, member in list(members.items()) if key not in OF_CLASSES]
        if "_abc_impl" in members and _asks_nothing(type(cls)):
            edges.append(("<registered>", _registered(cls)))
        return Seen(name, edges=edges)

    def look_at_instance(self, value: Any) -> Seen:
        """Look at an instance of whatever class: its elements, attributes and slots, and what a base of C holds."""
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
                edges += [
                    (_attribute(key), attribute) for key, attribute in list(names.items()) if key not in layout.without
                ]
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
    classes = [reference() for reference in objects.dump_of_abstract(cls)[0]]
    return _Registered([registered for registered in classes if registered is not None])


def _asks_nothing(metaclass: type) -> bool:
    """Whether attributes of its classes are read without code of the metaclass."""
    return next(
        m["__getattribute__"] for m in map(objects.members, objects.mro(metaclass)) if "__getattribute__" in m
    ) is (_TYPE_GETATTRIBUTE)


def _label(edge: tuple[str, Any]) -> str:
    return edge[0]


def _attribute(name: object) -> str:
    return f".{name}" if type(name) is str else f".{objects.identified(name)}"


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _stands_there(module: str, qualname: str, value: object) -> bool:
    """Whether a module has this object under its qualified name, as it is or in a descriptor."""
    member: Any = None
    names: Mapping[str, Any] = objects.module_names(module)
    for part in qualname.split("."):
        if part not in names:
            return False
        member = names[part]
        names = objects.members(member) if issubclass(type(member), type) else {}
    return member is value or any(
        part is value for part in (_unwrapped(member) if type(member) in (staticmethod, classmethod, property) else ())
    )


def _unwrapped(descriptor: Any) -> Iterator[object]:
    if type(descriptor) is property:
        yield from (descriptor.fget, descriptor.fset, descriptor.fdel)
    else:
        yield descriptor.__func__


def _look_at_plain(_: Looker, value: Any) -> Seen:
    return Seen("", digest_of(value if type(value) is str else plain_text(value)), 0)


def _look_at(kind: type) -> Callable[[Looker, Any], Seen]:
    elements, flags = ELEMENTS[kind]
    return lambda _, value: Seen("", "", flags, list(elements(value)))


_BY_TYPE: dict[type, Callable[[Looker, Any], Seen]] = {
    **dict.fromkeys(
        (str, int, bool, type(None), bytes, float, complex, type(...), type(NotImplemented)), _look_at_plain
    ),
    **{kind: _look_at(kind) for kind in opaque.CONTAINERS},
    dict: Looker.look_at_dict,
    FunctionType: Looker.look_at_function,
    ModuleType: Looker.look_at_module,
    type: Looker.look_at_class,
    CodeType: lambda looker, value: Seen(value.co_qualname, looker.digest(value), Flag.CODE),
    _Elsewhere: lambda _, value: Seen(
        edges=[(_attribute(key), member) for key, member in list(value.names.items()) if key not in OF_IMPORT]
    ),
    _Registered: lambda _, value: Seen(
        edges=sorted(((element_label(cls), cls) for cls in value.classes), key=lambda edge: edge[0])
    ),
}
_RULES = {id(kind): rule for kind, rule in _BY_TYPE.items()}
