"""What must hold in this process before it is changed; each function gives what is in the way, in words."""

from __future__ import annotations

import abc
import dis
import gc
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial, partialmethod
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import (
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

from ...observation import objects
from ...process import audit_hooks, release_processes
from ...release import code_tree, plain_values
from ...release.code_tree import ANNOTATE, IS_LAZY
from ...release.relup import unproven
from . import heap, holders
from .holders import Belonging
from .targets import Target, of_function
from .versions import class_bodies, stored_constants

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
    if lazy := _imports_all_lazily():
        yield f"{lazy}, so that its modules have not imported what their source says"
    if (others := _other_interpreters()) > 0:
        yield f"other interpreters are in this process besides the main one ({others}), whose objects nobody can look at"
    yield from (f"the audit hook {_name(hook)} would run in the middle" for hook in audit_hooks.hooks)


def _imports_all_lazily() -> str:
    """What makes all imports of this process lazy, since 3.15; empty for nothing."""
    mode: Callable[[], str] | None = getattr(sys, "get_lazy_imports", None)
    if mode is None or mode() == "normal":
        return ""
    return f"this process has lazy imports switched to {mode()!r} (-X lazy_imports, PYTHON_LAZY_IMPORTS or sys.set_lazy_imports)"


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
    if objects.is_exactly(value, (plain_values.FROZEN_DICT,)):
        value, wanted = (dict(plain_values.FROZEN_DICT.items(either)) for either in (value, wanted))
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
            if type(container) is dict or type(container) is plain_values.FROZEN_DICT
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
    holding = holding_with(names, leaving, gone, going)
    if objects.is_a(names[name], type):
        return class_held([names[name]], holding, going)
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


def handed(names: Mapping[str, Any], name: str) -> str | None:
    """Who refers to the functions that this name stands for besides modules and the class whose names these are; None for nobody."""
    if name in (*_MAKERS, "__call__") and (waiting := _waiting(names, name)) is not None:
        return waiting
    functions = functions_in(names[name])
    having = {id(names[name]), *(id(objects.names_of(module)) for module in list(sys.modules.values()))}
    having |= set(map(id, gc.get_referents(names))) if type(names) is not dict else set()
    for n in range(len(functions)):
        known = [referrer for referrer in gc.get_referrers(functions[n]) if id(referrer) in having]
        count = sum(sum(referent is functions[n] for referent in gc.get_referents(referrer)) for referrer in known)
        if sys.getrefcount(functions[n]) > _NAMED + count:
            return holders.holder(functions[n], direct={id(functions), *map(id, known)})
    return None


_MAKERS = ("__init__", "__new__")


def _waiting(names: Mapping[str, Any], name: str) -> str | None:
    """Who has a call that makes an instance, or is of one, and waits: a `partial` of a class whose member this name is."""
    calls = heap.instances_of(partial)
    for n in range(len(calls)):
        called = calls[n].func
        is_class = objects.is_a(called, type)
        every = map(objects.members, objects.mro(called if is_class else type(called)))
        member = next((members[name] for members in every if name in members), None)
        if member is names[name] and is_class is (name in _MAKERS):
            return f"{objects.kind_of(calls[n])} of {objects.name_of(called if is_class else type(called))}"
    return None


def holding_with(
    names: Mapping[str, Any], leaving: Sequence[Mapping[str, Any]], gone: Mapping[int, Any], going: Belonging
) -> set[int]:
    """The ids of what refers to what these names are bound to and does not count: see `held`."""
    holding = {
        id(names),
        *gone,
        *map(id, leaving),
        *going.ids,
        *(id(referrer) for referrer in gc.get_referrers(names) if objects.is_a(referrer, (ModuleType, type))),
    }
    if type(names) is not dict:  # the mapping of a class's members, and the dict behind it
        holding |= set(map(id, gc.get_referents(names)))
    return holding


def class_held(alone: list[type], holding: Collection[int], going: Belonging) -> str | None:
    """Who refers to the one class in a list; None for nobody. `holding`, by id, does not count, nor does what is `going`."""
    subclasses = heap.with_subclasses(alone[0])[1:]
    if stay := [subclass for subclass in subclasses if id(subclass) not in going.classes]:
        return f"its subclass {objects.name_of(stay[0])}"
    direct = {*holding, id(alone), id(subclasses)}
    direct |= {id(part) for one in subclasses for part in (objects.bases(one), objects.mro(one), one)}
    del subclasses, stay
    direct |= Belonging(objects.members(alone[0]).values()).ids
    values = list(objects.members(alone[0]).values())
    cells = [cell for value in values for function in functions_in(value) for cell in _cells(function)]
    direct |= {id(objects.mro(alone[0])), *map(id, cells)}
    direct |= {id(value) for value in values if objects.is_a(value, _DESCRIPTORS)}
    del values
    return holders.seen_holder(alone[0], direct=direct) or holders.unseen_holder(alone)


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


_OF_PYTHON = (
    "_abc_impl",
    "_is_protocol",
    "_is_runtime_protocol",
    "_fields",
    "_field_defaults",
    "_make",
    "_replace",
    "_asdict",
)
"""Members without underscores on both sides that the making of a class adds."""
_STORES = ("STORE_NAME", "DELETE_NAME", "STORE_GLOBAL")


def altered(target: Target, path: str) -> Iterator[str]:
    """The members of a live class, by its path, that are not what the old version's code makes them, as far as that tells."""
    cls, body = target.class_named(path), class_bodies(target.old.code).get(path)
    if cls is None or body is None:
        yield f"{target.name}.{path} is not the class that the module has made"
        return
    bound = {instruction.argval for instruction in dis.get_instructions(body) if instruction.opname in _STORES}
    yield from _set_since(target, path, cls, stored_constants(body, tuple(bound)), bound)
    yield from _filled(objects.members(cls), bound, f"{target.name}.{path}")


def _set_since(
    target: Target, path: str, cls: type, constants: Mapping[str, Any], bound: Collection[str]
) -> Iterator[str]:
    paths = {code_tree.mangled(definition): definition for definition in target.old.by_path}
    for name, value in list(objects.members(cls).items()):
        if objects.is_a(value, _DESCRIPTORS) or _is_made(name) or objects.is_a(value, cls):
            continue
        where = f"{target.name}.{path}.{name}"
        if name not in bound:
            yield f"{where} was put there since: it is {objects.shown(value)}"
        elif (definition := paths.get(f"{path}.{name}")) is not None:
            if not _is_old(target, definition, value):
                yield f"{where} is {objects.shown(value)}, and not the function that the module has made"
        elif name in constants and not same(value, constants[name]):
            yield f"{where} is {objects.shown(value)}, and not {objects.shown(constants[name])} as the module has made it"


def _filled(members: Mapping[str, Any], bound: Collection[str], where: str) -> Iterator[str]:
    """What was empty when the class was made, and would be so again in another: who has put something in, or may."""
    for name in list(members):
        if name in bound and not _is_made(name) and objects.is_exactly(members[name], _MUTABLE):
            if members[name]:
                yield f"{where}.{name} is {objects.shown(members[name])}, and no longer empty"
            elif shared(members, name) is not None:
                yield f"{where}.{name} can be changed, and something refers to it that is not known"


def _is_made(name: str) -> bool:
    """Whether Python, or what makes a class, may have added a member of this name."""
    return name in _OF_PYTHON or (name.startswith("_") and name.endswith("_"))


def _is_old(target: Target, path: str, value: Any) -> bool:
    """Whether a member is the function of the old version at this path, or has it in it."""
    codes: list[CodeType] = [function.__code__ for function in functions_in(value) if type(function) is FunctionType]
    return any(path in target.old.paths(code) for code in codes)
