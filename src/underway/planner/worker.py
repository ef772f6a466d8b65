"""Compares the modules of two releases; run by the target's interpreter, whose grammar and byte code they are in.

A line of standard input says which releases there are, by name; each that follows is a task, as JSON, in which these stand for
what they are, and is answered so: see `compare`. Imports the standard library and what is next to it only.
"""

from __future__ import annotations

import ast
import gc
import graphlib
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from underway_runtime.release.instruction_json import to_json
from underway_runtime.release.instructions import Load, Remove
from underway_runtime.release.relup import Row

from . import looked_up, passed, reach, stars, tests
from .edit import ModuleDiff, PlannerContext
from .order import ORDER
from .rules import frameworks, made_again, running
from .rules import globals as bindings
from .rules import modules as rules
from .rules.frameworks import registered
from .source import Module, Origin, import_source, imported, names_bound, own_imports, read, statements, tried, walk
from .values import Side


class Modules(Mapping[str, Module]):
    """The modules of a release, each read when it is asked for; one that can't be read is not there."""

    def __init__(self, root: Path, places: Mapping[str, tuple[str, str]], known: dict[str, Module | None]) -> None:
        self.root, self.places = root, places
        self.known = known
        """Those that were read."""
        self._asking: set[str] = set()

    def __getitem__(self, name: str) -> Module:
        if name not in self.known:
            self.known[name] = self._read(name)
        if (module := self.known[name]) is None:
            raise KeyError(name)
        return module

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def _read(self, name: str) -> Module | None:
        if name not in self.places:
            return None
        application, file = self.places[name]
        try:
            module = stars.expanded(read(name, application, self.root, file), self._unless_asking)
        except (SyntaxError, ValueError, OSError, EOFError, TypeError, RecursionError):
            return None
        return replace(module, imports={**module.imports, **dict(self._tried(module))})

    def _unless_asking(self, name: str) -> Module | None:
        """A module, unless it imports from the one that asks for it."""
        if name in self._asking:
            return None
        self._asking.add(name)
        try:
            return self.get(name)
        finally:
            self._asking.discard(name)

    def _tried(self, module: Module) -> Iterator[tuple[str, Origin]]:
        """Imports that are tried, and go well in this release, since it has the module and that binds the name."""
        for statement in module.body:
            for name, (source, attribute) in tried(statement, module.name, module.package).items():
                if module.stored.get(name) == 1 and source in self.places and source != module.name:
                    bound = {name for inner in self._body(source) for name in names_bound(inner)}
                    if not attribute or attribute in bound or f"{source}.{attribute}" in self.places:
                        yield name, (source, attribute)

    def _body(self, name: str) -> Sequence[ast.stmt]:
        """The statements of a module; not the module, which may try to import the one that asks."""
        return statements(self.root / self.places[name][1])


