"""A version that has passed its trial, booted and kept for the install that follows."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...control.client.client import NotAnswering, Place, connect
from ...release.display import one_line
from ...release.errors import UnderwayError


@dataclass(frozen=True)
class Kept:
    """A node that waits to be wanted."""

    pid: int
    seconds: float
    memory: int | None
    """Bytes that it has for itself; None where the system does not tell."""

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "seconds": self.seconds, "memory": self.memory}

    def __str__(self) -> str:
        has = "" if self.memory is None else f"; it has {self.memory / 2**20:.0f} MB until then"
        return f"for {self.seconds:g} s it waits to take over (pid {self.pid}){has}"


def keep(version: str, seconds: float, timeout: float) -> tuple[Kept | None, str]:
    """Have the keeper start a node of a version that waits for so many seconds; or why there is none. `timeout`: seconds to boot."""
    try:
        with closing(connect(Place(os.environ))) as connection:
            answer = connection.ask({"do": "keep", "version": version, "seconds": seconds}, timeout)
    except NotAnswering:
        return None, f"it did not wait within {timeout:g} s"
    except UnderwayError as error:
        return None, str(error)
    match answer:
        case {"kept": int(pid)}:
            return Kept(pid, seconds, _memory(pid)), ""
        case {"failed": str(why)} | {"busy": str(why)}:
            return None, one_line(why, 300)
    return None, "the node has not said why"


def _memory(pid: int) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return (
            sum(int(rollup.partition(f"{name}:")[2].split()[0]) for name in ("Private_Clean", "Private_Dirty")) * 1024
        )
    return None
