"""What puts in place what a module becomes: acts, made of what its fragment has made and of its new code.

Nothing is done here; all of it is done at once, in the swap.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from types import FunctionType
from typing import Any

from ...observation import objects
from ...release.code_tree import IS_LAZY, docstring
from . import CannotSwap, annotated, enumerations, guards
from . import caches as kept_by_frameworks
from .fragments import made
from .heap import instances_of, with_subclasses
from .targets import Functions, Target
from .undo_log import Acts
from .versions import CLASS_CONSTANTS, like

try:
    from _abc import _reset_caches as _abc_reset  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    _abc_reset = None
_MISSING = object()
Changes = Mapping[int, Mapping[str, Any]]
"""By the id of a class, what its members become."""


def acts(loaded: Iterable[Target], functions: Functions) -> Acts:
    """What puts all of it in place. Raises KeyError for a name that its fragment does not bind."""
    result = Acts()
    docs: dict[int, tuple[object, object]] = {}
    for _, function, code in functions.of:
        after = like(function.__code__, code)
        result.attribute(function, "__code__", after)
        before, now = docstring(function.__code__), docstring(after)
        if before != now and guards.same(function.__doc__, before):
            docs[id(function)] = (before, now)
            result.attribute(function, "__doc__", now)
    for target in loaded:
        members: dict[int, tuple[type, dict[str, Any]]] = {}
        for name, value in _bound(target, functions):
            cls, tail = target.split(name)
            if cls is None:
                result.item(target.names, name, value)
            else:
                members.setdefault(id(cls), (cls, {}))[1][tail] = value
        for name in target.load.refreshed:
            _refresh(result, target, name, functions)
        for name in target.load.removed:
            cls, tail = target.split(name)
            if cls is not None:
                members.setdefault(id(cls), (cls, {}))[1][tail] = _MISSING
            elif "." not in name:
                result.no_item(target.names, name)
            elif not _within(name, target.load.removed):
                raise KeyError(f"{target.name}.{name.rpartition('.')[0]} is not a class of this module here")
        for cls, changes in members.values():
            for tail, value in changes.items():
                if value is _MISSING:
                    result.no_member(cls, tail)
                else:
                    result.member(cls, tail, value)
        _abstract(result, {key: changes for key, (_, changes) in members.items()}, [cls for cls, _ in members.values()])
        result.extend(annotated.acts(target, functions))
        if not annotated.is_computed(target.new.code):
            _annotations(result, target)
        _constants(result, target)
        _wrapped_docs(result, target, docs)
    return result


def caches(loaded: Sequence[Target], instances: kept_by_frameworks.Alive) -> Acts:
    """What clears the caches of functions that change; last of all, since it may run finalizers of what was cached.

    `instances` are those of the classes that frameworks keep something in.

    The abstract classes remember which classes are their own; they ask again, where the members of any may have changed. Templates
    are loaded again.
    """
    result = kept_by_frameworks.forgotten(instances)
    files = ((target.old.code.co_filename, target.new.code.co_filename) for target in loaded)
    result.extend(kept_by_frameworks.moved(files, instances))
    if any("." in name for target in loaded for name in (*target.load.added, *target.load.removed)):
        for cls in with_subclasses(object):
            if objects.is_a(cls, ABCMeta) and _abc_reset is not None and "_abc_impl" in objects.members(cls):
                clear = partial(_abc_reset, cls)
                result.add(clear, clear)
    for target in loaded:
        for name in target.load.caches:
            if objects.is_a(value := _within_wrapper(target.live(name)), cached_property):
                _forget_in_instances(result, target, name)
            else:
                result.add(value.cache_clear, value.cache_clear)
    return result


def _forget_in_instances(result: Acts, target: Target, name: str) -> None:
    """Forget what instances remember of a property that changes."""
    cls, tail = target.split(name)
    for instance in instances_of(cls) if cls is not None else ():
        names = objects.names_of(instance)
        if tail in names:
            result.no_item(names, tail)


_WRAPPERS: tuple[tuple[type, str], ...] = ((staticmethod, "__func__"), (classmethod, "__func__"), (property, "fget"))


def _within_wrapper(value: Any) -> Any:
    """What a static method, class method or property is of."""
    return next((vars(kind)[part].__get__(value) for kind, part in _WRAPPERS if objects.is_a(value, kind)), value)


def _bound(target: Target, functions: Functions) -> Iterator[tuple[str, Any]]:
    """What names are bound to, in the module and in classes that stay."""
    load = target.load
    for name in (*load.added, *load.values, *load.replaced):
        cls, tail = target.split(name)
        if cls is None and "." in name:
            if not _within(name, load.added):  # the class itself is added
                raise KeyError(f"{target.name}.{name.rpartition('.')[0]} is not a class of this module here")
            continue
        value = made(target, name)
        if cls is not None:
            if objects.is_a(cls, enumerations.KIND):
                value = enumerations.with_live_members(value, made(target, name.rpartition(".")[0]), cls)
            _own_class(value, cls)
            if (set_name := getattr(type(value), "__set_name__", None)) is not None:
                set_name(value, cls, tail)
        yield name, value
    for name in target.rebinds():
        if name not in load.added:
            yield name, target.staged[name]
    for name in load.refreshed:
        before, staged = target.live(name), made(target, name)
        if type(before) is not type(staged):
            yield name, _around(staged, target, functions)


def _within(name: str, names: Sequence[str]) -> bool:
    """Whether the class that a name is in is among these, or in one that is."""
    return any(name.startswith(f"{prefix}.") for prefix in names)


def _own_class(value: Any, cls: type) -> None:
    for function in guards.functions_in(value):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name == "__class__":
                cell.cell_contents = cls
        annotated.own_class(function, cls)


def _staged_functions(
    target: Target, value: Any, functions: Functions
) -> Iterator[tuple[FunctionType, list[FunctionType]]]:
    """The functions of the new version in a value of the fragment, each with the live ones of the same definition."""
    for staged in guards.functions_in(value):
        live = {
            id(function): function
            for path in target.new.paths(staged.__code__)
            for function in functions.by_path.get((target.name, path), ())
            if function is not staged
        }
        if live:
            yield staged, list(live.values())


def _refresh(result: Acts, target: Target, name: str, functions: Functions) -> None:
    staged, before = made(target, name), target.live(name)
    values = () if IS_LAZY else ("__annotations__",)
    for function, live in _staged_functions(target, staged, functions):
        for other in live:
            for attribute in ("__defaults__", "__kwdefaults__", *values, "__type_params__"):
                if hasattr(function, attribute):
                    result.attribute(other, attribute, getattr(function, attribute))
    is_wrapper = type(before) is type(staged) and objects.is_a(before, (staticmethod, classmethod))
    if is_wrapper:
        annotated.forget_in(result, before)
    if values and is_wrapper and "__annotations__" in objects.names_of(staged):
        # It is a copy, which `type` makes none of for ``__new__``.
        result.attribute(before, "__annotations__", staged.__annotations__)


def _around(staged: Any, target: Target, functions: Functions) -> Any:
    """What the fragment has made, around the live function: as a static method that was an ordinary one before."""
    live = {id(function): others[0] for function, others in _staged_functions(target, staged, functions)}

    def live_for(function: Any) -> Any:
        return live.get(id(function), function)

    if objects.is_a(staged, (staticmethod, classmethod)):
        made = type(staged)(live_for(staged.__func__))
        made.__dict__.update(staged.__dict__)
        return made
    if type(staged) is property:
        return property(live_for(staged.fget), live_for(staged.fset), live_for(staged.fdel), staged.__doc__)
    return live_for(staged)


def _wrapped_docs(result: Acts, target: Target, docs: Mapping[int, tuple[object, object]]) -> None:
    """Docstrings that a property or a decorator has copied from the function within it."""
    if not docs:
        return
    for names in (target.names, *(objects.members(cls) for _, cls in _classes(target))):
        for value in list(names.values()):
            within = [id(function) for function in guards.functions_in(value) if function is not value]
            before, now = next((docs[number] for number in within if number in docs), (None, None))
            if before != now and guards.same(_doc_of(value), before):
                result.attribute(value, "__doc__", now)


def _doc_of(value: Any) -> object:
    """The docstring that a wrapper has of its own; what a class of somebody else would give is not asked for."""
    if any(type(value) is kind for kind in (property, staticmethod, classmethod)):
        return value.__doc__
    return objects.names_of(value).get("__doc__")


def _annotations(result: Acts, target: Target) -> None:
    for path, names in (("", target.names), *((path, objects.members(cls)) for path, cls in _classes(target))):
        if (f"{path}." if path else "") + "__annotations__" in (*target.load.replaced, *target.load.removed):
            continue
        before = names.get("__annotations__")
        try:
            staged = made(target, f"{path}.__annotations__" if path else "__annotations__")
        except KeyError:
            staged = {}
        gone = [name.rpartition(".")[2] for name in target.load.removed if name.rpartition(".")[0] == path]
        if type(before) is not dict or not (staged or any(name in before for name in gone)):
            if before is not None or not staged:
                continue
            before = {}
        after = {name: value for name, value in {**before, **staged}.items() if name not in gone}
        cls = target.class_named(path) if path else None
        if IS_LAZY and cls is not None and not before:
            raise CannotSwap([f"{target.name}:{path} has no annotations yet, and they are texts, which can't be added"])
        if cls is not None and after:
            result.member(cls, "__annotations__", after)
        elif cls is not None:
            result.no_member(cls, "__annotations__")
        elif after:
            result.item(target.names, "__annotations__", after)
        else:
            result.no_item(target.names, "__annotations__")


def _constants(result: Acts, target: Target) -> None:
    """Set what the compiler says of module and classes: docstrings, and since 3.13 where a class is."""
    old, new = target.old.constants, target.new.constants
    if old[""] != new[""] and guards.same(target.names.get("__doc__"), old[""].get("__doc__")):
        result.item(target.names, "__doc__", new[""].get("__doc__"))
    for path, cls in _classes(target):
        for name in CLASS_CONSTANTS if path in new else ():
            before, now = old[path].get(name), new[path].get(name)
            if before != now and guards.same(objects.members(cls).get(name), before):
                result.member(cls, name, now)


def _classes(target: Target) -> list[tuple[str, type]]:
    """The module's classes that stay, by qualified name."""
    named = ((path, target.class_named(path)) for path in target.old.constants if path)
    replaced = target.load.replaced
    return [
        (path, cls) for path, cls in named if cls is not None and path not in replaced and not _within(path, replaced)
    ]


