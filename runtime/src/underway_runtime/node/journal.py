"""The journal of uses: who ran which code in a release, by ``rpc``, ``remote`` and ``eval``; a digest of it, never the code.

``var/journal/uses.jsonl`` gets a line when a use begins and one when it ends, with the same ``use``. At a mebibyte it
becomes ``uses.jsonl.1``, in the place of an older one. Several processes may write.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable
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
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **use, "outcome": outcome})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, f"{line}\n".encode())
        except OSError as error:
            log(f"{path} can't be written ({error.strerror}); it would say: {line}")

    write("began")
    return write


def _append(path: Path, line: bytes) -> None:
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size < LARGEST:
                os.write(descriptor, line)
                return
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # nobody else was faster
                    path.rename(f"{path}.1")
        finally:
            os.close(descriptor)
