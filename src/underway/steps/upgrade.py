"""pre_assemble and post_assemble: what a release needs to be upgraded while it runs, after Forecastle's steps of these names.

Around `assemble` they add a boot script and files; docs/reference/mapping.md says where each part of Forecastle's is.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from underway_runtime.release import manifest, relup
from underway_runtime.release.boot_script import Mode
from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory
from underway_runtime.release.errors import DamagedRelease

from ..release import Release
from .appups import write_appups
from .boot import RUNTIME

log = logging.getLogger("underway")

PREBOOT = "preboot"


def pre_assemble(release: Release) -> Release:
    """Add the boot script ``preboot``, which has all code and starts the runtime alone."""
    return replace(release, boot_scripts={**release.boot_scripts, PREBOOT: preboot(release.boot_scripts["start"])})


def post_assemble(release: Release) -> Release:
    """Compile the appups and copy ``sys.config`` to ``build.config``, as overlays, and the project's ``relup`` to ``releases/V``.

    A relup that is for another release is left out, with a warning in the log: here or, when that is known, by `without_stale_relup`.
    """
    version = ReleaseDirectory(release.path).version(release.version)
    shutil.copyfile(version.sys_config, version.build_config)
    made = [*write_appups(release), version.build_config]
    given = release.context.project / version.relup.name
    if given.is_file() and _is_for(given, release.name, release.version):
        shutil.copyfile(given, version.relup)  # which belongs to the release where it is, and fits when that is sealed
    overlays = (path.relative_to(release.path).as_posix() for path in made)
    return replace(release, overlays=(*release.overlays, *overlays))


def without_stale_relup(sealed: manifest.Manifest, version: VersionDirectory) -> manifest.Manifest:
    """The same, without a relup that was made for other contents of its name and version; that is a warning in the log."""
    path = ReleaseDirectory(Path()).version(sealed.version).relup.as_posix()
    if path not in sealed.files or (plan := relup.read(version.relup)).target_id == manifest.plan_id(sealed):
        return sealed
    plan_id = manifest.plan_id(sealed)
    _not_used(
        version.relup, f"{_words(plan)} with the release id {plan.target_id[:12]}, and this is {plan_id[:12]}", sealed
    )
    version.relup.unlink()
    return replace(sealed, files={name: entry for name, entry in sealed.files.items() if name != path})


def preboot(start: Iterable[tuple[str, Mode]]) -> tuple[tuple[str, Mode], ...]:
    """The boot script ``preboot`` of a boot script ``start``: the runtime starts, of the others only the code is there."""
    return tuple((name, "permanent" if name == RUNTIME else "none") for name, _ in start)


def _is_for(given: Path, name: str, version: str) -> bool:
    """Whether a relup in the project leads to this release; one that was left over from another does not stop a build."""
    try:
        plan = relup.read(given)
    except DamagedRelease as error:
        log.warning("%s is not used: %s", os.path.relpath(given), error)
        return False
    if (plan.name, plan.version) == (name, version):
        return True
    log.warning("%s is not used: it is for %s, and this is %s %s", os.path.relpath(given), _words(plan), name, version)
    return False


def _not_used(given: Path, why: str, sealed: manifest.Manifest) -> None:
    log.warning(
        "%s is not used: it is for %s; `underway relup --target build/release/%s/releases/%s --fromto …` makes one for this,"
        " which the next build takes",
        *(given.name, why, sealed.name, sealed.version),
    )


def _words(plan: relup.Relup) -> str:
    """What a relup was for."""
    versions = sorted({entry.version for entry in plan.up})
    back = sorted({entry.version for entry in plan.down})
    ways = [f"from {', '.join(versions)}"] if versions else []
    ways += [f"back to {', '.join(back)}"] if back else []
    return f"{plan.name} {plan.version} ({' and '.join(ways) or 'no way'})"
