"""Two releases -> one relup: for each way its verdict, its changes, and the instructions in order."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underway_runtime.appup import (
    AddApplication,
    AddModule,
    Advanced,
    DeleteModule,
    LoadModule,
    RemoveApplication,
    Step,
    Update,
)
from underway_runtime.release import instructions as low
from underway_runtime.release import manifest
from underway_runtime.release.instruction_json import from_json
from underway_runtime.release.instructions import Load, Remove
from underway_runtime.release.relup import Relup, RelupEntry, Row, worst

from ..errors import BuildError, listing
from .appups import AppupDirectives, completed, directives_of
from .comparing import Comparer, comparer
from .diff import Difference, compared, difference
from .diff.presence import ASKED
from .releases import Opened
from .script import Code, translate
from .trial.adjustments import Proposal
from .trial.observed import Asked, settle
from .trial.rehearsals import Trials
from .trial.stored import Pictures

_SEEN = "; seen: "
_TOLD = 3
"""Differences that the reason of a row names."""


@dataclass(frozen=True)
class Compared:
    """What the modules of two releases have for differences."""

    changes: tuple[Row, ...]
    loads: Mapping[str, Load]
    removes: Mapping[str, Remove]
    requires: Mapping[str, Sequence[str]]
    seen: bool = False
    """Whether it was looked what becomes of them."""


def plan(target: Opened, up: Sequence[Opened], down: Sequence[Opened]) -> Relup:
    """How a node comes to `target` from the releases in `up`, and goes back to those in `down`.

    Raises BuildError where that makes no sense, or the instructions don't fit together; a change that needs a person is a row with
    the verdict REFUSE.
    """
    for other in (*up, *down):
        if other.manifest.name != target.manifest.name:
            raise BuildError(f"{other.manifest.name} and {target.manifest.name} are two releases, not versions of one")
        if other.manifest.version == target.manifest.version:
            raise BuildError(
                f"both are {target.manifest.name} {target.manifest.version}; a relup leads to another version"
            )
    ways = [*((other, True) for other in up), *((other, False) for other in down)]
    pairs = {
        other.place.path: (other, {is_up for release, is_up in ways if release.place.path == other.place.path})
        for other, _ in ways
    }
    # One after the other: what Python 3.11 parses in two threads at a time may fail with "AST constructor recursion depth mismatch".
    entries = {path: _entries(target, *pair) for path, pair in pairs.items()}
    return Relup(
        name=target.manifest.name,
        version=target.manifest.version,
        target_id=manifest.plan_id(target.manifest),
        interpreter=target.manifest.interpreter,
        magic=_magic(target),
        up=tuple(entries[other.place.path][True] for other in up),
        down=tuple(entries[other.place.path][False] for other in down),
    )


@dataclass(frozen=True)
class _Means:
    """What the ways between two releases are found with."""

    comparer: Comparer
    trials: Trials
    pictures: Pictures
    names: Mapping[Path, str]
    """What tasks call each release."""


def _entries(target: Opened, other: Opened, ways: set[bool]) -> dict[bool, RelupEntry]:
    """The ways between two releases: True is up to the target, False down from it."""
    names = {target.place.path: "target", other.place.path: "other"}
    releases = {"target": target, "other": other}
    with comparer(target.place.python, releases) as compares, Trials(target, other) as trials:
        means = _Means(compares, trials, Pictures(target, other), names)
        return {
            up: _entry(*((other, target) if up else (target, other)), other, means, up=up)
            for up in sorted(ways, reverse=True)
        }


def _entry(old: Opened, new: Opened, other: Opened, means: _Means, *, up: bool) -> RelupEntry:
    directives = directives_of(new if up else old, other, "up" if up else "down")
    differing = difference(old, new, directives.kept)
    modules = (
        _compare(old, new, differing, directives, means, up=up) if differing.in_place else Compared((), {}, {}, {})
    )
    changes = (*_read_again(differing, modules), *modules.changes, *directives.restarts())
    verdict = worst(row.verdict for row in changes)
    instructions: tuple[low.Instruction, ...]
    if verdict in ("RESTART", "REFUSE"):
        instructions = (low.RestartNewEmulator() if differing.interpreter else low.RestartEmulator(),)
    else:
        instructions = _instructions(old, new, differing, modules, directives, up=up)
    return RelupEntry(other.manifest.version, manifest.plan_id(other.manifest), "", verdict, changes, instructions)


def _read_again(differing: Difference, modules: Compared) -> list[Row]:
    """Give the rows of all but modules; where it was looked, who reads a file looks for it where it is now."""
    read = "whoever reads it looks for it where it is now, and has kept nothing of it"
    answer = "it makes nothing of what comes or goes"
    return [
        replace(row, verdict="HOT", reason=answer if row.change == ASKED else read)
        if modules.seen and row in differing.asked
        else row
        for row in differing.rows
    ]


def _instructions(
    old: Opened, new: Opened, differing: Difference, modules: Compared, directives: AppupDirectives, *, up: bool
) -> tuple[low.Instruction, ...]:
    """Added applications, then changed ones in the order of their start, then removed ones: systools' order."""
    applications = {name: application for side in (old, new) for name, (application, _) in side.modules.items()}
    scripts: list[tuple[str, Sequence[Step]]] = [
        *((name, [AddApplication(name, _mode(new, name))]) for name in differing.added)
    ]
    named = dict.fromkeys((*differing.changed, *(applications[name] for name in modules.loads)))
    scripts += [
        (name, completed(directives.steps.get(name, ()), modules.loads, _generated(name, applications, modules, old)))
        for name in sorted(named, key=list(new.rel).index)
    ]
    scripts += [(name, [RemoveApplication(name)]) for name in differing.removed]
    return translate(
        scripts,
        Code(
            loads=modules.loads,
            removes=modules.removes,
            applications=applications,
            versions={name: version for name, (version, _) in new.rel.items()},
            up=up,
            modules=_modules_of(old),
        ),
    )


