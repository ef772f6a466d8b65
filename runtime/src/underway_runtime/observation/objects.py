"""Looks at the objects of an application without asking them: none of their code runs, and nothing of C that could fail.

==============================  ======================================================================================
what one would write            what it may do to an object that one knows nothing of
==============================  ======================================================================================
``isinstance``, ``match``       asks ``__class__``: a lazy object is evaluated, a proxy without its object raises
``vars``, ``getattr``           asks descriptors, ``__getattr__``, ``__getattribute__``, of a metaclass too
``==``, ``in``, ``hash``        ask ``__eq__`` and ``__hash__``, of a class those of its metaclass
``repr``, ``str``, f-strings    ask ``__repr__`` and ``__format__``
``task.get_coro()``             is a segmentation fault on CPython 3.12.1, where the task has run eagerly, or never began
==============================  ======================================================================================

What is here asks the types of Python itself, by their own descriptors, or the garbage collector.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from importlib import import_module
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
from typing import Any
from weakref import ReferenceType

from ..release import plain_values

dump_of_abstract: Callable[[type], Any] = import_module("_abc")._get_dump
"""What an abstract class has for references: who is registered, then answers of `isinstance`, yes and no, and a number."""

_OF_TYPES: Mapping[str, Any] = type.__dict__
_MEMBERS = _OF_TYPES["__dict__"].__get__
_MRO = _OF_TYPES["__mro__"].__get__
_BASES = _OF_TYPES["__bases__"].__get__
_BASE = _OF_TYPES["__base__"].__get__
_SIZE = _OF_TYPES["__basicsize__"].__get__
_MODULE = _OF_TYPES["__module__"].__get__
_QUALNAME = _OF_TYPES["__qualname__"].__get__
_PLACES = (GetSetDescriptorType, MemberDescriptorType)

_SUSPENDABLE: tuple[tuple[type, str], ...] = ((CoroutineType, "cr"), (GeneratorType, "gi"), (AsyncGeneratorType, "ag"))
"""What waits in the middle of a function, and how its attributes begin."""

LAZY_IMPORT: Any = getattr(types, "LazyImportType", None)
"""What a name is bound to that ``lazy import`` binds, since 3.15, until somebody uses it."""


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Whether an object is of a type of Python itself, or of one that inherits from it, whatever it says of itself."""
    return issubclass(type(value), kinds)


def is_lazy_import(value: object) -> bool:
    """Whether a name is bound to an import that nobody has used yet."""
    return type(value) is LAZY_IMPORT


