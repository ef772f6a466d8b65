"""How a function can be called, by its source and by its code."""

from __future__ import annotations

import ast
import inspect

from ..source import Function, text

KINDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
"""The flags of code that say what a call of it gives."""

IF_NOT_HANDED = "if nobody but modules and classes has it by then, who might call it as before"


def signature(function: Function) -> str:
    args = function.args
    names = [[arg.arg for arg in arguments] for arguments in (args.posonlyargs, args.args, args.kwonlyargs)]
    stars = [arg and arg.arg for arg in (args.vararg, args.kwarg)]
    return repr((names, stars, len(args.defaults), [default is None for default in args.kw_defaults]))


def takes_all(old: ast.arguments, new: ast.arguments) -> bool:
    """Whether what could be called in the old way can be called so still."""
    was, now = ([arg.arg for arg in (*arguments.posonlyargs, *arguments.args)] for arguments in (old, new))
    optional = {*now[len(now) - len(new.defaults) :]} if new.defaults else set()
    required = {arg.arg for arg, default in zip(new.kwonlyargs, new.kw_defaults, strict=True) if default is None}
    needed = {arg.arg for arg, default in zip(old.kwonlyargs, old.kw_defaults, strict=True) if default is None}
    before = {*was, *(arg.arg for arg in old.kwonlyargs)}
    return (
        now[: len(was)] == was
        and {*now[len(was) :]} <= optional
        and len(now) - len(new.defaults) <= len(was) - len(old.defaults)
        and required <= needed
        and (new.kwarg is not None or before <= {*now, *(arg.arg for arg in new.kwonlyargs)})
        and (old.vararg is None or new.vararg is not None)
        and (old.kwarg is None or new.kwarg is not None)
    )


def defaults(function: Function) -> str:
    return "|".join(map(text, [*function.args.defaults, *function.args.kw_defaults]))
