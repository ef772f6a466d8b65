"""What takes long to make and nobody changes is made once in a run, by whichever of its workers comes first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Have `make` fill the directory of this name, unless a worker of this run has; it is there when this returns.

    What the maker raises is raised, and whoever comes next tries again.
    """
    place = Path(os.environ["UNDERWAY_TESTS"]) / "once" / name
    place.parent.mkdir(exist_ok=True)
    finished = place.with_name(f"{name}.finished")
    with place.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            finished.touch()
    return place
