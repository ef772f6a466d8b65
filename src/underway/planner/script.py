"""High-level instructions -> low-level ones, in order, by the rules of OTP's systools (lib/sasl/src/systools_rc.erl)."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from underway_runtime.appup import (
    AddApplication,
    AddModule,
    Advanced,
    DeleteModule,
    HighLevel,
    Keep,
    LoadModule,
    Pin,
    RemoveApplication,
    Reset,
    RestartApplication,
    Step,
    Update,
)
from underway_runtime.release import instructions as low
from underway_runtime.release.instructions import Instruction

from ..errors import BuildError, listing

OfModule: TypeAlias = Update | LoadModule | AddModule | DeleteModule


@dataclass(frozen=True)
class Code:
    """What is known of the code that is to be loaded."""

    loads: Mapping[str, low.Load]
    removes: Mapping[str, low.Remove]
    applications: Mapping[str, str]
    """The application of each module, in either release."""
    versions: Mapping[str, str]
    """The version of each application as it will be."""
    up: bool = True
    modules: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The modules of each application as it is."""


def translate(scripts: Sequence[tuple[str, Sequence[Step]]], code: Code) -> tuple[Instruction, ...]:
    """One script of all the applications' own, each with the name of its application.

    Raises BuildError with everything that is wrong: a module that two instructions name, an unknown one, a load of what was
    not read before, a suspend without its resume.
    """
    problems: list[str] = []
    before: list[Step] = []
    after: list[Step] = []
    for application, script in scripts:
        early, late = _split(application, script, problems)
        before += early
        after += late
    expanded = [instruction for step in after for instruction in _expanded(step, code)]
    of_modules = [step for step in expanded if isinstance(step, OfModule)]
    problems += _module_problems(of_modules, code)
    if problems:
        raise BuildError(listing("the instructions for the upgrade can't be put in order:", problems))
    body = list(_placed(expanded, of_modules, code))
    fetched = [step for step in (*before, *body) if isinstance(step, low.LoadObjectCode)]
    body = [step for step in body if not isinstance(step, low.LoadObjectCode)]
    prefetch = _prefetch(fetched, body, code, problems)
    applied = [step for step in before if isinstance(step, low.Apply)]
    restarting = [step for step in body if isinstance(step, low.RestartNewEmulator | low.RestartEmulator)]
    body = [step for step in body if step not in restarting]
    first, last = _restarts(restarting, code.up)
    in_order = [step for step in body if not isinstance(step, HighLevel)]
    made: tuple[Instruction, ...] = (*first, *prefetch, *applied, low.PointOfNoReturn(), *in_order, *last)
    if problems := [*problems, *_pair_problems(made)]:
        raise BuildError(listing("the instructions for the upgrade don't fit together:", problems))
    return made


def _split(application: str, script: Sequence[Step], problems: list[str]) -> tuple[list[Step], list[Step]]:
    """A script at its point of no return: what comes before it, which may only read and apply, and all else."""
    script = [step for step in script if not isinstance(step, Keep | Reset | Pin)]
    points = [index for index, step in enumerate(script) if isinstance(step, low.PointOfNoReturn)]
    if len(points) > 1:
        problems.append(f"{application}: there are {len(points)} points of no return; at most one makes sense")
    if not points:
        return [], list(script)
    early, late = script[: points[0]], script[points[0] + 1 :]
    problems += [
        f"{application}: {_name(step)} is before the point of no return; only load_object_code and apply may be"
        for step in early
        if not isinstance(step, low.LoadObjectCode | low.Apply)
    ]
    return list(early), [step for step in late if not isinstance(step, low.PointOfNoReturn)]


def _expanded(step: Step, code: Code) -> Iterator[Step]:
    match step:
        case AddApplication(application, mode):
            if mode != "none":
                yield low.ApplicationLoad(application)
            if mode in ("permanent", "transient", "temporary"):
                yield low.ApplicationStart(application, mode)
        case RemoveApplication(application):
            modules = tuple(code.modules.get(application, ()))
            yield low.ApplicationStop(application)
            yield from (code.removes.get(module, low.Remove(module)) for module in modules)
            yield low.Purge(modules)
            yield low.ApplicationUnload(application)
        case RestartApplication(application):
            modules = tuple(code.modules.get(application, ()))
            yield low.ApplicationStop(application)
            yield from (low.Remove(module) for module in modules)
            yield low.Purge(modules)
            yield low.LoadObjectCode(application, code.versions.get(application, ""), modules)
            yield low.ApplicationLoad(application)
            yield low.ApplicationStart(application)
        case low.Load(module):
            yield replace(code.loads.get(module, step), pre=step.pre, post=step.post)
        case low.Remove(module):
            yield replace(code.removes.get(module, step), pre=step.pre, post=step.post)
        case _:
            yield step


def _module_problems(steps: Sequence[OfModule], code: Code) -> Iterator[str]:
    named = [step.module for step in steps]
    for module in dict.fromkeys(named):
        if named.count(module) > 1:
            yield f"{module} has {named.count(module)} instructions; a module has one"
    for step in steps:
        if isinstance(step, DeleteModule):
            if step.module not in code.removes:
                yield f"delete_module {step.module}: it is not among the modules that are gone"
        elif step.module not in code.loads:
            yield f"{_name(step)} {step.module}: there is no such module in an application that changes"
        elif isinstance(step, Update) and step.change != "soft" and not code.loads[step.module].code_change:
            yield f"update {step.module}: nothing in it defines code_change, in the newer version"
        for dep in step.deps:
            if dep not in named:
                yield f"{step.module} depends on {dep}, which no instruction is for"


