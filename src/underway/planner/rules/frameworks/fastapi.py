"""FastAPI makes its OpenAPI document when it is asked for it, and keeps it; its routers count what has been done to their routes.

Each route has copied the dependencies that its router was made with, and each router those of the one that includes it. What routers do
at the start was merged into one, which nobody asks for again.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ...edit import ModuleDiff
from ...source import Function, Module, Origin, text
from ...values import Side
from .. import decorators, made_again
from . import Rule
from .registering import at

RULES = (
    Rule("fastapi.applications.FastAPI", "openapi_schema", None, "forgotten"),
    Rule("fastapi.routing.APIRouter", "_routes_version", None, "counted", below=("routes",)),
)

_APPLICATIONS = ("fastapi.FastAPI", "fastapi.applications.FastAPI")
_ROUTERS = ("fastapi.APIRouter", "fastapi.routing.APIRouter")
_ROUTES = {"get", "post", "put", "patch", "delete", "options", "head", "trace", "api_route", "websocket"}
"""Methods of routers whose routes have its dependencies."""
_INCLUDED = """\
for _setup in [{router}.lifespan_context]:
    {call}
    {router}.lifespan_context = _setup
"""
"""What includes a router that was included before: what that does at the start is part of what was merged then."""


def depend_otherwise(edits: Mapping[str, ModuleDiff]) -> None:
    """Have routes made once more whose router gets other dependencies; what comes of it is compared with a fresh start."""
    for edit in edits.values():
        for name, dependencies in _given_others(edit):
            _depend(edits, edit, name, dependencies)


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have routers included once more that are included otherwise; what comes of it is compared with a fresh start."""
    for edit in edits.values():
        before = [
            included for statement in edit.old.body for included in _included(edit.world.old, edit.old, statement)
        ]
        for number, statement in enumerate(edit.statements):
            for by, of in _included(edit.world.new, edit.new, statement):
                if (by, of) in before:
                    edit.statements[number] = _included_once_more(edit, statement)


def _given_others(edit: ModuleDiff) -> Iterator[tuple[str, ast.expr]]:
    """The routers and applications of a module that are made with other dependencies, and otherwise as before, each with these."""
    for name, after in edit.new.globals.items():
        before = edit.old.globals.get(name)
        if not isinstance(before, ast.Call) or not isinstance(after, ast.Call) or text(before) == text(after):
            continue
        if not decorators.is_framework(edit.world.new, (edit.new.name, name), (*_APPLICATIONS, *_ROUTERS)):
            continue
        (was, others), (now, same) = map(_dependencies, (before, after))
        if text(was) != text(now) and others == same and isinstance(now, ast.List):
            yield name, now


def _dependencies(call: ast.Call) -> tuple[ast.expr, list[str]]:
    """What a router is made with as its dependencies, and all else as text."""
    given = {word.arg: word.value for word in call.keywords}
    of = given.pop("dependencies", ast.List([], ast.Load()))
    return of, [
        *map(text, [call.func, *call.args]),
        *(f"{name}={text(value)}" for name, value in sorted(given.items(), key=str)),
    ]


def _depend(edits: Mapping[str, ModuleDiff], edit: ModuleDiff, name: str, dependencies: ast.expr) -> None:
    """Have all made once more that a router gives its dependencies to: its routes, and the routers that it includes."""
    router, of = (edit.new.name, name), f"{name}.router" if _is_application(edit, name) else name
    edit.run(at(edit.new.globals[name], f"{of}.dependencies[:] = {ast.unparse(dependencies)}"))
    for other in edits.values():
        for route, function in other.new.functions.items():
            known = other.old.functions.get(route) is not None and route not in {*other.replaced, *other.added}
            if known and router in _registered_with(other, function):
                other.leave_out(route)
                made_again.registered(other, route, function, router)
        for statement in other.new.body:
            if router in (by for by, _ in _included(other.world.new, other.new, statement)):
                other.run(statement)


def _is_application(edit: ModuleDiff, name: str) -> bool:
    return decorators.is_framework(edit.world.new, (edit.new.name, name), _APPLICATIONS)


def _registered_with(edit: ModuleDiff, function: Function) -> Iterator[Origin | None]:
    """The routers that have made routes of a function."""
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(ast.Attribute(by, method)) if method in _ROUTES:
                yield edit.world.new.resolve(edit.new, by)


def _included(side: Side, module: Module, statement: ast.stmt) -> Iterator[tuple[Origin | None, Origin | None]]:
    """What includes a router, and that router."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(by, "include_router"), [of, *_])):
            if decorators.is_framework(side, including := side.resolve(module, by), (*_APPLICATIONS, *_ROUTERS)):
                yield including, side.resolve(module, of)


def _included_once_more(edit: ModuleDiff, statement: ast.stmt) -> ast.stmt:
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    assert isinstance(statement.value.func, ast.Attribute)
    by = statement.value.func.value
    is_application = decorators.is_framework(edit.world.new, edit.world.new.resolve(edit.new, by), _APPLICATIONS)
    router = f"{ast.unparse(by)}.router" if is_application else ast.unparse(by)
    return at(statement.value, _INCLUDED.format(router=router, call=ast.unparse(statement)))
