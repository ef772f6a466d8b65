"""Paths to what is open. The address of a socket file is at most 107 bytes, and its directory may be another user's."""

from __future__ import annotations

import os

_DIRECTORY = "/proc/self/fd"


def have_paths() -> bool:
    """Return whether the system gives what is open a path."""
    return os.path.isdir(_DIRECTORY)


def path_of(descriptor: int, otherwise: str) -> str:
    """Return a short path that leads to what is open, whatever becomes of its name; `otherwise` where the system has none."""
    return f"{_DIRECTORY}/{descriptor}" if have_paths() else otherwise
