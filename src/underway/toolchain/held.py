"""A directory to work in that is held by who works there; what the dead left is cleared by whoever comes next."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A new directory in `parent`, by default that of temporary files, which goes with the block.

    Those of this user with the same prefix that nobody holds any more are removed first: of a process that was killed, hundreds of
    megabytes may be left.
    """
    directory = Path(tempfile.gettempdir()) if parent is None else parent
    _clear(directory, prefix)
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
        descriptor = _hold(path)
        if descriptor is not None:
            break
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _hold(path: Path) -> int | None:
    """Lock a directory of this user; None where another holds it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(status, os.lstat(path)):
                return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _clear(parent: Path, prefix: str) -> None:
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and (descriptor := _hold(Path(entry.path))) is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(descriptor)
