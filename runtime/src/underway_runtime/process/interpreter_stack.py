"""Room on the interpreter's own stack.

Since 3.11 the frames of Python functions lie one after the other in chunks of memory, 16 KiB at first. Where a chunk is full
the next call maps a new one, and the return from it unmaps that: a loop that happens to be at this depth asks the system for
memory at each turn. Imports nest so deep that it happens in most boots, some thousand times. The interpreter takes a
larger chunk for a function that says that it needs one; what is called from it has its frames there too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SLOTS = 65_536
"""Makes it a chunk of 1 MiB, half of which is for others; only what is used of it becomes memory."""


def with_room(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, with room for what it calls in its thread: about as deep as Python allows."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_stacksize=_SLOTS)
    return call
