"""Archives: ``NAME-VERSION.tar.zst`` and ``.tar.gz``, written from a tree and read by nobody's rules but ours.

The reader believes nothing. The manifest is the first member and bounded; what follows must be, byte for byte, what
`layout` makes of that manifest: the next header is computed and compared, not parsed, so hard links, devices, modes,
pax or GNU overrides, sparse files and members that are listed nowhere have nobody to talk to. Contents are compared
with their digests while they are written, next to the place that they are for; a rename, the last act, puts them there.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import DamagedRelease, UnderwayError, listing
from ..filesystem import atomic_files as files
from ..filesystem.side_tree import Tree, fresh
from ..manifest import MOST_FILES, Manifest, ManifestEntry, dump, parse
from . import compression, tar_layout
from .compression import Corrupt, Stream

_PIECE = 1 << 18
_SHOWN = 20


class ArchiveRefused(UnderwayError):
    """An archive or delta is not what it has to be. Nothing of it was unpacked."""


@dataclass(frozen=True)
class Limits:
    """What a reader takes at most, whatever a manifest says of itself."""

    manifest: int = 32 << 20
    """Bytes of manifest.json."""
    files: int = MOST_FILES
    total: int = 32 << 30
    """Bytes of all files together."""
    small: int = 1 << 30
    """Bytes of all files together that any archive may announce; one that is larger, `expands` times its own."""
    expands: int = 100
    few: int = 20_000
    """Files that any archive may announce; one that is larger, one for every `each` bytes of its own."""
    each: int = 16
    memory: int = 1 << 30
    """Bytes that a delta may ask for."""


LIMITS = Limits()


@dataclass(frozen=True)
class Contents:
    """What an archive holds."""

    manifest: Manifest
    date: int
    """Of each member, in seconds since 1970."""
    sha256: str
    """Of the archive itself."""


Accept = Callable[[Manifest], Container[str] | None]
"""Looks at the manifest before anything else is read; raises an UnderwayError to refuse it.

