"""What is in the way of a swap in this process as it is, in words; nothing is changed.

=====================  ================================================================================================
``of_values``          a value that changes is not what the module has made, or is lent to somebody
``guarded``            what the relup says must hold, and does not: somebody holds what goes, a class has instances
``everything``         these, and what is alive: parts, functions, closures, what a function of Python stood for
``requests``           for which a framework has chosen a route, and whose handler may not have been called yet: they have
                       what the route was made with, while what its handler calls by name may be another by then
=====================  ================================================================================================
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from ...observation import objects
from ...release import code_tree
from ...release.instructions import Guard, Remove
from . import caches, guards, heap, holders, parts, remembered, targets
from .containers import MISSING, get
from .holders import Belonging, held_by
from .targets import Target


def everything(loaded: Sequence[Target], removals: Sequence[Remove]) -> list[str]:
    """All that is in the way. Who is within what another takes the place of holds that, and leaves it before the swap."""
    entered = any(map(_replaces, loaded)) and _is_entered(loaded)
    problems = [
        *of_values(loaded),
        *guarded(loaded, removals, entered=entered),
    ]  # before a survey, which holds everything
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
    functions = [function for target in loaded for function in _refreshed(target)]
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


def _refreshed(target: Target) -> Iterator[FunctionType]:
    """The functions that get annotations and defaults again."""
    for name in target.load.refreshed:
        yield from guards.functions_in(target.live(name))


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


def _is_entered(loaded: Sequence[Target]) -> bool:
    """Whether somebody is inside of what changes, or has a request that leads there."""
    alive = heap.survey()
    inside = any(survivor.runs for survivor in heap.survivors(alive, targets.changed_definition(loaded)))
    return inside or any(True for _ in requests(alive, handlers(loaded)))


def guarded(loaded: Sequence[Target], removals: Sequence[Remove], *, entered: bool = False) -> Iterator[str]:
    """What the guards of modules that change, or go, say; `entered`: of what another takes the place of it is asked again."""
    gone, going = _going(loaded, removals)
    for target in loaded:
        for guard in target.load.guards:
            if guard.of not in target.load.replaced or not entered:
                yield from _broken(target.name, guard, loaded, removals, gone, going)
    for removal in removals:
        for guard in removal.guards:
            yield from _broken(removal.module, guard, loaded, removals, gone, going)


def leaving(loaded: Sequence[Target], removals: Sequence[Remove]) -> frozenset[int]:
    """The ids of what goes with names that go, or are bound to something else, and of what nothing else holds than that."""
    return frozenset(_going(loaded, removals)[1].ids)


def _going(loaded: Sequence[Target], removals: Sequence[Remove]) -> tuple[dict[int, Any], Belonging]:
    gone = {**parts.taken_out(loaded, caches.routes_known), **answered()}
    return gone, Belonging(_values_that_go(loaded, removals), gone)


def _values_that_go(loaded: Iterable[Target], removals: Iterable[Remove]) -> Iterator[Any]:
    """What is bound, each by one name of a module or a class, to names that go, or are bound to something else; what goes with that."""
    for target in loaded:
        load = target.load
        alone = {guard.of for guard in load.guards if guard.kind == "no_holders"}
        letting_go = {guard.of for guard in load.guards if guard.kind == remembered.KIND}
        for name in letting_go & target.names.keys():
            yield from remembered.leaving(target.names[name])
        for name in {*load.removed, *load.values, *load.replaced} - letting_go:
            cls, tail = target.split(name)
            names: Any = target.names if cls is None else objects.members(cls)
            if tail in names and (cls is not None or "." not in name):
                yield names[tail]
                yield from held_by(names[tail]) if name in alone else ()
        yield from (target.names[name] for name in load.rebind if name in target.names)
        for function in _refreshed(target):
            yield from filter(None, (function.__annotations__, function.__defaults__, function.__kwdefaults__))
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
        if (why := guards.instances_of_what_stays(names[tail], going.ids)) is not None:
            yield f"{where} makes its instances in another way: {why}"
    elif guard.kind == "no_instances" and (why := guards.instances(names[tail], going.ids)) is not None:
        yield f"{where} goes away: {why}"
    elif guard.kind == "not_handed" and (holder := guards.handed(names, tail)) is not None:
        yield f"{where} is called in another way, and {holder} has it"
    elif guard.kind == "not_made" and not guards.is_empty(names[tail]):
        yield f"{where} is made, of what the old version had: it is {objects.shown(names[tail])}"
    elif guard.kind == remembered.KIND:
        yield from remembered.problems(names[tail], where, going.ids)
    elif guard.kind == "unaltered":
        yield from guards.altered(targets.by_name(loaded)[module], guard.of)
    elif guard.kind == "plain_class" and not guards.is_plain(names[tail]):
        yield f"members of {where} are up to its metaclass {objects.name_of(type(names[tail]))}"


def without_instances(loaded: Iterable[Target]) -> Iterator[type]:
    """The classes that stay, or are replaced, and may have no instances, and all that inherit from them."""
    for target in loaded:
        for guard in target.load.guards:
            if guard.kind == "no_instances" and guard.of not in target.load.removed:
                cls = target.class_named(guard.of)
                yield from heap.with_subclasses(cls) if cls is not None else ()


@dataclass(frozen=True)
class Replaced:
    """A class that another takes the place of: once it has, nothing refers to it but what would undo that."""

    name: str
    alone: list[type]
    """The class; in a list, as a variable may be counted among its references."""
    holding: set[int]
    """The ids of what refers to it, and goes, or does not count."""
    going: Belonging

    def holder(self, ours: Collection[int]) -> str | None:
        """Who has it by now, but for objects with the ids in `ours`; None for nobody."""
        return guards.class_held(self.alone, {*self.holding, *ours}, self.going)


def replaced(loaded: Sequence[Target], removals: Sequence[Remove]) -> list[Replaced]:
    """The classes that are replaced, and may have neither instances nor holders: asked once these guards hold."""
    every = [
        (target, guard.of)
        for target in loaded
        for guard in target.load.guards
        if guard.kind == "no_holders" and guard.of in target.load.replaced and target.class_named(guard.of) is not None
    ]
    if not every:
        return []
    gone, going = _going(loaded, removals)
    result = []
    for target, name in every:
        leaving = [mapping for mapping in _leaving(target.names[name], loaded, removals) if mapping is not target.names]
        holding = guards.holding_with(target.names, leaving, gone, going)
        result.append(Replaced(f"{target.name}.{name}", [target.names[name]], holding, going))
    return result


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
    """The names of modules that have this value, once for each name that they lose or bind again in the same swap, if that is all."""
    for target in loaded:
        bound = {name for name, other in list(target.names.items()) if other is value}
        load = target.load
        if bound <= {*load.removed, *load.rebind, *load.values, *load.replaced}:
            yield from [target.names] * len(bound)
    for removal in removals:
        names = objects.module_names(removal.module)
        if sum(other is value for other in list(names.values())) == 1:
            yield names


def closures(loaded: Iterable[Target], alive: heap.Survey) -> Iterator[str]:
    """Live closures, and classes that functions have made, that the relup says must not be."""
    paths = ((target, guard.of) for target in loaded for guard in target.load.guards if guard.kind == "no_closures")
    asked = {(target.name, path) for target, path in paths if path not in target.old.by_path}
    for target in loaded:
        for guard in target.load.guards:
            live = targets.closures(alive, target, guard.of) if guard.kind == "no_closures" else ()
            for function in live:
                holder = holders.holder(function, {id(live), id(alive.functions)})
                yield f"{target.name}:{guard.of} is alive, and can't become another: {holder} has it"
    for cls in heap.with_subclasses(object) if asked else ():
        if (objects.module_of(cls), objects.qualname_of(cls)) in asked:
            yield f"{objects.module_of(cls)}:{objects.qualname_of(cls)} is alive, and can't become another"


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


_ANSWERING: Mapping[tuple[str, str, str], tuple[str, str]] = {
    ("fastapi.routing", "get_request_handler", "app"): ("dependant", "call"),
}
"""Coroutines, each by its module, the function that it is nested in and its name: which variable, and attribute, has the handler."""

_CONNECTIONS: Mapping[tuple[str, str], str] = {
    ("uvicorn.protocols.http.h11_impl", "H11Protocol"): "scope",
    ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol"): "scope",
}
"""What a server keeps of the last request of a connection, until the next: with the route, and its handler."""


def handlers(loaded: Iterable[Target]) -> frozenset[int]:
    """The ids of functions that another takes the place of: who asks for holders finds none here."""
    live = (target.names.get(name) for target in loaded for name in target.load.replaced)
    return frozenset(id(value) for value in live if type(value) is FunctionType)


def requests(alive: heap.Survey, of: Collection[int]) -> Iterator[heap.Survivor]:
    """The coroutines that answer requests by one of these functions, and wait by now."""
    codes = dict(_codes()) if of else {}
    for suspended in alive.suspended if codes else ():
        code = getattr(suspended, "cr_code", None)
        variable, attribute, name = codes.get(id(code), ("", "", ""))
        frame = suspended.cr_frame if name else None
        if frame is not None and id(get(frame.f_locals.get(variable), ("attribute", attribute), MISSING)) in of:
            holder = holders.holder(suspended, {id(alive.suspended)})
            yield heap.Survivor("coroutine", name, frame.f_lineno, holder, key=(id(suspended),))


def answered() -> dict[int, dict[str, Any]]:
    """What servers keep of requests, by id, though nobody calls a handler by it any more."""
    scopes = {}
    for (module, name), attribute in _CONNECTIONS.items():
        cls: Any = objects.module_names(module).get(name)
        for connection in heap.instances_of(cls) if objects.is_a(cls, type) else ():
            scope = objects.names_of(connection).get(attribute)
            if type(scope) is dict:
                scopes[id(scope)] = scope
    return scopes


def _codes() -> Iterator[tuple[int, tuple[str, str, str]]]:
    for (module, outer, inner), (variable, attribute) in _ANSWERING.items():
        code = getattr(objects.module_names(module).get(outer), "__code__", None)
        for constant in code.co_consts if type(code) is CodeType else ():
            if type(constant) is CodeType and constant.co_name == inner:
                yield id(constant), (variable, attribute, f"{module}:{constant.co_qualname}")
