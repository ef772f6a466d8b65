"""What an expression reads when it runs: the names by which it may reach what it calls, members of classes, and definitions themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .edit import ModuleDiff, PlannerContext
from .rules import decorators
from .source import Module, children, import_time, initialiser, names_bound, walk
from .values import origin

_ITSELF = {"__code__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__", "__wrapped__", "__dict__"}
"""Attributes by which a definition itself is read."""


def names_called(world: PlannerContext, module: Module, node: ast.AST, made_anew: bool, shapes: set[str]) -> list[str]:
    """The names by which an expression may reach what it calls; and the values that it reads.

    Where it is `made_anew`, in a fragment, it finds the new values in their places; `shapes` is what has another signature or
    other fields.
    """
    reached: dict[str, None] = {}
    for expression in import_time(node, annotations=False):
        if isinstance(expression, ast.Name | ast.Attribute) and isinstance(getattr(expression, "ctx", None), ast.Load):
            origin = world.new.resolve(module, expression)
            if origin in world.reset or (origin in world.values and not made_anew):
                reached[origin[1] if origin else ""] = None
        called: list[ast.expr] = []
        match expression:
            case ast.Call(func, args, keywords):
                given = [*args, *(keyword.value for keyword in keywords)]
                called = [func]
                if not decorators.keeps(world.new, module, func):
                    called += given
                else:
                    names = (name for inner in given for name in _names_of(world, module, inner))
                    reached.update(dict.fromkeys(name for name in names if name in shapes))
            case ast.Subscript(ast.Name() as of, ast.Constant()) if is_display(world, module, of):
                continue
            case ast.BinOp() | ast.Compare() | ast.Subscript() | ast.UnaryOp() | ast.JoinedStr() | ast.Starred():
                called = [inner for inner in children(expression) if isinstance(inner, ast.Name | ast.Attribute)]
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp() | ast.For() | ast.With():
                called = [inner for inner in walk(expression) if isinstance(inner, ast.Name | ast.Attribute)]
        if expression is node and isinstance(node, ast.Name | ast.Attribute):
            called.append(node)  # a decorator or a base by itself is called too
        for inner in called:
            if not (made_anew and world.new.resolve(module, inner) in world.values):
                reached.update(dict.fromkeys(_names_of(world, module, inner)))
    return list(reached)


def names_in(world: PlannerContext, module: Module, node: ast.AST) -> Iterator[str]:
    """The names that a node reads, as a call may end in them."""
    for inner in walk(node):
        if isinstance(inner, ast.Name | ast.Attribute) and isinstance(inner.ctx, ast.Load):
            yield from _names_of(world, module, inner)


def _names_of(world: PlannerContext, module: Module, node: ast.expr) -> Iterator[str]:
    """The names that a call of this, or with this, may end in; none for what comes from outside of the release's modules."""
    match node:
        case ast.Name(id=name):
            origin = world.new.resolve(module, node)
            if origin is None or origin[0] in world.compared:
                yield name if origin is None or not origin[1] else origin[1]
        case ast.Attribute(value=value, attr=attribute):
            if not is_foreign(world, module, value):
                yield attribute
            yield from _names_of(world, module, value)
        case ast.Lambda(body=body):
            yield from (inner.id for inner in walk(body) if isinstance(inner, ast.Name))
            yield from (inner.attr for inner in walk(body) if isinstance(inner, ast.Attribute))
        case ast.Constant():
            return
        case _:
            for child in children(node):
                if isinstance(child, ast.expr):
                    yield from _names_of(world, module, child)


def members_read(world: PlannerContext, module: Module, name: str, node: ast.AST, members: set[str]) -> Iterator[str]:
    """Members of classes that are bound to something else, as an expression reads them."""
    for inner in import_time(node, annotations=False):
        if isinstance(inner, ast.Attribute) and inner.attr in members and isinstance(inner.ctx, ast.Load):
            if not is_foreign(world, module, inner.value):
                yield inner.attr
        elif isinstance(inner, ast.Name) and "." in name and inner.id in members and isinstance(inner.ctx, ast.Load):
            yield inner.id


