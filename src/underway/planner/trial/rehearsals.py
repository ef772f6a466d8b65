"""Releases in interpreters of their own, which are asked, each in an empty directory: see `underway_runtime.upgrade.hot.rehearsal`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path

from underway_runtime.release.directory import VersionDirectory
from underway_runtime.upgrade.hot.rehearsed import Rehearsed, rehearsed

from ...toolchain.held import held
from ..releases import Opened

TIMEOUT = 600.0
"""Seconds for all that is asked of one release."""

_SCRATCH = "underway-rehearsal-"


class Trials:
    """Two releases, each in processes of its own: a process starts when it is asked for, and ends with the block."""

    def __init__(self, one: Opened, other: Opened) -> None:
        self._releases = one, other
        self._cleanup = ExitStack()
        self._known: dict[tuple[Path, int], Rehearsed] = {}

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def of(self, release: Opened, number: int = 0) -> Rehearsed:
        """The process of one of the releases; a second one, with another hash seed, has another number. Raises Unobservable."""
        key = release.place.path, number
        if key not in self._known:
            self._known[key] = self._cleanup.enter_context(self._started(release, seed=len(self._known) + 1))
        return self._known[key]

    @cached_property
    def _scratch(self) -> Path:
        return self._cleanup.enter_context(held(_SCRATCH))

    @cached_property
    def _root(self) -> Path:
        return _together(self._releases, self._scratch / "release")

    def _started(self, release: Opened, seed: int) -> AbstractContextManager[Rehearsed]:
        here = VersionDirectory(self._root / release.place.path.relative_to(release.root))
        version = here if _is_whole(release, self._root) else release.place
        work = self._scratch / f"work-{seed}"
        work.mkdir()
        environ = {
            "PATH": os.defpath,
            "PYTHONHASHSEED": str(seed),
            "RELEASE_ROOT": str(version.path.parents[1]),
            "RELEASE_VSN": version.path.name,
            **dict.fromkeys(("HOME", "TMPDIR", "RELEASE_VAR", "RELEASE_TMP"), str(work)),
        }
        return rehearsed(version, environ, work, TIMEOUT, {str(work): "$SCRATCH"}, alone=True)


def _together(releases: Sequence[Opened], root: Path) -> Path:
    """A directory that has all of these releases, as one on a host has; that of the releases themselves, if it is one.

    A release that has files of another under the same names, as a project has until it gets its next version, stays where it is.
    """
    if len({release.root for release in releases}) == 1:
        return releases[0].root
    root.mkdir()
    for name in ("lib", "releases"):
        (root / name).mkdir()
    for release in releases:
        for source in (*release.root.glob("lib/*"), release.place.path, *release.root.glob("python-*")):
            target = root / source.relative_to(release.root)
            if not target.exists():
                _linked(source, target) if target.parent.name == "releases" else target.symlink_to(source)
    return root


def _is_whole(release: Opened, root: Path) -> bool:
    """Whether what is there of a release is its own, and not another's of the same name."""
    paths = [*(release.root / "lib" / home for home in release.homes.values()), release.place.manifest]
    return all((root / path.relative_to(release.root)).resolve() == path.resolve() for path in paths)


def _linked(source: Path, target: Path) -> None:
    """Make the directories of a version, and links to its files: its interpreter knows by where it is which version it is.

    What is only data, hundreds of time zones, is one link.
    """
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name != "share":
            _linked(path, target / path.name)
        elif path.is_symlink():
            (target / path.name).symlink_to(os.readlink(path))
        else:
            (target / path.name).symlink_to(path)
