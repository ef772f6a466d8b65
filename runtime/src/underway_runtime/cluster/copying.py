"""The release on its way to hosts: each gets what it lacks, as one file that is made once.

=====================================  ======================================  ===================================
the host has                           it gets                                 which is checked there by
=====================================  ======================================  ===================================
no release                             the archive; tar and gzip or zstd open  the release that has arrived, beside
                                       it                                      its place
a version that is here too             a delta from that                       the version that is there, with unpack
other versions                         the archive                             the same
=====================================  ======================================  ===================================
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ..release import archive, compression, delta, layout
from ..release.directory import ReleaseDirectory
from ..release.errors import UnderwayError
from ..release.manifest import Manifest, read
from . import commands
from .preflight import Facts


@dataclass(frozen=True)
class Parcel:
    """A file for a host, and the command that takes it there."""

    file: Path
    command: list[str]

    @property
    def size(self) -> int:
        return self.file.stat().st_size


@dataclass
class Store:
    """The release that is to be copied, and the files that have been made of it. For use by several threads."""

    root: Path
    manifest: Manifest
    scratch: Path
    """Where files are made; theirs to clear."""
    _made: dict[str, tuple[Path, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def known(self, facts: Facts) -> Manifest | None:
        """A version that the host has and that is here too, the very same; None where there is none."""
        for version, release_id in sorted(facts.releases.items(), reverse=True):
            manifest = _here(self.root, version) if version != self.manifest.version else None
            if manifest is not None and manifest.release_id == release_id:
                return manifest
        return None

    def parcel(self, facts: Facts) -> Parcel | None:
        """What this host lacks; None when that is nothing. Raises UnderwayError and OSError."""
        name, version, release_id = self.manifest.name, self.manifest.version, self.manifest.release_id
        if facts.releases.get(version) == release_id:
            return None
        if not facts.releases:
            tool = "zstd" if "zstd" in facts.tools else "gzip"
            file, _ = self._file("zst" if tool == "zstd" else "gz", None)
            return Parcel(file, commands.receive(facts.directory, name, release_id, tool))
        known = self.known(facts)
        file, sha256 = self._file("zst" if known is None else known.version, known)
        return Parcel(file, commands.update(facts.directory, name, file.name, sha256))

    def _file(self, kind: str, old: Manifest | None) -> tuple[Path, str]:
        with self._lock:
            if kind not in self._made:
                try:
                    file = self._archive(kind) if old is None else self._delta(old)
                except UnderwayError:
                    if old is None:
                        raise
                    file = self._archive("zst")  # too much has changed for a delta
                with file.open("rb") as stream:
                    self._made[kind] = file, hashlib.file_digest(stream, "sha256").hexdigest()
            return self._made[kind]

    def _archive(self, kind: str) -> Path:
        """The archive that the build has left beside the release, also packed otherwise; else one of the tree."""
        name, version = self.manifest.name, self.manifest.version
        made = archive.path(self.scratch, name, version, kind)
        for other in dict.fromkeys((kind, "zst", "gz")):
            beside = archive.path(self.root.parent, name, version, other)
            if _holds(beside) == self.manifest.release_id:
                if other != kind:
                    _repack(beside, made)
                return beside if other == kind else made
        archive.write(made, self.root, self.manifest)
        return made

    def _delta(self, old: Manifest) -> Path:
        made = delta.path(self.scratch, self.manifest.name, old.version, self.manifest.version)
        delta.create(made, (self.root, old), (self.root, self.manifest), layout.EARLIEST)
        return made


@lru_cache
def _here(root: Path, version: str) -> Manifest | None:
    """Read once, however many hosts have it."""
    try:
        return read(ReleaseDirectory(root).version(version).manifest)
    except UnderwayError:
        return None


def _repack(source: Path, target: Path) -> None:
    encoder = compression.encoder(target.suffix)
    with archive.opened(source) as packed, target.open("wb") as file:
        stream = compression.decompress(packed)
        while piece := stream.read(1 << 18):
            file.write(encoder.compress(piece))
        file.write(encoder.flush())


class _Seen(Exception):
    pass


def _holds(file: Path) -> str | None:
    """The release id that an archive begins with; None where it can't be read. The rest is looked at where it arrives."""
    found: list[str] = []

    def accept(manifest: Manifest) -> Mapping[str, object]:
        found.append(manifest.release_id)
        raise _Seen

    with suppress(_Seen, OSError, UnderwayError):
        archive.check(file, accept=accept)
    return found[0] if found else None
