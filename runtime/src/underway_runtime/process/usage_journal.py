"""The journal of uses: who ran which code in a release, by ``rpc``, ``remote`` and ``eval``; a digest of it, never the code.

``var/journal/uses.jsonl`` gets a line when a use begins and one when it ends, with the same ``use``. At a mebibyte it
becomes ``uses.jsonl.1``, in the place of an older one. Several processes may write.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from ..release.filesystem import openat
from .log import log

LARGEST = 1 << 20
"""Bytes at which the file is put aside."""

_TRIES, _PAUSE = 100, 0.01
"""Others have the lock for as long as it takes to write a line; that is waited for, for a second."""


def begin(path: Path, command: str, code: str | None, uid: int | None, pid: int | None) -> Callable[[str], None]:
    """Write that a use begins; returns what is to be called with its outcome.

    `code` is None for a shell that is opened. Never raises: what can't be written is told to the operator.
    """
    digest = None if code is None else sha256(code.encode(errors="surrogateescape")).hexdigest()
    use = {"use": os.urandom(4).hex(), "command": command, "sha256": digest, "uid": uid, "pid": pid}

    def write(outcome: str) -> None:
        append(path, {**use, "outcome": outcome})

    write("began")
    return write


class Use:
    """One use of code, while it lasts."""

    def __init__(self) -> None:
        self.outcome = "refused"
        """What the journal will say, where it is not interrupted."""


@contextlib.contextmanager
def journalled(path: Path, command: str, code: str) -> Iterator[Use]:
    """Write that this process begins a use, and with which outcome it ended."""
    ended = begin(path, command, code, os.getuid(), os.getpid())
    use = Use()
    try:
        yield use
    except KeyboardInterrupt:
        use.outcome = "interrupted"
        raise
    finally:
        ended(use.outcome)


def append(path: Path, fields: Mapping[str, object]) -> None:
    """Add a line to a journal, with the time. Never raises: what can't be written is told to the operator."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields})
    try:
        with openat.made(path.parent.parent) as var, var.directory(path.parent.name, make=0o755) as journal:
            _append(journal, path.name, f"{line}\n".encode())
    except OSError as error:
        log(f"{path} can't be written ({error.strerror}); it would say: {line}")


def _append(journal: openat.Directory, name: str, line: bytes) -> None:
    """Write a line; by the descriptor of the directory, for a command of another user than the node's writes there too."""
    for _ in range(_TRIES):
        descriptor = journal.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        is_locked = False
        try:
            is_locked = _lock(descriptor)
            if os.fstat(descriptor).st_size < LARGEST or not is_locked:
                os.write(descriptor, line)
                return
            status = journal.status(name)
            if status is not None and os.path.samestat(os.fstat(descriptor), status):  # nobody else was faster
                journal.rename(name, f"{name}.1")
        finally:
            if is_locked:
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # else a child that was just forked would keep it
            os.close(descriptor)
    raise OSError(errno.EAGAIN, "it is exchanged all the time", name)


def _lock(descriptor: int) -> bool:
    """Whether we have the lock, with which the file may be put aside; who keeps it for long keeps nobody from writing."""
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_PAUSE if attempt else 0)
    return False
