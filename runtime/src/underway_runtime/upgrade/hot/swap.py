"""The phases of a swap, put together.

====================  =====================================  ========================================================
phase                 what it does                           what can go wrong
====================  =====================================  ========================================================
`prepare`             reads both versions, looks whether     `CannotSwap` with everything that is in the way; nothing
                      this process is as the relup says      was changed
`inside`              says whose frames are in definitions   (the caller waits, or gives up)
                      that change
`stage_and_migrate`   moves the import system, runs          `CannotSwap`, and all is undone
                      fragments, asks for all new states
`swap`                puts everything in place, at once      `CannotSwap`, and all is undone
`survivors`           like `inside`; functions made from     (the caller undoes, or waits)
                      old code meanwhile get the new one
`undo`, or `forget`   puts back what was; or lets it go      after `forget` the way back is another swap
====================  =====================================  ========================================================

Between `inside` and `forget` no work should enter what changes: the caller sees to that. `stage_and_migrate` to `survivors`
belong into one callback of the loop.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...application import Down
from ...code_server import finder
from ...observation import objects
from ...process import garbage_collector
from ...release.instructions import CodeChange, Instruction, Load, Remove
from . import (
    CannotMigrate,
    CannotSwap,
    MadeMeanwhile,
    annotated,
    caches,
    explained,
    fragments,
    guards,
    heap,
    imports,
    migrate,
    obstacles,
    parts,
    remembered,
    stage,
    targets,
    undo_log,
)
from .migrate import Migration
from .targets import Target
from .versions import Version, like

_ROUNDS = 5
"""How many times it is looked for instances that were made meanwhile, before it is given up."""


class Prepared:
    """A swap that can be done. Made by `prepare`."""

    def __init__(
        self, loaded: list[Target], removals: list[Remove], migrations: list[Migration], old: Version, new: Version
    ) -> None:
        self.targets = loaded
        self._removals = removals
        self._migrations = migrations
        self._old = old
        self._new = new
        self._journal = undo_log.Journal()
        self._acts = undo_log.Acts()
        self._carried: list[tuple[type, list[Any]]] = []
        """Whose new states were asked for, kept alive so that no other gets the id of one."""
        self._known: set[int] = set()
        self._staged: _Staged | None = None
        self._classes_go = any(
            _is_class_of(target, name) for target in loaded for name in (*target.load.removed, *target.load.replaced)
        )
        self._changed = targets.changed_definition(loaded)
        self._handlers = obstacles.handlers(loaded)
        self._empty: list[type] = []
        """The classes that may have no instances: those that are there before the swap."""
        self._leaving: frozenset[int] = frozenset()
        """The ids of what goes, and lives until it can't be taken back: instances of these among it."""
        self._replaced: list[obstacles.Replaced] = []
        self._remembered: list[Any] = []
        """What functions remember and let go of: alive, so that no other gets the id of one."""

    def inside(self) -> list[heap.Survivor]:
        """Frames in definitions that change or go away, with who holds them. One that a traceback keeps does not count."""
        with explained():
            return [survivor for survivor in self._within(heap.survey()) if survivor.runs]

    def _within(self, alive: heap.Survey) -> list[heap.Survivor]:
        return [*heap.survivors(alive, self._changed), *obstacles.requests(alive, self._handlers)]

    def stage_and_migrate(self) -> None:
        """Make everything that is to be put in place. Raises CannotSwap, with all as it was."""
        self._or_undo(self._stage_and_migrate)

    def swap(self) -> None:
        """Put it in place. Raises CannotSwap, with all as it was: when a value was changed meanwhile."""
        self._or_undo(self._swap)

    def survivors(self) -> list[heap.Survivor]:
        """Frames of old code of what has changed, those that are only kept by tracebacks too.

        Functions that were made from old code since get the new one. Raises CannotSwap, with all as it was.
        """
        survivors: list[heap.Survivor] = []
        self._or_undo(lambda: survivors.extend(self._survivors()))
        return survivors

    def _survivors(self) -> list[heap.Survivor]:
        alive, before = self._alive_since()
        late = targets.functions(self.targets, alive.functions)
        if late.of:
            acts = undo_log.Acts()
            for _, function, after in late.of:
                acts.attribute(function, "__code__", like(function.__code__, after))
            self._journal.perform(acts)
        survivors = self._within(alive)
        named = set(map(str, survivors))
        return [*survivors, *(survivor for survivor in before if str(survivor) not in named)]

    def _alive_since(self) -> tuple[heap.Survey, Sequence[heap.Survivor]]:
        """What is alive of which there is old code, as far as it was not there when all was staged; and what was then.

        That is all of it where somebody was inside then, or what has been made since is not young any more.
        """
        staged = self._staged
        if staged is None or any(survivor.runs for survivor in staged.inside) or not self._is_young_since():
            return heap.survey(), ()
        young = heap.survey(look=heap.young_objects)
        greenlets = {id(greenlet): greenlet for greenlet in (*staged.greenlets, *young.greenlets)}
        alive = replace(young, tasks=[*staged.tasks, *young.tasks], greenlets=list(greenlets.values()))
        return alive, staged.inside

    def _is_young_since(self) -> bool:
        """Whether all that was made since the look for what is staged is among the young objects."""
        return self._staged is not None and heap.collections() == self._staged.collections

    def undo(self) -> None:
        """Put everything back as it was before `stage_and_migrate`."""
        self._let_go()
        self._journal.undo()

    def forget(self) -> None:
        """Let go of what would undo this version, which stands."""
        targets.remember(self.targets)
        classes_go = self._classes_go or any(getattr(target.staged, "thrown_away", False) for target in self.targets)
        self._let_go()
        self._journal.forget()
        if classes_go:
            gc.collect()  # a class that is gone is one of its base's until then

    def _let_go(self) -> None:
        self._acts = undo_log.Acts()
        self._carried, self._known, self._staged, self._empty = [], set(), None, []
        self._leaving, self._replaced, self._remembered = frozenset(), [], []
        for target in self.targets:
            target.staged, target.computing = {}, []

    def _or_undo(self, step: Callable[[], object]) -> None:
        try:
            step()
        except CannotSwap:
            self.undo()
            raise
        except BaseException as error:
            self.undo()
            if isinstance(error, KeyboardInterrupt):
                raise  # all else is a fragment's, exits too
            if isinstance(error, migrate.Failed):
                raise CannotMigrate([str(error)]) from error
            raise CannotSwap([f"{type(error).__name__}: {error}"]) from error

    def _stage_and_migrate(self) -> None:
        server = finder.running()
        if server is None:
            raise CannotSwap(["there is no code server in this process: it does not run from a release"])
        garbage_collector.thaw()
        _raise_for(
            obstacles.or_collect(
                lambda: [*obstacles.of_values(self.targets), *obstacles.guarded(self.targets, self._removals)]
            )
        )
        self._empty = list(obstacles.without_instances(self.targets))
        self._leaving = obstacles.leaving(self.targets, self._removals) if self._empty else frozenset()
        self._replaced = obstacles.replaced(self.targets, self._removals)
        self._remembered = remembered.of(self.targets)
        before = [*sys.modules]
        self._journal.note(partial(imports.forget_modules, before, self._old))
        modules = [(target.module, target.spec) for target in self.targets]
        self._journal.perform(imports.move(server, self._old, self._new, modules))
        inner = parts.Within(self.targets).during(fragments.Stage(self.targets, self._journal).run)
        collections = heap.collections()
        carried, keeping = migrate.classes(self._migrations), caches.classes()
        alive = heap.survey([*carried, *keeping])
        inside = self._within(alive)
        self._staged = _Staged(collections, inside, alive.tasks, alive.greenlets)
        functions = targets.functions(self.targets, alive.functions)
        _raise_for(functions.problems, obstacles.closures(self.targets, alive))
        self._acts = acts = annotated.after_the_swap(self.targets, functions, {id(alive.functions)})
        acts.extend(stage.acts(self.targets, functions))
        acts.extend(inner)
        _remove_modules(acts, self._removals)
        with (
            undo_log.no_collection()
        ):  # what is made here stays; to go over it time and again would take most of the time
            acts.extend(migrate.acts(self._migrations, alive.instances[: len(carried)]))
            self._carried = alive.instances[: len(carried)]
            self._known = {id(instance) for _, of_class in self._carried for instance in of_class}
            self._carry_over_late_ones(acts)
        acts.extend(stage.caches(self.targets, alive.instances[len(carried) :]))
        _try_on_twins(functions)

    def _swap(self) -> None:
        _raise_for(obstacles.of_values(self.targets, ours=1))
        mark: list[Any] = []
        with undo_log.no_collection():
            self._carry_over_late_ones(self._acts)
            # A new object, by the last act: what is younger was made after it.
            self._acts.add(partial(mark.extend, map(list, [()])), undo_log.nothing)
            self._journal.perform(self._acts)
            late = self._not_carried_over(heap.all_objects) if self._carried else []
            late += self._not_to_be_there()
            younger = heap.made_since(mark[0]) if late else set()
            made = [f"{name} is made meanwhile, by who asked for it first" for name in obstacles.made(self.targets)]
            made += self._held_meanwhile()
        if made:
            raise MadeMeanwhile(made)
        self._raise_for_late([(cls, [instance for instance in of if id(instance) not in younger]) for cls, of in late])

    def _carry_over_late_ones(self, acts: undo_log.Acts) -> None:
        """Instances that threads have made since the look; those that ``code_change`` itself makes have no end."""
        late: list[tuple[type, list[Any]]] = []
        for number in range(_ROUNDS):
            look = heap.young_objects if number or self._is_young_since() else heap.all_objects
            late = self._not_carried_over(look) if self._carried else []
            if not late:
                return
            acts.extend(migrate.acts(self._migrations, late, again=True))
            self._carried += late
            self._known.update(id(instance) for _, of_class in late for instance in of_class)
        self._raise_for_late(late)

    def _not_carried_over(self, look: Callable[[], list[Any]]) -> list[tuple[type, list[Any]]]:
        """The instances among what there is now that were not there at the look before, of each class that has some."""
        now = heap.instances(migrate.classes(self._migrations), look())
        late = [(cls, [instance for instance in of_class if id(instance) not in self._known]) for cls, of_class in now]
        return [(cls, of_class) for cls, of_class in late if of_class]

    def _held_meanwhile(self) -> Iterator[str]:
        """Who has what is replaced though nobody had it when all was made: nobody can get hold of it any more by now."""
        ours = {*self._journal.holding(), id(self._empty)} if self._replaced else ()
        for replaced in self._replaced:
            if (holder := replaced.holder(ours)) is not None:
                yield f"{replaced.name} is taken meanwhile: {holder} refers to it"

    def _not_to_be_there(self) -> list[tuple[type, list[Any]]]:
        """The instances, by now, of classes that may have none; each class that has some."""
        pairs = heap.instances(self._empty, heap.all_objects()) if self._empty else []
        late = ((cls, [instance for instance in of if id(instance) not in self._leaving]) for cls, of in pairs)
        return [(cls, of_class) for cls, of_class in late if of_class]

    def _raise_for_late(self, late: Iterable[tuple[type, list[Any]]]) -> None:
        names = [objects.name_of(cls) for cls, of_class in late if of_class]
        if names:
            raise MadeMeanwhile(
                f"instances of {name} are made meanwhile: by a thread, or by its code_change" for name in names
            )


