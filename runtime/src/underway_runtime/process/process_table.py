"""The processes of this host, as ``/proc`` lists them: which of them live, who started whom, and when.

Any of them may end between being listed and being looked at; that one is not in the answer then. The system says so in two ways:
its directory is not there (ENOENT), or it is, and has nothing to say any more (ESRCH). Nothing is known where there is no ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..frozen import Frozen


class Process(Frozen):
    """One process; with the time of its start a pid means one for ever."""

    pid: int
    started: int
    """In ticks since the host booted."""
    parent: int
    group: int
    session: int


def processes() -> dict[int, Process]:
    """Return all processes that live, by pid."""
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []
    rows = (process_of(int(name)) for name in names if name.isdecimal())
    return {row.pid: row for row in rows if row is not None}


def process_of(pid: int) -> Process | None:
    """Return the process of that pid; None for one that has ended, whether or not its parent has taken note of it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return Process(pid, int(fields[19]), int(fields[1]), int(fields[2]), int(fields[3]))
    return None


def children(pid: int) -> list[int]:
    """Return the pids of those that a process has started, sorted; one that has ended counts until its parent has taken note."""
    pids: set[int] = set()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                pids.update(map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split()))
    return sorted(pids)


def family(pid: int) -> list[int]:
    """Return a pid and those of all that it has started, and these, with what started another before that one."""
    pids = [pid]
    for parent in pids:
        pids += [child for child in children(parent) if child not in pids]
    return pids
