"""One change of the releases at a time: the lock ``var/transaction``, for all processes that share a ``var``.

The file says who holds it and what for, or that all is done. So what it says when the lock is free is what was begun and
not ended. It has two halves, written in turn: who dies while he writes one leaves what the other says. ``var`` may belong to
another user, who runs the service: nothing there is believed to be more than a text.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..release import ledger
from ..release.directory import VarDirectory
from ..release.display import one_line
from ..release.errors import BusyError, UnderwayError
from ..release.filesystem import openat

_INTENTS = ("to", "from", "removes")
"""What is announced next to who it is: of a rollback, and of a remove."""
_HALF = 2048
"""Bytes of a half; the file always has two, and so needs no new room on a full disk."""
_TURN, _END = "turn", "end"
"""The number of a half, before and behind what it says: who has both alike is whole, and the higher of two holds."""
_MOST_TURNS = 1 << 53


class Transaction:
    """The one change that is under way."""

    def __init__(
        self, path: Path, descriptor: int | None, about: Mapping[str, object], unfinished: Mapping[str, object]
    ) -> None:
        self._path, self._descriptor, self._about = path, descriptor, about
        self._place, self._turn = (0, 0) if descriptor is None else _newest(descriptor)[:2]
        self.unfinished = unfinished
        """What the one before had announced, when it did not end."""

    def announce(self, **intent: object) -> None:
        """Write down what is about to be done, before it is. Raises OSError."""
        self._write({**self._about, **intent})
        self._sync()

    def done(self) -> None:
        """Note that nothing is under way any more. Where a power cut takes that back, the end is done once more."""
        with where_there_is_room():
            self._write({})

    def _write(self, document: Mapping[str, object]) -> None:
        if self._descriptor is None:
            return
        number, turn = 1 - self._place, self._turn % _MOST_TURNS + 1
        end = f', "{_END}": {turn}}}\n'.encode()
        half = json.dumps({**document, _TURN: turn})[:-1].encode().ljust(_HALF - len(end)) + end
        try:
            if os.fstat(self._descriptor).st_size < 2 * _HALF:
                os.pwrite(self._descriptor, bytes(_HALF), number * _HALF)
            os.pwrite(self._descriptor, half, number * _HALF)
            if turn == 1:  # the other half has a higher number, or nothing
                os.pwrite(self._descriptor, bytes(_HALF), (1 - number) * _HALF)
            os.ftruncate(self._descriptor, 2 * _HALF)  # whatever lay there before
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._place, self._turn = number, turn

    def _sync(self) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)


@contextmanager
def transaction(var: VarDirectory, command: str, *, pretend: bool = False) -> Iterator[Transaction]:
    """Be the one that changes the releases while the block runs; `command` is what others are told. With `pretend`, do nothing.

    The lock goes with the process, however that ends. Raises BusyError at once while another has it, naming that one, and
    UnderwayError when `var` can't be written.
    """
    if pretend:
        yield Transaction(var.transaction, None, {}, {})
        return
    try:
        with openat.made(var.path) as opened:
            descriptor = opened.open(var.transaction.name, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        at = f"{error.filename}: " if error.filename == str(var.transaction) else ""
        raise UnderwayError(f"{var.path} can't be written: {at}{error.strerror}; RELEASE_VAR says where") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{_holder(descriptor)}; try again when that is done") from None
        unfinished = {key: value for key, value in _announced(descriptor).items() if len(str(value)) <= 200}
        intent = {key: unfinished[key] for key in _INTENTS if key in unfinished}
        about = {**intent, "pid": os.getpid(), "command": command[:200], "user": _user(), "since": ledger.now()}
        act = Transaction(var.transaction, descriptor, about, unfinished)
        with where_there_is_room():  # what makes room is not to need any
            act.announce()
        yield act
        act.done()
    finally:
        os.close(descriptor)


@contextmanager
def where_there_is_room() -> Iterator[None]:
    """For what is written to be remembered, and may be missing: that a disk is full is not an error."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise


def is_full(error: OSError) -> bool:
    """Whether it is for want of room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _announced(descriptor: int) -> dict[str, object]:
    """What the file says; nothing where it says that all is done."""
    return _newest(descriptor)[2]


def _newest(descriptor: int) -> tuple[int, int, dict[str, object]]:
    """The half that holds: which it is, its number, and what it says. One that is damaged does not count."""
    newest: tuple[int, int, dict[str, object]] = (1, 0, {})
    for number in range(2):
        with suppress(ValueError, RecursionError):
            document = json.loads(os.pread(descriptor, _HALF, number * _HALF))
            turn, end = (document.pop(key, 0) if isinstance(document, dict) else None for key in (_TURN, _END))
            if type(turn) is int and turn == end and newest[1] <= turn <= _MOST_TURNS:
                newest = (number, turn, document)
    return newest


def _holder(descriptor: int) -> str:
    about = _announced(descriptor)
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(str(about["since"]))).total_seconds()
        command, user, pid = (one_line(about[key], 100) for key in ("command", "user", "pid"))
        return f"'{command}' by {user} (pid {pid}) has been running for {max(0, seconds):.0f} s"
    except (KeyError, ValueError, TypeError, OverflowError):
        return "another command that changes the releases is running"  # it has not said yet who it is


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
