"""The cache: finished trees that builds share. Each is made once, aside, and put into its place whole; nobody changes it there.

::

    ~/.cache/underway/       this user's alone; UNDERWAY_CACHE names another place
    ├── lock                 shared by builds, held alone by the one that prunes
    ├── damaged              held by the one that takes a damaged entry away
    ├── making/              what is being made, or was by a build that died; cleared when pruning
    ├── answers/KEY          small things to remember
    └── KIND/KEY/            a finished tree; KIND is applications, interpreters, ...

A release is made of hard links to these files. So what changes a file of a release in place, its owner or its mode
changes the cache's too. An entry is therefore held against its record, and against the user who builds, each time it is
used; one that is not as it was made is made again. The bytes themselves are read again with UNDERWAY_CACHE_VERIFY=1.

Where it is are two lines of our own, as uv has it on Linux and macOS: platformdirs costs each build 16 ms, and reads this process's
environment only.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import place_of
from .cached_tree import TreeEntry, digest, read, survey, write_record

log = logging.getLogger("underway")

LIMIT = 4 << 30
"""Bytes that the entries may have together after pruning; those that were not used for longest go first."""

ANSWERS = 1000
"""How many answers are kept."""

ATTEMPTS = 5
"""How often an entry is put into its place before what is there in spite of it is an error."""


@dataclass(frozen=True)
class Cache:
    """Entries in a directory that lasts, and, for what may not be kept, in one that goes when the build ends."""

    root: Path
    scratch: Path
    verify: bool = False
    copies: bool = False
    added: list[Path] = field(default_factory=list)
    """Entries that this one made."""

    def find(self, kind: str, key: str) -> TreeEntry | None:
        """Find the entry with that key; None when there is none, or it is no longer as it was made."""
        for root in dict.fromkeys((self.root, self.scratch)):
            path = root / kind / key
            if (entry := read(path, self.copies)) is not None and self._is_whole(entry):
                with suppress(OSError):
                    os.utime(path / "record")
                return entry
            self._discard(path)
        return None

    def recall(self, key: str) -> Any:
        """Return what was remembered next to these entries under a key; None when nothing was."""
        return _recall(self.root, key)

    def remember(self, key: str, answer: Any) -> None:
        """Remember something that JSON can hold and that says something of these entries. What can't be written is not remembered."""
        _remember(self.root, key, answer)

    def make(
        self, kind: str, key: str, fill: Callable[[Path], Mapping[str, Any]], places: Iterable[Path] | None = None
    ) -> TreeEntry:
        """Make an entry: `fill` puts files into the new directory it is given, and returns the facts.

        Empty directories are not kept. With `places`, an entry in which a text names one of these directories, or the one that it was
        made in, is of use to this build alone, and goes with it.
        """
        try:
            return self._make(self.root, kind, key, fill, places)
        except OSError as error:
            if self.root == self.scratch:
                raise
            log.warning("%s: %s; what is made is not cached", place_of(error) or self.root, error.strerror)
            return self._make(self.scratch, kind, key, fill, places)

    def _make(
        self, root: Path, kind: str, key: str, fill: Callable[[Path], Mapping[str, Any]], places: Iterable[Path] | None
    ) -> TreeEntry:
        making = root / "making"
        making.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=making))
        try:
            tree = aside / "tree"
            tree.mkdir()
            facts = dict(fill(tree))
            files, links, bound = survey(tree, [] if places is None else [aside, *places])
            write_record(aside / "record", files, links, facts, bound)
            path = (self.scratch if bound else root) / kind / key
            if (theirs := self._put(aside, path, kind, key)) is not None:
                return theirs
            self.added.append(path)
            return TreeEntry(path / "tree", files, facts, links, bound, self.copies)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _put(self, aside: Path, path: Path, kind: str, key: str) -> TreeEntry | None:
        """Put what was made aside into its place; where another build was faster, the entry that it has put there."""
        for attempt in range(ATTEMPTS):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(aside, path)
                return None
            except OSError as error:
                if error.errno == errno.EXDEV:
                    near = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=path.parent))
                    shutil.copytree(aside, near, symlinks=True, dirs_exist_ok=True)
                    aside = near
                elif error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or attempt == ATTEMPTS - 1:
                    raise
            if (theirs := self.find(kind, key)) is not None:  # or takes away, where it is damaged
                return theirs
        return None

    def get(
        self, kind: str, key: str, fill: Callable[[Path], Mapping[str, Any]], places: Iterable[Path] | None = None
    ) -> TreeEntry:
        """Return the entry with that key, made where there is none."""
        return self.find(kind, key) or self.make(kind, key, fill, places)

    def _is_whole(self, entry: TreeEntry) -> bool:
        owner = os.geteuid()
        for path, file in entry.files.items():
            where = f"{entry.tree}/{path}"
            try:
                status = os.lstat(where)
            except OSError:
                return False
            if status.st_uid != owner or not file.is_still(status) or (self.verify and digest(where) != file.sha256):
                return False
        return all(_points_to(f"{entry.tree}/{path}") == target for path, target in entry.links.items())

    def _discard(self, path: Path) -> None:
        """Take a damaged entry out of the way in one act; never one that another build has put there meanwhile."""
        root = path.parents[1]
        if not os.path.lexists(path):
            return
        with _locked(root / "damaged", fcntl.LOCK_EX), suppress(OSError):
            if ((entry := read(path)) is not None and self._is_whole(entry)) or not os.path.lexists(path):
                return
            log.info("what is cached at %s is not as it was made; it is made again", path)
            (root / "making").mkdir(exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix="damaged-", dir=root / "making"))
            os.rename(path, aside / "entry")
            shutil.rmtree(aside, ignore_errors=True)

    def prune(self, limit: int = LIMIT) -> None:
        """Remove what was not used for longest, until the rest is within `limit`, and what builds that died left.

        Not while another build uses the cache.
        """
        with _locked(self.root / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            if held:
                _clear(self.root / "making")
                _prune_entries(self.root, limit)
                _prune_answers(self.root / "answers")


@contextmanager
def opened(scratch: Path, environ: Mapping[str, str]) -> Iterator[Cache]:
    """The cache of the user, for one build, which shares it with others; pruned at the end, when something was added.

    Where it can't be used, because it is another user's or can't be written, there is a warning in the log, and everything is made in
    the directory `scratch`, for this build alone.
    """
    with here(scratch, environ) as cache:
        if cache.root == scratch:
            root = directory_of(environ)
            log.warning("nothing is cached%s", f" at {root}: {_problem(root)}" if root else ": this user has no home")
        yield cache
    if cache.added and cache.root != scratch:
        with suppress(OSError):
            cache.prune()


@contextmanager
def here(scratch: Path, environ: Mapping[str, str]) -> Iterator[Cache]:
    """The cache of the user, or one in `scratch` where that can't be used; nobody prunes it meanwhile."""
    root = directory_of(environ)
    if root is None or _problem(root):
        root = scratch
        root.mkdir(parents=True, exist_ok=True)
    with _locked(root / "lock", fcntl.LOCK_SH):
        yield Cache(root, scratch, environ.get("UNDERWAY_CACHE_VERIFY") == "1", copied(environ))


def recall(key: str, environ: Mapping[str, str]) -> Any:
    """Return what was remembered under a key; None when nothing was."""
    root = directory_of(environ)
    return None if root is None or _problem(root) else _recall(root, key)


def remember(key: str, answer: Any, environ: Mapping[str, str]) -> None:
    """Remember something that JSON can hold, for later builds. What can't be written is not remembered."""
    root = directory_of(environ)
    if root is not None and not _problem(root):
        _remember(root, key, answer)


def directory_of(environ: Mapping[str, str]) -> Path | None:
    """Return where the cache is: UNDERWAY_CACHE, else below XDG_CACHE_HOME or ``~/.cache``; None for a user without a home."""
    if given := environ.get("UNDERWAY_CACHE"):
        return Path(os.path.realpath(given))
    homes = (environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"))
    return next((Path(home, "underway") for home in homes if os.path.isabs(home)), None)


def copied(environ: Mapping[str, str]) -> bool:
    """Whether releases are to have copies of their own, not hard links: UNDERWAY_LINK_MODE=copy."""
    return environ.get("UNDERWAY_LINK_MODE") == "copy"


def key(*parts: Any) -> str:
    """The key that stands for everything in `parts`, which JSON must be able to hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def stamp(path: str | Path | None) -> list[Any]:
    """What tells, in a key, one state of a file from another, without reading it."""
    try:
        status = os.stat(path or "")
    except OSError:
        return [str(path)]
    return [str(path), status.st_size, status.st_mtime_ns]


def _problem(root: Path) -> str:
    """Why a directory, which is made where it is not there, can't be a user's cache; empty when it can."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = root.stat()
    except OSError as error:
        return error.strerror or str(error)
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    if status.st_mode & 0o022:
        return "others may write there"
    return "" if os.access(root, os.W_OK | os.X_OK) else "it can't be written"


def _recall(root: Path, key: str) -> Any:
    answer = root / "answers" / key
    try:
        digest_of_text, text = answer.read_text(encoding="ascii").split("\n")
        os.utime(answer)
    except (OSError, ValueError):
        return None
    return json.loads(text) if digest_of_text == hashlib.sha256(text.encode()).hexdigest() else None


def _remember(root: Path, key: str, answer: Any) -> None:
    with suppress(OSError):
        (root / "answers").mkdir(exist_ok=True)
        text = json.dumps(answer, sort_keys=True)
        _write(root / "answers" / key, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode())


def _write(file: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as aside:
            aside.write(content)
        os.replace(name, file)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        raise


def _points_to(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


@contextmanager
def _locked(file: Path, how: int) -> Iterator[bool]:
    """Hold a lock; whether it could be had."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _clear(directory: Path) -> None:
    with suppress(OSError):
        for left in os.scandir(directory):
            shutil.rmtree(left.path, ignore_errors=True)


def _prune_entries(root: Path, limit: int) -> None:
    entries = []
    for record in root.glob("*/*/record"):
        with suppress(OSError, ValueError, KeyError), record.open("rb") as file:
            entries.append((record.stat().st_mtime_ns, int(json.loads(file.readline())["size"]), record.parent))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= limit:
            return
        aside = root / "making" / entry.name
        with suppress(OSError):
            os.rename(entry, aside)  # in one act: what is half removed is never found
            shutil.rmtree(aside, ignore_errors=True)
            total -= size


def _prune_answers(directory: Path) -> None:
    with suppress(OSError):
        answers = sorted(os.scandir(directory), key=lambda entry: entry.stat().st_mtime_ns)
        for entry in answers[:-ANSWERS]:
            os.unlink(entry.path)
