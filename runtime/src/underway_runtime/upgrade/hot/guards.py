"""What must hold in this process before it is changed; each function gives what is in the way, in words."""

from __future__ import annotations

import abc
import gc
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial, partialmethod
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CellType, FunctionType, GetSetDescriptorType, MappingProxyType, MemberDescriptorType, ModuleType
from typing import Any

from ...observation import objects
from ...process import audit_hooks, release_processes
from ...release import plain_values
from ...release.code_tree import ANNOTATE, IS_LAZY
from ...release.relup import unproven
from . import heap, holders
from .holders import Belonging
from .targets import of_function

_NAMED = 2
"""References to what only a dict has: that one, and the argument of getrefcount."""


def of_interpreter(magic: str | None = None) -> Iterator[str]:
    """Whether this interpreter can do it at all; `magic`: of the bytecode that comes, hexadecimal."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield "this is a free-threaded build of Python, where no call is one step for other threads"
    if reason := unproven(".".join(map(str, sys.version_info[:3]))):
        yield reason
    if magic is not None and magic != MAGIC_NUMBER.hex():
        yield f"the code that comes is for another Python: its magic number is {magic}, not {MAGIC_NUMBER.hex()}"
    if (others := _other_interpreters()) > 0:
        yield f"other interpreters are in this process besides the main one ({others}), whose objects nobody can look at"
    yield from (f"the audit hook {_name(hook)} would run in the middle" for hook in audit_hooks.hooks)


def _other_interpreters() -> int:
    """How many interpreters this process has besides the main one, as far as Python code has made them."""
    made_by = next(filter(None, map(sys.modules.get, ("_interpreters", "_xxsubinterpreters"))), None)
    return len(objects.names_of(made_by)["list_all"]()) - 1 if made_by is not None else 0


def of_processes(root: Path) -> list[str]:
    """Other processes that have this process's code, below `root`, and not the code of the next ones."""
    return release_processes.listing_of(release_processes.staying(root))


def of_imports() -> Iterator[str]:
    """Modules that are being imported at the moment."""
    for name, module in list(sys.modules.items()):
        spec = objects.names_of(module).get("__spec__")
        if objects.is_a(spec, ModuleSpec) and objects.names_of(spec).get("_initializing") is True:
            yield f"{name} is being imported at the moment; try again"


def same(value: object, wanted: object) -> bool:
    """Whether two values are equal, of exactly the same types; what is not plain is equal to itself alone."""
    if type(value) is not type(wanted):
        return False
    if value is wanted:
        return True
    if not plain_values.is_plain(value):
        return False
    match value, wanted:
        case ((list() | tuple()), (list() | tuple())):
            return len(value) == len(wanted) and all(map(same, value, wanted))
        case dict(), dict():
            return same(list(value.items()), list(wanted.items()))
        case ((set() | frozenset()), (set() | frozenset())):
            return value == wanted and sorted(map(repr, value)) == sorted(map(repr, wanted))
        case float(), float():
            return value.hex() == wanted.hex()
        case complex(), complex():
            return same((value.real, value.imag), (wanted.real, wanted.imag))
    return value == wanted


def shared(names: Mapping[str, Any], name: str, besides: int = 0) -> Any:
    """A list, dict or set in the value of this name that others refer to as well; `besides`: known references to the value."""
    if objects.is_exactly(names[name], _MUTABLE) and sys.getrefcount(names[name]) > _NAMED + besides:
        return names[name]
    waiting = [names[name]]
    for container in waiting:
        inner = (
            container.values()
            if type(container) is dict
            else container
            if objects.is_exactly(container, _HOLDING)
            else ()
        )
        values = list(inner)  # by their numbers: whether a variable is counted depends on the version of Python
        for n in range(len(values)):
            if objects.is_exactly(values[n], _MUTABLE) and sys.getrefcount(values[n]) > _NAMED + 1:  # and `values`
                return values[n]
        waiting += values
    return None


_MUTABLE = (list, dict, set)
_HOLDING = (list, tuple, set, frozenset)


def instances(cls: type, leaving: Collection[int] = ()) -> str | None:
    """Which instances a class that goes, or a subclass, has, but for its members; None for none. `leaving`: ids of what goes too."""
    belonging = Belonging(objects.members(cls).values()).ids
    every = heap.instances_of(cls)
    return _counted(instance for instance in every if id(instance) not in belonging and id(instance) not in leaving)


def instances_of_what_stays(cls: Any, leaving: Collection[int] = ()) -> str | None:
    """Which instances a class that stays, or a subclass, has; None for none. `leaving`: ids of what goes."""
    if not objects.is_a(cls, type):
        return f"it is a {objects.name_of(type(cls))} here, and no class"
    return _counted(instance for instance in heap.instances_of(cls) if id(instance) not in leaving)