def _generated(name: str, applications: Mapping[str, str], modules: Compared, old: Opened) -> list[Step]:
    """Instructions for the modules of an application, as the rules make them."""
    loaded = [module for module in modules.loads if applications[module] == name]
    gone = [module for module in modules.removes if applications[module] == name]
    steps: list[Step] = []
    for module in loaded:
        load = modules.loads[module]
        deps = tuple(
            required
            for required in modules.requires.get(module, ())
            if required in modules.loads and required != module
        )
        if module not in old.modules:
            steps.append(AddModule(module, deps))
        elif load.code_change:
            steps.append(Update(module, Advanced(), deps))
        elif (
            load.changed
            or load.values
            or load.removed
            or load.replaced
            or load.rebind
            or load.refreshed
            or load.given
            or load.taken
        ):
            steps.append(Update(module, deps=deps))
        else:
            steps.append(LoadModule(module, deps))
    return [*steps, *(DeleteModule(module) for module in gone)]


def _compare(
    old: Opened, new: Opened, differing: Difference, directives: AppupDirectives, means: _Means, *, up: bool
) -> Compared:
    """Compare modules in a process that sees nothing of either release.

    What can't be told from the source is tried, where nothing else takes a fresh interpreter anyway.
    """
    names = compared(old, new, differing)
    task = {
        "old": means.names[old.place.path],
        "new": means.names[new.place.path],
        "compared": names,
        "up": up,
        "kept": sorted(directives.kept),
        "reset": sorted(directives.reset),
        "pinned": sorted(directives.pinned),
    }
    answer = means.comparer.answer(task)
    files = {path for side in (old, new) for path in side.manifest.files}
    if unknown := [
        f"{module}:{name}"
        for module, name in answer["unknown"]
        if not any(path.endswith(f"/{module.replace('.', '/')}/{name}") for path in files)
    ]:
        raise BuildError(listing("an appup speaks of what neither version has:", unknown))
    rules = _compared(answer)
    restarting = [row for row in (*rules.changes, *differing.rows, *directives.restarts()) if row.verdict == "RESTART"]
    asked_for = len(answer["asked"]) + len(differing.asked)
    if not asked_for:
        return rules
    if len(restarting) != asked_for:
        return replace(
            rules,
            changes=_untried(rules.changes, answer["asked"], [row for row in restarting if row not in differing.asked]),
        )
    proposed = rules

    def propose(remade: frozenset[tuple[str, str]]) -> Proposal:
        nonlocal proposed
        observed = means.comparer.answer({**task, "observed": True, "remade": sorted(remade)})
        proposed = _compared(observed)
        return Proposal(
            changes=proposed.changes,
            loads=proposed.loads,
            instructions=lambda loads: _instructions(
                old, new, differing, replace(proposed, loads=loads), directives, up=up
            ),
            lines=observed["lines"],
            made=observed["made"],
        )

    asked = Asked(
        modules=sorted(
            {
                *answer["requires"],
                *answer["ordered"],
                *differing.asking,
                *means.pictures.holders(answer["requires"], answer["libraries"]),
            }
        ),
        definitions=frozenset(
            [*((module, name) for module, name, _ in answer["asked"]), *((module, "") for module in differing.asking)]
        ),
        compiled={(module, name): inherited for module, name, inherited in answer["compiled"]},
        decorated=frozenset((module, name) for module, name, change in answer["asked"] if change == "body"),
        libraries=answer["libraries"],
        kept=directives.kept,
    )
    outcome = settle(old, new, asked, propose, means.trials, means.pictures)
    if outcome.problems:
        return replace(rules, changes=_explained(rules.changes, outcome.problems))
    return replace(proposed, changes=(*proposed.changes, *outcome.changes), loads=outcome.loads, seen=True)


