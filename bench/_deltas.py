"""How large `underway delta` makes a change: of one line, and of one dependency."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from _apps import change_line, lock, locked_version, set_version
from _measure import TOOLS
from _observe import Failed
from _peers import Place, archive_of, underway

Deltas = dict[str, tuple[str, float | str]]
"""By what changed: the kind of change, and the bytes or why there are none."""

LINE, DEPENDENCY = "one line", "one dependency"


def deltas(corner: Place, number: int) -> Deltas:
    """Builds what there was before and after each change, and the delta between them.

    One line: the service as it is, then with `number` in its line and a version of its own. One dependency: the version
    before the one that the lock holds, then the lock as it is.
    """
    place = replace(corner, root=corner.root / "deltas")
    shutil.copytree(corner.project, place.project, ignore=shutil.ignore_patterns("build"))
    try:
        current = _archive(place)
    except Failed as failure:
        return {LINE: (LINE, f"not available: {failure}")}
    changes: dict[str, tuple[str, Callable[[], tuple[Path, Path]]]] = {}
    for name in place.app.dependencies:
        changes[f"{name} {locked_version(place.project, name)}"] = DEPENDENCY, partial(_older, place, current, name)
    changes["one line, and the version"] = LINE, partial(_changed, place, current, number)
    found: Deltas = {}
    for what, (kind, make) in changes.items():
        try:
            found[what] = kind, _size(place, *make())
        except (Failed, OSError) as failure:
            found[what] = kind, f"not available: {failure}"
    return found


def _older(place: Place, current: Path, name: str) -> tuple[Path, Path]:
    file = place.project / "uv.lock"
    kept = file.read_bytes()
    try:
        lock(place.project, place.python, "--upgrade-package", f"{name}<{locked_version(place.project, name)}")
        return _archive(place, "--version", f"0.0.0+{name}"), current
    finally:
        file.write_bytes(kept)


def _changed(place: Place, current: Path, number: int) -> tuple[Path, Path]:
    change_line(place.app, place.project, number)
    set_version(place.project, place.python, f"{locked_version(place.project, place.app.name)}.1")
    return current, _archive(place)


def _archive(place: Place, *options: str) -> Path:
    """Build the project as it is, and keep nothing but the archive."""
    underway(place, *options)
    made = archive_of(place)
    kept = place.root / made.name
    made.rename(kept)
    shutil.rmtree(place.project / "build")
    return kept


def _size(place: Place, old: Path, new: Path) -> float:
    output = place.root / "delta"
    place.do(TOOLS / "underway", "delta", old, new, "--output", output)
    return float(output.stat().st_size)
