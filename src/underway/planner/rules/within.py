"""Functions that stand within other statements: lambdas in values, definitions under a condition. Their bodies may change."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

from underway_runtime.release import code_tree
from underway_runtime.release.instructions import Changed

from ..edit import ModuleDiff
from ..source import Function, children, statements_in, text
from . import functions, signatures, state
from .bases import RAN_WHEN_MADE, unknown_decorators
from .state import MAKERS

LAMBDA = "<lambda>"


def outline(node: ast.AST) -> str:
    """What a statement says, without what is in the functions in it."""
    return text(_Outline().visit(deepcopy(node)))


class _Outline(ast.NodeTransformer):
    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.body = ast.Constant(None)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = []
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.body = []
        return node


def lambdas(edit: ModuleDiff, name: str, before: ast.expr, after: ast.expr) -> bool:
    """Whether two values differ in the bodies of lambdas alone; if they do, have these changed. `name` is what is bound to it."""
    owner = name.rpartition(".")[0]
    pairs = list(zip(_places(edit, owner, before, old=True), _places(edit, owner, after, old=False), strict=False))
    if not pairs or outline(before) != outline(after) or any(path != other or not path for path, other in pairs):
        return False
    codes = [(path, edit.old.codes[path], edit.new.codes[path]) for path, _ in pairs]
    if any(
        one.co_freevars != other.co_freevars or (one.co_flags ^ other.co_flags) & signatures.KINDS
        for _, one, other in codes
    ):
        return False
    for path, one, other in codes:
        was, now = code_tree.digest(one), code_tree.digest(other)
        if was != now:
            edit.changed[path] = Changed(was, now)
    edit.changes(name)
    edit.row(name, "body", "HOT", "the function keeps its identity, so all who hold it run the new body", after)
    return True


def _places(edit: ModuleDiff, owner: str, value: ast.expr, *, old: bool) -> Iterator[str]:
    """The paths of the code of the lambdas in a value; empty for one that can't be told from others."""
    module = edit.old if old else edit.new
    body: Sequence[ast.stmt] = module.body
    for part in owner.split(".") if owner else ():
        body = next(
            (statement.body for statement in body if isinstance(statement, ast.ClassDef) and statement.name == part), []
        )
    every = sorted(_lambdas(body), key=lambda node: (node.lineno, node.col_offset))
    prefix = f"{owner}.{LAMBDA}" if owner else LAMBDA
    known = [path for path in module.codes if path == prefix or path.startswith(f"{prefix}#")]
    known = [path for path in known if ".<locals>" not in path]
    for node in sorted(_lambdas([value]), key=lambda node: (node.lineno, node.col_offset)):
        index = next((number for number, other in enumerate(every) if other is node), None)
        yield known[index] if index is not None and len(known) == len(every) else ""


def _lambdas(nodes: Iterable[ast.AST]) -> Iterator[ast.Lambda]:
    """Those of one scope; what is nested in functions, and in classes, is of another."""
    for node in nodes:
        match node:
            case ast.Lambda(args=args):
                yield node
                yield from _lambdas([*args.defaults, *filter(None, args.kw_defaults)])
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _lambdas([*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)])
            case ast.ClassDef():
                yield from _lambdas([*node.decorator_list, *node.bases, *node.keywords])
            case _:
                yield from _lambdas(children(node))


def conditional(edit: ModuleDiff, old: ast.stmt, new: ast.stmt) -> bool:
    """Whether two statements differ in the bodies of functions, and of methods, in them alone; if they do, compare these."""
    before, after = list(_definitions([old])), list(_definitions([new]))
    if not before or outline(old) != outline(new) or not all(map(partial(_may_differ, edit), before, after)):
        return False
    pairs = list(zip(before, after, strict=True))
    if not all(
        _path(edit, one, old=True) and _path(edit, one, old=True) == _path(edit, other, old=False)
        for one, other in pairs
    ):
        return False
    for one, other in pairs:
        functions.compare(edit, other.name, _path(edit, other, old=False), one.function, other.function, other.owner)
    return True


@dataclass(frozen=True)
class _Definition:
    """A function, or a method, wherever in a module it stands."""

    function: Function
    classes: tuple[ast.ClassDef, ...] = ()
    """Those that it is in, from the outermost."""

    @property
    def owner(self) -> str:
        return ".".join(cls.name for cls in self.classes)

    @property
    def name(self) -> str:
        return ".".join(filter(None, (self.owner, self.function.name)))


def _may_differ(edit: ModuleDiff, one: _Definition, other: _Definition) -> bool:
    """Whether nothing but calls of it tells two bodies of a function apart: not the making of its class, nor of instances."""
    if text(one.function) == text(other.function) or not one.classes:
        return True
    if one.function.name in (*MAKERS, *RAN_WHEN_MADE):
        return False
    cls, after = one.classes[-1], other.classes[-1]
    return not state.needs(edit, cls, after)[0] and not unknown_decorators(edit, after)


def _path(edit: ModuleDiff, definition: _Definition, *, old: bool) -> str:
    module, name = edit.old if old else edit.new, definition.name
    every = [other for other in _definitions(module.body) if other.name == name]
    known = [path for path in module.codes if path.partition("#")[0] == name]
    return known[every.index(definition)] if len(known) == len(every) else ""


def _definitions(body: Iterable[ast.stmt], classes: tuple[ast.ClassDef, ...] = ()) -> Iterator[_Definition]:
    """The functions of a module, and the methods of its classes, also those under conditions."""
    for statement in body:
        if isinstance(statement, Function):
            yield _Definition(statement, classes)
        elif isinstance(statement, ast.ClassDef):
            yield from _definitions(statement.body, (*classes, statement))
        else:
            yield from _definitions(statements_in(statement), classes)
