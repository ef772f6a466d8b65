"""New states for what is alive: ``code_change``, asked for all of them before one is put in place.

A class, or a module, of the newer version may have ``code_change(old_version, state, extra)``, an ordinary function or a static
method. It is given the attributes as a dict of its own, which may be changed, and returns those that there shall be. What
it reads of its module is as in the new version. It must not change what the attributes refer to: that could not be undone.

On the way down, `old_version` is ``Down(VERSION)``, the version that is gone back to, and the one that is called is the live
one, of the version that is left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from ...application import Down
from ...observation import objects
from ...release.instructions import Load
from . import heap
from .fragments import made
from .targets import Target
from .undo_log import Acts

_OF_TYPES: Mapping[str, Any] = vars(type)
Convert = Callable[[Any, Any, Any], Any]
_MISSING = object()


class Failed(Exception):
    """A ``code_change`` did not do what it is for. The message says which and why."""


@dataclass(frozen=True)
class Migration:
    """What is to be carried over in one module."""

    target: Target
    old_version: str | Down
    extra: Any

    @property
    def down(self) -> bool:
        return isinstance(self.old_version, Down)


@dataclass
class _ModuleContext:
    """What ``code_change`` of a module sees as its module: on the way up a twin of it, as it will be."""

    names: dict[str, Any]
    twins: list[FunctionType] = field(default_factory=list)
    functions: int = 0
    """How many functions were made that have it as their globals."""


def classes(migrations: Iterable[Migration]) -> list[type]:
    """The classes whose instances are carried over, with their subclasses."""
    classes = [
        cls
        for migration in migrations
        for name in _names(migration.target.load)
        if (cls := migration.target.class_named(name))
    ]
    return list({id(subclass): subclass for cls in classes for subclass in heap.with_subclasses(cls)}.values())


def _names(load: Load) -> list[str]:
    return [*load.code_change, *load.given, *(name for name in load.taken if name not in load.given)]


def acts(
    migrations: Sequence[Migration], instances: Iterable[tuple[type, Sequence[Any]]], *, again: bool = False
) -> Acts:
    """Ask for all new states; what puts them in place. `again`: those of modules were asked for before.

    Raises Failed where ``code_change`` raises, or returns what can't be a state.
    """
    result = Acts()
    converters: dict[int, tuple[Migration, Convert]] = dict(_written(migrations))
    worlds: list[_ModuleContext] = []
    for migration in migrations:
        if not migration.target.load.code_change:
            continue
        worlds.append(world := _world(migration))
        for name in migration.target.load.code_change:
            function = _converter(migration, name, world)
            if name:
                cls = migration.target.class_named(name)
                if cls is None:
                    raise Failed(
                        f"{migration.target.name}.{name} has code_change, and is not a class of this module here"
                    )
                converters[id(cls)] = (migration, function)
            elif not again:
                _module(result, migration, function)
    for cls, of_class in instances:
        # From the base to the class itself: each sees what the one before has made.
        chain = [converters[id(base)] for base in reversed(objects.mro(cls)) if id(base) in converters]
        if of_class:
            _instances(result, cls, of_class, chain)
    _check_not_kept(worlds)
    return result


def _written(migrations: Iterable[Migration]) -> Iterator[tuple[int, tuple[Migration, Convert]]]:
    """By the id of a class what the relup itself does with the attributes of its instances."""
    for migration in migrations:
        load = migration.target.load
        for name in (path for path in _names(load) if path not in load.code_change):
            cls = migration.target.class_named(name)
            if cls is None:
                raise Failed(
                    f"instances of {migration.target.name}.{name} change, and that is not a class of this module here"
                )
            yield id(cls), (migration, partial(_given, load.given.get(name, {}), load.taken.get(name, ())))


def _given(given: Mapping[str, Any], taken: Sequence[str], _old: Any, state: dict[str, Any], _extra: Any) -> Any:
    """As a ``code_change``: what an instance gets, and has not, and what it loses."""
    for name in taken:
        state.pop(name, None)
    return {**state, **{name: deepcopy(value) for name, value in given.items() if name not in state}}


def _instances(result: Acts, cls: type, instances: Sequence[Any], chain: Sequence[tuple[Migration, Convert]]) -> None:
    # A hundred thousand times over: no calls that are not needed. Dicts and slots are set themselves, so that neither a property
    # of that name nor a __setattr__ is asked.
    title = objects.name_of(cls)
    slots, has_dict, attributes = _slots(cls), _OF_TYPES["__dictoffset__"].__get__(cls) != 0, objects.attributes_of(cls)
    if has_dict and attributes is None:
        raise Failed(
            f"code_change of {title}: the class has put something else in the place of its instances' __dict__"
        )
    read, set_item, pop, do, undo = (
        (attributes.__get__ if has_dict else dict),
        dict.__setitem__,
        dict.pop,
        result.do,
        result.undo,
    )
    steps = [(convert, migration.old_version, migration.extra) for migration, convert in chain]
    known: set[str] = set()
    for instance in instances:
        names: dict[str, Any] = read(instance) if has_dict else {}
        before = {**names, **_slot_values(slots, instance)} if slots else names
        after: Any = before.copy()
        try:
            for convert, old_version, extra in steps:
                after = convert(old_version, after, extra)
                if type(after) is not dict or not after.keys() <= known:
                    after = _checked(after, title, None if has_dict else slots)
                    known |= after.keys()
        except Failed:
            raise
        except Exception as error:
            raise Failed(f"code_change of {title} raised {type(error).__name__}: {error}") from error
        for name, value in after.items():
            if name in slots:
                if before.get(name, _MISSING) is not value:
                    _set_slot(result, slots[name], instance, value, before.get(name, _MISSING))
            elif name not in names:
                do.append(partial(set_item, names, name, value))
                undo.append(partial(pop, names, name, None))
            elif names[name] is not value:
                do.append(partial(set_item, names, name, value))
                undo.append(partial(set_item, names, name, names[name]))
        if not before.keys() <= after.keys():
            for name in before.keys() - after.keys():
                if name in slots:
                    _set_slot(result, slots[name], instance, _MISSING, before[name])
                else:
                    result.no_item(names, name)


def _checked(after: Any, name: str, slots: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``code_change`` of `name` returned; `slots` where there is no place for anything else. Raises Failed."""
    if not isinstance(after, Mapping):
        raise Failed(f"code_change of {name} returned {type(after).__name__}, and not a mapping of names to values")
    if kinds := [type(key) for key in after if type(key) is not str]:
        raise Failed(f"code_change of {name}: an attribute is named by {objects.name_of(kinds[0])}, and not by str")
    if slots is not None and (odd := sorted(after.keys() - slots.keys())):
        raise Failed(f"code_change of {name}: it has slots, and none for {', '.join(odd)}")
    return after if type(after) is dict else dict(after)


