"""The journal of uses: who ran which code in a release, by ``rpc``, ``remote`` and ``eval``; a digest of it, never the code.

``var/journal/uses.jsonl`` gets a line when a use begins and one when it ends, with the same ``use``. At a mebibyte it
becomes ``uses.jsonl.1``, in the place of an older one. Several processes may write.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from .logs import log

LARGEST = 1 << 20
"""Bytes at which the file is put aside."""


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


def append(path: Path, fields: Mapping[str, object]) -> None:
    """Add a line to a journal, with the time. Never raises: what can't be written is told to the operator."""
    line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields})
    try:
        _make_directory(path.parent)
        _append(path, f"{line}\n".encode())
    except OSError as error:
        log(f"{path} can't be written ({error.strerror}); it would say: {line}")


def _make_directory(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o755)
        _give(path, path.parent)


def _give(made: Path | int, like: Path) -> None:
    """What root makes belongs to the owner of the directory, who is to write there too."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            _give(descriptor, path.parent)
            return descriptor


def _append(path: Path, line: bytes) -> None:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size < LARGEST:
                os.write(descriptor, line)
                return
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # nobody else was faster
                    path.rename(f"{path}.1")
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # else a child that was just forked would keep it
            os.close(descriptor)
