"""What a release consists of: the files of its own steps, and the overlays that were named; nothing unlisted."""

from __future__ import annotations

import json
import os
from pathlib import Path

from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import StepError, listing
from ..release import Release


def list_files(root: Path) -> list[str]:
    """Every file and link below `root`, relative to it with ``/``, sorted. Links are not followed."""
    found = []
    for directory, directories, files in os.walk(root):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        found += [os.path.relpath(os.path.join(directory, name), root) for name in (*files, *links)]
    return sorted(found)


def draft(release: Release, files: list[str]) -> None:
    """Write down which files the built-in steps made, for `seal` to complete once every step has run."""
    _draft_file(release).write_text(json.dumps(files), encoding="utf-8")


def seal(release: Release) -> manifest.Manifest:
    """Write ``manifest.json`` from the draft and the overlays, as the files are now, and return it.

    Raises StepError naming overlays that are not there or leave the release.
    """
    place = ReleaseDirectory(release.path).version(release.version)
    own = json.loads(_draft_file(release).read_text(encoding="utf-8"))
    overlays, problems = _overlay_files(release)
    if problems:
        raise StepError(listing("overlays name what can't be packed:", problems))
    itself = place.manifest.relative_to(release.path).as_posix()
    present = {path for path in {*own, *overlays} - {itself} if os.path.lexists(release.path / path)}
    sealed = manifest.Manifest(
        name=release.name,
        version=release.version,
        target=str(release.options.get("target", "")),
        interpreter=release.interpreter_version,
        files=manifest.survey(release.path, present),
        glibc=place.glibc.read_text(encoding="utf-8").partition(" ")[0] if place.glibc.exists() else "",
    )
    place.manifest.write_text(manifest.dump(sealed), encoding="utf-8")
    return sealed


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
