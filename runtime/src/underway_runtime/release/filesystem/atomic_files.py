"""Writing a small file so that others see all of it or nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from . import openat


def replace(path: Path, text: str, mode: int) -> None:
    """Put `text` in place of `path`, with these permissions from its first moment on: temporary file, fsync, rename.

    The directory may be that of another user, as `openat` has it. Raises OSError; then what was there before is still there.
    """
    with openat.directory(path.parent) as directory:
        directory.replace(path.name, text.encode(), mode)


@contextlib.contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which is put in place of `path` at the end of the block; not if that raises.

    Others may write in the directory: what they have put there, a link for one, is neither followed nor written. Raises OSError.
    """
    descriptor, partial = _partial(path)
    try:
        with open(descriptor, "wb") as file:
            yield file
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Wait until nobody else is in here with this directory, and keep others out. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def clear(path: Path) -> None:
    """Remove what a `replace` of this file left next to it when it died. For the only one who writes it."""
    with openat.directory(path.parent) as directory:
        directory.clear(path.name)


def sync_directory(path: Path) -> None:
    """See that what was renamed, made or removed in a directory survives a power cut."""
    _sync(str(path))


def sync_tree(path: Path) -> None:
    """Do the same for a file, or a directory with everything below it; links are none of it."""
    if path.is_symlink():
        return
    if not path.is_dir():
        _sync(str(path))
        return
    for directory, _, names in os.walk(path):
        for name in names:
            if not os.path.islink(file := f"{directory}/{name}"):
                _sync(file)
        _sync(directory)


def _partial(path: Path) -> tuple[int, Path]:
    """A new file next to another. It has the same name each time, so that a process that dies leaves one at most, but where something
    is in the way that is not ours."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    partial = path.with_name(f".{path.name}.partial")
    with contextlib.suppress(OSError):
        status = partial.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            partial.unlink()
    try:
        return os.open(partial, flags, 0o666), partial
    except FileExistsError:
        partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
        return os.open(partial, flags, 0o666), partial


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