def compare(task: Mapping[str, Any], known: Mapping[str, dict[str, Module | None]] = {}) -> dict[str, Any]:
    """Tell what becomes of the modules that a task names; `known` are those of ``old`` and ``new`` that were read before.

    The task has ``old`` and ``new``, each with ``root``, ``modules`` (name -> application and file) and ``versions``; ``compared``,
    names of modules; ``up``; and what the appup says: ``kept``, ``reset`` and ``pinned``. The answer has ``changes``, rows;
    ``loads`` and ``removes``, instructions by module; ``requires``, which of the modules each imports; ``unknown``, what the
    appup speaks of and no module binds; ``asked``, module, definition and change of each row that is RESTART only as long as nobody
    looks what becomes of it; ``ordered``, modules to look at besides; and ``libraries``, whose calls these depend on. Where the task
    says ``observed``, that will be looked at, and ``remade`` are globals that are made again; there are then ``lines``, where each
    name of a module is bound, and ``made``, under which names a fragment makes what is new in a global.
    """
    names = frozenset(name for name in task["compared"] if not tests.is_test(name))
    staying = frozenset(tuple(pair) for pair in task["kept"])
    old, new = (_side(task[key], staying, known.get(key, {})) for key in ("old", "new"))
    reset = frozenset(tuple(pair) for pair in task["reset"])
    remade = frozenset(tuple(pair) for pair in task.get("remade", ()))
    world = PlannerContext(old, new, task["up"], {}, staying, reset | remade, frozenset(task["pinned"]), names)
    world.remade = remade - reset
    world.observed = task.get("observed", False)
    rows: list[Row] = []
    edits: dict[str, ModuleDiff] = {}
    for name in sorted(names & new.modules.keys()):
        after, before = new.modules.get(name), old.modules.get(name)
        if after is None or (before is None and name in old.modules):
            rows += _unreadable(task, name)
        else:
            edits[name] = ModuleDiff(before or after, after, world)
    world.values = {
        origin: value for edit in edits.values() for origin, value in bindings.changed_values(world, edit.old, edit.new)
    }
    for name, edit in edits.items():
        if name not in old.modules:
            edit.rows.append(rules.added(world, edit.new))
        rules.compare(edit)
    removes = {}
    for name in sorted(names & old.modules.keys() - new.modules.keys()):
        gone = old.modules.get(name)
        if gone is not None:
            row, guards = rules.removed(world, gone)
            rows.append(row)
            removes[name] = Remove(name, guards=guards)
    reach.check(world, edits, [edit.new for edit in edits.values()])
    passed.check(edits)
    made_again.imported(edits.values())
    looked_up.check(world, edits)
    root, files = Path(task["new"]["root"]), task["new"]["modules"]
    others = {name: root / file for name, (_, file) in files.items() if name not in names}
    frameworks.check(world, edits, others)
    _star_imports(edits)
    _other_imports(world, edits)
    if world.observed:
        registered.follow(world, edits)
        frameworks.propose(edits)
    for edit in edits.values():
        edit.check_scopes()
    loads = {name: load for name, edit in edits.items() if (load := _load(edit)) is not None}
    loads |= tests.not_loaded(task)
    rows += tests.rows(task)
    rows += [row for edit in edits.values() for row in edit.rows]
    rows += running.warnings(edits)
    return {
        "changes": [asdict(row) for row in sorted(rows, key=lambda row: (row.module, row.line, row.definition))],
        "asked": [[name, *row] for name, edit in edits.items() for row in edit.asked],
        "ordered": sorted(_seeing_order(edits, task["new"]["modules"])),
        "compiled": [[name, *of] for name, edit in edits.items() for of in sorted(edit.compiled.items())],
        "libraries": sorted({library for edit in edits.values() for library in edit.libraries}),
        "loads": {name: to_json(load) for name, load in loads.items()},
        "removes": {name: to_json(remove) for name, remove in removes.items()},
        "unknown": [[module, name] for module, name in sorted(staying | reset) if not _binds(edits.get(module), name)],
        "lines": {name: _lines(edit.new) for name, edit in edits.items()} if world.observed else {},
        "made": {name: edit.made_in for name, edit in edits.items()},
        "requires": {name: sorted(_imports(edit.new) & names) for name, edit in edits.items()},
    }


def _side(given: Mapping[str, Any], staying: frozenset[Any], known: dict[str, Module | None]) -> Side:
    places = {name: (application, file) for name, (application, file) in given["modules"].items()}
    return Side(Modules(Path(given["root"]), places, known), given["versions"], staying)


def _unreadable(task: Mapping[str, Any], name: str) -> list[Row]:
    """A module that can't be parsed: nobody imports it, or it is the release that can't be read."""
    sides = [task[key] for key in ("old", "new")]
    contents = [
        Path(side["root"], side["modules"][name][1]).read_bytes() if name in side["modules"] else None for side in sides
    ]
    if contents[0] == contents[1]:
        return []
    file = task["new"]["modules"].get(name, task["old"]["modules"].get(name))[1]
    return [Row(name, "", "source", "RESTART", "its source, or its compiled code, can't be read", file)]


def _load(edit: ModuleDiff) -> Load | None:
    if edit.verdict in ("RESTART", "REFUSE"):
        return None
    try:
        return edit.load()
    except (ValueError, SyntaxError, TypeError) as error:
        edit.restart("", "source", str(error), None)
        return None


