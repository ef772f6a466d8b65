"""What a statement has copied out of an object at import, and what is to be copied of what comes to that: for all frameworks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ...edit import ModuleDiff
from ...source import Function, Origin, walk

OWN = ("_setup", "_rule", "_function")
"""Names in the text of a statement for `at` that are bound to nothing but what it needs itself."""


def calls(edits: Mapping[str, ModuleDiff], method: str, given: Origin) -> Iterator[tuple[ModuleDiff, ast.Call, str]]:
    """The calls of a method at import to which a global is given, each with the module and with what that calls the global."""
    for edit in edits.values():
        for statement in edit.new.body:
            match statement:
                case ast.Expr(ast.Call(ast.Attribute(attr=name), [first, *_]) as call) if name == method:
                    if edit.world.new.resolve(edit.new, first) == given:
                        yield edit, call, ast.unparse(first)


def count(edit: ModuleDiff, name: str) -> int:
    """How many definitions the statements that are run put into a global by its decorators."""
    return sum(
        ast.unparse(decorator).startswith(f"{name}.")
        for statement in edit.statements
        if isinstance(statement, Function | ast.ClassDef)
        for decorator in statement.decorator_list
    )


def at(node: ast.expr, text: str) -> ast.stmt:
    """A statement with this text, at the place of a node."""
    statement = ast.parse(text).body[0]
    for inner in walk(statement):
        if hasattr(inner, "lineno"):
            ast.copy_location(inner, node)
        if isinstance(inner, ast.Name) and inner.id in OWN:
            inner.id = f".{inner.id}"  # which no source can bind
    return statement
