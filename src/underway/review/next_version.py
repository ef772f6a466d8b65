"""A build of a project that has not got its next version yet, compared as if it had: a plan leads from one version to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory

from ..planner.releases import Opened

NEXT = "+next"
"""What is put to a version that is to become another one."""


@dataclass(frozen=True)
class _Next(Opened):
    """A release as it is on disk, under another version."""

    version: str
    """The one that it has on disk."""
    applications: Mapping[str, tuple[str, str]]

    @property
    def place(self) -> VersionDirectory:
        return ReleaseDirectory(self.root).version(self.version)

    @property
    def rel(self) -> Mapping[str, tuple[str, str]]:
        return self.applications


def as_next(old: Opened, new: Opened) -> tuple[Opened, list[str]]:
    """`new` as its next version where it has the one of `old`, and each application of it that has changed under its version.

    The second are sentences on what was so taken.
    """
    runtime = "underway_runtime"
    renamed = [
        name
        for name, (version, _) in new.rel.items()
        if old.rel.get(name, ("",))[0] == version and name != runtime and _files(old, name) != _files(new, name)
    ]
    if old.manifest.version != new.manifest.version and not renamed:
        return new, []
    version = new.manifest.version
    notes = [
        f"{name} is {new.rel[name][0]} in both, with other files: it has to get another version; the plan is made as if it had"
        for name in renamed
    ]
    if old.manifest.version == version and not renamed:
        notes.append(f"both are {version}")
    applications = {
        name: (number + NEXT if name in renamed else number, mode) for name, (number, mode) in new.rel.items()
    }
    sealed = new.manifest if old.manifest.version != version else replace(new.manifest, version=version + NEXT)
    return _Next(new.root, sealed, new.date, new.parent, version, applications), notes


def _files(side: Opened, name: str) -> object:
    return side.below.get(side.homes.get(name, ""))