@dataclass(frozen=True)
class _Staged:
    """What was alive when all was staged, as far as it may come to old code later by itself, and what was in old code then."""

    collections: tuple[int, int]
    inside: list[heap.Survivor]
    tasks: list[Any]
    greenlets: list[Any]


def prepare(
    instructions: Iterable[Instruction], old: Version, new: Version, *, magic: str | None = None, alone: bool = False
) -> Prepared:
    """Read both versions and look at this process; of the instructions those count that load, remove and carry over.

    `alone` says that it serves nobody, and no other process has to become the other version with it.

    Raises CannotSwap with everything that is in the way, which is also what the look itself may meet. Nothing is changed.
    """
    with explained():
        return _prepare(list(instructions), old, new, magic, alone)


def _prepare(instructions: list[Instruction], old: Version, new: Version, magic: str | None, alone: bool) -> Prepared:
    import importlib.metadata  # noqa: F401  # the import system asks for it when caches are cleared: not in the pause

    _raise_for(guards.of_interpreter(magic))  # before anything is looked at: with other interpreters, CPython may crash
    garbage_collector.thaw()
    problems = [] if alone else guards.of_processes(old.path.parents[1])
    loaded: list[Target] = []
    for load in (instruction for instruction in instructions if isinstance(instruction, Load)):
        try:
            target = targets.read(load, old, new)
        except (ImportError, OSError) as error:
            problems.append(str(error))
            continue
        if target is not None:
            loaded.append(target)
            problems += targets.mismatches(target)
    removals = [
        instruction
        for instruction in instructions
        if isinstance(instruction, Remove) and instruction.module in sys.modules
    ]
    problems += [
        f"{removal.module} is a namespace package in {new.version}"
        for removal in removals
        if new.spec(removal.module) is not None
    ]
    migrations = list(_migrations(instructions, loaded, old, new))
    problems += guards.of_imports()
    _raise_for([*problems, *obstacles.or_collect(partial(obstacles.everything, loaded, removals))])
    return Prepared(loaded, removals, migrations, old, new)


