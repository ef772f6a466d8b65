"""What is in the way of a swap in this process as it is, in words; nothing is changed.

=====================  ================================================================================================
``of_values``          a value that changes is not what the module has made, or is lent to somebody
``guarded``            what the relup says must hold, and does not: somebody holds what goes, a class has instances
``everything``         these, and what is alive: parts, functions, closures, what a function of Python stood for
=====================  ================================================================================================
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...observation import objects
from ...release import code_tree
from ...release.instructions import Guard, Remove
from . import caches, guards, heap, holders, parts, targets
from .holders import Belonging
from .targets import Target


def everything(loaded: Sequence[Target], removals: Sequence[Remove]) -> list[str]:
    """All that is in the way. Who runs a function that another takes the place of holds it, and leaves it before that."""
    running = _running(loaded) if any(map(_replaces, loaded)) else frozenset()
    problems = [*of_values(loaded), *guarded(loaded, removals, running)]  # before a survey, which holds everything
    alive = heap.survey()
    problems += parts.problems(loaded)
    problems += targets.functions(loaded, alive.functions).problems
    problems += closures(loaded, alive)
    problems += _not_python(loaded, alive)
    return problems


def or_collect(look: Callable[[], list[str]]) -> list[str]:
    """What is in the way, without what only garbage is, or an answer that a framework remembers and can give again."""
    if not look():
        return []
    caches.forget_answers()
    gc.collect()
    return look()


def of_values(loaded: Sequence[Target], ours: int = 0) -> Iterator[str]:
    """Whether what changes its value has the one that the relup expects; `ours`: acts that refer to each for the undo."""
    captured = _captured(loaded)
    for target in loaded:
        for name, was in target.load.values.items():
            cls, tail = target.split(name)
            names: Any = target.names if cls is None else objects.members(cls)
            if (cls is None and "." in name) or tail not in names:
                yield f"{target.name}.{name} is not there"
            elif not guards.same(names[tail], was):
                yield f"{target.name}.{name} is {objects.shown(names[tail])}, and not {objects.shown(was)} as the module has made it"
            elif (
                guards.shared(
                    names, tail, _rebound(loaded, target, name) * (1 + ours) + ours + captured[id(names[tail])]
                )
                is not None
            ):
                yield f"{target.name}.{name} can be changed, and something refers to it that is not known"


def _captured(loaded: Iterable[Target]) -> Counter[int]:
    """By id, how often values are the defaults of functions that get theirs again."""
    live = [target.live(name) for target in loaded for name in target.load.refreshed]
    functions = [function for value in live for function in guards.functions_in(value)]
    defaults = {
        id(default): default
        for function in functions
        for default in (function.__defaults__, function.__kwdefaults__)
        if default
    }
    return Counter(
        id(value)
        for default in defaults.values()
        for value in (default.values() if isinstance(default, dict) else default)
    )


def _rebound(loaded: Iterable[Target], target: Target, name: str) -> int:
    """How many other modules have a name for the same value, which is bound again with it."""
    return sum(
        other.names.get(bound) is target.names.get(name)
        for other in loaded
        for bound, source in other.load.rebind.items()
        if source == (target.name, name)
    )


def _replaces(target: Target) -> bool:
    return any(guard.kind == "no_holders" and guard.of in target.load.replaced for guard in target.load.guards)


def _running(loaded: Sequence[Target]) -> frozenset[str]:
    """The definitions that change and that somebody is inside of, as ``MODULE:PATH``."""
    alive = heap.survivors(heap.survey(), targets.changed_definition(loaded))
    return frozenset(survivor.definition for survivor in alive if survivor.runs)


def guarded(
    loaded: Sequence[Target], removals: Sequence[Remove], running: frozenset[str] = frozenset()
) -> Iterator[str]:
    """What the guards of modules that change, or go, say, but for who holds what runs, and another takes the place of."""
    gone, going = parts.taken_out(loaded, caches.routes_known), Belonging(_values_that_go(loaded, removals))
    for target in loaded:
        for guard in target.load.guards:
            if guard.of not in target.load.replaced or f"{target.name}:{guard.of}" not in running:
                yield from _broken(target.name, guard, loaded, removals, gone, going)
    for removal in removals:
        for guard in removal.guards:
            yield from _broken(removal.module, guard, loaded, removals, gone, going)


def _values_that_go(loaded: Iterable[Target], removals: Iterable[Remove]) -> Iterator[Any]:
    """What is bound, each by one name of a module or a class, to names that go away, or are bound to something else."""
    for target in loaded:
        load = target.load
        for name in {*load.removed, *load.values, *load.replaced}:
            cls, tail = target.split(name)
            names: Any = target.names if cls is None else objects.members(cls)
            if tail in names and (cls is not None or "." not in name):
                yield names[tail]
    for removal in removals:
        yield from objects.module_names(removal.module).values()


def _broken(
    module: str,
    guard: Guard,
    loaded: Sequence[Target],
    removals: Sequence[Remove],
    gone: Mapping[int, Any],
    going: Belonging,
) -> Iterator[str]:
    if guard.kind == "not_loaded":
        told = "it is one of tests, by its name, or could not be imported where that was tried"
        yield f"{module} has been imported, and nobody has looked what becomes of it: {told}"
        return
    where = f"{module}.{guard.of}"
    owner, _, tail = guard.of.rpartition(".")
    names: Any = objects.module_names(module)
    for part in owner.split(".") if owner else ():
        names = objects.members(names[part]) if objects.is_a(names.get(part), type) else {}
    if guard.kind == "no_closures" or tail not in names:
        return  # closures are looked for with all functions; and what is not there has no holder
    if guard.kind == "no_holders":
        leaving = [mapping for mapping in _leaving(names[tail], loaded, removals) if mapping is not names]
        if (holder := guards.held(names, tail, leaving, gone, going)) is not None:
            yield f"{where} goes away, and {holder} refers to it"
    elif guard.kind == "no_instances" and not _goes(module, guard.of, loaded, removals):
        if (why := guards.instances_of_what_stays(names[tail])) is not None:
            yield f"{where} makes its instances in another way: {why}"
    elif guard.kind == "no_instances" and (why := guards.instances(names[tail], going.ids)) is not None:
        yield f"{where} goes away: {why}"
    elif guard.kind == "not_made" and not guards.is_empty(names[tail]):
        yield f"{where} is made, of what the old version had: it is {objects.shown(names[tail])}"
    elif guard.kind == "plain_class" and not guards.is_plain(names[tail]):
        yield f"members of {where} are up to its metaclass {objects.name_of(type(names[tail]))}"


def without_instances(loaded: Iterable[Target]) -> Iterator[type]:
    """The classes that stay and may have no instances, and all that inherit from them."""
    for target in loaded:
        for guard in target.load.guards:
            if guard.kind == "no_instances" and guard.of not in target.load.removed:
                cls = target.class_named(guard.of)
                yield from heap.with_subclasses(cls) if cls is not None else ()


def made(loaded: Iterable[Target]) -> Iterator[str]:
    """The globals that nothing may have asked for, and that are made by now."""
    for target in loaded:
        for guard in target.load.guards:
            if guard.kind == "not_made" and not guards.is_empty(target.names.get(guard.of)):
                yield f"{target.name}.{guard.of}"


def _goes(module: str, name: str, loaded: Iterable[Target], removals: Iterable[Remove]) -> bool:
    """Whether a definition is not in the new version any more."""
    removed = (target.load.removed for target in loaded if target.name == module)
    return any(name in names for names in removed) or any(removal.module == module for removal in removals)


def _leaving(value: Any, loaded: Iterable[Target], removals: Iterable[Remove]) -> Iterator[dict[str, Any]]:
    """The names of modules that have this value under one name, which they lose or bind again in the same swap."""
    for target in loaded:
        bound = [name for name, other in list(target.names.items()) if other is value]
        load = target.load
        if len(bound) == 1 and bound[0] in {*load.removed, *load.rebind, *load.values, *load.replaced}:
            yield target.names
    for removal in removals:
        names = objects.module_names(removal.module)
        if sum(other is value for other in list(names.values())) == 1:
            yield names


def closures(loaded: Iterable[Target], alive: heap.Survey) -> Iterator[str]:
    """Live closures that the relup says must not be."""
    for target in loaded:
        for guard in target.load.guards:
            live = targets.closures(alive, target, guard.of) if guard.kind == "no_closures" else ()
            for function in live:
                holder = holders.holder(function, {id(live), id(alive.functions)})
                yield f"{target.name}:{guard.of} is alive, and can't become another: {holder} has it"


def _not_python(loaded: Iterable[Target], alive: heap.Survey) -> Iterator[str]:
    """Definitions that change and that something else than a function of Python stands for: compiled, or replaced."""
    functions = targets.functions(loaded, alive.functions)
    for target in loaded:
        for path in target.load.changed:
            if "<" in path or "#" in path or (target.name, path) in functions.by_path:
                continue
            try:
                value = target.live(code_tree.mangled(path))
            except KeyError:
                continue
            if guards.functions_in(value):
                continue  # what is wrong with it is said elsewhere
            yield f"{target.name}.{path} is a {objects.name_of(type(value))} here, and no function of Python"
