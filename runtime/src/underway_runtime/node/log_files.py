"""``bin/NAME logs``: the files in which a daemon's output takes turns, read in the order in which they were written.

``NAME.log.N`` are written in turn, and the one after the newest is missing: the gap. While the writer goes from one to the
next, for a moment none is; then the newest is the one that was written last. Files in ``var`` are those of whoever runs the
service: each is opened as a stranger's, read in pieces, and shown, not obeyed.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator

from ..frozen import Frozen
from ..process import facts, lock
from ..process.settings import Settings
from ..release.display import escaped, one_line, unwritable
from ..release.errors import UnderwayError, UsageError
from ..release.filesystem import openat
from ..release.filesystem.openat import Directory

_PIECE = 65536
_LARGEST = 2**30
"""Bytes of a file that are read: what a daemon writes at most."""
_LINES = 16 * 2**20
"""Bytes of a file that are read for some lines, however long they are; more where so many are wanted."""
_LINE = 1000
"""Bytes for each of them, then."""
_PAUSE = 0.2
"""Seconds after which a log that is followed is looked at again."""
_FOLLOWED = 10
"""Lines with which following begins."""


def run(settings: Settings, *, lines: str | None, follow: bool) -> int:
    """Print the log, or its last lines, and with `follow` what comes, until it is interrupted.

    Raises UsageError for a number that is none, and UnderwayError where there is no log.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no more, as `head`, ends the command
    count = _FOLLOWED if follow and lines is None else None if lines is None else _count(lines, settings.prog)
    kept_by_others = _elsewhere(settings)
    stem = settings.tmp.log_stem(settings.name).name
    try:
        with openat.directory(settings.tmp.path, settings.tmp.log.name) as directory:
            log = _Log(directory, stem)
            if not log.numbers():
                raise FileNotFoundError
            if kept_by_others:
                print(f"note: {kept_by_others}; what follows is of an earlier daemon", file=sys.stderr)
            _show(log, count, follow=follow)
    except FileNotFoundError:
        raise UnderwayError(
            f"there is no log in {settings.tmp.log}: {kept_by_others or 'it is written by `daemon`'}"
        ) from None
    except OSError as error:
        raise UnderwayError(f"{error.filename or settings.tmp.log} can't be read: {error.strerror}") from None
    return 0


class _Open(Frozen):
    """One file of the log."""

    number: int
    descriptor: int
    inode: int


