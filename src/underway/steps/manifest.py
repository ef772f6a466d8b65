"""What a release consists of: the files of its own steps, and the overlays that were named; nothing unlisted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import StepError, listing
from ..release import Release
from ..toolchain.cached_tree import File
from .upgrade import without_stale_relup


def list_files(root: Path) -> list[str]:
    """Every file and link below `root`, relative to it with ``/``, sorted. Links are not followed."""
    return sorted(_files(str(root), "")) if root.is_dir() else []


def _files(directory: str, below: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{below}{entry.name}/")
            else:
                yield below + entry.name


def draft(release: Release, files: list[str], placed: Mapping[str, File] = {}) -> None:
    """Write down which files the built-in steps made, for `seal` to complete once every step has run.

    `placed` says of some what they held when they were put there: as long as they are as they were, they are not read again.
    """
    known = {path: [*vars(file).values()] for path, file in placed.items()}
    _draft_file(release).write_text(json.dumps({"files": files, "placed": known}), encoding="utf-8")


def seal(release: Release) -> manifest.Manifest:
    """Write ``manifest.json`` from the draft and the overlays, as the files are now, and return it.

    Raises StepError naming overlays that are not there or leave the release, and files that a step wrote into which other releases
    share.
    """
    version = ReleaseDirectory(release.path).version(release.version)
    drafted = json.loads(_draft_file(release).read_text(encoding="utf-8"))
    known = drafted["files"]
    overlays, problems = _overlay_files(release)
    if problems:
        raise StepError(listing("overlays name what can't be packed:", problems))
    itself, relup = (path.relative_to(release.path).as_posix() for path in (version.manifest, version.relup))
    sealed = manifest.Manifest(
        name=release.name,
        version=release.version,
        target=release.context.target,
        interpreter=release.interpreter_version,
        files=_survey(str(release.path), {*known, *overlays, relup} - {itself}, drafted["placed"]),
        glibc=version.glibc.read_text(encoding="utf-8").partition(" ")[0] if version.glibc.exists() else "",
    )
    sealed = without_stale_relup(sealed, version)
    version.manifest.write_text(manifest.dump(sealed), encoding="utf-8")
    return sealed


def _survey(root: str, paths: Iterable[str], placed: Mapping[str, list[Any]]) -> dict[str, manifest.ManifestEntry]:
    """The entries of those of `paths` that are there; what is as it was placed is not read."""
    entries, unknown, shared = {}, [], []
    for path in paths:
        try:
            status = os.lstat(f"{root}/{path}")
        except FileNotFoundError:
            continue
        if path in placed and (known := File(*placed[path])).is_still(status):
            entries[path] = manifest.ManifestEntry(known.sha256, known.size, known.executable)
        else:
            unknown.append(path)
            if path in placed and status.st_nlink > 1:
                shared.append(path)
    if shared:
        raise StepError(
            listing(
                "a step changed files in place that are hard links, so that the cache has changed with them:", shared
            )
            + "\nwrite a new file and rename it to the place of the old one"
        )
    return dict(sorted({**entries, **manifest.survey(Path(root), unknown)}.items()))


def _draft_file(release: Release) -> Path:
    return release.path.with_name(f"{release.path.name}.files")


def _overlay_files(release: Release) -> tuple[set[str], list[str]]:
    files: set[str] = set()
    problems: list[str] = []
    root = release.path.resolve()
    for overlay in release.overlays:
        path = release.path / overlay
        if Path(overlay).is_absolute() or not path.resolve().is_relative_to(root):
            problems.append(f"{overlay!r} is not inside the release; name paths relative to its root")
        elif path.is_dir() and not path.is_symlink():
            files.update(os.path.join(overlay, name) for name in list_files(path))
        elif os.path.lexists(path):
            files.add(Path(overlay).as_posix())
        else:
            problems.append(f"{overlay!r} is not there")
    return files, problems
