"""What the system tells of one process, in ``/proc/PID``. What can't be seen, and what has ended, tells nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def is_there(pid: int | str) -> bool:
    """Return whether there is a process of that pid."""
    return Path(f"/proc/{pid}").exists()


def command_line(pid: int | None) -> list[str]:
    """Return the words that a process was started with; a text of its own choice."""
    return [word for word in _read(pid, "cmdline").split("\0") if word]


def environment(pid: int | None) -> dict[str, str]:
    """Return the variables that a process was started with; what the kernel takes and is none, as ``=x``, is left out."""
    return dict(pair.split("=", 1) for pair in _read(pid, "environ").split("\0") if pair.find("=") > 0)


def control_groups(pid: int | str) -> str:
    """Return the control groups of a process, a line each: number, kind and path."""
    return _read(pid, "cgroup")


def status(pid: int) -> dict[str, list[str]]:
    """Return what ``status`` says, by its names: ``{"Uid": ["1000", "1000", "1000", "1000"]}``, all read at one moment."""
    rows = (line.partition(":") for line in _read(pid, "status").splitlines())
    return {name: rest.split() for name, _, rest in rows}


def owner(pid: int) -> int | None:
    """Return the user of a process; None where the system does not tell."""
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}").st_uid
    return None


def working_directory(pid: int | None) -> str | None:
    """Return a path that leads to where a process is, if this one may go there."""
    path = f"/proc/{pid}/cwd"
    return path if os.access(path, os.X_OK) else None


def _read(pid: int | str | None, name: str) -> str:
    with contextlib.suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/{name}").read_bytes())
    return ""
