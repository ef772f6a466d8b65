"""Directories of ``var`` that are made when they are needed. Imports as little as the keeper does."""

from __future__ import annotations

import os

_OTHERS_WRITE = 0o022


def mode() -> int:
    """The mode that they get, less the umask.

    They are for their owner to write. A umask that lets others write was not chosen for what says what boots: then nobody but the
    group looks at them either.
    """
    return 0o755 if _umask() & _OTHERS_WRITE == _OTHERS_WRITE else 0o750


def make(path: str) -> None:
    """Make a directory and those above it that are missing. Raises OSError."""
    try:
        _make_one(path)
    except FileNotFoundError:
        make(os.path.dirname(path))
        _make_one(path)


def _make_one(path: str) -> None:
    try:
        os.mkdir(path, mode())
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _umask() -> int:
    """As the kernel tells it; to ask by setting it is to change it for all threads."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0
