"""The closed world of a release, kept for the next build with the same binaries."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import ReleaseDirectory

from ...packages.application_entries import entry_of
from ...release import Release
from ...toolchain import cache
from ...toolchain.cache import Cache
from ...toolchain.cached_tree import File
from ..cached_steps import Placed, cached_step
from . import closed_world, elf, strip

LIBRARIES = "/etc/ld.so.cache"
"""Written again whenever a library is installed on this machine."""


def close(release: Release, placed: Mapping[str, File], store: Cache) -> Placed:
    """Close a release as ``closed_world.close`` does, where `placed` is known; returns what is known of what has changed.

    The outcome depends on the binaries alone, and on the libraries of this machine. RECORDs are part of it, and so of what it
    depends on, where there are binaries next to them.
    """
    if not _is_known(release, placed):
        closed_world.close(release)
        return {}

    def make(tree: Path) -> Mapping[str, Any]:
        before = _still(release, placed)
        added = closed_world.close(release).changed
        glibc = (release.version_path / "glibc").relative_to(release.path).as_posix()
        for path in sorted({*added, *(before - _still(release, placed)), glibc}):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(release.path / path, tree / path)
        return {}

    return cached_step(release, store, ("closed", _key(release, placed)), make, release.path, [release.path.parent])


def _key(release: Release, placed: Mapping[str, File]) -> str:
    homes = {"/".join(path.split("/")[:2]) for path, file in placed.items() if file.binary}
    matters = {
        path: file.sha256
        for path, file in placed.items()
        if file.binary or (path.endswith("/RECORD") and "/".join(path.split("/")[:2]) in homes)
    }
    version = release.version_path.relative_to(release.path).as_posix()
    given = [release.options.host_libraries, release.options.strip]
    return cache.key(
        *("closed", matters, given, version, release.interpreter_source is not None, os.environ.get("LD_LIBRARY_PATH")),
        *(cache.stamp(path) for path in (LIBRARIES, shutil.which("strip"), shutil.which("patchelf"))),
        *(cache.stamp(module.__file__) for module in (closed_world, elf, strip)),
    )


def _is_known(release: Release, placed: Mapping[str, File]) -> bool:
    """Whether all binaries are among those files."""
    entries = [entry_of(application) for application in release.applications.values()]
    home = ReleaseDirectory(release.path).interpreter(release.interpreter_version).name
    included = release.interpreter_source is not None
    return all(entry and not entry.bound for entry in entries) and (
        not included or any(path.startswith(f"{home}/") for path in placed)
    )


def _still(release: Release, placed: Mapping[str, File]) -> set[str]:
    return {path for path, file in placed.items() if file.is_still(os.lstat(f"{release.path}/{path}"))}
