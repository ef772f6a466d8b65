"""A finished tree: its files as they were made, in a record next to it, and how a release gets them.

::

    KEY/
    ├── record       names, sizes, dates, digests, and what the maker wrote down; its date is that of the last use
    └── tree/
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

FORMAT = 1

_UNLINKABLE = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP)
_PLAIN, _EXECUTABLE = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class File:
    """One file of an entry, as it was made; at the place where a release has it, its digest holds while the rest does."""

    sha256: str
    size: int
    executable: bool
    mtime: int
    """In nanoseconds."""
    binary: bool = False
    """Whether it is in the ELF format."""

    def is_still(self, status: os.stat_result) -> bool:
        """Whether what has this status is as the file was made."""
        return (
            status.st_size == self.size
            and status.st_mtime_ns == self.mtime
            and status.st_mode == (_EXECUTABLE if self.executable else _PLAIN)
        )


@dataclass(frozen=True)
class TreeEntry:
    """A finished tree."""

    tree: Path
    files: Mapping[str, File]
    """By their path in the tree, with ``/``, sorted."""
    facts: Mapping[str, Any]
    """What the maker wrote down."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links in the tree, with what they point to."""
    bound: bool = False
    """Whether a text in it names the place that it was made at."""
    copies: bool = False
    """Whether it is copied into a release, not linked."""

    def put_into(
        self, target: Path, paths: Iterable[str] | None = None, below: str = "", ready: Path | None = None
    ) -> dict[str, File]:
        """Put files and links into the directory `target`, all of them or `paths`; returns the files by their path there, unless they
        are bound to the place that they were made at.

        `below` is left out of the paths. They are hard links where the file systems allow it. Modes of new directories are 0755.
        What `prepare` has put into `ready` is moved from there.
        """
        chosen = {path.removeprefix(below): path for path in ((*self.files, *self.links) if paths is None else paths)}
        if ready is None or not self._move(ready, target):
            made: set[str] = set()
            for to, path in chosen.items():
                where = f"{target}/{to}"
                if (parent := os.path.dirname(where)) not in made:
                    make_directory(parent)
                    made.add(parent)
                self._put_entry(path, where)
        return {} if self.bound else {to: self.files[path] for to, path in chosen.items() if path in self.files}

    def prepare(self, ready: Path, paths: Iterable[str] | None = None, below: str = "") -> None:
        """Put files into the directory `ready`, for `put_into` with the same arguments to have less to do."""
        self.put_into(ready / self.tree.parent.name, paths, below)

    def _move(self, ready: Path, target: Path) -> bool:
        prepared = ready / self.tree.parent.name
        if not prepared.is_dir():
            return False
        make_directory(target.parent)
        try:
            os.rename(prepared, target)
        except OSError:
            return False  # something is there already
        return True

    def _put_entry(self, path: str, where: str) -> None:
        source = f"{self.tree}/{path}"
        if path in self.links:
            _put(where, lambda name: os.symlink(self.links[path], name))
            return
        try:
            if self.copies:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            _put(where, lambda name: os.link(source, name))
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
            _copy(source, where, self.files[path])
            if digest(where) != self.files[path].sha256:  # it has changed since it was found, or its bytes alone have
                with suppress(FileNotFoundError):  # another build has seen it too
                    os.unlink(self.tree.parent / "record")  # so that it is made again
                raise OSError(errno.EIO, "the cached file is not as it was made; build again", source) from None


def read(path: Path, copies: bool = False) -> TreeEntry | None:
    """Read the entry at a place as its record has it; whether it is still so is not looked at. None where there is none."""
    record = path / "record"
    try:
        status = record.stat()
        files, links, facts, bound = _parsed(record, (status.st_dev, status.st_ino, status.st_ctime_ns))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return TreeEntry(path / "tree", files, facts, links, bound, copies)


@lru_cache(maxsize=1024)
def _parsed(record: Path, _: tuple[int, int, int]) -> tuple[dict[str, File], dict[str, str], dict[str, Any], bool]:
    """A record that was read, once for each state of the file."""
    header, body = record.read_bytes().splitlines()
    if (facts := json.loads(header))["format"] != FORMAT or facts["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("it is of another format, or damaged")
    fields = json.loads(body)
    files = {path: File(*values) for path, values in fields["files"].items()}
    return files, dict(fields["links"]), dict(fields["facts"]), bool(fields["bound"])


def survey(tree: Path, places: Sequence[Path]) -> tuple[dict[str, File], dict[str, str], bool]:
    """The files of a tree, their modes made plain, its links, and whether a text in it names one of `places`."""
    names = [os.fsencode(path) for path in places]
    files, links, bound = {}, {}, False
    for directory, directories, others in os.walk(tree):
        os.chmod(directory, 0o755)
        for name in (*directories, *others):
            where = os.path.join(directory, name)
            path = os.path.relpath(where, tree)
            if os.path.islink(where):
                links[path] = os.readlink(where)
            elif name in others:
                executable = bool(os.stat(where).st_mode & 0o100)
                os.chmod(where, 0o755 if executable else 0o644)
                with open(where, "rb") as file:
                    content = file.read()
                binary = content[:4] == _ELF
                bound = bound or (not binary and any(name in content for name in names))
                status, digest = os.lstat(where), hashlib.sha256(content).hexdigest()
                files[path] = File(digest, status.st_size, executable, status.st_mtime_ns, binary)
    return dict(sorted(files.items())), dict(sorted(links.items())), bound


def write_record(
    file: Path, files: Mapping[str, File], links: Mapping[str, str], facts: Mapping[str, Any], bound: bool
) -> None:
    fields = {path: [*vars(entry).values()] for path, entry in files.items()}
    body = json.dumps({"files": fields, "links": links, "facts": facts, "bound": bound})
    size = sum(entry.size for entry in files.values())
    # The first line is all that pruning reads.
    header = json.dumps({"format": FORMAT, "size": size, "sha256": hashlib.sha256(body.encode()).hexdigest()})
    file.write_text(f"{header}\n{body}\n", encoding="utf-8")


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: str, target: str, file: File) -> None:
    aside = _aside(target)
    try:
        shutil.copyfile(source, aside)
        os.chmod(aside, 0o755 if file.executable else 0o644)
        os.utime(aside, ns=(file.mtime, file.mtime))
        os.replace(aside, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(aside)
        error.filename = target  # not what is read, but what can't be written
        raise


def link(source: str | Path, target: str | Path) -> None:
    """Give a file that is made for one build, and goes after it, a second name; copy it where that can't be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def make_directory(path: str | Path) -> None:
    """Make a directory, and those that it is in, where they are not there; others may be making them at the same time.

    New ones have the mode 0755, so that other users can read them, whatever the umask.
    """
    if os.path.isdir(path):
        return
    try:
        os.mkdir(path)
    except FileNotFoundError:
        make_directory(os.path.dirname(path) or ".")
        make_directory(path)
        return
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, 0o755)


def _aside(path: str) -> str:
    """A name next to a path that nobody else has."""
    return os.path.join(os.path.dirname(path), f".{os.getpid()}.{threading.get_ident()}")


def _put(where: str, make: Callable[[str], None]) -> None:
    """Have `make` make a file of this name, in the place of one that is there."""
    try:
        make(where)
    except FileExistsError:
        aside = _aside(where)
        make(aside)
        os.replace(aside, where)
        with suppress(FileNotFoundError):  # of two names of one file, neither is renamed
            os.unlink(aside)
