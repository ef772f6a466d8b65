"""Who holds an object, in words: for messages to a person who has to do something about it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Collection
from types import (
    AsyncGeneratorType,
    CellType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

DEPTH = 5
"""How many containers are looked through."""

UNKNOWN = "something that can't be seen from Python"

_HERE = f"{os.path.dirname(__file__)}/"

_FRAMES = {CoroutineType: "cr_code", GeneratorType: "gi_code", AsyncGeneratorType: "ag_code"}


def holder(held: Any, ignored: Collection[int] = (), direct: Collection[int] = ()) -> str:
    """Who holds an object, through containers up to something with a name.

    `ignored` are ids of objects that don't count, `direct` of those that don't count where they hold it themselves.
    """
    return seen_holder(held, ignored, direct) or UNKNOWN


def seen_holder(held: Any, ignored: Collection[int] = (), direct: Collection[int] = ()) -> str | None:
    """The same; None where nobody is seen that holds it."""
    return _holder(held, {*ignored}, {*direct}, DEPTH)


def _holder(held: Any, ignored: set[int], direct: set[int], depth: int) -> str | None:
    # The list of referrers has no name: the frame of this call may be in it, and would hold it for good.
    others = [
        each
        for each in gc.get_referrers(held)
        if id(each) not in ignored and id(each) not in direct and not _is_ours(each)
    ]
    for each in others:
        if (text := _named(each, held)) is not None:
            return text
    if depth:
        ignored.add(id(others))
        for each in others:
            ignored.add(id(each))
            if (above := _holder(each, ignored, set(), depth - 1)) is not None:
                return above if isinstance(each, (dict, CellType)) else f"{_kind(each)} in {above}"
    return f"a {_kind(others[0])}" if others else None


def _is_ours(referrer: Any) -> bool:
    """Whether this belongs to who asks: a frame, or what it has found."""
    match referrer:
        case FrameType():
            return referrer.f_globals.get("__package__") == __package__
        case GeneratorType():
            return referrer.gi_code.co_filename.startswith(_HERE)
    return type(referrer).__module__.startswith(f"{__package__}.")


def _named(referrer: Any, held: Any) -> str | None:
    """A referrer that can be told by name."""
    match referrer:
        case dict():
            name = referrer.get("__name__")
            module = sys.modules.get(name) if isinstance(name, str) else None
            key = next((key for key, value in referrer.items() if value is held), None)
            if module is not None and vars(module) is referrer and key is not None:
                return f"{name}.{key}"
            return None
        case FrameType():
            return f"a local of {referrer.f_code.co_qualname}, {referrer.f_code.co_filename}:{referrer.f_lineno}"
        case FunctionType():
            return f"function {referrer.__module__}.{referrer.__qualname__}"
        case type():
            return f"class {referrer.__module__}.{referrer.__qualname__}"
        case ModuleType():
            return f"module {referrer.__name__}"
        case CoroutineType() | GeneratorType() | AsyncGeneratorType():
            code = getattr(referrer, _FRAMES[type(referrer)])
            return f"a local of {code.co_qualname}, {code.co_filename}:{code.co_firstlineno}"
        case list() | tuple() | set() | frozenset() | CellType() | MethodType() | TracebackType():
            return None
    kind = type(referrer)
    if kind.__module__ in ("builtins", "functools", "types", "collections", "weakref"):
        return None
    return f"a {kind.__module__}.{kind.__qualname__}"


def _kind(referrer: Any) -> str:
    kind = type(referrer)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
