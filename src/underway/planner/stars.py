"""``from … import *``: the names that it binds, where the source of both modules tells them for certain."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from .source import Module, import_source, import_time, names_bound, walk, with_body

_ANY = {"globals", "vars", "locals", "exec", "eval", "setattr", "__all__", "__dict__"}
"""Names by which what runs at import may bind what no statement says, or change what the module gives away."""

Lookup = Callable[[str], Module | None]


def expanded(module: Module, lookup: Lookup) -> Module:
    """The module with each such import as one of names; itself where there is none that can be told."""
    body = [_named(statement, module, lookup) for statement in module.body]
    return with_body(module, body) if any(a is not b for a, b in zip(body, module.body, strict=True)) else module


def _named(statement: ast.stmt, module: Module, lookup: Lookup) -> ast.stmt:
    match statement:
        case ast.ImportFrom(names=[ast.alias("*")]):
            source = lookup(import_source(statement, module.name, module.package))
            names = public(source) if source is not None and source.name != module.name else None
            if names:
                aliases = [ast.copy_location(ast.alias(name, None), statement) for name in names]
                made = ast.ImportFrom(statement.module, aliases, statement.level)
                return ast.copy_location(made, statement)
    return statement


def public(module: Module) -> list[str] | None:
    """The names that a module gives to who imports all of them; None where only running it tells."""
    listed = module.globals.get("__all__")
    if "*" in module.stored or not _ANY.isdisjoint(_reads(module)):
        return None
    if listed is not None:
        try:
            names = ast.literal_eval(listed)
        except ValueError:
            return None
        return list(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else None
    if "__all__" in module.stored or module.package:
        return None
    if any(names_bound(statement) and not isinstance(statement, _SIMPLE) for statement in module.body):
        return None
    return [name for name in module.stored if not name.startswith("_")]


_SIMPLE = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""Statements that bind their names in any case."""


def _reads(module: Module) -> Iterator[str]:
    """The names and attributes that are read when the module is imported, and whether a function asks for its globals."""
    for statement in module.body:
        for node in import_time(statement, annotations=False):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield node.id
            elif isinstance(node, ast.Attribute):
                yield node.attr
        yield from (inner.id for inner in walk(statement) if isinstance(inner, ast.Name) and inner.id == "globals")
