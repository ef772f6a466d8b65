"""manifest.json: each file of a release version with its digest; the release id is the digest of it all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from .decode import content_of
from .directory import ReleaseDirectory
from .errors import DamagedRelease

FORMAT = 1

MOST_FILES = 250_000
"""That a manifest may list."""
_LONGEST = 32 << 20
_MARKS = {b"{": 2, b"[": 1, b",": 5, b'"': 14}
"""Of each character, how many there may be for each file that a manifest may list; names have some, too."""
_HEAD = 1000

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class ManifestEntry:
    """One file: its digest, size in bytes and whether it can be executed; or a link with its target."""

    sha256: str = ""
    size: int = 0
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What one version of a release consists of. Paths are relative to the root, with ``/``."""

    name: str
    version: str
    target: str
    """The platform that it runs on: ``x86_64-linux-gnu``."""
    interpreter: str
    """The version of the interpreter."""
    files: Mapping[str, ManifestEntry]
    glibc: str = ""
    """The oldest glibc that it runs with, ``2.36``; empty for any."""

    @cached_property
    def release_id(self) -> str:
        """64 hexadecimal digits: the digest of everything in the manifest."""
        return hashlib.sha256(json.dumps(_document(self), sort_keys=True).encode()).hexdigest()


def plan_id(manifest: Manifest) -> str:
    """The release id that it had without its relup: what relups know a release by, so that one can hold its own."""
    relup = ReleaseDirectory(Path()).version(manifest.version).relup.as_posix()
    return replace(manifest, files={path: entry for path, entry in manifest.files.items() if path != relup}).release_id


def survey(root: Path, paths: Iterable[str]) -> dict[str, ManifestEntry]:
    """The entries of files below `root`, as they are on disk now, sorted by path.

    Raises FileNotFoundError for a path that is not there.
    """
    return {path: _entry(os.path.join(root, path)) for path in sorted(paths)}


def dump(manifest: Manifest) -> str:
    """Return the text of ``manifest.json``, a line for each file; the same manifest gives the same text."""
    document = {"release_id": manifest.release_id, **_document(manifest)}
    # Line by line, because json's own indentation takes its slow way, which is felt at thousands of files.
    files = [f"  {json.dumps(path)}: {json.dumps(fields)}" for path, fields in document.pop("files").items()]
    head = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in document.items()]
    body = ",\n".join(files)
    return "\n".join(["{", *head, ' "files": {', body, " }", "}", ""])


def read(file: Path) -> Manifest:
    """Read a ``manifest.json``. Raises DamagedRelease when it is missing, not one, or not what its id says."""
    try:
        return parse(_bytes(file))
    except FileNotFoundError:
        raise DamagedRelease(f"the manifest {file} is missing; restore it from the release's archive") from None
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"the manifest {file} can't be read: {error}") from None


def _bytes(file: Path) -> bytes:
    """What is in a file, which is one, and of a size that a manifest has."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size > _LONGEST:
            raise ValueError(f"it has {status.st_size} bytes; {_LONGEST} is the limit")
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read(_LONGEST)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=4)
def parse(data: bytes) -> Manifest:
    """Read the manifest in the bytes of a ``manifest.json``, which may come from anyone: every type is checked.

    One command meets the same manifest several times; with thousands of files that is felt.

    Whether its paths may be written to is not; `layout.problems` says that. Raises ValueError with what is wrong with it.
    """
    # What is parsed is bounded by what it can be made of: 32 MiB of brackets would take a gigabyte, and seconds.
    if any(data.count(mark) > most * MOST_FILES + _HEAD for mark, most in _MARKS.items()):
        raise ValueError(f"it holds more than {MOST_FILES} files, or what is in none of ours")
    try:
        document = content_of(json.loads(data.decode("utf-8")), FORMAT)
        manifest = Manifest(
            **{field: _string(document, field) for field in ("name", "version", "target", "interpreter", "glibc")},
            files={path: _parsed_entry(path, fields) for path, fields in document["files"].items()},
        )
        if manifest.release_id != document["release_id"]:
            raise ValueError("its release id does not fit its contents")
    except KeyError as error:
        raise ValueError(f"it has no {error}") from None
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not a manifest: {error}") from None
    return manifest


def _string(document: Mapping[str, Any], field: str) -> str:
    if not isinstance(value := document[field], str):
        raise ValueError(f"its {field} is not a string")
    return value


def _parsed_entry(path: str, fields: Mapping[str, Any]) -> ManifestEntry:
    match fields:
        case {"link": str(link), **rest} if not rest:
            return ManifestEntry(link=link)
        case {"sha256": str(sha256), "size": int(size), **rest} if (
            _SHA256.fullmatch(sha256) and type(size) is int and size >= 0 and rest in ({}, {"executable": True})
        ):
            return ManifestEntry(sha256, size, rest.get("executable") is True)
    raise ValueError(f"its entry of {path!r} is neither a file nor a link")


def _document(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": manifest.name,
        "version": manifest.version,
        "target": manifest.target,
        "interpreter": manifest.interpreter,
        "glibc": manifest.glibc,
        "files": {path: _fields(entry) for path, entry in manifest.files.items()},
    }


def _fields(entry: ManifestEntry) -> dict[str, Any]:
    if entry.link is not None:
        return {"link": entry.link}
    return {"sha256": entry.sha256, "size": entry.size, **({"executable": True} if entry.executable else {})}


def _entry(path: str) -> ManifestEntry:
    if os.path.islink(path):
        return ManifestEntry(link=os.readlink(path))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        status = os.fstat(file.fileno())
    return ManifestEntry(digest, status.st_size, bool(status.st_mode & 0o111))
