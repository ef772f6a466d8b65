"""From the version that runs to another: in the process that runs where only configuration differs, else by handover."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from ..node.control import successor
from ..node.control.client import Place
from ..release import bootscript
from ..release import manifest as manifests
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease
from ..release.manifest import Entry, Manifest
from . import tree

How: TypeAlias = Literal["configuration", "handover"]

_OTHERWISE = frozenset(
    {
        "cookie.source",
        "gates.json",
        "launcher",
        "manifest.json",
        "remote.python.args",
        "runtime.py",
        "sbom.cdx.json",
        "sys.config",
        "systemd.service",
        "systemd.socket",
    }
)
"""Files of ``releases/V`` that a process which runs has not read, or would read anew; boot scripts are compared by what they say."""


def change(
    directory: ReleaseDirectory, place: Place, running: str, version: str, identity: str, to_commit: float
) -> tuple[How, dict[str, Any]]:
    """Make the node another version; how it has become that, and its status, from itself. An empty version is the permanent one.

    Raises BusyError, UndoneError with what was the matter, and UnderwayError when the node can't be asked.
    """
    if version and not differences(directory, running, version):
        status = successor.install(place, version, identity, to_commit)
        if status is not None:
            return "configuration", status
    return "handover", successor.hand_over(place, version, identity, to_commit)


def differences(directory: ReleaseDirectory, one: str, other: str) -> list[str]:
    """What but configuration differs between two versions, or is damaged; empty where one process may run both."""
    try:
        both = [manifests.read(directory.version(version).manifest) for version in (one, other)]
        scripts = [_instructions(directory, version) for version in (one, other)]
    except DamagedRelease as error:
        return [str(error)]
    found = sorted({*tree.units(both[0])} ^ {*tree.units(both[1])})
    mine, theirs = (_own_files(manifest) for manifest in both)
    found += [f"releases/V/{name}" for name in sorted(mine.keys() | theirs) if mine.get(name) != theirs.get(name)]
    return found + ([] if scripts[0] == scripts[1] else ["the boot scripts"])


def _own_files(manifest: Manifest) -> dict[str, Entry]:
    start = f"{tree.version_unit(manifest)}/"
    own = {path.removeprefix(start): entry for path, entry in manifest.files.items() if path.startswith(start)}
    left_out = {*_OTHERWISE, f"{manifest.name}.rel"}
    return {name: entry for name, entry in own.items() if name not in left_out and not name.endswith(".script")}


def _instructions(directory: ReleaseDirectory, version: str) -> dict[str, object]:
    return {file.name: bootscript.read(file).instructions for file in directory.version(version).path.glob("*.script")}