def _abstract(result: Acts, changes: Changes, classes: Iterable[type]) -> None:
    """Keep ``__abstractmethods__`` of abstract classes and their subclasses what their members make them."""
    known: dict[int, frozenset[str]] = {}
    affected = {
        id(subclass): subclass for cls in classes if objects.is_a(cls, ABCMeta) for subclass in with_subclasses(cls)
    }
    for cls in affected.values():
        if _abstract_names(cls, changes, known) != objects.members(cls).get("__abstractmethods__", frozenset()):
            result.member(cls, "__abstractmethods__", known[id(cls)])


def _abstract_names(cls: type, changes: Changes, known: dict[int, frozenset[str]]) -> frozenset[str]:
    if id(cls) not in known:
        bases = [base for base in objects.bases(cls) if objects.is_a(base, ABCMeta)]
        names = {name for base in bases for name in _abstract_names(base, changes, known)}
        every = [{**objects.members(base), **changes.get(id(base), {})} for base in objects.mro(cls)]
        names |= every[0].keys()
        members = {
            name: next((namespace[name] for namespace in every if namespace.get(name, _MISSING) is not _MISSING), None)
            for name in names
        }
        known[id(cls)] = frozenset(name for name, value in members.items() if _is_abstract(value))
    return known[id(cls)]


def _is_abstract(value: Any) -> bool:
    """Whether `abc.abstractmethod` has marked a function, or what is within a member."""
    every = (value, *guards.functions_in(value))
    return any(objects.names_of(value).get("__isabstractmethod__") is True for value in every)
