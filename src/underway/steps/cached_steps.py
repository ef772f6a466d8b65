"""What came of steps that take long, kept for the next build that begins with the same: time zones, the closed world.

Each says what its outcome depends on, here, so that the steps themselves need not know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import ReleaseDirectory, application_directory

from ..release import Application, Release
from ..toolchain import cache
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import File
from . import timezones
from .binaries import closed_world, elf, shared_libdirs, strip
from .compiled_apps import entry_of
from .interpreter import TZPATH

LIBRARIES = "/etc/ld.so.cache"
"""Written again whenever a library is installed on this machine."""


def copy_time_zones(release: Release, kept: Cache) -> dict[str, File]:
    """As ``timezones.copy_time_zones``; returns what is known of the files, by their path in the release."""
    source = next((place for place in TZPATH.split(":") if os.path.isdir(place)), None)
    if timezones.PACKAGE in release.applications or release.interpreter_source is None or source is None:
        timezones.copy_time_zones(release)
        return {}

    def fill(tree: Path) -> Mapping[str, Any]:
        timezones.copy_time_zones(replace(release, version_path=tree))
        return {}

    key = cache.key("zones", sorted(_stamps(source)), cache.stamp(timezones.__file__))
    files = kept.get("zones", key, fill).place(release.version_path)
    place = release.version_path.relative_to(release.path).as_posix()
    return {f"{place}/{path}": file for path, file in files.items()}


def close(release: Release, placed: Mapping[str, File], kept: Cache) -> dict[str, File]:
    """As ``closed_world.close``, of a release in which `placed` is known; returns what is known of what has changed.

    The outcome depends on the binaries alone, and on the libraries of this machine. RECORDs are part of it, and so of what it
    depends on, where there are binaries next to them.
    """
    homes = {"/".join(path.split("/")[:2]) for path, file in placed.items() if file.binary}
    matters = {
        path: file.sha256
        for path, file in placed.items()
        if file.binary or (path.endswith("/RECORD") and "/".join(path.split("/")[:2]) in homes)
    }
    if not _is_known(release, placed):
        closed_world.close(release)
        return {}
    given = [release.options.host_libraries, release.options.strip]
    place = release.version_path.relative_to(release.path).as_posix()
    key = cache.key(
        *("closed", matters, given, place, release.interpreter_source is not None, os.environ.get("LD_LIBRARY_PATH")),
        *(cache.stamp(path) for path in (LIBRARIES, shutil.which("strip"), shutil.which("patchelf"))),
        *(cache.stamp(module.__file__) for module in (closed_world, elf, strip)),
    )
    if (entry := kept.find("closed", key)) is not None:
        return entry.place(release.path)
    before = _still(release, placed)
    added = closed_world.close(release).changed
    changed = {*added, *(before - _still(release, placed)), f"{place}/glibc"}

    def fill(tree: Path) -> Mapping[str, Any]:
        for path in sorted(changed):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(release.path / path, tree / path)
        return {}

    return kept.make("closed", key, fill, [release.path.parent]).place(release.path)


def homes(applications: Mapping[str, Application]) -> dict[str, str]:
    """As ``shared_libdirs.together``: which applications share a directory. Only those with binaries matter."""
    entries = {name: entry_of(application) for name, application in applications.items()}
    matters = {
        name: entry and entry.tree.parent.name
        for name, entry in entries.items()
        if entry is None or any(file.binary or ".so" in path for path, file in entry.files.items())
    }
    if None in matters.values():
        return shared_libdirs.together(applications)
    key = cache.key("together", matters, cache.stamp(shared_libdirs.__file__))
    if (known := cache.recall(key, os.environ)) is None:
        known = shared_libdirs.together(applications)
        cache.remember(key, known, os.environ)
    return dict(known)


def by_contents(
    applications: Mapping[str, Application], homes: Mapping[str, str], built: Collection[str]
) -> dict[str, str]:
    """The directories in ``lib``, those of applications that were built from an sdist with a digest of what is in them.

    What builds an sdist is not locked, and may write down when and where it does: of one version there may be several. `homes` are
    the directories that several share, as `homes` has them.
    """
    found = dict(homes)
    contents = {
        name: sorted((path, file.sha256) for path, file in entry.files.items())
        for name in applications
        if name in built and (entry := entry_of(applications[name])) is not None
    }
    for home in {homes.get(name) or name for name in contents}:
        members = [name for name in applications if (homes.get(name) or name) == home]
        digest = cache.key("contents", [contents.get(name) for name in sorted(members)])[:8]
        for name in members:
            base = homes.get(name) or application_directory(name, applications[name].version)
            found[name] = f"{base}+{digest}"
    return found


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


def _stamps(directory: str) -> Iterator[list[Any]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(entry.path)
            else:
                yield cache.stamp(entry.path)
