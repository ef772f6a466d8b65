"""Steps whose files are kept: made once, for all builds that begin with the same, and put into each release from there.

==================  ==================================  =======================================================
step                its files are in the release at     and depend on
==================  ==================================  =======================================================
interpreter         ``python-V``                        the interpreter, the libraries of this machine, strip
applications        ``lib/NAME-V``, ``releases/V``      where each comes from, interpreter, strip, uv
time zones          ``releases/V/share/zoneinfo``       those of this machine
closed world        the places of what it changes       all binaries, the libraries of this machine, strip
==================  ==================================  =======================================================

What a step depends on is its key, which each makes next to what it does; the modules that do it are always part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..release import Release
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import File, TreeEntry

READY = "ready"
"""The directory next to a release in the making in which parts of it lie ready."""

Placed: TypeAlias = dict[str, File]
"""What is known of files that were put into a release, by their path in it."""


def cached_step(
    release: Release,
    store: Cache,
    key: tuple[str, str],
    make: Callable[[Path], Mapping[str, Any]],
    target: Path,
    forbidden: Iterable[Path] | None = None,
) -> Placed:
    """Put the files of a step into the release at `target`; `make` puts them into the directory that it is given, where none are kept.

    `key` is the kind of files and what stands for all that they depend on. What names one of the directories `forbidden` is of use to
    this build alone.
    """
    return put(release, store.get(*key, make, forbidden), target)


def put(
    release: Release,
    entry: TreeEntry,
    target: Path,
    paths: Iterable[str] | None = None,
    *,
    below: str = "",
    prepared: bool = False,
) -> Placed:
    """Put kept files into the release at `target`, all or `paths`; `below` is left out of these.

    With `prepared` they may lie ready (`TreeEntry.prepare`), and are moved from there.
    """
    ready = release.path.parent / READY if prepared else None
    directory = target.relative_to(release.path)
    return {(directory / path).as_posix(): file for path, file in entry.put_into(target, paths, below, ready).items()}
