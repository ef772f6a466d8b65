"""Functions without parameters that make settings once: ``@lru_cache def get_settings(): return Settings()``.

Only the process knows what is in their caches. It lets go of that where nobody else holds it, and where it is still what the function
makes; the next who asks has it made as after a start.
"""

from __future__ import annotations

import ast

from ...edit import ModuleDiff
from ...source import Function, Module
from ...values import origin
from ..bases import MODELS
from . import classes_again, instances_again

_CACHES = {"functools.lru_cache", "functools.cache"}
OF_OTHERS = {*MODELS, "builtins.object"}
"""Bases from outside of the release."""


def let_go(edit: ModuleDiff, name: str) -> bool:
    """Whether the process can let go of what a function remembers, which is asked for then; it has made settings, and makes the same."""
    if not is_maker(edit, name):
        return False
    edit.guard("remembered", name)
    return True


def is_maker(edit: ModuleDiff, name: str) -> bool:
    """Whether a function of the older release is such a one, of a class that is made of the environment and files alone."""
    function, side = edit.old.functions.get(name), edit.world.old
    if edit.old.stored.get(name) != 1 or not isinstance(function, ast.FunctionDef) or _takes_something(function):
        return False
    by = [".".join(origin(side, edit.old, decorator) or ()) for decorator in function.decorator_list]
    made = made_by(function)
    if len(by) != 1 or by[0] not in _CACHES or not isinstance(made, ast.Call):
        return False
    names = {ast.unparse(made.func).rpartition(".")[2]}
    return instances_again.is_plainly_made(made, names) and _is_made_alike(edit, edit.old, made.func)


def _is_made_alike(edit: ModuleDiff, module: Module, called: ast.expr) -> bool:
    """Whether a class is of the release, and makes each instance of its defaults, the environment and files."""
    side = edit.world.old
    source = origin(side, module, called)
    known = side.modules.get(source[0]) if source and source[0] in edit.world.compared else None
    cls = known.classes.get(source[1]) if known and source else None
    if known is None or cls is None or known.stored.get(cls.name) != 1:
        return False
    bases = [base for base in cls.bases if ".".join(origin(side, known, base) or ()) not in OF_OTHERS]
    alike = (
        not instances_again.differs_each_time(edit.world, side, known, cls)
        if classes_again.is_model(edit.world, known, cls)
        else instances_again.is_plain_alike(edit.world, side, known, cls)
    )
    return alike and all(_is_made_alike(edit, known, base) for base in bases)


def _takes_something(function: Function) -> bool:
    args = function.args
    return bool(args.args or args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg)


def made_by(function: Function) -> ast.expr | None:
    """What a function returns, where it does nothing else."""
    match [statement for statement in function.body if not _is_text(statement)]:
        case [ast.Return(value)]:
            return value
        case [ast.Assign([ast.Name(bound)], value), ast.Return(ast.Name(name))] if bound == name:
            return value
    return None


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
