"""Deltas: ``NAME-FROM-TO.delta`` turns a release that is on a node into the archive of another.

::

    underway-delta-1
    {"body":…,"date":…,"format":1,"from":{…},"manifest":…,"name":…,"packed":…,"prefix":…,"to":{…}}
    two frames of zstd:

=====  ===============================================  =============================================
frame  holds                                            packed by what it shares with
=====  ===============================================  =============================================
1      the new manifest                                 the old manifest
2      new files whose bytes are in no old file         old files whose bytes are in no new file
=====  ===============================================  =============================================

each sorted by path. Files that both have, under whatever name, are in neither: they are copied from the old tree. So
what a delta takes of time and memory goes with what changed, and not with what a release holds. What comes out is the
tar of the new release, and it goes through the reader of archives, which believes none of this.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import names
from ..directory import ReleaseDirectory
from ..errors import UnderwayError
from ..filesystem import atomic_files as files
from ..filesystem.side_tree import Tree, fresh
from ..manifest import Manifest, ManifestEntry, dump, read
from . import archive, compression, tar_layout
from .archive import LIMITS, Accept, Contents, Limits, Source
from .compression import Corrupt, Stream

MAGIC = b"underway-delta-1\n"

_LONGEST_HEADER = 4096

Bytes = tuple[str, int]
"""The bytes of a file, by digest and size."""


@dataclass(frozen=True)
class Header:
    """What a delta says of itself; none of it is believed without a look."""

    name: str
    old_version: str
    old_id: str
    new_version: str
    new_id: str
    date: int
    """Of each member of the archive that comes out, in seconds since 1970."""
    manifest: int
    """Bytes of the new manifest."""
    packed: int
    """Bytes of the first frame."""
    prefix: int
    """Bytes of the old files that the second frame is packed by."""
    body: int
    """Bytes of the new files."""


def path(directory: Path, name: str, old_version: str, new_version: str) -> Path:
    """The file ``NAME-FROM-TO.delta`` in a directory."""
    return directory / f"{name}-{old_version}-{new_version}.delta"


def create(
    output: Path, old: tuple[Path, Manifest], new: tuple[Path, Manifest], date: int, limits: Limits = LIMITS
) -> Header:
    """Write what leads from one release to another; each is a root and the manifest of the version that is meant.

    The delta is whole or not there. Raises UnderwayError when there is no way from one to the other, DamagedRelease for a file
    that is not what its manifest says, CompressionMissing, and OSError when it can't be written.
    """
    (old_root, old_manifest), (new_root, new_manifest) = old, new
    if problem := _mismatch(old_manifest, new_manifest):
        raise UnderwayError(problem)
    gone, new_files = _gone(old_manifest, new_manifest), _carried(old_manifest, new_manifest)
    text = dump(new_manifest).encode()
    packed = _pack(text, dump(old_manifest).encode())
    header = Header(
        name=new_manifest.name,
        old_version=old_manifest.version,
        old_id=old_manifest.release_id,
        new_version=new_manifest.version,
        new_id=new_manifest.release_id,
        date=date,
        manifest=len(text),
        packed=len(packed),
        prefix=_total(gone),
        body=_total(new_files),
    )
    if header.prefix + header.body > limits.memory:
        raise UnderwayError(
            f"{header.body >> 20} MiB of {header.name}-{header.new_version} are new and {header.prefix >> 20} MiB of"
            f" {header.old_version} are gone, which is too much for a delta; send the archive"
        )
    encoder = compression.patch_encoder(_join(old_root, gone), header.body)
    with files.written(output) as file:
        file.write(MAGIC + _dump(header) + packed)
        for name, entry in new_files.items():
            for piece in archive.read_file(new_root / name, entry):
                file.write(encoder.compress(piece))
        file.write(encoder.flush())
        if problem := archive.too_much(new_manifest, file.tell(), limits, old_manifest):
            raise UnderwayError(f"{output} can't be made, {problem}; send the archive")
    return header


def is_delta(file: Path) -> bool:
    """Whether a file begins as a delta does. Raises UnderwayError when it can't be read."""
    with archive.opened(file) as source:
        return source.read(len(MAGIC)) == MAGIC


def inspect(delta: Path) -> Header:
    """What a delta says of itself, unchecked. Raises ArchiveRefused for a file that is none."""
    with archive.opened(delta) as file:
        return _read_header(file)


def check(
    delta: Path, root: Path, limits: Limits = LIMITS, accept: Accept | None = None, sha256: str | None = None
) -> Contents:
    """Read all that comes out of a delta and the release at `root`, and write nothing. Raises as `apply` does."""
    return _use(delta, root, None, limits, accept, sha256)


def apply(
    delta: Path,
    root: Path,
    into: Path,
    limits: Limits = LIMITS,
    accept: Accept | None = None,
    sha256: str | None = None,
) -> Contents:
    """Make the new release as the new directory `into`, from the old one at `root`, which is only read.

    `accept` sees the new manifest before anything is written; `sha256` is the delta's. After any failure there is nothing at
    `into`. Raises ArchiveRefused for a delta that is not whole or starts from another release than the one at `root`,
    DamagedRelease when that is not what its manifest says, and what `archive.extract` raises.
    """
    with fresh(into) as tree:
        return _use(delta, root, tree, limits, accept, sha256)


def _use(
    delta: Path, root: Path, tree: Tree | None, limits: Limits, accept: Accept | None, sha256: str | None
) -> Contents:
    with archive.opened(delta) as file, _memory():
        header = _read_header(file)
        if max(header.manifest, header.packed) > limits.manifest or header.prefix + header.body > limits.memory:
            raise Corrupt(f"it takes {(header.prefix + header.body) >> 20} MiB; {limits.memory >> 20} MiB is the limit")
        old = _old(header, root)
        stream = Stream(_rebuild(header, file, old, root, limits))
        manifest, date = archive.read_tar(stream, tree, limits, accept, file.size, old)
        return Contents(manifest, date, file.finish(sha256))