def is_exactly(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether an object is of one of these types itself: ``in`` would ask a metaclass whether they are equal."""
    return any(type(value) is kind for kind in kinds)


def members(cls: type) -> Mapping[str, Any]:
    """The members of a class, whatever its metaclass says."""
    namespace: Mapping[str, Any] = _MEMBERS(cls)
    return namespace


def mro(cls: type) -> tuple[type, ...]:
    """A class and what it inherits from; empty for one that is being made."""
    classes: tuple[type, ...] = _MRO(cls) or ()
    return classes


def bases(cls: type) -> tuple[type, ...]:
    """What a class inherits from directly."""
    classes: tuple[type, ...] = _BASES(cls)
    return classes


def base_of(cls: type) -> type | None:
    """The base whose layout a class has; None of `object`."""
    base: type | None = _BASE(cls)
    return base


def size_of(cls: type) -> int:
    """How many bytes an instance takes, without what it holds elsewhere."""
    size: int = _SIZE(cls)
    return size


def qualname_of(cls: type) -> str:
    """The qualified name of a class."""
    name: str = _QUALNAME(cls)
    return name


def name_of(cls: type) -> str:
    """The name of a class with that of its module."""
    try:
        module = _MODULE(cls)
    except AttributeError:
        module = None
    return f"{text(module)}.{_QUALNAME(cls)}"


def module_of(cls: type) -> str:
    """The module that a class says it is of; ``?`` where it says something else."""
    return name_of(cls)[: -len(_QUALNAME(cls)) - 1]


def kind_of(value: object) -> str:
    """What something is, for a message: its class, without the module where that is one of Python's own."""
    return name_of(type(value)).removeprefix("builtins.")


def shown(value: object) -> str:
    """A value for a message: itself where it is plain, else what it is."""
    if not plain_values.is_plain(value):
        return f"a {kind_of(value)}"
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def text(value: object) -> str:
    """A string as it is; ``?`` for whatever else stands where a string should."""
    return value if type(value) is str else "?"


def attributes_of(cls: type) -> Any:
    """What reads the dict of an instance's attributes; None where instances have none, or a class has put something else there."""
    for base in mro(cls):
        descriptor = members(base).get("__dict__")
        if descriptor is not None:
            return descriptor if any(type(descriptor) is kind for kind in _PLACES) else None
    return None


def own_dict(value: object) -> dict[str, Any] | None:
    """An object's attributes, itself; None where it has none, or hides them."""
    reads = attributes_of(type(value))
    try:
        names = None if reads is None else reads.__get__(value)
    except Exception:
        return None  # a type of C that has it, and can't give it now
    return names if type(names) is dict else None


def names_of(value: object) -> dict[str, Any]:
    """An object's attributes; an empty dict of nobody's where there are none to be seen."""
    names = own_dict(value)
    return {} if names is None else names


def module_names(name: str) -> dict[str, Any]:
    """What a loaded module binds, also where some other object stands for it; empty where it is not loaded."""
    return names_of(sys.modules.get(name))


def task_coroutine(task: Any) -> Any:
    """The coroutine of an asyncio task; None where it has let go of it, as one does that has run eagerly."""
    names = names_of(task)
    if names.get("_coro") is not None:
        return names["_coro"]  # the tasks in Python keep it there
    referents = gc.get_referents(task)
    attributes = set(map(id, names.values()))  # of a class that inherits from it
    others = [referent for referent in referents if id(referent) not in attributes]
    for candidates in (others, referents):
        if (coroutine := first_suspendable(candidates)) is not None:
            return coroutine
    return next((other for other in others if _is_like_a_coroutine(type(other))), None)


def first_suspendable(candidates: Iterable[Any]) -> Any:
    """The first of them that is a coroutine, or a generator of either kind; None for none."""
    return next((candidate for candidate in candidates if suspendable(type(candidate))), None)


def suspendable(kind: type) -> str:
    """How the attributes of a coroutine, generator or async generator begin; empty for any other type."""
    return next((prefix for cls, prefix in _SUSPENDABLE if kind is cls), "")


def _is_like_a_coroutine(kind: type) -> bool:
    """Whether this is what Cython makes of one, or what somebody has written to be one."""
    every = [members(base) for base in mro(kind)]
    return all(any(name in namespace for namespace in every) for name in ("send", "throw", "close"))


def task_name(task: Any) -> str:
    """What a task is called."""
    names = names_of(task)
    if "_name" in names:
        return text(names["_name"])
    for base in mro(type(task)):
        if module_of(base) == "_asyncio" and "get_name" in members(base):
            return text(members(base)["get_name"].__get__(task)())
    return "?"


def identified(value: object) -> str:
    """What an object is, as far as names tell: a function or an enum's member by its own, all else by its type."""
    kind = type(value)
    if kind is FunctionType:
        return f"function {text(value.__module__)}.{value.__qualname__}"  # type: ignore[attr-defined]
    if kind is ReferenceType or base_of(kind) is ReferenceType:
        target = ReferenceType.__call__(value)  # type: ignore[arg-type]
        return "dead reference" if target is None else f"reference to {identified(target)}"
    if issubclass(kind, type):
        return f"class {name_of(value)}"  # type: ignore[arg-type]
    if any(base is Enum for base in mro(kind)):
        return f"{name_of(kind)}.{text(names_of(value).get('_name_'))}"
    return name_of(kind)
