"""Who ends when memory runs out while two versions are in it: the one that is to follow, and not the one that serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

_FIRST = "1000\n"


def go_first() -> Callable[[], None]:
    """Have the kernel end this process, with what it starts, before all others; returns what takes that back.

    Never raises: where the system has no such thing all stays as it is.
    """
    place = _score(os.getpid())
    try:
        before = place.read_text()
        place.write_text(_FIRST)
    except OSError:
        return lambda: None
    return partial(_take_back, before, [os.getpid()])


def _take_back(before: str, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            if _score(pid).read_text() == _FIRST:
                _score(pid).write_text(before)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                _take_back(before, map(int, task.read_text().split()))


def _score(pid: int) -> Path:
    return Path(f"/proc/{pid}/oom_score_adj")
