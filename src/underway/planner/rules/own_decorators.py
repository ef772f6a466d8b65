"""Decorators of the release itself, read: those that only hold a function, so that its body may change."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..source import Function, Module
from ..values import Side

_NAMES = ("__name__", "__qualname__", "__module__")
"""What a decorator may read of a function whose body changes."""
_STORING = ("append", "add", "setdefault", "insert", "setattr")
_WRAPPING = ("wraps", "update_wrapper")


def holds_only(side: Side, module: Module, decorator: ast.expr) -> bool:
    """Whether a decorator is a function, or a class, of the release that keeps what it decorates, and does not look into it."""
    called = isinstance(decorator, ast.Call)
    found = side.resolve(module, decorator.func if isinstance(decorator, ast.Call) else decorator)
    known = side.modules.get(found[0]) if found else None
    if known is None or found is None:
        return False
    if (cls := known.classes.get(found[1])) is not None and not called:
        makers = [each for each in cls.body if isinstance(each, Function) and each.name in ("__init__", "__new__")]
        others = [each for each in cls.body if isinstance(each, Function) and each not in makers]
        if len(makers) != 1 or makers[0].name != "__init__" or cls.bases or any(map(_remembers, others)):
            return False
        return _keeps(makers[0], 1)
    function = known.functions.get(found[1])
    if function is None or function.decorator_list or isinstance(function, ast.AsyncFunctionDef):
        return False
    if not called:
        return _keeps(function, 0)
    inner = {each.name: each for each in function.body if isinstance(each, ast.FunctionDef)}
    returned = [each.value for each in _own(function) if isinstance(each, ast.Return)]
    if len(returned) != 1 or not isinstance(returned[0], ast.Name) or returned[0].id not in inner:
        return False
    made = inner[returned[0].id]
    return not made.decorator_list and _keeps(made, 0)


def _keeps(function: Function, position: int) -> bool:
    """Whether a function does nothing with its parameter but keep it, for what is nested in it."""
    parameters = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if len(parameters) != position + 1:
        return False
    name = parameters[position]
    inner = [each for each in ast.walk(function) if isinstance(each, Function | ast.Lambda) and each is not function]
    nested = {each.name for each in inner if isinstance(each, Function)}
    if any(map(_remembers, inner)):
        return False
    allowed = {id(node) for each in _own(function) for node in _kept(each, name)}
    for each in _own(function):
        if isinstance(each, ast.Name) and each.id == name and id(each) not in allowed:
            return False
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id in nested:
            return False
        if isinstance(each, ast.Yield | ast.YieldFrom | ast.Await):
            return False
    return True


def _remembers(function: Function | ast.Lambda) -> bool:
    """Whether a function stores something that outlives its call: what it has returned, perhaps."""
    for each in ast.walk(function):
        match each:
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


def _kept(node: ast.AST, name: str) -> Iterator[ast.AST]:
    """The places in a node where a function is kept, or named, and no more."""
    match node:
        case ast.Return(ast.Name() as value):
            yield value
        case ast.Assign(targets, value) if not any(isinstance(each, ast.Name) for each in targets):
            yield from _parts(value)
        case ast.Attribute(ast.Name() as value, attribute, ctx):
            if attribute in _NAMES or isinstance(ctx, ast.Store):
                yield value
        case ast.Call(ast.Name(called) | ast.Attribute(attr=called), args) if called in (*_STORING, *_WRAPPING):
            yield from (part for each in args for part in _parts(each))


def _parts(value: ast.expr) -> Iterator[ast.AST]:
    """What is stored with a value: itself, or what is in a tuple, a list or a dictionary."""
    match value:
        case ast.Name():
            yield value
        case ast.Tuple(elts) | ast.List(elts):
            yield from elts
        case ast.Dict(values=values):
            yield from values


def _own(function: Function) -> Iterator[ast.AST]:
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
            waiting += ast.iter_child_nodes(node)