def _untried(changes: Sequence[Row], asked: Sequence[Sequence[str]], restarting: Sequence[Row]) -> tuple[Row, ...]:
    """What the rules say, where rows that a look might clear say as well that there was none, and for whose sake."""

    def might(row: Row) -> bool:
        return row.verdict == "RESTART" and [row.module, row.definition, row.change] in asked

    whose = next((row for row in restarting if not might(row)), None)
    if whose is None:
        return tuple(changes)
    name = ":".join(filter(None, (whose.module, whose.definition)))
    note = f"; not tried, as {name} takes a fresh interpreter anyway"
    return tuple(replace(row, reason=row.reason + note) if might(row) else row for row in changes)


def _explained(changes: Sequence[Row], problems: Sequence[Row]) -> tuple[Row, ...]:
    """What the rules say, with what was seen: in the reason of the row of that definition, else of the first that is RESTART."""
    explained = list(changes)
    restarting = [number for number, row in enumerate(explained) if row.verdict == "RESTART"]
    if not restarting:  # what asked is about files
        return (*changes, *problems[:_TOLD])
    for problem in problems:
        name = re.split(r"[.\[<]", problem.definition)[0]
        of_definition = (
            n for n in restarting if (explained[n].module, explained[n].definition) == (problem.module, name)
        )
        at = next(of_definition, restarting[0])
        if explained[at].reason.count(_SEEN) < _TOLD:
            where = ".".join(filter(None, (problem.module, problem.definition)))
            what = f"{where}: {problem.reason}" if where else problem.reason
            explained[at] = replace(explained[at], reason=f"{explained[at].reason}{_SEEN}{what}")
    return tuple(explained)


def _compared(answer: Mapping[str, Any]) -> Compared:
    return Compared(
        changes=tuple(Row(**row) for row in answer["changes"]),
        loads={name: _load(document) for name, document in answer["loads"].items()},
        removes={name: _remove(document) for name, document in answer["removes"].items()},
        requires=answer["requires"],
    )


def _load(document: Any) -> Load:
    load = from_json(document)
    assert isinstance(load, Load)
    return load


def _remove(document: Any) -> Remove:
    remove = from_json(document)
    assert isinstance(remove, Remove)
    return remove


def _mode(side: Opened, name: str) -> Any:
    return side.rel[name][1]


def _modules_of(side: Opened) -> dict[str, list[str]]:
    modules: dict[str, list[str]] = {}
    for module, (application, _) in side.modules.items():
        modules.setdefault(application, []).append(module)
    return modules


def _magic(target: Opened) -> str:
    """The magic number of the target's compiled code, from one of its files."""
    for path in target.manifest.files:
        if path.endswith(".pyc"):
            with (target.root / path).open("rb") as file:
                return file.read(4).hex()
    return importlib.util.MAGIC_NUMBER.hex()