class _Log:
    """The files that there are."""

    def __init__(self, directory: Directory, stem: str) -> None:
        self.directory = directory
        self._stem = stem
        self._name = re.compile(re.escape(stem) + r"\.([1-9][0-9]{0,3})")

    def numbers(self) -> list[int]:
        """Oldest first."""
        existing = sorted(int(match[1]) for name in self.directory.names() if (match := self._name.fullmatch(name)))
        if not existing:
            return []
        match [number for number in range(1, existing[-1]) if number not in existing]:
            case [gap]:
                newest = gap - 1 or existing[-1]
            case _:
                newest = max(existing, key=self._written)
        at = existing.index(newest) + 1
        return [*existing[at:], *existing[:at]]

    def _written(self, number: int) -> tuple[int, int]:
        status = self.directory.status(f"{self._stem}.{number}")
        return (status.st_mtime_ns if status else 0, number)

    def open(self, number: int) -> _Open | None:
        """None where it has gone meanwhile. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = self.directory.open(f"{self._stem}.{number}", os.O_RDONLY)
            return _Open(number, descriptor, os.fstat(descriptor).st_ino)
        return None

    def is_there(self, file: _Open) -> bool:
        """Whether its number is still its own."""
        status = self.directory.status(f"{self._stem}.{file.number}")
        return status is not None and status.st_ino == file.inode


def _show(log: _Log, count: int | None, *, follow: bool) -> None:
    out = _Output(raw=log.directory.uid == os.geteuid())
    files = [file for number in log.numbers() if (file := log.open(number)) is not None]
    starts = _starts(files, count)
    last = files[-1]
    for file, start in zip(files, starts, strict=True):
        os.lseek(file.descriptor, start, os.SEEK_SET)
        # What grows meanwhile is the newest; a reader that only looks ends where it ended then.
        left = None if follow and file is last else os.fstat(file.descriptor).st_size - start
        _copy(file, out, left)
        if file is not last or not follow:
            os.close(file.descriptor)
    if follow:
        _follow(log, last, out)


def _follow(log: _Log, file: _Open, out: _Output) -> None:
    """Follow until the reader is interrupted, or nobody reads what it prints."""
    while True:
        numbers = log.numbers()
        _copy(file, out, None)  # it is whole once a later one is there, and that was looked for before
        if log.is_there(file):
            later = numbers[numbers.index(file.number) + 1 :] if file.number in numbers else []
        else:
            out.line(f"===== {log.directory.path}: the log has turned faster than it was read")
            later = numbers
        for number in later:
            if (following := log.open(number)) is not None:
                os.close(file.descriptor)
                file = following
                _copy(file, out, None)
        if not later:
            time.sleep(_PAUSE)


def _starts(files: list[_Open], count: int | None) -> list[int]:
    """Where to begin in each file, so that `count` lines come: newest first, and no further back than need be."""
    most = _LARGEST if count is None else min(_LARGEST, max(_LINES, count * _LINE))
    starts = [max(0, os.fstat(file.descriptor).st_size - most) for file in files]
    if count is None:
        return starts
    wanted = count
    for at in range(len(files) - 1, -1, -1):
        size = os.fstat(files[at].descriptor).st_size
        start, wanted = _back(files[at], (starts[at], size), wanted, last=at == len(files) - 1)
        starts[at] = start
        if wanted <= 0:
            for before in range(at):
                starts[before] = os.fstat(files[before].descriptor).st_size
            break
    return starts


def _back(file: _Open, part: tuple[int, int], wanted: int, *, last: bool) -> tuple[int, int]:
    """The offset at which so many lines before the end of a part of a file begin, and how many are wanted still."""
    floor, size = part
    if wanted <= 0:
        return size, 0
    is_whole = not (last and size) or os.pread(file.descriptor, 1, size - 1) == b"\n"
    end = size if is_whole else size + 1  # a line that is being written counts
    position = size
    while position > floor:
        begin = max(floor, position - _PIECE)
        piece = os.pread(file.descriptor, position - begin, begin)
        at = len(piece)
        while (at := piece.rfind(b"\n", 0, at)) >= 0:
            if begin + at + 1 == end:
                continue  # the end of the last line
            wanted -= 1
            if wanted == 0:
                return begin + at + 1, 0
        position = begin
    return floor, 0 if floor else wanted - (1 if size else 0)


def _copy(file: _Open, out: _Output, left: int | None) -> None:
    """Copy what there is to read of it, or `left` bytes of that."""
    while left is None or left > 0:
        piece = os.read(file.descriptor, _PIECE if left is None else min(_PIECE, left))
        if not piece:
            break
        left = None if left is None else left - len(piece)
        out.write(piece)
    out.flush()


class _Output:
    """Standard output: as it is for one's own log; that of another user is shown with what moves a terminal escaped."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._escapes = _Escapes()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: bytes) -> None:
        shown = data if self._raw else self._decoder.decode(data).translate(self._escapes).encode()
        with self._writing():
            sys.stdout.buffer.write(shown)

    def line(self, text: str) -> None:
        self.write(f"{text}\n".encode())

    def flush(self) -> None:
        with self._writing():
            sys.stdout.buffer.flush()

    @staticmethod
    @contextlib.contextmanager
    def _writing() -> Iterator[None]:
        """Tell an error in writing the output from one in reading the log. Raises UnderwayError."""
        try:
            yield
        except OSError as error:
            raise unwritable(error) from None


class _Escapes(dict[int, str]):
    r"""By character, what is shown of it; made as they come, for a log may be long.

    >>> "plain\ttext\n\x1b[2J".translate(_Escapes())
    'plain\ttext\n\\x1b[2J'
    """

    def __missing__(self, number: int) -> str:
        character = chr(number)
        self[number] = character if character.isprintable() or character in "\n\t" else escaped(character)
        return self[number]


def _count(text: str, prog: str) -> int:
    if text.isdecimal() and text.isascii() and len(text) < 10:
        return int(text)
    raise UsageError(f"-n takes a number of lines, not {text!r}; usage: {prog} logs [-f] [-n N]")


def _elsewhere(settings: Settings) -> str:
    """Where the output of the release that runs goes, if that is not its log; "" otherwise."""
    try:
        running = lock.find(settings.tmp, settings.name)
        if running is None:
            return ""
    except (OSError, UnderwayError):
        return ""
    words, journal = facts.command_line(running.pid), journal_of(facts.control_groups(running.pid))
    if not words or "daemon" in words[-3:]:
        return ""
    where = f"in the journal: {one_line(journal)}" if journal else "where it was started"
    return f"{settings.name} (pid {running.pid}) runs in the foreground, and its output is {where}"


def journal_of(cgroups: str) -> str:
    """How the output of a service of systemd's is shown, by the control groups of its process; "" where it is none.

    >>> journal_of("4:memory:/\\n0::/system.slice/chat.service\\n")
    'journalctl -u chat.service'
    >>> journal_of("0::/user.slice/user-1000.slice/user@1000.service/app.slice/chat.service")
    'journalctl --user -u chat.service'
    >>> journal_of("0::/user.slice/user-1000.slice/user@1000.service/tmux.scope"), journal_of("0::/")
    ('', '')
    """
    for line in cgroups.splitlines():
        *above, last = line.split("/")
        while above and not last.endswith((".service", ".scope", ".slice")):
            last = above.pop()  # a group that the service has made below its own
        if last.endswith(".service") and not last.startswith("user@"):
            return f"journalctl {'--user ' if any(group.startswith('user@') for group in above) else ''}-u {last}"
    return ""
