"""Finds what leads from one version to another in the process that runs, in an interpreter of its own.

Two manifests are read for it, with thousands of files each, and every file that only one of the versions has. The process that
serves would stand still meanwhile, and keep the memory that this takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..node.in_place_install import RequiresRestart
from ..release import relup
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease
from ..release.relup import RelupPath

WITHIN = 120.0
"""Seconds for all of it."""

_PROGRAM = "from underway_runtime.upgrade.path_finder import main; main()"


def find(directory: ReleaseDirectory, running: str, version: str) -> RelupPath | None:
    """Find the way by a relup, when it and all code hold against the manifests; None where both versions have the same code.

    Raises RequiresRestart with what is in the way, and DamagedRelease where the version that comes is damaged.
    """
    python = str(directory.version(running).python)
    command = [python, "-B", "-c", _PROGRAM, str(directory.root), running, version]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN, start_new_session=True
        )
        answer: Mapping[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequiresRestart(f"the way from {running} to {version} can't be looked for: {error}") from None
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
        raise RequiresRestart(f"the way from {running} to {version} can't be looked for: {last}") from None
    match answer:
        case {"restart": str(why)}:
            raise RequiresRestart(why)
        case {"damaged": str(why)}:
            raise DamagedRelease(why)
        case {"entry": entry, "direction": ("up" | "down") as direction, "magic": str(magic)}:
            return RelupPath(relup.entry_from_json(direction, entry), direction, magic)
    return None


def _answer(directory: ReleaseDirectory, running: str, version: str) -> dict[str, Any]:
    from . import paths  # for the interpreter that answers alone
    from .change import differences

    if not differences(directory, running, version):
        return {}
    try:
        way = paths.find(directory, running, version)
        paths.verify_code(directory, running, version)
    except RequiresRestart as error:
        return {"restart": str(error)}
    except DamagedRelease as error:
        return {"damaged": str(error)}
    entry = relup.entry_to_json(way.direction, way.entry)
    return {"entry": entry | {"changes": []}, "direction": way.direction, "magic": way.magic}


def main() -> None:
    """Print as JSON what `find` gives."""
    root, running, version = sys.argv[1:]
    print(json.dumps(_answer(ReleaseDirectory(Path(root)), running, version)))