def _migrations(
    instructions: Sequence[Instruction], loaded: Iterable[Target], old: Version, new: Version
) -> Iterator[Migration]:
    known = targets.by_name(loaded)
    named = {
        module
        for instruction in instructions
        if isinstance(instruction, CodeChange)
        for module, _ in instruction.modules
    }
    for changed in known.values():
        if changed.name not in named and (changed.load.given or changed.load.taken):
            yield Migration(changed, old.version, None)
    for instruction in instructions:
        if not isinstance(instruction, CodeChange):
            continue
        for module, extra in instruction.modules:
            if (target := known.get(module)) is not None:
                application = target.load.application
                from_version: str | Down = old.applications.get(application, old.version)
                if instruction.direction == "down":
                    from_version = Down(new.applications.get(application, new.version))
                yield Migration(target, from_version, extra)


def _raise_for(*problems: Iterable[str]) -> None:
    if several := list(dict.fromkeys(problem for some in problems for problem in some)):
        raise CannotSwap(several)


def _is_class_of(target: Target, name: str) -> bool:
    """Whether a name of a module is bound to a class that is not another module's."""
    value: Any = target.names.get(name)
    return objects.is_a(value, type) and objects.module_of(value) == target.name


def _remove_modules(acts: undo_log.Acts, removals: Iterable[Remove]) -> None:
    for removal in removals:
        parent, _, tail = removal.module.rpartition(".")
        acts.no_item(sys.modules, removal.module)
        names = objects.module_names(parent)
        if names.get(tail) is sys.modules[removal.module]:
            acts.no_item(names, tail)


def _try_on_twins(functions: targets.Functions) -> None:
    """Put the new code into functions like these. Raises what that raises."""
    for _, function, after in functions.of:
        names: dict[str, Any] = {}
        twin = type(function)(function.__code__, names, closure=function.__closure__)
        twin.__code__ = after
