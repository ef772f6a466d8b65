"""Compares the modules of two releases; run by the target's interpreter, whose grammar and byte code they are in.

Takes a task from standard input, as JSON, and answers so: see `compare`. Imports the standard library and what is beside it only.
"""

from __future__ import annotations

import ast
import graphlib
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from underway_runtime.release.instructions import Load, Remove, to_json
from underway_runtime.release.relup import Row

from . import reach
from .edit import Edit, World
from .rules import globals as bindings
from .rules import modules as rules
from .rules import running
from .source import Module, import_source, imported, read
from .values import Side


class Modules(Mapping[str, Module]):
    """The modules of a release, each read when it is asked for; one that can't be read is not there."""

    def __init__(self, root: Path, places: Mapping[str, tuple[str, str]]) -> None:
        self.root, self.places = root, places
        self.known: dict[str, Module | None] = {}

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
            return read(name, application, self.root, file)
        except (SyntaxError, ValueError, OSError, EOFError, TypeError, RecursionError):
            return None


def compare(task: Mapping[str, Any]) -> dict[str, Any]:
    """What becomes of the modules that a task names.

    The task has ``old`` and ``new``, each with ``root``, ``modules`` (name -> application and file) and ``versions``; ``compared``,
    names of modules; ``up``; and what the appup says: ``kept``, ``reset`` and ``pinned``. The answer has ``changes``, rows;
    ``loads`` and ``removes``, instructions by module; ``requires``, which of the modules each imports; ``unknown``, what the
    appup speaks of and no module binds.
    """
    names = frozenset(task["compared"])
    kept = frozenset(tuple(each) for each in task["kept"])
    old, new = (_side(task[key], kept) for key in ("old", "new"))
    reset = frozenset(tuple(each) for each in task["reset"])
    world = World(old, new, task["up"], {}, kept, reset, frozenset(task["pinned"]), names)
    rows: list[Row] = []
    edits: dict[str, Edit] = {}
    for name in sorted(names & new.modules.keys()):
        after, before = new.modules.get(name), old.modules.get(name)
        if after is None or (before is None and name in old.modules):
            rows += _unreadable(task, name)
        else:
            edits[name] = Edit(before or after, after, world)
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
    _star_imports(edits)
    for edit in edits.values():
        edit.check_scopes()
    loads = {name: load for name, edit in edits.items() if (load := _load(edit)) is not None}
    rows += [row for edit in edits.values() for row in edit.rows]
    rows += running.warnings(edits)
    return {
        "changes": [asdict(row) for row in sorted(rows, key=lambda row: (row.module, row.line, row.definition))],
        "loads": {name: to_json(load) for name, load in loads.items()},
        "removes": {name: to_json(remove) for name, remove in removes.items()},
        "unknown": [[module, name] for module, name in sorted(kept | reset) if not _binds(edits.get(module), name)],
        "requires": {name: sorted(_imports(edit.new) & names) for name, edit in edits.items()},
    }


def _side(given: Mapping[str, Any], kept: frozenset[Any]) -> Side:
    places = {name: (application, file) for name, (application, file) in given["modules"].items()}
    return Side(Modules(Path(given["root"]), places), given["versions"], kept)


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


def _load(edit: Edit) -> Load | None:
    if edit.verdict in ("RESTART", "REFUSE"):
        return None
    try:
        return edit.load()
    except (ValueError, SyntaxError, TypeError) as error:
        edit.restart("", "source", str(error), None)
        return None


def _binds(edit: Edit | None, name: str) -> bool:
    return edit is not None and (name in edit.new.stored or name in edit.old.stored)


def _star_imports(edits: Mapping[str, Edit]) -> None:
    """A module that imports all names of one in which names come, go or are bound anew has copies that nobody knows of."""
    for edit in edits.values():
        for statement in edit.new.body:
            origins = imported(statement, edit.new.name, edit.new.package)
            source = origins.get("*", ("", ""))[0]
            other = edits.get(source)
            if other and (other.was or other.replaced or other.rebind or other.added or other.removed):
                edit.restart("", "import", f"`from {source} import *` has bound what changes there", statement)


def _imports(module: Module) -> set[str]:
    found = set()
    for statement in module.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                source = import_source(node, module.name, module.package)
                found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return found - {module.name}


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
    """Answer one task."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(10_000)
    json.dump(compare(json.load(sys.stdin)), sys.stdout)