def _placed(steps: Sequence[Step], of_modules: Sequence[OfModule], code: Code) -> Iterator[Step]:
    """All instructions; those of modules that depend on each other together, where the first of them stands."""
    component = {step.module: group for group in _components(of_modules) for step in group}
    done: set[str] = set()
    for step in steps:
        if not isinstance(step, OfModule):
            yield step
        elif step.module not in done:
            group = component[step.module]
            done |= {member.module for member in group}
            yield from _group(group, code)


def _components(steps: Sequence[OfModule]) -> list[list[OfModule]]:
    """Instructions in groups that depend on each other, each sorted: who depends on others comes before these."""
    group: dict[str, set[str]] = {step.module: {step.module} for step in steps}
    for step in steps:
        for dep in step.deps:
            merged = group[step.module] | group[dep]
            for module in merged:
                group[module] = merged
    seen: list[set[str]] = []
    for step in steps:
        if group[step.module] not in seen:
            seen.append(group[step.module])
    return [_sorted([step for step in steps if step.module in members]) for members in seen]


def _sorted(steps: list[OfModule]) -> list[OfModule]:
    needs = {step.module: [dep for dep in step.deps if dep != step.module] for step in steps}
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())[::-1]
    except graphlib.CycleError:
        return steps
    return sorted(steps, key=lambda step: order.index(step.module))


def _group(steps: list[OfModule], code: Code) -> Iterator[Step]:
    updates = [step for step in steps if isinstance(step, Update)]
    suspended = tuple((step.module, step.timeout) for step in updates)
    resumed = tuple(step.module for step in updates)
    dynamic, static = (
        _code_changes([s for s in updates if not _static(s)]),
        _code_changes(list(filter(_static, updates))),
    )
    if suspended:
        yield low.Suspend(suspended)
    if code.up:
        yield from _loads(steps[::-1], code)
        if both := (*dynamic, *static):
            yield low.CodeChange("up", both)
    else:
        if dynamic:
            yield low.CodeChange("down", dynamic)
        yield from _loads(steps, code)
        if static:
            yield low.CodeChange("down", static)
    if resumed:
        yield low.Resume(resumed[::-1])


def _static(step: Update) -> bool:
    return step.static or step.change == "supervisor"


def _code_changes(steps: Iterable[Update]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (step.module, step.change.extra if isinstance(step.change, Advanced) else None)
        for step in steps
        if step.change != "soft"
    )


def _loads(steps: Iterable[OfModule], code: Code) -> Iterator[Step]:
    removed = []
    for step in steps:
        match step:
            case DeleteModule(module):
                yield code.removes[module]
                removed.append(module)
            case AddModule(module):
                yield code.loads[module]
            case _:
                yield replace(code.loads[step.module], pre=step.pre, post=step.post)
    if removed:
        yield low.Purge(tuple(removed))


def _prefetch(
    fetched: Sequence[low.LoadObjectCode], body: Sequence[Step], code: Code, problems: list[str]
) -> list[low.LoadObjectCode]:
    """What is read beforehand, once for each application."""
    modules: dict[str, dict[str, None]] = {}
    for fetch in fetched:
        if fetch.version != code.versions.get(fetch.application):
            version = code.versions.get(fetch.application, "nothing")
            problems.append(f"load_object_code of {fetch.application} {fetch.version}; there will be {version}")
        modules.setdefault(fetch.application, {}).update(dict.fromkeys(fetch.modules))
    for step in body:
        if isinstance(step, low.Load):
            if step.module not in code.loads:
                problems.append(f"load of {step.module}, which is not read before: no application that changes has it")
            modules.setdefault(code.applications.get(step.module, step.application), {})[step.module] = None
    return [low.LoadObjectCode(name, code.versions.get(name, ""), tuple(of)) for name, of in modules.items()]


def _restarts(steps: Sequence[Step], up: bool) -> tuple[list[Instruction], list[Instruction]]:
    new = any(isinstance(step, low.RestartNewEmulator) for step in steps)
    plain = any(isinstance(step, low.RestartEmulator) for step in steps)
    if new and up:
        return [low.RestartNewEmulator()], [low.RestartEmulator()] if plain else []
    return [], [low.RestartEmulator()] if new or plain else []


def _pair_problems(steps: Sequence[Step]) -> Iterator[str]:
    for first, second, way in ((low.Suspend, low.Resume, "resumed"), (low.Stop, low.Start, "started again")):
        open_: list[str] = []
        for step in steps:
            if isinstance(step, first):
                open_ += [module if isinstance(module, str) else module[0] for module in step.modules]
            elif isinstance(step, second):
                for module in step.modules:
                    if module in open_:
                        open_.remove(module)
                    else:
                        yield f"{module} is {way} without having been {'suspended' if way == 'resumed' else 'stopped'}"
        yield from (f"{module} is never {way}" for module in open_)


def _name(step: Step) -> str:
    name = type(step).__name__
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