def _set_slot(result: Acts, slot: MemberDescriptorType, instance: Any, value: Any, before: Any) -> None:
    gone = partial(slot.__delete__, instance)
    result.add(
        gone if value is _MISSING else partial(slot.__set__, instance, value),
        gone if before is _MISSING else partial(slot.__set__, instance, before),
    )


def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    slots: dict[str, MemberDescriptorType] = {}
    for base in objects.mro(cls):
        for name, value in list(objects.members(base).items()):
            if (
                type(value) is MemberDescriptorType and _OF_TYPES["__flags__"].__get__(base) & 1 << 9
            ):  # Py_TPFLAGS_HEAPTYPE
                slots.setdefault(name, value)
    return slots


def _slot_values(slots: Mapping[str, MemberDescriptorType], instance: Any) -> dict[str, Any]:
    values = {}
    for name, slot in slots.items():
        try:
            values[name] = slot.__get__(instance)
        except AttributeError:
            continue
    return values


def _module(result: Acts, migration: Migration, convert: Convert) -> None:
    target = migration.target
    state = {name: value for name, value in target.names.items() if _is_state(target, name, value)}
    state.update((name, target.staged[name]) for name in target.load.values if "." not in name and not migration.down)
    try:
        after = convert(migration.old_version, state.copy(), migration.extra)
    except Exception as error:
        raise Failed(f"code_change of {target.name} raised {type(error).__name__}: {error}") from error
    after = _checked(after, target.name, None)
    for name, value in after.items():
        if state.get(name, _MISSING) is not value:
            result.item(target.names, name, value)
    for name in state.keys() - after.keys():
        result.no_item(target.names, name)


def _is_state(target: Target, name: str, value: Any) -> bool:
    if name.startswith("__") or objects.is_a(value, (ModuleType, FunctionType, type)) or objects.is_lazy_import(value):
        return False
    return name not in target.load.rebind and name not in target.load.removed


def _world(migration: Migration) -> _ModuleContext:
    target, load = migration.target, migration.target.load
    if migration.down:
        return _ModuleContext(target.names)
    top = {name: target.staged[name] for name in (*load.added, *load.values, *target.rebinds()) if "." not in name}
    world = _ModuleContext({**target.names, **top})
    for path, function in [(path, target.names.get(path)) for path in load.changed]:
        if type(function) is FunctionType and function.__globals__ is target.names and path not in top:
            world.names[path] = twin = _twin(function, target, path, world)
            world.twins.append(twin)
    return world


def _twin(function: FunctionType, target: Target, path: str, world: _ModuleContext) -> FunctionType:
    code = target.new.by_path[path]
    twin = FunctionType(code, world.names, function.__name__, function.__defaults__, function.__closure__)
    world.functions += 1
    staged = target.staged.get(path) if path in target.load.refreshed else function
    if isinstance(staged, FunctionType):
        twin.__defaults__, twin.__kwdefaults__ = staged.__defaults__, staged.__kwdefaults__
    return twin


def _converter(migration: Migration, name: str, world: _ModuleContext) -> Convert:
    target, full = migration.target, f"{name}.code_change" if name else "code_change"
    try:
        is_added = full in target.load.added and not migration.down
        value = made(target, full) if is_added else target.live(full)
    except KeyError:
        raise Failed(f"{target.name}.{full} is not there") from None
    function = vars(staticmethod)["__func__"].__get__(value) if objects.is_a(value, staticmethod) else value
    if type(function) is not FunctionType or (name and function is value):
        raise Failed(f"{target.name}.{full} is not a {'static method' if name else 'function'}")
    if migration.down:
        return function
    if full not in target.new.by_path:
        raise Failed(f"{target.name}.{full} is not in the new version")
    return _twin(function, target, full, world)


def _check_not_kept(worlds: Sequence[_ModuleContext]) -> None:
    """Refuse a twin in a state: it would be called later, and see a module that nobody else sees."""
    for world in worlds:
        if not world.functions:
            continue
        counted = [world.twins[n].__qualname__ for n in range(len(world.twins)) if sys.getrefcount(world.twins[n]) > 3]
        # The world, its functions and the argument refer to it; so does a function that was made in a function of it.
        if counted or sys.getrefcount(world.names) > 2 + world.functions:
            what = ", ".join(counted) or "a function that it made"
            raise Failed(f"code_change of {world.names['__name__']} put {what} into a state; that must be plain data")
