"""The way from the version that runs to another in the same process: an entry of a relup, when it was made for these two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..node.inplace import Unfit
from ..release import manifest as manifests
from ..release import relup as relups
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease
from ..release.relup import Entry, Relup

_SHOWN = 5
"""Changes that are named as reasons; `underway relup` shows them all."""


@dataclass(frozen=True)
class Way:
    """What to do, and with whose code."""

    entry: Entry
    direction: Literal["up", "down"]
    magic: str
    """Of the compiled code in it."""


def find(directory: ReleaseDirectory, running: str, version: str) -> Way:
    """The way from one version to another: up by the relup of that one, or down by the relup of the one that runs.

    Raises Unfit with what is in the way, and DamagedRelease.
    """
    for newer, other, direction in ((version, running, "up"), (running, version, "down")):
        place = directory.version(newer).relup
        if not place.exists():
            continue
        relup = relups.read(place)
        for entry in relup.up if direction == "up" else relup.down:
            if entry.version == other:
                _check(directory, relup, newer, entry)
                return Way(entry, "up" if direction == "up" else "down", relup.magic)
    raise Unfit(f"no relup leads from {running} to {version}")


def _check(directory: ReleaseDirectory, relup: Relup, newer: str, entry: Entry) -> None:
    for version, wanted in ((newer, relup.target_id), (entry.version, entry.id)):
        found = manifests.plan_id(manifests.read(directory.version(version).manifest))
        if found != wanted:
            raise DamagedRelease(
                f"the relup of {newer} was made for a {version} of release id {wanted[:12]}, and here is {found[:12]};"
                " `underway relup` makes one for this"
            )
    if entry.verdict in ("RESTART", "REFUSE"):
        rows = [row for row in entry.changes if row.verdict == entry.verdict]
        names = [f"{row.module}{f':{row.definition}' if row.definition else ''}: {row.reason}" for row in rows]
        more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise Unfit(f"the relup says {entry.verdict}: {'; '.join(names[:_SHOWN])}{more}")
