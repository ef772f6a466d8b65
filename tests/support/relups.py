"""Relups made by hand, for tests of the swap: runs in the process that is swapped, with the standard library alone.

``swap(shop=dict(run=["LIMIT"], ...))`` prepares what the arguments say: for each module the fields of a `Load`, of which
``changed`` is found by comparing the two versions, and ``fragment`` is made of the statements that bind the names in ``run``.
"""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

from underway_runtime.code_server.finder import read_index, running
from underway_runtime.release.code_tree import digest, tree
from underway_runtime.release.instruction_json import from_json
from underway_runtime.release.instructions import Changed, CodeChange, Guard, Instruction, Load, Remove
from underway_runtime.upgrade.hot import statements
from underway_runtime.upgrade.hot.swap import Prepared, prepare
from underway_runtime.upgrade.hot.versions import Version


def version(number: str) -> Version:
    """A version of the release that this process runs from; that of its applications is the same."""
    path = Path(sys.prefix).parent / number
    index = read_index(f"{path}/code.index")
    applications = {directory.rpartition("-")[0]: f"{number}.0" for each in index.top.values() for directory in each}
    return Version(number, path, index, applications)


def load(
    module: str,
    old: Version,
    new: Version,
    run: Collection[str] = (),
    literal: Mapping[str, Any] = MappingProxyType({}),
    **fields: Any,
) -> Load:
    """What a module becomes; `literal`: values of names that the fragment reads and that change elsewhere."""
    (_, before), (spec, after) = old.code(module), new.code(module)
    was, now = tree(before), tree(after)
    changed = {
        path: Changed(digest(was[path]), digest(now[path]))
        for path in was.keys() & now.keys()
        if digest(was[path]) != digest(now[path])
    }
    fields["guards"] = tuple(Guard(*guard) for guard in fields.get("guards", ()))
    assert spec.origin is not None
    made = fragment(Path(spec.origin).read_text(), run, spec.origin, literal) if run else None
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


class _Values(ast.NodeTransformer):
    """Puts values in the place of names that a fragment would find the old ones for; not within functions."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.args = self.visit(node.args)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.values:
            return ast.copy_location(ast.parse(repr(self.values[node.id]), mode="eval").body, node)
        return node


def fragment(source: str, run: Collection[str], file: str, literal: Mapping[str, Any]) -> bytes:
    """The statements that bind these names, compiled; of a class with a dot only those members."""
    from underway.planner.values import Placed

    module = _Values(literal).visit(ast.parse(source))
    kept: list[ast.stmt] = []
    for statement in module.body:
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if future or any(name in run for name in bound(statement)):
            kept.append(statement)
        elif isinstance(statement, ast.ClassDef):
            members = {name.partition(".")[2] for name in run if name.startswith(f"{statement.name}.")}
            body = [each for each in statement.body if members & {*bound(each)}]
            if body:
                statement.bases, statement.decorator_list, statement.body = [], [], body
                statement.keywords = []
                kept.append(statement)
    futures: list[ast.stmt] = [
        each for each in kept if isinstance(each, ast.ImportFrom) and each.module == "__future__"
    ]
    made = [ast.Module([*futures, Placed().visit(each)], []) for each in kept if each not in futures]
    return statements.dump(compile(ast.fix_missing_locations(each), file, "exec", dont_inherit=True) for each in made)


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


def functions_of(name: str) -> list[FunctionType]:
    """The live functions of a package and of its modules."""
    names = {id(vars(module)) for key, module in sys.modules.items() if key.partition(".")[0] == name}
    return [each for each in gc.get_objects() if type(each) is FunctionType and id(each.__globals__) in names]


def planned(to: str = "2", extra: Any = None) -> tuple[list[str], Prepared]:
    """The verdicts of `underway relup` for what changes in ``shop``, and a swap as it has planned it."""
    from underway.planner.worker import compare

    here, there = version(Path(sys.prefix).name), version(to)
    up = here.version < to
    plan = compare(
        {
            "old": _side(here),
            "new": _side(there),
            "compared": sorted(_side(here)["modules"].keys() | _side(there)["modules"].keys()),
            "up": up,
            "kept": [],
            "reset": [],
            "pinned": [],
        }
    )
    instructions = [from_json(each) for each in (*plan["loads"].values(), *plan["removes"].values())]
    migrated = [(each.module, extra) for each in instructions if isinstance(each, Load) and each.code_change]
    instructions.append(CodeChange("up" if up else "down", tuple(migrated)))
    rows = [f"{row['definition']} {row['verdict']}: {row['reason']}" for row in plan["changes"]]
    if any(row["verdict"] in ("RESTART", "REFUSE") for row in plan["changes"]):
        raise ValueError("\n".join(rows))
    return rows, prepare(instructions, here, there)


def _side(side: Version) -> dict[str, Any]:
    directory = side.index.top["shop"][0]
    files = {
        file.relative_to(f"{side.lib}/{directory}").with_suffix(""): file.relative_to(side.path.parent.parent)
        for file in Path(side.lib, directory).rglob("*.py")
    }
    modules = {".".join(path.parts).removesuffix(".__init__"): ("shop", str(file)) for path, file in files.items()}
    return {"root": str(side.path.parent.parent), "modules": modules, "versions": dict(side.applications)}
