"""Control groups with a limit of memory, for tests of what happens when it is reached."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def limited_memory(size: int) -> Iterator[Callable[[], None]]:
    """A function that puts the process that calls it into a group of so many bytes; skips where none may be made."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    above, limit = (first, "memory.limit_in_bytes") if first.is_dir() else (second, "memory.max")
    group = above / f"underway-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        (group / limit).write_text(str(size))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip("needs the right to make a control group with a limit of memory")
    for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
        with contextlib.suppress(OSError):
            (group / swap).write_text(str(size) if "memsw" in swap else "0")

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield enter
    finally:
        for pid in (group / "cgroup.procs").read_text().split():  # of a test that has failed
            with contextlib.suppress(OSError):
                (above / "cgroup.procs").write_text(pid)
        group.rmdir()