def _counted(instances: Iterable[Any]) -> str | None:
    every = list(instances)
    return f"there are {len(every)} instances, one in {holders.holder(every[0], {id(every)})}" if every else None


def is_empty(value: Any) -> bool:
    """Whether a global holds nothing that anybody has made."""
    return value is None or (objects.is_exactly(value, _MUTABLE) and not value)


def is_plain(cls: type) -> bool:
    """Whether members of a class can be set without its metaclass."""
    return type(cls) is type or type(cls) is abc.ABCMeta


def held(
    names: Mapping[str, Any],
    name: str,
    leaving: Sequence[Mapping[str, Any]] = (),
    gone: Mapping[int, Any] = MappingProxyType({}),
    going: Belonging | None = None,
) -> str | None:
    """Who refers to a function, class or value besides the module, or class, whose names these are; None for nobody.

    `leaving` are the names of modules that let go of it too: one reference each; `gone`, by id, and `going` are what goes away with it.
    """
    going = going or Belonging(())
    holding = {
        id(names),
        *gone,
        *map(id, leaving),
        *going.ids,
        *(id(referrer) for referrer in gc.get_referrers(names) if objects.is_a(referrer, (ModuleType, type))),
    }
    if type(names) is not dict:  # the mapping of a class's members, and the dict behind it
        holding |= set(map(id, gc.get_referents(names)))
    if objects.is_a(names[name], type):
        return _class_held(names[name], holding, going)
    if objects.is_a(names[name], ModuleType):  # which every module has that imports it
        holding |= {id(sys.modules), *(id(objects.names_of(module)) for module in list(sys.modules.values()))}
        return holders.seen_holder(names[name], direct=holding)
    known = len(leaving) + (id(names[name]) in gone) + going.references[id(names[name])]
    known += sum(referent is names[name] for other in gone.values() for referent in gc.get_referents(other))
    if sys.getrefcount(names[name]) <= _NAMED + known:
        return None
    if others := [other for other, value in list(names.items()) if value is names[name] and other != name]:
        return f"{others[0]} in the same place"
    return holders.holder(names[name], direct=holding)


def _class_held(cls: type, holding: set[int], going: Belonging) -> str | None:
    subclasses: list[type] = type.__subclasses__(cls)
    if stay := [subclass for subclass in subclasses if id(subclass) not in going.classes]:
        return f"its subclass {objects.name_of(stay[0])}"
    holding |= {id(base) for cls in subclasses for base in (objects.bases(cls), objects.mro(cls), cls)}
    belonging = Belonging(objects.members(cls).values()).ids
    values = list(objects.members(cls).values())
    cells = [cell for value in values for function in functions_in(value) for cell in _cells(function)]
    holding |= {id(objects.mro(cls)), *map(id, cells)}
    holding |= {id(value) for value in values if objects.is_a(value, _DESCRIPTORS)} | belonging
    return holders.seen_holder(cls, direct=holding)


def _cells(function: FunctionType) -> Iterator[CellType]:
    """What a function closes over, and what computes its annotations, if nobody else has that: so a dataclass's methods hold it."""
    yield from function.__closure__ or ()
    if IS_LAZY and sys.getrefcount(getattr(function, ANNOTATE)) <= _NAMED:
        annotate = of_function(function)
        yield from (annotate.__closure__ or ()) if annotate is not None else ()


_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType)


_PARTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (property, ("fget", "fset", "fdel")),
    (partial, ("func",)),
)
"""Where Python's own wrappers keep what they wrap, each by a descriptor of their type."""
_WRITTEN = (cached_property, partialmethod)
"""Those that are written in Python, and keep it as the attribute ``func``."""


def functions_in(value: Any) -> list[FunctionType]:
    """The functions in a member of a class or in a global: itself, and what it wraps."""
    functions: list[FunctionType] = []
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if id(current) in seen or current is None or objects.is_a(current, type):
            continue
        seen.add(id(current))
        if type(current) is FunctionType:
            functions.append(current)
        names = objects.names_of(current)
        parts = [
            part
            for kind, attributes in _PARTS
            if objects.is_a(current, kind)
            for part in _parts(current, kind, attributes)
        ]
        if not parts and objects.is_a(current, _WRITTEN):
            parts.append(names.get("func"))
        waiting += parts or [names.get("__wrapped__")]
    return functions


def _parts(value: Any, kind: type, attributes: Sequence[str]) -> Iterator[Any]:
    yield from (vars(kind)[attribute].__get__(value) for attribute in attributes)


def _name(function: Callable[..., object]) -> str:
    if type(function) is FunctionType:
        return f"{objects.text(function.__module__)}.{function.__qualname__}"
    return objects.kind_of(function)
