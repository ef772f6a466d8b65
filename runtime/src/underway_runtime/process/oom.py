"""Who ends when memory runs out while two versions are in it: the one that is to follow, and not the one that serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .process_table import family

_FIRST = "1000\n"


def go_first() -> Callable[[], None]:
    """Have the kernel end this process, with what it starts, before all others; returns what takes that back.

    Never raises: where the system has no such thing all stays as it is.
    """
    score = _score(os.getpid())
    try:
        before = score.read_text()
        score.write_text(_FIRST)
    except OSError:
        return lambda: None
    return partial(_take_back, before, os.getpid())


def _take_back(before: str, pid: int) -> None:
    for score in map(_score, family(pid)):
        with contextlib.suppress(OSError):
            if score.read_text() == _FIRST:
                score.write_text(before)


def _score(pid: int) -> Path:
    return Path(f"/proc/{pid}/oom_score_adj")
