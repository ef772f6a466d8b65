"""The way from the version that runs to another in the same process: an entry of a relup, when it was made for these two."""

from __future__ import annotations

from collections.abc import Sequence

from ..node.in_place_install import RequiresRestart
from ..release import manifest as manifests
from ..release import relup as relups
from ..release import verify
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease, listing
from ..release.relup import Relup, RelupEntry, RelupPath, Row
from . import tree

_SHOWN = 5
"""Changes that are named as reasons; `underway relup` shows them all."""


def find(directory: ReleaseDirectory, running: str, version: str) -> RelupPath:
    """Find the way from one version to another: up by the relup of that one, or down by the relup of the one that runs.

    Raises RequiresRestart with what is in the way, and DamagedRelease where the relup of the version that comes is not
    the one of its archive.
    """
    for newer, other, direction in ((version, running, "up"), (running, version, "down")):
        file = directory.version(newer).relup
        if not file.exists():
            continue
        try:
            _raise_for_damage(directory, newer, [file.relative_to(directory.root).as_posix()])
            relup = relups.read(file)
            for entry in relup.up if direction == "up" else relup.down:
                if entry.version == other:
                    _check(directory, relup, newer, entry)
                    return RelupPath(entry, "up" if direction == "up" else "down", relup.magic)
        except DamagedRelease as error:
            if direction == "up":
                raise
            raise RequiresRestart(str(error)) from error  # the version that comes is not to blame
    raise RequiresRestart(f"no relup leads from {running} to {version}")


def verify_code(directory: ReleaseDirectory, running: str, version: str) -> None:
    """Hold all that only one of the two versions has against its manifest: both are read to compare the process with.

    Raises DamagedRelease where it is the version that comes, and RequiresRestart where it is the one that runs.
    """
    one, other = (manifests.read(directory.version(name).manifest) for name in (running, version))
    _raise_for_damage(directory, version, sorted({*tree.units(other)} - {*tree.units(one)}))
    try:
        _raise_for_damage(directory, running, sorted({*tree.units(one)} - {*tree.units(other)}))
    except DamagedRelease as error:
        raise RequiresRestart(str(error)) from error


def _raise_for_damage(directory: ReleaseDirectory, version: str, places: list[str]) -> None:
    manifest = manifests.read(directory.version(version).manifest)
    if problems := [line for unit in places for line in verify.verify_below(directory.root, unit, manifest)]:
        raise DamagedRelease(listing(f"{version} is damaged; restore it from its archive:", problems))


def _check(directory: ReleaseDirectory, relup: Relup, newer: str, entry: RelupEntry) -> None:
    for version, wanted in ((newer, relup.target_id), (entry.version, entry.id)):
        plan_id = manifests.plan_id(manifests.read(directory.version(version).manifest))
        if plan_id != wanted:
            raise RequiresRestart(
                f"the relup of {newer} was made for a {version} of release id {wanted[:12]}, and here is {plan_id[:12]};"
                " `underway relup` makes one for this"
            )
    if entry.verdict in ("RESTART", "REFUSE"):
        rows = [row for row in entry.changes if row.verdict == entry.verdict]
        raise RequiresRestart(f"the relup says {entry.verdict}: {reasons_of(rows)}")


def reasons_of(rows: Sequence[Row]) -> str:
    """Say the first of these changes, each with its reason; one without a module is the release's."""
    reasons = [f"{':'.join(filter(None, (row.module, row.definition))) or 'the release'}: {row.reason}" for row in rows]
    more = f", and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more
