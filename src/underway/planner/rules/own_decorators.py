"""Decorators of the release itself, read: those that only hold a function, so that its body may change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from ..source import Function, Module, children, walk
from ..values import Side

_NAMES = ("__name__", "__qualname__", "__module__")
"""What a decorator may read of a function whose body changes."""
_STORING = ("append", "add", "setdefault", "insert", "setattr")
_WRAPPING = ("wraps", "update_wrapper")


def holds_only(side: Side, module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator is a function, or a class, of the release that keeps what it decorates, and does not look into it."""
    called = isinstance(decorator, ast.Call)
    source = side.resolve(module, decorator.func if isinstance(decorator, ast.Call) else decorator)
    known = side.modules.get(source[0]) if source else None
    if known is None or source is None:
        return False
    if (cls := known.classes.get(source[1])) is not None and not called:
        makers = [
            statement
            for statement in cls.body
            if isinstance(statement, Function) and statement.name in ("__init__", "__new__")
        ]
        others = [statement for statement in cls.body if isinstance(statement, Function) and statement not in makers]
        if len(makers) != 1 or makers[0].name != "__init__" or cls.bases or any(map(_remembers, others)):
            return False
        return _keeps(makers[0], 1)
    function = known.functions.get(source[1])
    if function is None or function.decorator_list or isinstance(function, ast.AsyncFunctionDef):
        return False
    if not called:
        return _keeps(function, 0)
    inner = {statement.name: statement for statement in function.body if isinstance(statement, ast.FunctionDef)}
    returned = [statement.value for statement in _evaluated(function) if isinstance(statement, ast.Return)]
    if len(returned) != 1 or not isinstance(returned[0], ast.Name) or returned[0].id not in inner:
        return False
    made = inner[returned[0].id]
    return not made.decorator_list and _keeps(made, 0)


@cache
def _keeps(function: Function, position: int) -> bool:
    """Whether a function does nothing with its parameter but keep it, for what is nested in it."""
    parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    if len(parameters) != position + 1:
        return False
    name = parameters[position]
    inner = [node for node in walk(function) if isinstance(node, Function | ast.Lambda) and node is not function]
    nested = {definition.name for definition in inner if isinstance(definition, Function)}
    if any(map(_remembers, inner)):
        return False
    allowed = {id(inner) for node in _evaluated(function) for inner in _held(node, name)}
    for node in _evaluated(function):
        if isinstance(node, ast.Name) and node.id == name and id(node) not in allowed:
            return False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in nested:
            return False
        if isinstance(node, ast.Yield | ast.YieldFrom | ast.Await):
            return False
    return True


def _remembers(function: Function | ast.Lambda) -> bool:
    """Whether a function stores something that outlives its call: what it has returned, perhaps."""
    for inner in walk(function):
        match inner:
            case ast.Nonlocal() | ast.Global() | ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                return True
            case ast.Call(ast.Name(called) | ast.Attribute(attr=called)) if called in (
                *_STORING,
                "update",
                "set",
                "put",
            ):
                return True
    return False


def _held(node: ast.AST, name: str) -> Iterator[ast.AST]:
    """The places in a node where a function is kept, or named, and no more."""
    match node:
        case ast.Return(ast.Name() as value):
            yield value
        case ast.Assign(targets, value) if not any(isinstance(target, ast.Name) for target in targets):
            yield from _parts(value)
        case ast.Attribute(ast.Name() as value, attribute, ctx):
            if attribute in _NAMES or isinstance(ctx, ast.Store):
                yield value
        case ast.Call(ast.Name(called) | ast.Attribute(attr=called), args) if called in (*_STORING, *_WRAPPING):
            yield from (part for argument in args for part in _parts(argument))


def _parts(value: ast.expr) -> Iterator[ast.AST]:
    """What is stored with a value: itself, or what is in a tuple, a list or a dictionary."""
    match value:
        case ast.Name():
            yield value
        case ast.Tuple(elts) | ast.List(elts):
            yield from elts
        case ast.Dict(values=values):
            yield from values


def _evaluated(function: Function) -> Iterator[ast.AST]:
    """What runs when a function is called: not what is nested in it, but its decorators and defaults."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Function):
            waiting += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif isinstance(node, ast.Lambda):
            waiting += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        else:
            waiting += children(node)
