"""pre_assemble and post_assemble: what a release needs to be upgraded while it runs, after Forecastle's steps of these names.

Around `assemble` they add a boot script and files; docs/reference/mapping.md says where each part of Forecastle's is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from underway_runtime.release import manifest, relup
from underway_runtime.release.bootscript import Mode
from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory

from ..errors import ProjectError
from ..release import Release
from .appups import write_appups
from .boot import RUNTIME

PREBOOT = "preboot"


def pre_assemble(release: Release) -> Release:
    """Add the boot script ``preboot``, which has all code and starts the runtime alone."""
    return replace(release, boot_scripts={**release.boot_scripts, PREBOOT: preboot(release.boot_scripts["start"])})


def post_assemble(release: Release) -> Release:
    """Compile the appups, copy ``sys.config`` to ``build.config`` and the project's ``relup`` to ``releases/V``, as overlays.

    A relup that is for another release is refused, here or, when that is known, by `check_relup`. Raises ProjectError.
    """
    place = ReleaseDirectory(release.path).version(release.version)
    shutil.copyfile(place.sys_config, place.build_config)
    made = [*write_appups(release), place.build_config]
    given = Path(str(release.options.get("project-path") or "."), place.relup.name)
    if given.is_file():
        found = relup.read(given)
        if (found.name, found.version) != (release.name, release.version):
            what = f"is for {found.name} {found.version}, and this is {release.name} {release.version}"
            raise ProjectError(_anew(given, what, release.name, release.version))
        shutil.copyfile(given, place.relup)
        made.append(place.relup)
    overlays = (path.relative_to(release.path).as_posix() for path in made)
    return replace(release, overlays=(*release.overlays, *overlays))


def check_relup(sealed: manifest.Manifest, place: VersionDirectory) -> None:
    """Raise ProjectError when a release holds a relup that was made for other contents of its name and version."""
    path = ReleaseDirectory(Path()).version(sealed.version).relup.as_posix()
    if path not in sealed.files:
        return
    found, own = relup.read(place.relup), manifest.plan_id(sealed)
    if found.target_id != own:
        what = (
            f"is for another {sealed.name} {sealed.version}: release id {found.target_id[:12]}, and this is {own[:12]}"
        )
        raise ProjectError(_anew(Path(place.relup.name), what, sealed.name, sealed.version))


def preboot(start: Iterable[tuple[str, Mode]]) -> tuple[tuple[str, Mode], ...]:
    """The boot script ``preboot`` of a boot script ``start``: the runtime starts, of the others only the code is there."""
    return tuple((name, "permanent" if name == RUNTIME else "none") for name, _ in start)


def _anew(given: Path, what: str, name: str, version: str) -> str:
    return (
        f"{os.path.relpath(given)} {what}. Make it anew: `rm relup`, `underway release --overwrite`, `underway relup"
        f" --target build/release/{name}/releases/{version} --fromto …`, and release again"
    )