Returns which of its files are to be written, next to the manifest; None for all. Those that are not are still compared.
"""


def path(directory: Path, manifest_name: str, version: str, kind: str = "zst") -> Path:
    """The file ``NAME-VERSION.tar.zst``, or ``.gz``, in a directory."""
    return directory / f"{manifest_name}-{version}.tar.{kind}"


def write(archive: Path, root: Path, manifest: Manifest, date: int = tar_layout.EARLIEST) -> None:
    """Pack what the manifest lists of the tree at `root`; the suffix of the archive says how, ``.zst`` or ``.gz``.

    The archive is whole or not there. Raises ArchiveRefused when no reader would take it, DamagedRelease for a file that is not
    what the manifest says, CompressionMissing, and OSError when it can't be written.
    """
    if problems := _manifest_problems(manifest, LIMITS):
        raise ArchiveRefused(listing(f"{archive} can't be made; no node would unpack it:", problems))
    encoder = compression.encoder(archive.suffix)
    with files.written(archive) as file:
        for piece in tar_layout.tar(manifest, date, contents_of(root)):
            file.write(encoder.compress(piece))
        file.write(encoder.flush())
        if problem := too_much(manifest, file.tell(), LIMITS):
            raise ArchiveRefused(f"{archive} can't be made; no node would unpack it: {problem}")


def check(archive: Path, limits: Limits = LIMITS, accept: Accept | None = None, sha256: str | None = None) -> Contents:
    """Read a whole archive and write nothing.

    Raises ArchiveRefused for one that is not, to the last byte, what its manifest says, or has another digest than `sha256`;
    what `accept` raises; and UnderwayError when it can't be read.
    """
    with opened(archive) as file:
        manifest, date = read_tar(compression.decompress(file), None, limits, accept, file.size)
        return Contents(manifest, date, file.finish(sha256))


def extract(
    archive: Path, into: Path, limits: Limits = LIMITS, accept: Accept | None = None, sha256: str | None = None
) -> Contents:
    """Unpack an archive as the new directory `into`; after any failure there is nothing.

    Raises as `check` does, and BusyError or UnderwayError when `into` can't be made or is there.
    """
    with opened(archive) as file, fresh(into) as tree:
        manifest, date = read_tar(compression.decompress(file), tree, limits, accept, file.size)
        return Contents(manifest, date, file.finish(sha256))


class Source:
    """A file that is read once, front to back; its digest is that of the very bytes that were read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._hash, self._ahead = descriptor, hashlib.sha256(), b""
        self.size = os.fstat(descriptor).st_size

    def read(self, size: int, /) -> bytes:
        """Read the next bytes, at most `size`; none at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        data = os.read(self._descriptor, size)
        self._hash.update(data)
        return data

    def read_exactly(self, size: int) -> bytes:
        """Read the next `size` bytes. Raises Corrupt when there are fewer."""
        data = bytearray()
        while len(data) < size and (piece := self.read(min(size - len(data), _PIECE))):
            data += piece
        if len(data) < size:
            raise Corrupt("it is cut off")
        return bytes(data)

    def read_line(self, longest: int) -> bytes:
        """Read the next line, with its end. Raises Corrupt when it is longer."""
        more = os.read(self._descriptor, max(0, longest - len(self._ahead)))
        self._hash.update(more)
        line, end, self._ahead = (self._ahead + more).partition(b"\n")
        if not end:
            raise Corrupt("it is cut off, or not what it says it is")
        return line + end

    def finish(self, sha256: str | None) -> str:
        """The digest, once all was read. Raises Corrupt when it is not the one that was wanted."""
        if sha256 is not None and self._hash.hexdigest() != sha256:
            raise Corrupt(f"its sha256 is {self._hash.hexdigest()}, not {sha256}")
        return self._hash.hexdigest()


@contextmanager
def opened(archive: Path) -> Iterator[Source]:
    """An archive or delta to read; what is found corrupt while it is open becomes ArchiveRefused."""
    try:
        descriptor = os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnderwayError(f"{archive} can't be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnderwayError(f"{archive} is not a file")
        yield Source(descriptor)
    except Corrupt as error:
        raise ArchiveRefused(f"{archive} is refused, and nothing of it was unpacked: {error}") from None
    finally:
        os.close(descriptor)


def read_tar(
    stream: Stream, tree: Tree | None, limits: Limits, accept: Accept | None, size: int, known: Manifest | None = None
) -> tuple[Manifest, int]:
    """Read a tar to its end, into `tree` if there is one; its manifest and date. It comes from a file of `size` bytes, and the
    release that is `known`.

    Raises Corrupt for whatever differs from the one tar that its manifest allows, and what `accept` raises.
    """
    manifest, date, text = _read_manifest(stream, limits)
    if problem := too_much(manifest, size, limits, known):
        raise Corrupt(problem)
    wanted = accept(manifest) if accept is not None else None
    itself = tar_layout.manifest_path(manifest.version)
    if tree is not None:
        tree.reserve(sum(e.size for path, e in manifest.files.items() if wanted is None or path in wanted))
    for path in sorted([*manifest.files, itself]):
        if path == itself:  # it was read first, and is written in its turn
            if tree is not None:
                with tree.file(path, executable=False) as file:
                    _write_all(file.fileno(), text)
            continue
        entry = manifest.files[path]
        expected = tar_layout.header(path, entry, date)
        if (data := stream.read_exactly(len(expected))) != expected:
            raise Corrupt(_difference(data, path, manifest))
        into = tree if wanted is None or path in wanted else None
        if entry.link is None:
            _copy(stream, path, entry, into)
        elif into is not None:
            into.link(path, entry.link)
    if (data := stream.read_exactly(len(tar_layout.END))) != tar_layout.END:
        raise Corrupt(_difference(data, None, manifest))
    stream.finish()
    return manifest, date


def parse_manifest(text: bytes, limits: Limits) -> Manifest:
    """Read a manifest that came from outside. Raises Corrupt unless it is written as ours are and could be unpacked."""
    try:
        manifest = parse(text)
    except ValueError as error:
        raise Corrupt(f"its manifest can't be read: {error}") from None
    if dump(manifest).encode() != text or list(manifest.files) != sorted(manifest.files):
        raise Corrupt("its manifest is not written as underway writes it")
    if problems := _manifest_problems(manifest, limits):
        raise Corrupt(listing("its manifest can't be unpacked:", problems))
    return manifest


def _manifest_problems(manifest: Manifest, limits: Limits) -> list[str]:
    problems = []
    if len(manifest.files) > limits.files:
        problems.append(f"it lists {len(manifest.files)} files; {limits.files} is the limit")
    if (total := _total(manifest)) > limits.total:
        problems.append(f"its files have {total} bytes; {limits.total} is the limit")
    if problems:
        return problems
    contents = tar_layout.problems(manifest)
    shown = list(islice(contents, _SHOWN))
    return [*shown, f"and {more} more"] if (more := sum(1 for _ in contents)) else shown


def too_much(manifest: Manifest, size: int, limits: Limits, known: Manifest | None = None) -> str | None:
    """Why a file of so many bytes may not announce this, by which a few bytes would cost hours; None where it may.

    What comes out of the release that is `known`, which is here, is counted with it: up to four times its size.
    """
    total, files = _total(manifest), len(manifest.files)
    theirs = (0, 0) if known is None else (4 * _total(known), 4 * len(known.files))
    if total > max(limits.small, limits.expands * size + theirs[0]):
        return f"it has {size} bytes, and announces {total}: more than {limits.expands} times as many"
    if files > max(limits.few, size // limits.each + theirs[1]):
        return f"it has {size} bytes, and announces {files} files: more than one for {limits.each} bytes"
    return None


def contents_of(root: Path) -> tar_layout.Content:
    """Gives the files of a tree. What it gives raises DamagedRelease for one that is not what its entry says."""

    def content(path: str, entry: ManifestEntry) -> Iterator[bytes]:
        return read_file(root / path, entry)

    return content


def read_file(file: Path, entry: ManifestEntry) -> Iterator[bytes]:
    """Read the bytes of a regular file. Raises DamagedRelease, at the end of them at the latest, unless they fit the entry."""
    digest, left = hashlib.sha256(), entry.size
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while left > 0 and (piece := os.read(descriptor, min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
                yield piece
            whole = left == 0 and not os.read(descriptor, 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DamagedRelease(f"{file} can't be read: {error.strerror}") from None
    if not whole or digest.hexdigest() != entry.sha256:
        raise DamagedRelease(f"{file} is not what the manifest of its release says")


def _total(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())


_MANIFEST = re.compile(rb"releases/([A-Za-z0-9.+!_-]{1,100})/manifest\.json\0")


def _read_manifest(stream: Stream, limits: Limits) -> tuple[Manifest, int, bytes]:
    """Read the first member. Its name, size and date are all that is ever read from a header, and computed back."""
    block = stream.read_exactly(tar_layout.BLOCK)
    named = _MANIFEST.match(block[:100].ljust(101, b"\0"))
    size, date = _octal(block[124:136]), _octal(block[136:148])
    if named is None or size is None or date is None:
        raise Corrupt("it does not begin with the manifest of a release")
    path = f"releases/{named[1].decode()}/manifest.json"
    if block != tar_layout.header(path, ManifestEntry(size=size), date):
        raise Corrupt("it does not begin with the manifest of a release as a plain file")
    if size > limits.manifest:
        raise Corrupt(f"its manifest has {size} bytes; {limits.manifest} is the limit")
    text = stream.read_exactly(size)
    if len(text) < size or stream.read_exactly(-size % tar_layout.BLOCK) != tar_layout.padding(size):
        raise Corrupt("its manifest is cut off")
    manifest = parse_manifest(text, limits)
    if tar_layout.manifest_path(manifest.version) != path:
        raise Corrupt(f"its manifest is of version {manifest.version!r} and stands at {path!r}")
    return manifest, date, text


def _copy(stream: Stream, path: str, entry: ManifestEntry, tree: Tree | None) -> None:
    """Copy the content of a file, and compare it with its digest on the way."""
    if tree is None:
        _pass_on(stream, path, entry, lambda piece: None)
        return
    with tree.file(path, entry.executable) as file:
        _pass_on(stream, path, entry, lambda piece: _write_all(file.fileno(), piece))


def _pass_on(stream: Stream, path: str, entry: ManifestEntry, write: Callable[[bytes], object]) -> None:
    digest, left = hashlib.sha256(), entry.size
    while left:
        if not (piece := stream.read(min(left, _PIECE))):
            raise Corrupt(f"it ends within {path!r}")
        digest.update(piece)
        write(piece)
        left -= len(piece)
    if digest.hexdigest() != entry.sha256:
        raise Corrupt(f"{path!r} is not what the manifest says: its sha256 is {digest.hexdigest()}")
    if stream.read_exactly(-entry.size % tar_layout.BLOCK) != tar_layout.padding(entry.size):
        raise Corrupt(f"the last block of {path!r} is not filled with zeros")


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _octal(field: bytes) -> int | None:
    return int(field[:-1], 8) if re.fullmatch(rb"[0-7]{11}\0", field) else None


_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a fifo",
    b"x": "a pax header",
    b"g": "a pax header for all that follows",
    b"L": "a GNU long name",
    b"K": "a GNU long link",
    b"S": "a sparse file",
}


def _difference(block: bytes, path: str | None, manifest: Manifest) -> str:
    """A sentence on a header that is not the expected one. For the reader of the message only; it decides nothing."""
    where = "at its end" if path is None else f"where {path!r} should be"
    if len(block) < tar_layout.BLOCK:
        return f"it is cut off {where}"
    block = block[: tar_layout.BLOCK]
    if not any(block):
        return f"it ends {where}" if path is not None else f"it is cut off {where}"
    if sum(block[:148]) + sum(block[156:]) + 8 * 32 != _checksum(block):
        return f"there is no member {where}"
    name = b"/".join(part for part in (block[345:500].rstrip(b"\0"), block[:100].rstrip(b"\0")) if part)
    member, kind = name.decode("utf-8", "backslashreplace"), _KINDS.get(block[156:157])
    if kind is not None and not (
        block[156:157] == b"2" and manifest.files.get(member, ManifestEntry()).link is not None
    ):
        return f"it has {kind}, {member!r}, {where}"
    if member not in manifest.files:
        return f"it has {member!r}, which the manifest does not list, {where}"
    if member != path:
        return f"it has {member!r} {where}; each member comes once, sorted by path"
    return f"the header of {path!r} does not fit the manifest: its type, size, mode, target, owner or date differs"


def _checksum(block: bytes) -> int:
    digits = block[148:156].strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,8}", digits) else -1
