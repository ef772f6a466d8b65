"""One change of the releases at a time: the lock ``var/transaction``, for all processes that share a ``var``.

The file says who holds it and what for, and is emptied when that is done. So what stands in it when the lock is free is
what was begun and not ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from ..release import ledger
from ..release.directory import VarDirectory
from ..release.errors import BusyError, UnderwayError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Transaction:
    """The one change that is under way."""

    def __init__(self, descriptor: int | None, about: Mapping[str, object], unfinished: Mapping[str, object]) -> None:
        self._descriptor, self._about = descriptor, about
        self.unfinished = unfinished
        """What the one before had announced, when it did not end."""

    def announce(self, **intent: object) -> None:
        """Write down what is about to be done, before it is."""
        if self._descriptor is not None:
            document = json.dumps({**self._about, **intent}).encode()
            os.pwrite(self._descriptor, document, 0)
            os.ftruncate(self._descriptor, len(document))
            os.fsync(self._descriptor)


@contextmanager
def transaction(var: VarDirectory, command: str, *, pretend: bool = False) -> Iterator[Transaction]:
    """Be the one that changes the releases while the block runs; `command` is what others are told. With `pretend`, do nothing.

    The lock goes with the process, however that ends. Raises BusyError at once while another has it, naming that one, and
    UnderwayError when `var` can't be written.
    """
    if pretend:
        yield Transaction(None, {}, {})
        return
    try:
        var.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(var.transaction, _FLAGS, 0o644)
    except OSError as error:
        raise UnderwayError(f"{var.path} can't be written: {error.strerror}; RELEASE_VAR says where") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{_holder(descriptor)}; try again when that is done") from None
        unfinished = _announced(descriptor)
        about = {**unfinished, "pid": os.getpid(), "command": command, "user": _user(), "since": ledger.now()}
        act = Transaction(descriptor, about, unfinished)
        act.announce()
        yield act
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _announced(descriptor: int) -> dict[str, object]:
    with suppress(ValueError):
        if isinstance(document := json.loads(os.pread(descriptor, 4096, 0)), dict):
            return document
    return {}


def _holder(descriptor: int) -> str:
    about = _announced(descriptor)
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(str(about["since"]))).total_seconds()
        return f"{about['command']!r} by {about['user']} (pid {about['pid']}) is at it, for {max(0, seconds):.0f} s now"
    except (KeyError, ValueError):
        return "another command that changes the releases is at it"  # it has not said yet who it is


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
