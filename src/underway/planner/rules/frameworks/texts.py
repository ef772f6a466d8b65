"""Annotations that are texts, by ``from __future__ import annotations`` or by themselves: who reads them looks their names up.

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
from copy import copy, deepcopy
from typing import Any, TypeVar

from underway_runtime.release.code_tree import IS_LAZY

from ...edit import ModuleDiff
from ...source import ANNOTATIONS, Function, walk
from .. import decorators
from . import classes_again

Expression = TypeVar("Expression", bound=ast.expr)

_TEXTS = ".texts"
"""A name that no source can bind."""
_LAST = 10**7
"""A line after all others: where what others of the module have read has its texts again."""


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have functions and models that are made once more be read as what they name; what comes of it is compared with a fresh start."""
    for edit in edits.values():
        if edit.new.future & ANNOTATIONS or not IS_LAZY:
            edit.statements[:] = [part for statement in edit.statements for part in _parts(edit, statement)]


def _parts(edit: ModuleDiff, statement: ast.stmt) -> Iterator[ast.stmt]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if statement.name in edit.replaced and _is_read(
            edit, statement
        ):
            yield from _of_function(statement, every=bool(edit.new.future & ANNOTATIONS))
        case ast.ClassDef() if statement.name in {*edit.replaced, *edit.added}:
            if classes_again.is_model(edit.world, edit.new, statement) and not _names_itself(statement):
                yield from _of_class(statement, every=bool(edit.new.future & ANNOTATIONS))
            else:
                yield statement
        case _:
            yield statement


def _is_read(edit: ModuleDiff, function: Function) -> bool:
    """Whether a framework reads the annotations of a function: of a handler, or of what one depends on."""
    kinds = decorators.kinds(edit.world.new, edit.new, function.decorator_list)
    return "routes" in kinds or (not kinds and decorators.is_depended_on(edit.world, (edit.new.name, function.name)))


def _of_function(function: Function, *, every: bool) -> Iterator[ast.stmt]:
    args = function.args
    takes = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]
    annotations = {arg.arg: arg.annotation for arg in takes if arg.annotation is not None}
    annotations |= {"return": function.returns} if function.returns is not None else {}
    named = _named(annotations, every=every)
    if not named and not every:
        yield function
        return
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


def _of_class(cls: ast.ClassDef, *, every: bool) -> Iterator[ast.stmt]:
    fields = {
        statement.target.id: statement.annotation
        for statement in cls.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    }
    named = _named(fields, every=every)
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
    fields = [of_texts(statement.annotation) for statement in cls.body if isinstance(statement, ast.AnnAssign)]
    return any(isinstance(inner, ast.Name) and inner.id == cls.name for field in fields for inner in walk(field))


def _named(annotations: Mapping[str, ast.expr], *, every: bool) -> dict[str, ast.expr]:
    """What annotations name: `every` one, or those with a text in them."""
    named = {name: of_texts(annotation) for name, annotation in annotations.items()}
    return {name: type_ for name, type_ in named.items() if every or type_ is not annotations[name]}


def of_texts(annotation: ast.expr) -> ast.expr:
    """An annotation with what its texts say in their places, ``list[Line]`` of ``list["Line"]``; itself where it has none."""
    match annotation:
        case ast.Constant(str(text)):
            try:
                return of_texts(ast.copy_location(ast.parse(text, mode="eval").body, annotation))
            except (SyntaxError, ValueError):
                return annotation
        case ast.Subscript(of, ast.Tuple([first, *more]) as within) if _last(of) == "Annotated":
            return _with(annotation, slice=_with(within, elts=[of_texts(first), *more]))
        case ast.Subscript(of, within) if _last(of) not in ("Literal", "Annotated"):
            return _with(annotation, slice=of_texts(within))
        case ast.BinOp(left, ast.BitOr(), right):
            return _with(annotation, left=of_texts(left), right=of_texts(right))
        case ast.Tuple(elts) | ast.List(elts):
            return _with(annotation, elts=[of_texts(element) for element in elts])
    return annotation


def _with(node: Expression, **parts: Any) -> Expression:
    """An expression with other parts; itself where they are those that it has."""
    if all(_is_same(getattr(node, name), part) for name, part in parts.items()):
        return node
    made = copy(node)
    vars(made).update(parts)
    return made


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return all(a is b for a, b in zip(one, other, strict=True))
    return one is other


def _last(of: ast.expr) -> str:
    return ast.unparse(of).rpartition(".")[2]


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
