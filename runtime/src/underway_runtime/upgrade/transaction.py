"""One change of the releases at a time: the lock ``var/transaction``, for all processes that share a ``var``."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from ..release import ledger
from ..release.directory import VarDirectory
from ..release.errors import BusyError, UnderwayError

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def transaction(var: VarDirectory, command: str, *, pretend: bool = False) -> Iterator[None]:
    """Be the one that changes the releases while the block runs; `command` is what others are told. With `pretend`, do nothing.

    The lock goes with the process, however that ends. Raises BusyError at once while another has it, naming that one, and
    UnderwayError when `var` can't be written.
    """
    if pretend:
        yield
        return
    try:
        var.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(var.transaction, _FLAGS, 0o644)
    except OSError as error:
        raise UnderwayError(f"{var.transaction} can't be written: {error.strerror}; RELEASE_VAR says where") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{_holder(descriptor)}; try again when that is done") from None
        _announce(descriptor, {"pid": os.getpid(), "command": command, "user": _user(), "since": ledger.now()})
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _announce(descriptor: int, about: dict[str, object]) -> None:
    document = json.dumps(about).encode()
    os.pwrite(descriptor, document, 0)
    os.ftruncate(descriptor, len(document))


def _holder(descriptor: int) -> str:
    about = {}
    with suppress(ValueError):
        about = json.loads(os.pread(descriptor, 4096, 0))
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(about["since"])).total_seconds()
        return f"{about['command']!r} by {about['user']} (pid {about['pid']}) is at it, for {max(0, seconds):.0f} s now"
    except (KeyError, TypeError, ValueError):
        return "another command that changes the releases is at it"  # it has not said yet who it is


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