def _old(header: Header, root: Path) -> Manifest:
    """The manifest of the release that the delta starts from."""
    file = ReleaseDirectory(root).version(header.old_version).manifest
    if not file.is_file():
        raise Corrupt(f"it starts from version {header.old_version}, which is not at {root}; use the whole archive")
    old = read(file)
    if (old.name, old.version, old.release_id) != (header.name, header.old_version, header.old_id):
        raise Corrupt(
            f"it starts from {header.name}-{header.old_version} with the release id {header.old_id}, and the one at {root} is"
            f" {old.name}-{old.version} with {old.release_id}; use the whole archive"
        )
    return old


def _rebuild(header: Header, file: Source, old: Manifest, root: Path, limits: Limits) -> Iterator[bytes]:
    """The tar of the new release. Raises Corrupt when the delta does not hold what its header says."""
    packed = io.BytesIO(file.read_exactly(header.packed))
    first = compression.patched(packed, dump(old).encode(), header.manifest)
    text = first.read_exactly(header.manifest)
    first.finish()
    new = archive.parse_manifest(text, limits)
    if problem := archive.too_much(new, file.size, limits, old):
        raise Corrupt(problem)
    if (new.name, new.version, new.release_id) != (header.name, header.new_version, header.new_id):
        raise Corrupt("it holds another release than it says")
    if problem := _mismatch(old, new):
        raise Corrupt(problem)
    gone, new_files, old_files = _gone(old, new), _carried(old, new), _names_of_bytes(old)
    if (header.manifest, header.prefix, header.body) != (len(text), _total(gone), _total(new_files)):
        raise Corrupt("its sizes are not those of what changed between the two releases")
    body = compression.patched(file, _join(root, gone), header.body)

    def content(name: str, entry: ManifestEntry) -> Iterator[bytes]:
        if name not in new_files:
            yield from archive.read_file(root / old_files[entry.sha256, entry.size], entry)
            return
        left = entry.size
        while left and (piece := body.read(left)):
            left -= len(piece)
            yield piece

    yield from tar_layout.tar(new, header.date, content)
    body.finish()


def _names_of_bytes(old: Manifest) -> dict[Bytes, str]:
    """Where the old tree has which bytes. Not in what several versions share: another one may have replaced it."""
    return {
        (entry.sha256, entry.size): name
        for name, entry in sorted(old.files.items(), reverse=True)
        if entry.link is None
        and not name.startswith("bin/")
        and (name.count("/") > 1 or not name.startswith("releases/"))
    }


def _gone(old: Manifest, new: Manifest) -> dict[str, ManifestEntry]:
    """The old files whose bytes the new release has nowhere."""
    wanted = {(entry.sha256, entry.size) for entry in new.files.values()}
    return {
        name: old.files[name] for file, name in sorted(_names_of_bytes(old).items(), key=_by_path) if file not in wanted
    }


def _carried(old: Manifest, new: Manifest) -> dict[str, ManifestEntry]:
    """The new files whose bytes the old tree does not have."""
    contents = _names_of_bytes(old)
    return {
        name: entry
        for name, entry in sorted(new.files.items())
        if entry.link is None and (entry.sha256, entry.size) not in contents
    }


def _by_path(item: tuple[Bytes, str]) -> str:
    return item[1]


def _join(root: Path, files: dict[str, ManifestEntry]) -> bytes:
    joined = bytearray()
    for name, entry in files.items():
        for piece in archive.read_file(root / name, entry):
            joined += piece
    return bytes(joined)


def _pack(text: bytes, prefix: bytes) -> bytes:
    encoder = compression.patch_encoder(prefix, len(text))
    return encoder.compress(text) + encoder.flush()


def _total(files: dict[str, ManifestEntry]) -> int:
    return sum(entry.size for entry in files.values())


def _mismatch(old: Manifest, new: Manifest) -> str | None:
    if (old.name, old.target) != (new.name, new.target):
        return (
            f"{old.name} for {old.target or 'any target'} and {new.name} for {new.target or 'any'} are not one release"
        )
    if old.version == new.version:
        return f"both are version {new.version}; on a node the one would be in the other's place"
    return None


def _dump(header: Header) -> bytes:
    document = {
        "format": 1,
        "name": header.name,
        "from": {"version": header.old_version, "release_id": header.old_id},
        "to": {"version": header.new_version, "release_id": header.new_id},
        **{field: getattr(header, field) for field in _NUMBERS},
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


_NUMBERS = ("date", "manifest", "packed", "prefix", "body")


def _read_header(file: Source) -> Header:
    if file.read(len(MAGIC)) != MAGIC:
        raise Corrupt("it is not a delta that underway made")
    line = file.read_line(_LONGEST_HEADER)
    try:
        document = json.loads(line.decode("ascii"))
        header = Header(
            name=document["name"],
            old_version=document["from"]["version"],
            old_id=document["from"]["release_id"],
            new_version=document["to"]["version"],
            new_id=document["to"]["release_id"],
            **{field: document[field] for field in _NUMBERS},
        )
        whole = all(map(names.is_version, (header.name, header.old_version, header.new_version))) and all(
            type(number := getattr(header, field)) is int and 0 <= number <= tar_layout.LARGEST for field in _NUMBERS
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        whole = False
    if not whole or _dump(header) != line:
        raise Corrupt("its header is not written as underway writes it")
    return header


@contextmanager
def _memory() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise UnderwayError("there is not enough memory to apply the delta; use the whole archive") from None
