"""A release on disk and archives of newer ones, for tests of what changes the releases."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archive_helpers import File, files, look, make_tree, write_archive
from underway_runtime.release import ledger, verify
from underway_runtime.release.archives import delta
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.manifest import Manifest, read
from underway_runtime.upgrade import unpack as unpacking
from underway_runtime.upgrade.handler import Handler, commit
from underway_runtime.upgrade.unpack import Trust

NOW = "2026-11-21T00:00:00Z"


@dataclass
class Host:
    """A host with the release hello-1.0; next to it, where the newer ones are built."""

    place: Path
    runs: str | None = None

    @property
    def root(self) -> Path:
        return self.place / "hello"

    @property
    def var(self) -> VarDirectory:
        return VarDirectory(self.root / "var")

    @property
    def directory(self) -> ReleaseDirectory:
        return ReleaseDirectory(self.root)

    @property
    def handler(self) -> Handler:
        return Handler(self.directory, self.var, self.boots, lambda: self.runs, lambda: NOW)

    @property
    def boots(self) -> str:
        return ledger.boots(self.directory, self.var)

    @property
    def states(self) -> dict[str, str]:
        found = ledger.with_running(ledger.read(self.directory, self.var), self.runs)
        return {version: record.state for version, record in sorted(found.items())}

    def build(self, version: str, contents: Mapping[str, File] | None = None) -> Manifest:
        """A release of hello in a place of its own."""
        place = self.place / f"built-{version}"
        shutil.rmtree(place, ignore_errors=True)
        return make_tree(place, version, release_files(version) if contents is None else contents)

    def archive(self, version: str, contents: Mapping[str, File] | None = None, kind: str = "zst") -> Path:
        """The archive of a version, in var/incoming."""
        return write_archive(self.var.incoming, self.place / f"built-{version}", self.build(version, contents), kind)

    def delta(self, version: str, contents: Mapping[str, File] | None = None) -> Path:
        """What leads from 1.0 to another version, in var/incoming."""
        self.var.incoming.mkdir(parents=True, exist_ok=True)
        new = self.build(version, contents)
        file = delta.path(self.var.incoming, "hello", "1.0", version)
        delta.create(file, (self.root, self.manifest("1.0")), (self.place / f"built-{version}", new), 315532800)
        return file

    def manifest(self, version: str) -> Manifest:
        return read(self.directory.version(version).manifest)

    def unpack(self, what: str, file: Path | None = None, **how: Any) -> unpacking.UnpackResult:
        """Unpack what has been built, with its digest."""
        found = file or next(iter(sorted(self.var.incoming.glob(f"*{what}*"))), None)
        return unpacking.unpack(self.handler, what, Trust(sha256=digest_of(found)), **how)

    def upgrade(self, version: str) -> None:
        """Unpack a version, run it and commit it."""
        self.archive(version)
        self.unpack(version)
        self.runs = version
        commit(self.handler)

    def problems(self, version: str) -> list[str]:
        return verify.verify(self.root, version)

    def look(self) -> dict[str, tuple[int, str]]:
        """The tree, and of var what says what boots and what is here."""
        others = ("var/incoming", "var/transaction")
        return {path: what for path, what in look(self.root).items() if not path.startswith(others)}


def digest_of(file: Path | None) -> str:
    """The sha256 of a file; any where there is none."""
    return hashlib.sha256(file.read_bytes() if file else b"").hexdigest()


def release_files(version: str = "1.0", **changes: bytes) -> dict[str, File]:
    """What a release of hello holds; each version has its own hello, and all have data-3 and the interpreter."""
    return {**files(version, **changes), f"releases/hello-{version}.rel": File(version.encode())}


def make_host(place: Path) -> Host:
    """hello-1.0, unpacked by hand as a first release is, and its node runs."""
    make_tree(place / "hello", "1.0", release_files())
    (place / "hello/var").mkdir()
    return Host(place, "1.0")


def with_file(contents: Mapping[str, File], path: str, content: bytes) -> dict[str, File]:
    """The contents with one file changed or added."""
    return {**contents, path: replace(contents.get(path, File()), content=content)}
