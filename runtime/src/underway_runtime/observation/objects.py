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
from collections.abc import Iterable, Mapping
from enum import Enum
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


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Whether an object is of a type of Python itself, or of one that inherits from it, whatever it says of itself."""
    return issubclass(type(value), kinds)


def members(cls: type) -> Mapping[str, Any]:
    """The members of a class, whatever its metaclass says."""
    found: Mapping[str, Any] = _MEMBERS(cls)
    return found


def mro(cls: type) -> tuple[type, ...]:
    """A class and what it inherits from; empty for one that is being made."""
    found: tuple[type, ...] = _MRO(cls) or ()
    return found


def bases(cls: type) -> tuple[type, ...]:
    """What a class inherits from directly."""
    found: tuple[type, ...] = _BASES(cls)
    return found


def base_of(cls: type) -> type | None:
    """The base whose layout a class has; None of `object`."""
    found: type | None = _BASE(cls)
    return found


def size_of(cls: type) -> int:
    """How many bytes an instance takes, without what it holds elsewhere."""
    found: int = _SIZE(cls)
    return found


def qualname_of(cls: type) -> str:
    """The qualified name of a class."""
    found: str = _QUALNAME(cls)
    return found


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
    said = repr(value)
    return said if len(said) < 60 else f"{said[:57]}..."


def text(value: object) -> str:
    """A string as it is; ``?`` for whatever else stands where a string should."""
    return value if type(value) is str else "?"


def attributes_of(cls: type) -> Any:
    """What reads the dict of an instance's attributes; None where instances have none, or a class has put something else there."""
    for each in mro(cls):
        found = members(each).get("__dict__")
        if found is not None:
            return found if any(type(found) is each for each in _PLACES) else None
    return None


def own_dict(value: object) -> dict[str, Any] | None:
    """An object's attributes, itself; None where it has none, or hides them."""
    reads = attributes_of(type(value))
    try:
        found = None if reads is None else reads.__get__(value)
    except Exception:
        return None  # a type of C that has it, and can't give it now
    return found if type(found) is dict else None


def names_of(value: object) -> dict[str, Any]:
    """An object's attributes; an empty dict of nobody's where there are none to be seen."""
    found = own_dict(value)
    return {} if found is None else found


def module_names(name: str) -> dict[str, Any]:
    """What a loaded module binds, also where some other object stands for it; empty where it is not loaded."""
    return names_of(sys.modules.get(name))


def task_coroutine(task: Any) -> Any:
    """The coroutine of an asyncio task; None where it has let go of it, as one does that has run eagerly."""
    own = names_of(task)
    if own.get("_coro") is not None:
        return own["_coro"]  # the tasks in Python keep it there
    referents = gc.get_referents(task)
    attributes = set(map(id, own.values()))  # of a class that inherits from it
    others = [each for each in referents if id(each) not in attributes]
    for found in (others, referents):
        if (coroutine := first_suspendable(found)) is not None:
            return coroutine
    return next((each for each in others if _is_like_a_coroutine(type(each))), None)


def first_suspendable(found: Iterable[Any]) -> Any:
    """The first of them that is a coroutine, or a generator of either kind; None for none."""
    return next((each for each in found if suspendable(type(each))), None)


def suspendable(kind: type) -> str:
    """How the attributes of a coroutine, generator or async generator begin; empty for any other type."""
    return next((prefix for own, prefix in _SUSPENDABLE if kind is own), "")


def _is_like_a_coroutine(kind: type) -> bool:
    """Whether this is what Cython makes of one, or what somebody has written to be one."""
    every = [members(each) for each in mro(kind)]
    return all(any(name in each for each in every) for name in ("send", "throw", "close"))


def task_name(task: Any) -> str:
    """What a task is called."""
    names = names_of(task)
    if "_name" in names:
        return text(names["_name"])
    for each in mro(type(task)):
        if module_of(each) == "_asyncio" and "get_name" in members(each):
            return text(members(each)["get_name"].__get__(task)())
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
    if any(each is Enum for each in mro(kind)):
        return f"{name_of(kind)}.{text(names_of(value).get('_name_'))}"
    return name_of(kind)
