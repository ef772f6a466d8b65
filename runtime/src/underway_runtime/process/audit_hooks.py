"""Audit hooks in Python: nothing can list them, so they are noticed when they are added.

One runs within each act of a swap, and lets other threads in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

hooks: list[Callable[..., object]] = []
"""Those that were added since `watch`."""


def watch() -> None:
    """Notice from now on when a hook is added with `sys.addaudithook`."""
    real = sys.addaudithook
    if getattr(real, "__module__", None) == __name__:
        return

    def addaudithook(hook: Callable[..., object]) -> None:
        real(hook)
        hooks.append(hook)

    sys.addaudithook = addaudithook
