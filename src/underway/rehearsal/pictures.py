"""What the objects of an upgraded process are, next to those of fresh starts that were asked as often."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from underway_runtime.observation import encoded
from underway_runtime.observation.compare import compare
from underway_runtime.observation.picture import Picture
from underway_runtime.release.errors import DamagedRelease

from ..errors import BuildError
from ..planner.releases import Opened
from .comparison import Difference
from .host import Host

EXCHANGE = "picture"
"""What stands where an answer has its exchange."""

_PROGRAM = "from underway_runtime.observation.living import write; write({file!r}, {homes!r}, {places!r})"


def changing(old: Opened, new: Opened) -> dict[str, list[str]]:
    """The directories in ``lib`` of applications that the releases do not share, by the version of the release."""
    shared = set(old.homes.values()) & set(new.homes.values())
    return {
        side.manifest.version: sorted(set(side.homes.values()) - shared - {side.homes.get("underway_runtime")})
        for side in (old, new)
    }


def picture_of(host: Host, homes: Sequence[str], file: Path, places: dict[str, str]) -> Picture:
    """The picture of what a node has imported from these directories. Raises BuildError where it can't be taken."""
    done = host.run("rpc", _PROGRAM.format(file=str(file), homes=list(homes), places=places))
    if done.returncode != 0:
        raise BuildError(f"the process that runs can't be looked at: {done.stderr.strip() or done.stdout.strip()}")
    try:
        return encoded.read(file).picture
    except (OSError, DamagedRelease) as error:
        raise BuildError(f"the process that runs can't be looked at: {error}") from None


def differences(picture: Picture, references: Sequence[Picture], ignored: Sequence[str] = ()) -> list[Difference]:
    """What is in `picture` otherwise than in the first reference, and the same in all; what nothing can see into is left out."""
    first, *others = references
    noise = {difference.path for other in others for difference in compare(first, other)}
    told = []
    for difference in compare(picture, first):
        quiet = not any(difference.path[:depth] in noise for depth in range(1, len(difference.path) + 1))
        if (
            quiet
            and difference.kind != "opaque"
            and not any(fnmatchcase(f"{EXCHANGE} {difference.path}", p) for p in ignored)
        ):
            told.append(
                Difference(
                    EXCHANGE,
                    str(difference.path),
                    difference.was or difference.kind,
                    difference.becomes or difference.kind,
                )
            )
    return told
