"""Annotations that are texts, by ``from __future__ import annotations``: who reads them looks their names up in the module.

A fragment runs before anything is bound there, so what is made once more has what its annotations name while a framework reads
it, and the texts again afterwards, as a fresh start has them::

    class Receipt(BaseModel):                 .texts = []
        lines: list[Line]                     class Receipt(BaseModel):
                                                  lines: list[Line]
                                                  .texts.append(dict(__annotations__))
                                                  __annotations__.update({'lines': list[Line]})
                                              Receipt.__annotations__.update(.texts.pop())
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from copy import deepcopy

from ...edit import ModuleDiff
from ...source import ANNOTATIONS, Function, walk
from .. import decorators, made_again
from . import classes_again

_TEXTS = ".texts"
"""A name that no source can bind."""
_LAST = 10**7
"""A line after all others: where what others of the module have read has its texts again."""


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have functions and models that are made once more be read as what they name; what comes of it is compared with a fresh start."""
    for edit in edits.values():
        if edit.new.future & ANNOTATIONS:
            edit.statements[:] = [part for statement in edit.statements for part in _parts(edit, statement)]


def _parts(edit: ModuleDiff, statement: ast.stmt) -> Iterator[ast.stmt]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name in edit.replaced and _is_read(
            edit, statement
        ):
            yield from _of_function(statement)
        case ast.ClassDef() if statement.name in {*edit.replaced, *edit.added}:
            if classes_again.is_model(edit.world, edit.new, statement) and not _names_itself(statement):
                yield from _of_class(statement)
            else:
                yield statement
        case _:
            yield statement


def _is_read(edit: ModuleDiff, function: Function) -> bool:
    """Whether a framework reads the annotations of a function: of a handler, or of what one depends on."""
    kinds = decorators.kinds(edit.world.new, edit.new, function.decorator_list)
    return "routes" in kinds or (not kinds and made_again.is_depended_on(edit.world, (edit.new.name, function.name)))


def _of_function(function: Function) -> Iterator[ast.stmt]:
    args = function.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    named = {arg.arg: arg.annotation for arg in every if arg.annotation is not None}
    named |= {"return": function.returns} if function.returns is not None else {}
    bare = deepcopy(function)
    bare.decorator_list = []
    saved, name = f"{_TEXTS}.{function.name}", function.name
    yield bare
    yield _at(function, ast.Assign([_store(saved)], ast.Tuple([_load(name), _copied(_annotations(name))], ast.Load())))
    yield _at(function, ast.Expr(_updated(_annotations(name), _table(named))))
    for decorator in reversed(function.decorator_list):
        yield _at(function, ast.Assign([_store(name)], ast.Call(deepcopy(decorator), [_load(name)], [])))
    first, second = (ast.Subscript(_load(saved), ast.Constant(number), ast.Load()) for number in (0, 1))
    again = ast.Expr(_updated(ast.Attribute(first, "__annotations__", ast.Load()), second))
    yield _at(ast.Pass(lineno=_LAST, col_offset=0, end_lineno=_LAST, end_col_offset=0), again)


def _of_class(cls: ast.ClassDef) -> Iterator[ast.stmt]:
    named = {
        statement.target.id: statement.annotation
        for statement in cls.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
    if not named:
        yield cls
        return
    last, annotations = cls.body[-1], _load("__annotations__")
    made = deepcopy(cls)
    made.body.append(_at(last, ast.Expr(_called(_load(_TEXTS), "append", _copied(annotations)))))
    made.body.append(_at(last, ast.Expr(_updated(annotations, _table(named)))))
    yield _at(cls, ast.Assign([_store(_TEXTS)], ast.List([], ast.Load())))
    yield made
    yield _at(cls, ast.Expr(_updated(_annotations(cls.name), _called(_load(_TEXTS), "pop"))))


def _names_itself(cls: ast.ClassDef) -> bool:
    """Whether an annotation names the class, which is not there yet when its body runs."""
    fields = [statement.annotation for statement in cls.body if isinstance(statement, ast.AnnAssign)]
    return any(isinstance(inner, ast.Name) and inner.id == cls.name for field in fields for inner in walk(field))


def _table(named: Mapping[str, ast.expr]) -> ast.expr:
    return ast.Dict([ast.Constant(name) for name in named], [deepcopy(annotation) for annotation in named.values()])


def _annotations(name: str) -> ast.expr:
    return ast.Attribute(_load(name), "__annotations__", ast.Load())


def _copied(table: ast.expr) -> ast.expr:
    return _called(table, "copy")


def _updated(table: ast.expr, by: ast.expr) -> ast.expr:
    return _called(table, "update", by)


def _called(of: ast.expr, method: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(of, method, ast.Load()), [*arguments], [])


def _load(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _store(name: str) -> ast.expr:
    return ast.Name(name, ast.Store())


def _at(location: ast.stmt, statement: ast.stmt) -> ast.stmt:
    """A statement that stands where another does."""
    for inner in ast.walk(statement):
        if "lineno" in inner._attributes:
            ast.copy_location(inner, location)
    return statement
