"""What surely is of Python, or of a library that does not change: a call of it leads to nothing of the release."""

from __future__ import annotations

import ast

from ..edit import PlannerContext
from ..source import Module, initialiser, names_bound, walk
from ..values import origin


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
