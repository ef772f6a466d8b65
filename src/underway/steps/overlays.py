"""The user's own files: directories whose contents are laid over the root of the release."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import BuildError, listing
from ..release import Release
from .manifest import list_files


def copy_overlays(release: Release, directories: Iterable[Path]) -> Release:
    """Copy the contents of each directory over the root of the release and name them in ``overlays``.

    A later directory wins over an earlier one. Links are copied as links when they stay inside the directory. Raises
    BuildError for a directory that is not there, a link that leaves it, and a file that would replace one of ours.
    """
    problems: list[str] = []
    copies: dict[str, Path] = {}
    for directory in directories:
        if not directory.is_dir():
            problems.append(f"{directory} is not a directory")
            continue
        for name in list_files(directory):
            source = directory / name
            if source.is_symlink() and not _stays_inside(source, directory):
                problems.append(f"{source} is a link to {os.readlink(source)}, which would not be in the release")
            elif os.path.lexists(release.path / name):
                problems.append(f"{source} would replace {name}, which the release makes itself")
            copies[name] = source
    if problems:
        raise BuildError(listing("the overlays can't be copied:", problems))
    for name, source in copies.items():
        target = release.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return replace(release, overlays=(*release.overlays, *sorted(copies)))


def _stays_inside(link: Path, directory: Path) -> bool:
    target = Path(os.readlink(link))
    return not target.is_absolute() and (link.parent / target).resolve().is_relative_to(directory.resolve())
