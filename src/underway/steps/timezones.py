"""Time zones for hosts that have none: ``releases/V/share/zoneinfo``, which zoneinfo looks into last."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..release import Release
from ..toolchain import cache
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import make_directory
from .cached_steps import Placed, cached_step
from .interpreter import TZPATH, ZONES

log = logging.getLogger("underway")

PACKAGE = "tzdata"
"""The application that zoneinfo falls back to by itself, where the lock has it."""

LEFT_OUT = ("posix", "right", "localtime", "posixrules")
"""Doubles of other zones, zones with leap seconds, which Python can't read, and what this machine's own zone is."""


def copy_time_zones(release: Release, store: Cache, places: Sequence[str] = tuple(TZPATH.split(":"))) -> Placed:
    """Copy this machine's time zones into the release, unless the lock has them as tzdata or there is no interpreter.

    A zone that is the same as another is a link to it. They are in ``releases/V``, not next to the interpreter, because they
    change more often than that and releases share it. Where this machine has none either, a warning is logged. Returns what is known of
    the files.
    """
    if PACKAGE in release.applications or release.interpreter_source is None:
        return {}
    source = next((Path(directory) for directory in places if os.path.isdir(directory)), Path(os.devnull))
    key = cache.key("zones", sorted(_stamps(source)), cache.stamp(__file__))
    placed = cached_step(release, store, ("zones", key), lambda tree: _copy(source, tree / ZONES), release.version_path)
    if not placed:
        log.warning("the release has no time zones, as this machine has none; for hosts without, `uv add tzdata`")
    return placed


def _copy(source: Path, zones: Path) -> dict[str, Any]:
    first: dict[str, Path] = {}
    for name in _zones(source):
        target = zones / name
        make_directory(target.parent)
        digest = hashlib.sha256((source / name).read_bytes()).hexdigest()
        if (same := first.setdefault(digest, target)) is target:
            shutil.copyfile(source / name, target)
            target.chmod(0o644)
        else:
            target.symlink_to(os.path.relpath(same, target.parent))
    return {}


def _stamps(directory: str | Path) -> Iterator[list[Any]]:
    if not os.path.isdir(directory):
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(entry.path)
            else:
                yield cache.stamp(entry.path)


def _zones(source: Path) -> list[str]:
    names = []
    for directory, directories, files in os.walk(source):
        directories[:] = [name for name in directories if name not in LEFT_OUT]
        names += [os.path.relpath(os.path.join(directory, name), source) for name in files if name not in LEFT_OUT]
    return sorted(name for name in names if _is_zone(source / name))


def _is_zone(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"TZif"
