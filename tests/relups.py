"""Relups made by hand, for tests of the swap: runs in the process that is swapped, with the standard library alone.

``swap(shop=dict(run=["LIMIT"], ...))`` prepares what the arguments say: for each module the fields of a `Load`, of which
``changed`` is found by comparing the two versions, and ``fragment`` is made of the statements that bind the names in ``run``.
"""

from __future__ import annotations

import ast
import marshal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from underway_runtime.node.code import read_index, running
from underway_runtime.release.codetree import digest, tree
from underway_runtime.release.instructions import Changed, CodeChange, Guard, Instruction, Load, Remove
from underway_runtime.upgrade.live.swap import Prepared, prepare
from underway_runtime.upgrade.live.versions import Version


def version(number: str) -> Version:
    """A version of the release that this process runs from; that of its applications is the same."""
    path = Path(sys.prefix).parent / number
    index = read_index(f"{path}/code.index")
    applications = {directory.rpartition("-")[0]: f"{number}.0" for each in index.top.values() for directory in each}
    return Version(number, path, index, applications)


def load(module: str, old: Version, new: Version, run: Collection[str] = (), **fields: Any) -> Load:
    """What a module becomes."""
    (_, before), (spec, after) = old.code(module), new.code(module)
    was, now = tree(before), tree(after)
    changed = {
        path: Changed(digest(was[path]), digest(now[path]))
        for path in was.keys() & now.keys()
        if digest(was[path]) != digest(now[path])
    }
    fields["guards"] = tuple(Guard(*guard) for guard in fields.get("guards", ()))
    assert spec.origin is not None
    made = fragment(Path(spec.origin).read_text(), run, spec.origin) if run else None
    return Load(module, module.partition(".")[0], fragment=made, changed=changed, **fields)


def swap(
    direction: str = "up", to: str = "2", extra: Any = None, removed: Collection[str] = (), **loads: dict[str, Any]
) -> Prepared:
    """Prepare a swap from the version that runs; a module's dots are written as ``__``."""
    here, there = version(Path(sys.prefix).name), version(to)
    assert running() is not None
    instructions: list[Instruction] = [
        load(name.replace("__", "."), here, there, **fields) for name, fields in loads.items()
    ]
    instructions += [Remove(name) for name in removed]
    migrated = [(each.module, extra) for each in instructions if isinstance(each, Load) and each.code_change]
    if migrated:
        instructions.append(CodeChange("down" if direction == "down" else "up", tuple(migrated)))
    return prepare(instructions, here, there)


def done(**how: Any) -> Prepared:
    """Prepare a swap and do it."""
    prepared = swap(**how)
    prepared.stage_and_migrate()
    prepared.swap()
    return prepared


def fragment(source: str, run: Collection[str], file: str) -> bytes:
    """The statements that bind these names, compiled; of a class with a dot only those members."""
    module = ast.parse(source)
    kept: list[ast.stmt] = []
    for statement in module.body:
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if future or any(name in run for name in bound(statement)):
            kept.append(statement)
        elif isinstance(statement, ast.ClassDef):
            members = {name.partition(".")[2] for name in run if name.startswith(f"{statement.name}.")}
            body = [each for each in statement.body if members & {*bound(each)}]
            if body:
                statement.bases, statement.keywords, statement.decorator_list, statement.body = [], [], [], body
                kept.append(statement)
    module.body = kept
    return marshal.dumps(compile(module, file, "exec", dont_inherit=True))


def bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((each.asname or each.name).partition(".")[0] for each in names)
        case _:
            yield from (
                each.id
                for each in ast.walk(statement)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            )