def _seeing_order(edits: Mapping[str, ModuleDiff], modules: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The modules in which the order may be seen in which another one does what it does: all of the same application."""
    applications = {edit.new.application for edit in edits.values() if any(change == ORDER for _, change in edit.asked)}
    yield from (name for name, (application, _) in modules.items() if application in applications)


def _binds(edit: ModuleDiff | None, name: str) -> bool:
    return edit is not None and (name in edit.new.stored or name in edit.old.stored)


def _lines(module: Module) -> dict[str, int]:
    return {name: statement.lineno for statement in module.body for name in names_bound(statement)}


def _star_imports(edits: Mapping[str, ModuleDiff]) -> None:
    """Ask for a look at who imports all names of a module in which names come, go or are bound again: nobody knows of the copies."""
    for edit in edits.values():
        for statement in edit.new.body:
            origins = imported(statement, edit.new.name, edit.new.package)
            source = origins.get("*", ("", ""))[0]
            other = edits.get(source)
            if other and (other.was or other.replaced or other.rebind or other.added or other.removed):
                edit.unless_seen("", "import", f"`from {source} import *` has bound what changes there", statement)


def _other_imports(world: PlannerContext, edits: Mapping[str, ModuleDiff]) -> None:
    """Look at names that an import binds which is not one of the module's own statements, or not the only one to bind it.

    They are not bound again: where what they stand for changes, comes or goes, only a fresh start tells what they become.
    """
    for edit in edits.values():
        for statement in own_imports(edit.new.body):
            for name, (source, attribute) in imported(statement, edit.new.name, edit.new.package).items():
                if edit.new.imports.get(name) == (source, attribute) and edit.old.imports.get(name) == (
                    source,
                    attribute,
                ):
                    continue
                if any(row.definition == name and row.verdict == "RESTART" for row in edit.rows):
                    continue
                if name in {*edit.added, *edit.rebind, *edit.replaced} or not _changes(world, edits, source, attribute):
                    continue
                what = ".".join(filter(None, (source, attribute)))
                reason = f"an import that may not run, or is not the only one, has bound what {what} was"
                edit.unless_seen(name, "import", reason, statement, cause=(source, attribute))


def _changes(world: PlannerContext, edits: Mapping[str, ModuleDiff], source: str, attribute: str) -> bool:
    """Whether what an import binds is another in the new release, or is only in one of them."""
    for name in (source, f"{source}.{attribute}"):
        if (name in world.old.modules) != (name in world.new.modules):
            return True
    other = edits.get(source)
    if other is None:
        return False
    return attribute in {*other.was, *other.replaced, *other.rebind, *other.added, *other.removed}


def _imports(module: Module) -> set[str]:
    imports = set()
    for statement in module.body:
        for node in walk(statement):
            if isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                source = import_source(node, module.name, module.package)
                imports |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return imports - {module.name}


def order(requires: Mapping[str, list[str]]) -> list[str]:
    """Modules after those that they import, as far as these do not import each other."""
    remaining = {name: set(needed) & requires.keys() for name, needed in requires.items()}
    ordered: list[str] = []
    while remaining:
        sorter = graphlib.TopologicalSorter({name: sorted(needed) for name, needed in sorted(remaining.items())})
        try:
            return ordered + list(sorter.static_order())
        except graphlib.CycleError as error:
            cycle = error.args[1]
            remaining[cycle[1]].discard(cycle[0])
    return ordered


def main() -> None:
    """Answer tasks until there are no more."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(10_000)
    gc.disable()  # it keeps what it has read, and does not run for long
    sides = json.loads(sys.stdin.readline())
    known: dict[str, dict[str, Module | None]] = {name: {} for name in sides}
    for line in sys.stdin:
        task = json.loads(line)
        names = {key: task[key] for key in ("old", "new")}
        answer = compare(
            {**task, **{key: sides[name] for key, name in names.items()}},
            {key: known[name] for key, name in names.items()},
        )
        print(json.dumps(answer), flush=True)
