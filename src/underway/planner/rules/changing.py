"""What functions change that is not their own: globals, members of classes, and what these hold."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from ..edit import PlannerContext
from ..source import Function, Module, functions_in, import_time, names_stored, root_of, walk

_MUTATORS = {
    *("append", "appendleft", "add", "put", "put_nowait", "insert", "setdefault", "push", "extend", "update"),
    *("pop", "popleft", "popitem", "remove", "discard", "clear", "sort", "reverse", "register", "connect"),
}
"""Methods that change what they are of."""
_HELD = (ast.Attribute, ast.Subscript)
"""How an expression leads to what something holds."""


def changed_by_functions(body: Iterable[ast.stmt]) -> set[str]:
    """The names of a module, ``NAME`` or ``CLASS.MEMBER``, that its functions bind, or change what is bound to."""
    return {name for path, function in functions_in(body) for name in _changed(function, path.rpartition(".")[2])}


def effect(world: PlannerContext, module: Module, node: ast.AST) -> str:
    """What a statement has changed when it ran at import, apart from what it binds; empty for nothing that is seen."""
    return next(_effects(world, module, import_time(node, annotations=False), set(), set()), "")


def _effects(
    world: PlannerContext, module: Module, nodes: Iterable[ast.AST], local: set[str], seen: set[tuple[str, str]]
) -> Iterator[str]:
    for node in nodes:
        for target in _targets(node):
            if (
                isinstance(target, ast.Attribute | ast.Subscript)
                and (root := root_of(target, *_HELD))
                and root not in local
            ):
                yield ast.unparse(target)
        match node:
            case ast.Call(ast.Attribute(container, method)) if (
                method in _MUTATORS and root_of(container, *_HELD) not in local
            ):
                yield ast.unparse(node)[:60]
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                calls = [ast.Call(name, [], []) for name in node.decorator_list if not isinstance(name, ast.Call)]
                yield from _effects(world, module, calls, local, seen)
            case ast.Call(func):
                origin = world.new.resolve(module, func) or world.old.resolve(module, func)
                known = (world.old.modules.get(origin[0]) or world.new.modules.get(origin[0])) if origin else None
                function = known.functions.get(origin[1]) if known and origin else None
                if known and function and origin and origin not in seen and origin[0] in world.compared:
                    seen.add(origin)
                    inner = [within for statement in function.body for within in walk(statement)]
                    if rebound := [name for within in inner if isinstance(within, ast.Global) for name in within.names]:
                        yield rebound[0]
                    yield from _effects(world, known, inner, names_stored(function), seen)


def _changed(function: Function, owner: str) -> Iterator[str]:
    named = {name for inner in walk(function) if isinstance(inner, ast.Global) for name in inner.names}
    yield from named
    local = names_stored(function) - named
    for inner in walk(function):
        for target in _targets(inner):
            yield from _path_of(target, local, owner)
        match inner:
            case ast.Call(ast.Attribute(container, method)) if method in _MUTATORS:
                yield from _path_of(ast.Subscript(container, ast.Constant(0)), local, owner)


def _path_of(target: ast.expr, local: set[str], owner: str) -> Iterator[str]:
    """The global, or the member of a class, that a store to this changes."""
    match target:
        case ast.Attribute(ast.Name("cls") | ast.Call(ast.Name("type"), [_]), attribute) if owner:
            yield f"{owner}.{attribute}"
        case ast.Attribute(ast.Name(name), attribute) if name not in local:
            yield f"{name}.{attribute}"
        case ast.Subscript(ast.Name(name)) if name not in local:
            yield name
        case ast.Subscript(ast.Attribute(ast.Name("self"), attribute)) if owner:
            yield f"{owner}.{attribute}"  # an attribute of the class, unless the instance has its own
        case ast.Subscript(ast.Attribute() as inner):
            yield from _path_of(inner, local, owner)


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.Assign(targets) | ast.Delete(targets):
            yield from targets
        case ast.AugAssign(target) | ast.AnnAssign(target):
            yield target
