"""What functions change that is not their own: globals, members of classes, and what these hold."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ..edit import PlannerContext
from ..source import Function, Module, import_time

_MUTATORS = {
    *("append", "appendleft", "add", "put", "put_nowait", "insert", "setdefault", "push", "extend", "update"),
    *("pop", "popleft", "popitem", "remove", "discard", "clear", "sort", "reverse", "register", "connect"),
}
"""Methods that change what they are of."""


def changed_by_functions(body: Iterable[ast.stmt]) -> set[str]:
    """The names of a module, ``NAME`` or ``CLASS.MEMBER``, that its functions bind, or change what is bound to."""
    return {name for function, owner in _functions(body) for name in _changed(function, owner)}


def effect(world: PlannerContext, module: Module, node: ast.AST) -> str:
    """What a statement has changed when it ran at import, apart from what it binds; empty for nothing that is seen."""
    return next(_effects(world, module, import_time(node, annotations=False), set(), set()), "")


def _effects(
    world: PlannerContext, module: Module, nodes: Iterable[ast.AST], own: set[str], seen: set[tuple[str, str]]
) -> Iterator[str]:
    for each in nodes:
        for target in _targets(each):
            if isinstance(target, ast.Attribute | ast.Subscript) and (root := _root(target)) and root not in own:
                yield ast.unparse(target)
        match each:
            case ast.Call(ast.Attribute(container, method)) if method in _MUTATORS and _root(container) not in own:
                yield ast.unparse(each)[:60]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                calls = [ast.Call(name, [], []) for name in each.decorator_list if not isinstance(name, ast.Call)]
                yield from _effects(world, module, calls, own, seen)
            case ast.Call(func):
                origin = world.new.resolve(module, func) or world.old.resolve(module, func)
                known = (world.old.modules.get(origin[0]) or world.new.modules.get(origin[0])) if origin else None
                function = known.functions.get(origin[1]) if known and origin else None
                if known and function and origin and origin not in seen and origin[0] in world.compared:
                    seen.add(origin)
                    inner = [each for statement in function.body for each in ast.walk(statement)]
                    if rebound := [name for each in inner if isinstance(each, ast.Global) for name in each.names]:
                        yield rebound[0]
                    yield from _effects(world, known, inner, _locals(function), seen)


def _changed(function: Function, owner: str) -> Iterator[str]:
    named = {name for each in ast.walk(function) if isinstance(each, ast.Global) for name in each.names}
    yield from named
    own = _locals(function) - named
    for each in ast.walk(function):
        for target in _targets(each):
            yield from _path_of(target, own, owner)
        match each:
            case ast.Call(ast.Attribute(container, method)) if method in _MUTATORS:
                yield from _path_of(ast.Subscript(container, ast.Constant(0)), own, owner)


def _path_of(target: ast.expr, own: set[str], owner: str) -> Iterator[str]:
    """The global, or the member of a class, that a store to this changes."""
    match target:
        case ast.Attribute(ast.Name("cls") | ast.Call(ast.Name("type"), [_]), attribute) if owner:
            yield f"{owner}.{attribute}"
        case ast.Attribute(ast.Name(name), attribute) if name not in own:
            yield f"{name}.{attribute}"
        case ast.Subscript(ast.Name(name)) if name not in own:
            yield name
        case ast.Subscript(ast.Attribute(ast.Name("self"), attribute)) if owner:
            yield f"{owner}.{attribute}"  # an attribute of the class, unless the instance has its own
        case ast.Subscript(ast.Attribute() as inner):
            yield from _path_of(inner, own, owner)


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Assign(targets) | ast.Delete(targets):
            yield from targets
        case ast.AugAssign(target) | ast.AnnAssign(target):
            yield target


def _functions(body: Iterable[ast.stmt], owner: str = "") -> Iterator[tuple[Function, str]]:
    for each in body:
        if isinstance(each, Function):
            yield each, owner
        elif isinstance(each, ast.ClassDef):
            yield from _functions(each.body, each.name)


def _locals(function: Function) -> set[str]:
    bound = {each.id for each in ast.walk(function) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return bound | {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)}


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
