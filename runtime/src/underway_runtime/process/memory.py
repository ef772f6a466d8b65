"""Memory, in bytes, of this process, of the host and of control groups, as ``/proc`` and ``/sys/fs/cgroup`` tell it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60
"""From here on a number of the first version of control groups means that there is no limit."""


def resident() -> int | None:
    """Return how much of this process is in memory; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return None


def give_back() -> None:
    """Let the system have what this process has freed, as far as the C library can be told to: glibc can."""
    import ctypes  # which a node that is never upgraded does not need

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def available(root: Path = Path("/")) -> int | None:
    """Return what the host has left; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((root / "proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024
    return None


def left_by_limits(pid: int | None, root: Path = Path("/")) -> Iterator[int]:
    """Yield what each control group with a limit in which a process is, or this one, leaves; files that can be forgotten count as left."""
    with contextlib.suppress(OSError):
        for line in (root / f"proc/{pid or 'self'}/cgroup").read_text().splitlines():
            match line.split(":", 2):
                case ["0", "", path]:
                    above, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file ")
                case [_, "memory", path]:
                    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
                    above = root / "sys/fs/cgroup/memory"
                case _:
                    continue
            inner = Path(path.lstrip("/"))
            for group in (inner, *inner.parents):
                with contextlib.suppress(OSError, ValueError, IndexError):  # a word instead of a number: no limit
                    most, used = (int((above / group / name).read_text()) for name in names[:2])
                    cached = int((above / group / "memory.stat").read_text().partition(names[2])[2].split()[0])
                    if most < _UNLIMITED:
                        yield max(0, most - used + cached)
