"""Which directory in ``lib`` each application has: its own, one that several share, or one that is named for its contents."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from underway_runtime.release.directory import application_directory

from ..packages.application_entries import entry_of
from ..release import Application
from ..toolchain import cache
from .binaries import shared_libdirs


def shared(applications: Mapping[str, Application]) -> dict[str, str]:
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
    the directories that several share, as `shared` has them.
    """
    directories = dict(homes)
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
            directories[name] = f"{base}+{digest}"
    return directories
