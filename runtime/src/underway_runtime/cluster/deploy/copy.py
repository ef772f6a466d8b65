"""The release on its way to hosts: each gets what it lacks, as one file that is made once.

=====================================  ======================================  ===================================
the host has                           it gets                                 which is checked there by
=====================================  ======================================  ===================================
no release                             the archive; tar and gzip or zstd open  the release that has arrived, next to
                                       it                                      its place
a version that is here too             a delta from that                       the version that is there, with unpack
other versions                         the archive                             the same
=====================================  ======================================  ===================================

A host that says whose releases it takes, in ``/etc/underway/allowed_signers``, gets what lies next to the release with a signature: the
archive, or a delta from a version that it has. It verifies that before anything is opened: where it has no release, in sh, with
its own ssh-keygen. Every other file that has a signature next to it takes that along too.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ...release.archives import archive, compression, delta, signature, tar_layout
from ...release.directory import ReleaseDirectory
from ...release.errors import UnderwayError
from ...release.manifest import Manifest, read
from ..inventory import Limits
from . import remote_commands
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
    allow_downgrade: bool = False
    """Hosts with signers take a version too that is older than theirs."""
    limit: float = Limits().copy
    """Seconds in which a file has to arrive."""
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
        if facts.releases.get(self.manifest.version) == self.manifest.release_id:
            return None
        if facts.signers is not None:
            return self._parcel(facts, *self._signed(facts))
        if not facts.releases:
            return self._parcel(facts, *self._file("zst" if "zstd" in facts.tools else "gz", None))
        known = self.known(facts)
        return self._parcel(facts, *self._file("zst" if known is None else known.version, known))

    def problem(self, facts: Facts) -> str | None:
        """Why this host would not take what it would be sent; None where it would."""
        try:
            if facts.signers is not None:
                self.parcel(facts)
        except UnderwayError as error:
            return str(error)
        return None

    def _parcel(self, facts: Facts, file: Path, sha256: str) -> Parcel:
        signature = _signature(file, sha256)
        if not facts.releases:
            tool = "zstd" if file.suffix == ".zst" else "gzip"
            return Parcel(file, remote_commands.receive(facts.directory, self.manifest, tool, self.limit, signature))
        return Parcel(file, self._update(facts, file, sha256, signature))

    def _update(self, facts: Facts, file: Path, sha256: str, signature: str) -> list[str]:
        more = ["--allow-downgrade"] if self.allow_downgrade else []
        command = remote_commands.update(facts.directory, self.manifest.name, file.name, sha256, self.limit, signature)
        return [*command, *more]

    def _signed(self, facts: Facts) -> tuple[Path, str]:
        """The smallest file next to the release that is signed and that this host can open. Raises UnderwayError."""
        name, version = self.manifest.name, self.manifest.version
        if not facts.releases and not {"ssh-keygen", "sha256sum"} <= facts.tools:
            raise UnderwayError(
                f"it takes what an allowed signer has signed ({facts.signers}), and has no ssh-keygen and sha256sum to verify that;"
                " install openssh-client and coreutils there"
            )
        kinds = [kind for kind, tool in (("zst", "zstd"), ("gz", "gzip")) if facts.releases or tool in facts.tools]
        candidates = [archive.path(self.root.parent, name, version, kind) for kind in kinds]
        candidates += [delta.path(self.root.parent, name, other, version) for other in facts.releases]
        with self._lock:
            signed = [(file.stat().st_size, file, sha256) for file in candidates if (sha256 := self._if_signed(file))]
        if signed:
            _, file, sha256 = min(signed)
            return file, sha256
        raise UnderwayError(
            f"it takes what an allowed signer has signed ({facts.signers}), and none of"
            f" {', '.join(file.name for file in candidates)} is next to {self.root} with a signature of {name}-{version}; build"
            " with --sign-key"
        )

    def _if_signed(self, file: Path) -> str | None:
        """The digest of a file whose signature is next to it, for this very release; None for any other."""
        key = str(file)
        if key not in self._made and signature.is_signed(file, self.manifest):
            with file.open("rb") as stream:
                self._made[key] = file, hashlib.file_digest(stream, "sha256").hexdigest()
        return self._made[key][1] if key in self._made and _signature(*self._made[key]) else None

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
        """The archive that the build has left next to the release, also packed otherwise; else one of the tree."""
        name, version = self.manifest.name, self.manifest.version
        made = archive.path(self.scratch, name, version, kind)
        for other in dict.fromkeys((kind, "zst", "gz")):
            packed = archive.path(self.root.parent, name, version, other)
            if _holds(packed) == self.manifest.release_id:
                if other != kind:
                    _repack(packed, made)
                return packed if other == kind else made
        archive.write(made, self.root, self.manifest)
        return made

    def _delta(self, old: Manifest) -> Path:
        made = delta.path(self.scratch, self.manifest.name, old.version, self.manifest.version)
        delta.create(made, (self.root, old), (self.root, self.manifest), tar_layout.EARLIEST)
        return made


def _signature(file: Path, sha256: str) -> str:
    """What is in the signature next to a file, where it is for the very bytes of it; empty where there is none."""
    stated = signature.next_to(file)
    return "" if stated is None or stated[0].sha256 != sha256 else (stated[0].dump() + stated[1]).rstrip("\n")


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
    versions: list[str] = []

    def accept(manifest: Manifest) -> Mapping[str, object]:
        versions.append(manifest.release_id)
        raise _Seen

    with suppress(_Seen, OSError, UnderwayError):
        archive.check(file, accept=accept)
    return versions[0] if versions else None
