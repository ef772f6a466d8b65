"""Writing a small file so that others see all of it or nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: Path, text: str, mode: int) -> None:
    """Put `text` in place of `path`, with these permissions from its first moment on: temporary file, fsync, rename.

    Raises OSError; then what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # of a process that had our pid and died
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def clear(path: Path) -> None:
    """Remove what a `replace` of this file left beside it when it died. For the only one who writes it."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """See that what was renamed, made or removed in a directory survives a power cut."""
    _sync(str(path))


def sync_tree(path: Path) -> None:
    """The same for a file, or a directory with everything below it; links are none of it."""
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


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
