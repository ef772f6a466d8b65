"""What to type on a host for an archive or delta that was just made."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import ReleaseDirectory

from ..release import Release


@dataclass(frozen=True)
class Deployment:
    """An archive or delta, and how a host that has a release of this name is brought to it."""

    name: str
    file: Path
    sha256: str
    signed: bool

    @property
    def command(self) -> list[str]:
        """In the directory of the release there, with the file in it."""
        return [f"bin/{self.name}", "upgrade", f"./{self.file.name}", "--sha256", self.sha256]

    def summary(self) -> dict[str, Any]:
        """As plain data, for --json."""
        return {"file": str(self.file), "sha256": self.sha256, "signed": self.signed, "command": self.command}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"To deploy it to a host where {self.name} is, copy {self.file.name} into its directory there, and type in that:"
        yield ""
        yield f"    {shlex.join(self.command)}"
        yield ""
        if self.signed:
            yield f"With {self.file.name}.sig next to it, and the allowed signers on the host, it needs no digest."
            yield ""


def deployments(name: str, files: Iterable[Path]) -> list[Deployment]:
    """How each of these files is deployed; signatures are no files of their own. Raises OSError."""
    archives = [file for file in files if file.suffix != ".sig"]
    return [Deployment(name, file, digest(file), file.with_name(f"{file.name}.sig").exists()) for file in archives]


def over_hosts(release: Release) -> Iterator[str]:
    """What brings a release that was built for a cluster to its hosts; nothing for any other."""
    command = ReleaseDirectory(release.path).command("cluster")
    if release.runtime_start is None:
        return
    hosts = "" if release.options.cluster.get("hosts") else " HOST..."
    yield "To run it over hosts that SSH reaches, with the master here; to look at them first: --dry-run"
    yield ""
    yield f"    {os.path.relpath(command)} deploy{hosts}"
    yield ""


def digest(file: Path) -> str:
    """The sha256 of a file. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