def read_itself(
    world: PlannerContext, module: Module, node: ast.AST, properties: set[str], docs: set[str]
) -> Iterator[str]:
    """Yield what an expression calls by reading it, or reads as what it is: properties, docstrings, code objects."""
    for inner in import_time(node, annotations=False):
        match inner:
            case ast.Name("__doc__", ast.Load()) if module.name in docs:
                yield "__doc__"
            case ast.Attribute(value, "__doc__", ast.Load()) if _has_another_docstring(world, module, value):
                yield "__doc__"
            case ast.Attribute(value, attribute, ast.Load()) if attribute in _ITSELF:
                yield from _names_of(world, module, value)
            case ast.Attribute(value, attribute, ast.Load()) if attribute in properties:
                yield from _names_of(world, module, inner)
            case ast.Call(ast.Name("getattr"), [value, ast.Constant(str(attribute)), *_]):
                if not is_foreign(world, module, value):
                    yield attribute


def bound_otherwise(node: ast.AST, edit: ModuleDiff | None) -> Iterator[str]:
    """The names that an expression reads which an import binds to something else now."""
    for inner in import_time(node, annotations=False) if edit is not None and edit.renamed else ():
        if (
            isinstance(inner, ast.Name)
            and isinstance(inner.ctx, ast.Load)
            and edit is not None
            and inner.id in edit.renamed
        ):
            yield inner.id


def _has_another_docstring(world: PlannerContext, module: Module, node: ast.expr) -> bool:
    """Whether a module or a class has another docstring in the new release; that of a function is part of its code."""
    origin = world.new.resolve(module, node)
    old, new = (side.modules.get(origin[0]) if origin else None for side in (world.old, world.new))
    if origin is None or old is None or new is None or origin[0] not in world.compared:
        return False
    if not origin[1]:
        return old.doc != new.doc
    one, other = old.classes.get(origin[1]), new.classes.get(origin[1])
    return one is not None and other is not None and ast.get_docstring(one) != ast.get_docstring(other)


def docstrings(module: Module) -> list[str | None]:
    """The docstrings of a module and of its classes."""
    return [module.doc, *(ast.get_docstring(cls) for cls in module.classes.values())]


def is_foreign(world: PlannerContext, module: Module, node: ast.expr) -> bool:
    """Whether an object surely is of a class from outside of the modules that are compared."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        return True
    source = origin(world.new, module, node) if isinstance(node, ast.Name | ast.Attribute) else None
    if source is None:
        return False
    known = world.new.modules.get(source[0])
    if known is None or source[0] not in world.compared:
        return True
    made = known.globals.get(source[1])
    if made is None:
        return is_display(world, module, node)
    if isinstance(made, ast.Constant) or is_display(world, module, node):
        return True
    return isinstance(made, ast.Call) and is_foreign(world, known, made.func)


def is_display(world: PlannerContext, module: Module, node: ast.expr) -> bool:
    """Whether a global is nothing but a list, a set or the like as it is written, or a dict of which Python's own are the keys."""
    source = origin(world.new, module, node)
    known = world.new.modules.get(source[0]) if source else None
    if source is None or known is None or not source[1]:
        return False
    every = (inner for statement in known.body for inner in walk(statement))
    if any(isinstance(inner, ast.Global) and source[1] in inner.names for inner in every):
        return False
    binding = [statement for statement in known.body if source[1] in names_bound(statement)]
    values = [initialiser(statement) for statement in binding if not isinstance(statement, ast.Delete)]
    return bool(values) and all(map(_is_own_of_python, values))


def _is_own_of_python(value: ast.expr | None) -> bool:
    match value:
        case ast.Dict(keys):
            return all(isinstance(key, ast.Constant) for key in keys)
        case ast.List() | ast.Tuple() | ast.Set() | ast.ListComp() | ast.SetComp():
            return True
    return False
