"""What of a module runs at all: conditions that are known before, and the signatures that only type checkers see.

A condition is known where it asks the interpreter alone, which is the one that this runs in: both releases have the same.
"""

from __future__ import annotations

import ast
import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from importlib import import_module
from typing import Any

Names = Mapping[str, str]
"""What the imports of a module call something -> what it is, dotted."""

_KNOWN: Mapping[str, Any] = {
    "typing.TYPE_CHECKING": False,
    "typing_extensions.TYPE_CHECKING": False,
    "sys.version_info": tuple(sys.version_info),
    "sys.platform": sys.platform,
    "sys.implementation.name": sys.implementation.name,
    "os.name": os.name,
}
_OF_THE_INTERPRETER = {
    *(
        "typing",
        "types",
        "collections",
        "collections.abc",
        "functools",
        "itertools",
        "dataclasses",
        "inspect",
        "enum",
        "abc",
        "contextlib",
    ),
    *(
        "asyncio",
        "datetime",
        "json",
        "warnings",
        "importlib.metadata",
        "importlib.resources",
        "math",
        "string",
        "time",
        "urllib.parse",
    ),
}
"""Modules that are asked whether they have a name, which older versions of Python may not have."""

_OVERLOAD = ("typing.overload", "typing_extensions.overload")
_OPERATORS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}


class Unknown(Exception):
    """Only running it tells."""


def names_of(body: Sequence[ast.stmt]) -> Names:
    """What the imports at the top of a module call modules of the standard library, and what is in them."""
    known: dict[str, str] = {"TYPE_CHECKING": "typing.TYPE_CHECKING"}
    for statement in body:
        match statement:
            case ast.Import(names):
                known |= {
                    alias.asname or alias.name: alias.name for alias in names if alias.asname or "." not in alias.name
                }
            case ast.ImportFrom(module=str(module), names=names, level=0):
                known |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    return known


def effective(body: Sequence[ast.stmt], names: Names) -> Iterator[ast.stmt]:
    """The statements that run, in their order; those of a branch stand for the condition, and of a class it has what runs."""
    for number, statement in enumerate(body):
        match statement:
            case ast.Expr(ast.Constant()) | ast.Pass():
                continue
            case ast.ImportFrom(module="__future__"):
                continue
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if _is_signature(statement, names):
                if any(isinstance(later, _DEFINITION) and later.name == name for later in body[number + 1 :]):
                    continue
            case ast.If(test=test, body=then, orelse=otherwise):
                try:
                    holds = value(test, names)
                except Unknown:
                    pass
                else:
                    yield from effective(then if holds else otherwise, names)
                    continue
            case ast.Try([ast.ImportFrom() as tried], [ast.ExceptHandler(), *_], otherwise, []) if _has(tried):
                yield tried
                yield from effective(otherwise, names)
                continue
            case ast.ClassDef():
                yield _class(statement, names)
                continue
        yield statement


def value(test: ast.expr, names: Names) -> Any:
    """What a condition comes to. Raises Unknown."""
    match test:
        case ast.Constant(constant):
            return constant
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return False
        case ast.Name() | ast.Attribute():
            return _read(test, names)
        case ast.Tuple(elements):
            return tuple(value(element, names) for element in elements)
        case ast.UnaryOp(ast.Not(), operand):
            return not value(operand, names)
        case ast.BoolOp(kind, values):
            return _of_several(isinstance(kind, ast.And), values, names)
        case ast.Compare(left, [kind], [right]) if type(kind) in _OPERATORS:
            return _tried(_OPERATORS[type(kind)], value(left, names), value(right, names))
        case ast.Subscript(of, ast.Constant(int(index))):
            return _tried(operator.getitem, value(of, names), index)
        case ast.Subscript(of, ast.Slice(None | ast.Constant() as lower, None | ast.Constant() as upper, None)):
            ends = (None if end is None else value(end, names) for end in (lower, upper))
            return _tried(operator.getitem, value(of, names), slice(*ends))
        case ast.Call(ast.Attribute(of, "startswith"), [ast.Constant(str(text))], []):
            return _tried(str.startswith, value(of, names), text)
    raise Unknown


_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef)


def _of_several(every: bool, values: Sequence[ast.expr], names: Names) -> Any:
    """That of ``and``, or of ``or``: what comes after what decides is not asked, and may be anything."""
    last: Any = None
    for operand in values:
        last = value(operand, names)
        if bool(last) is not every:
            break
    return last


def _read(node: ast.expr, names: Names) -> Any:
    dotted = _dotted(node, names)
    if dotted not in _KNOWN:
        raise Unknown
    return _KNOWN[dotted]


def _dotted(node: ast.expr, names: Names) -> str:
    match node:
        case ast.Name(name):
            return names.get(name, "")
        case ast.Attribute(of, attribute):
            return f"{_dotted(of, names)}.{attribute}"
    return ""


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:
        raise Unknown from None


def _is_signature(function: ast.FunctionDef | ast.AsyncFunctionDef, names: Names) -> bool:
    """Whether another function of its name takes its place, and it is there for those who read types."""
    return len(function.decorator_list) == 1 and _dotted(function.decorator_list[0], names) in _OVERLOAD


def _has(statement: ast.ImportFrom) -> bool:
    """Whether the interpreter's own modules have all that a statement imports, so that nothing can be raised."""
    if statement.level or statement.module not in _OF_THE_INTERPRETER:
        return False
    module = import_module(statement.module)
    return all(hasattr(module, alias.name) for alias in statement.names)


def _class(node: ast.ClassDef, names: Names) -> ast.ClassDef:
    """A class with the statements that run; the node itself where all of them do."""
    body = list(effective(node.body, names))
    inert = (ast.Expr, ast.Pass)
    if [statement for statement in node.body if not isinstance(statement, inert)] == [
        statement for statement in body if not isinstance(statement, inert)
    ]:
        return node
    made = copy(node)
    docstring = node.body[:1] if ast.get_docstring(node, clean=False) is not None else []
    made.body = [*docstring, *body] or [ast.copy_location(ast.Pass(), node.body[0])]
    return made
