"""Functions that can't be called any more as before, where others hold them: a pending call has the old arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from .edit import ModuleDiff
from .source import Module, import_time, walk


def check(edits: Mapping[str, ModuleDiff]) -> None:
    """Write RESTART rows for such functions that the old modules hand over as a value when they are imported: to a table, a property.

    Whether anybody else has one only the process knows, and looks.
    """
    if not any(edit.narrowed for edit in edits.values()):
        return
    handed = {name: module.name for edit in edits.values() for module in [edit.old] for name in _handed(module)}
    for edit in edits.values():
        for name, node in edit.narrowed.items():
            if (bare := name.rpartition(".")[2]) in handed:
                reason = f"{handed[bare]} hands it over as a value; what holds it may call it as before"
                edit.restart(name, "signature", reason, node)


def _handed(module: Module) -> set[str]:
    """The names that a module reads when it is imported, without calling what they stand for, or decorating with it."""
    called = {id(function) for statement in module.body for node in walk(statement) for function in _not_handed(node)}
    names: set[str] = set()
    for statement in module.body:
        for node in import_time(statement, annotations=False):
            match node:
                case ast.Name(name, ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()) if id(node) not in called:
                    names.add(name)
    return names


def _not_handed(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func):
            yield func
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from node.decorator_list
        case ast.Attribute(value):
            yield value
