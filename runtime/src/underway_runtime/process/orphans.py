"""What a process has started and left: who starts it may inherit it, and end it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from .process_table import children

_TO_SWEEP = 5.0
"""Seconds in which what is left is ended; each round ends all that is known then."""
_PAUSE = 0.01
_PR_SET_CHILD_SUBREAPER = 36


@contextlib.contextmanager
def gathered() -> Iterator[Callable[[], None]]:
    """Be who inherits all that is started and left within, also what has left its session; what is yielded ends that."""
    before = {*children(os.getpid())}
    libc: Any = None
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def sweep() -> None:
        end = time.monotonic() + _TO_SWEEP
        while (left := {*children(os.getpid())} - before) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(_PAUSE)

    try:
        yield sweep
    finally:
        if libc is not None:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
