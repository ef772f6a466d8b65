"""From the version that runs to another: in the process that runs where that is known to be safe, else by handover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..control.client import handover_request
from ..control.client.client import Place
from ..release import manifest as manifests
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease, RestartError, UndoneError
from ..release.manifest import Manifest, ManifestEntry
from . import tree

How: TypeAlias = Literal["configuration", "hot", "handover"]

AS_ASKED = "a handover was asked for"
NO_RELUP = "there is no relup"

_OTHERWISE = frozenset(
    {
        "build.config",
        "cookie.source",
        "gates.json",
        "launcher",
        "manifest.json",
        "relup",
        "remote.python.args",
        "runtime.py",
        "sbom.cdx.json",
        "sys.config",
        "systemd.service",
        "systemd.socket",
    }
)
"""Files of ``releases/V`` that a process which runs has not read, or would read again; boot scripts are compared by what they say."""


@dataclass(frozen=True)
class Conditions:
    """What somebody asks of a change."""

    at_least: How = "handover"
    """How much of the process has to stay."""
    fresh: bool = False
    """Whether nothing of it may, whatever could be done in the one that runs."""


ANY = Conditions()


@dataclass(frozen=True)
class Changed:
    """What the node has become, and how."""

    how: How
    status: dict[str, Any]
    """Of the node, from itself."""
    held: float = 0.0
    """Seconds for which new work had to wait."""
    old_code: Sequence[str] = ()
    """Frames of the version before that somebody keeps, though they have ended."""
    why: str = ""
    """Why it took a new interpreter."""


def change(
    directory: ReleaseDirectory,
    place: Place,
    running: str,
    version: str,
    upgrade_id: str,
    to_commit: float,
    conditions: Conditions = ANY,
) -> Changed:
    """Make the node another version; an empty one is the permanent one.

    Raises BusyError, UndoneError with what was the matter, RestartError where it takes more than it may, and UnderwayError
    when the node can't be asked.
    """
    why = AS_ASKED if conditions.fresh else ""
    if version and not conditions.fresh and can_install_in_place(directory, running, version):
        try:
            answer, status = handover_request.install(place, version, upgrade_id, to_commit)
        except handover_request.NotInPlace as error:
            handover_request.hand_over(place, running, upgrade_id, 0)
            raise UndoneError(f"{version} has failed, and {running} has taken over again", error.reason) from None
        if "how" in answer:
            return Changed(answer["how"], status, answer["held"], answer["old_code"])
        if "inside" in answer and conditions.at_least != "handover":
            raise UndoneError(f"{version} is not installed, and {running} runs on", str(answer["inside"]), blamed=False)
        why = str(answer.get("unfit") or answer["inside"])
    if conditions.at_least != "handover":
        raise RestartError(f"{version} takes a new interpreter: {why or NO_RELUP}; nothing has changed")
    return Changed("handover", handover_request.hand_over(place, version, upgrade_id, to_commit), why=why)


def can_install_in_place(directory: ReleaseDirectory, running: str, version: str) -> bool:
    """Whether the node is to be asked to become the version in its process; it says itself whether it can."""
    relups = (directory.version(name).relup.exists() for name in (running, version))
    return any(relups) or not differences(directory, running, version)


def differences(directory: ReleaseDirectory, one: str, other: str) -> list[str]:
    """What but configuration differs between two versions, or is damaged; empty where one process may run both."""
    try:
        both = [manifests.read(directory.version(version).manifest) for version in (one, other)]
        scripts = [_instructions(directory, version) for version in (one, other)]
    except DamagedRelease as error:
        return [str(error)]
    names = sorted({*tree.units(both[0])} ^ {*tree.units(both[1])})
    mine, theirs = (_own_files(manifest) for manifest in both)
    names += [f"releases/V/{name}" for name in sorted(mine.keys() | theirs) if mine.get(name) != theirs.get(name)]
    return names + ([] if scripts[0] == scripts[1] else ["the boot scripts"])


def _own_files(manifest: Manifest) -> dict[str, ManifestEntry]:
    start = f"{tree.version_unit(manifest)}/"
    files = {path.removeprefix(start): entry for path, entry in manifest.files.items() if path.startswith(start)}
    left_out = {*_OTHERWISE, f"{manifest.name}.rel"}
    return {name: entry for name, entry in files.items() if name not in left_out and not name.endswith(".script")}


def _instructions(directory: ReleaseDirectory, version: str) -> dict[str, object]:
    from ..release import boot_script  # where two versions are compared

    return {file.name: boot_script.read(file).instructions for file in directory.version(version).path.glob("*.script")}
