"""Small releases, archives of them as they should be and as an attacker would have them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from underway_runtime.release.archives import archive, compression, tar_layout
from underway_runtime.release.manifest import Manifest, ManifestEntry, dump, survey

DATE = tar_layout.EARLIEST


@dataclass(frozen=True)
class File:
    """A file to make."""

    content: bytes = b""
    executable: bool = False
    link: str | None = None


def files(version: str = "1.0", **changes: bytes) -> dict[str, File]:
    """What a small release holds; a change is by the last part of a path, without suffix."""
    content = {
        "hello": b"def hello():\n    return 'hello'\n",
        "data": bytes(range(256)) * 40,
        "start": b'{"format": 1}\n',
        **changes,
    }
    return {
        "bin/hello": File(b"#!/bin/sh\n", executable=True),
        f"lib/hello-{version}/hello/__init__.py": File(),
        f"lib/hello-{version}/hello/hello.py": File(content["hello"]),
        "lib/data-3/data/data.bin": File(content["data"]),
        "python-3.11.2/bin/python3.11": File(b"\x7fELF" + bytes(2000), executable=True),
        "python-3.11.2/lib/libpython.so": File(link="libpython.so.1"),
        "python-3.11.2/lib/libpython.so.1": File(b"library"),
        "releases/start.data": File(f"3.11.2 {version}\n".encode()),
        f"releases/{version}/bin/python": File(link="../../../python-3.11.2/bin/python3.11"),
        f"releases/{version}/start.script": File(content["start"]),
    }


def make_tree(root: Path, version: str = "1.0", contents: Mapping[str, File] | None = None) -> Manifest:
    """A release on disk, sealed."""
    contents = files(version) if contents is None else contents
    for path, file in contents.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.link is not None:
            place.symlink_to(file.link)
        else:
            place.write_bytes(file.content)
            place.chmod(0o755 if file.executable else 0o644)
    sealed = Manifest("hello", version, "x86_64-linux-gnu", "3.11.2", survey(root, contents))
    place = root / tar_layout.manifest_path(version)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(dump(sealed), encoding="utf-8")
    return sealed


def manifest_of(contents: Mapping[str, File], version: str = "1.0") -> Manifest:
    """A manifest that fits contents, whatever their names are; no disk could hold some of them."""
    return Manifest("hello", version, "x86_64-linux-gnu", "3.11.2", {p: entry(contents[p]) for p in sorted(contents)})


def entry(file: File) -> ManifestEntry:
    if file.link is not None:
        return ManifestEntry(link=file.link)
    return ManifestEntry(hashlib.sha256(file.content).hexdigest(), len(file.content), file.executable)


def tar_of(contents: Mapping[str, File], manifest: Manifest | None = None) -> bytes:
    """The tar as we write it."""
    return b"".join(tar_layout.tar(manifest or manifest_of(contents), DATE, lambda path, _: [contents[path].content]))


@dataclass(frozen=True)
class Member:
    """A member as somebody else would write it."""

    info: tarfile.TarInfo
    content: bytes = b""
    format: Literal[0, 1, 2] = tarfile.USTAR_FORMAT

    def dump(self) -> bytes:
        blocks = self.info.tobuf(self.format)
        return blocks + self.content + bytes(-len(self.content) % tar_layout.BLOCK)


def members(contents: Mapping[str, File]) -> list[Member]:
    """The members behind the manifest, as the standard library writes them: the very bytes that we write."""
    return [member(path, contents[path]) for path in sorted(contents)]


def member(path: str, file: File) -> Member:
    info = tarfile.TarInfo(path)
    info.mtime, info.size = DATE, len(file.content)
    info.mode = 0o755 if file.executable else 0o644
    if file.link is not None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, file.link, 0o777
    return Member(info, file.content)


def changed(one: Member, **fields: object) -> Member:
    """A member with other fields of its header."""
    info = tarfile.TarInfo.frombuf(one.info.tobuf(tarfile.USTAR_FORMAT), "utf-8", "strict")
    for field, value in fields.items():
        setattr(info, field, value)
    return replace(one, info=info)


def forge(manifest: Manifest, following: Iterable[Member | bytes], end: bytes = tar_layout.END) -> bytes:
    """A tar of a manifest and whatever an attacker puts behind it."""
    text = dump(manifest).encode()
    head = tar_layout.header(tar_layout.manifest_path(manifest.version), tar_layout.manifest_entry(text), DATE)
    blocks = [head, text, tar_layout.padding(len(text))]
    blocks += [part.dump() if isinstance(part, Member) else part for part in following]
    return b"".join([*blocks, end])


def packed(tar: bytes, suffix: str = ".zst") -> bytes:
    """A tar, compressed as we do."""
    encoder = compression.encoder(suffix)
    return encoder.compress(tar) + encoder.flush()


def save(place: Path, data: bytes, name: str = "hello-1.0.tar.zst") -> Path:
    """A file in a directory of its own."""
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(data)
    return place / name


def look(root: Path) -> dict[str, tuple[int, str]]:
    """Everything below a directory: path -> mode, and digest or target."""
    found = {}
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                what = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            else:
                what = "directory" if stat.S_ISDIR(status.st_mode) else "special"
            found[os.path.relpath(path, root)] = (stat.S_IMODE(status.st_mode), what)
    return found


class Jail:
    """A place to unpack in, next to things that must never change."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for path in ("var/COOKIE", "etc/passwd", "lib/hello-1.0/hello/hello.py"):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text("the canary")
        (place / "in").mkdir()
        self.into = place / "in/release"
        self._before = look(place)

    def check_untouched(self) -> None:
        """Nothing was unpacked, and nothing around the place has changed."""
        assert look(self.place) == self._before

    def take(self) -> dict[str, tuple[int, str]]:
        """What was unpacked; it is removed, and around the place nothing has changed."""
        found = look(self.into)
        shutil.rmtree(self.into)
        self.check_untouched()
        return found


def mutate(data: bytes, seed: int) -> bytes:
    """Damage in one of the ways in which files are damaged, or forged by someone with little to go by."""
    dice = random.Random(seed)
    at = dice.randrange(len(data))
    length = dice.choice([1, 2, 8, 100, 512, 1024])
    match dice.randrange(8):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + dice.randbytes(length) + data[at + length :]
        case 2:
            return data[:at] + dice.randbytes(length) + data[at:]
        case 3:
            return data[:at] + data[at + length :]
        case 4:
            return data[:at]
        case 5:
            return data[:at] + data[at : at + length] + data[at:]
        case 6:  # whole blocks of a tar change places
            blocks = [data[i : i + 512] for i in range(0, len(data), 512)]
            one, other = dice.randrange(len(blocks)), dice.randrange(len(blocks))
            blocks[one], blocks[other] = blocks[other], blocks[one]
            return b"".join(blocks)
        case _:
            return data + data[at:]


def unpack_tar(data: bytes) -> bytes:
    """The tar within an archive."""
    stream = compression.decompress(io.BytesIO(data))
    pieces = []
    while piece := stream.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def write_archive(place: Path, root: Path, manifest: Manifest, kind: str = "zst") -> Path:
    """The archive of a tree, in a directory."""
    place.mkdir(parents=True, exist_ok=True)
    file = archive.path(place, manifest.name, manifest.version, kind)
    archive.write(file, root, manifest)
    return file
