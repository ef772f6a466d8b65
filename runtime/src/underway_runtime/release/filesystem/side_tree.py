"""A tree that is made next to its place and renamed into it when it is whole.

===================  ===================  =====================================================
a process that dies  leaves at the place  and next to it
===================  ===================  =====================================================
before the rename    nothing              ``.NAME.unpacking``, cleared by the next one
after the rename     the whole tree       ``.NAME.unpacking``, empty, cleared by the next one
===================  ===================  =====================================================

Every file is made relative to an open directory that this process made, never over something that is there, and
never through a link.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import BusyError, UnderwayError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TREE = "tree"


class Tree:
    """A directory in the making. Paths come sorted, so that each directory is entered once."""

    def __init__(self, root: int) -> None:
        self._open = [("", root)]
        """The directories down to the current one, with their descriptors."""

    def reserve(self, size: int) -> None:
        """Raise OSError when the file system has no room for so many bytes."""
        room = os.fstatvfs(self._open[0][1])
        if room.f_bavail * room.f_frsize < size:
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}; it takes {size >> 20} MiB")

    @contextmanager
    def file(self, path: str, executable: bool) -> Iterator[BinaryIO]:
        """A new file to write to; it gets its mode, whatever the umask, when it is complete."""
        parent, name = self._enter(path)
        with open(os.open(name, _NEW_FILE, 0o600, dir_fd=parent), "wb", buffering=0) as file:
            yield file
            os.fchmod(file.fileno(), 0o755 if executable else 0o644)

    def link(self, path: str, target: str) -> None:
        """Make a new symbolic link."""
        parent, name = self._enter(path)
        os.symlink(target, name, dir_fd=parent)

    def close(self) -> None:
        """Let go of the directories below the root."""
        while len(self._open) > 1:
            os.close(self._open.pop()[1])

    def _enter(self, path: str) -> tuple[int, str]:
        *parents, name = path.split("/")
        shared = 0
        while shared < min(len(parents), len(self._open) - 1) and self._open[shared + 1][0] == parents[shared]:
            shared += 1
        while len(self._open) > shared + 1:
            os.close(self._open.pop()[1])
        for part in parents[shared:]:
            above = self._open[-1][1]
            os.mkdir(part, 0o755, dir_fd=above)
            self._open.append((part, os.open(part, _DIRECTORY, dir_fd=above)))
            os.fchmod(self._open[-1][1], 0o755)
        return self._open[-1][1], name


@contextmanager
def fresh(target: Path) -> Iterator[Tree]:
    """A tree that is at `target` once the block has ended, or gone when it raised.

    Raises BusyError while another process makes the same, UnderwayError when something is at `target` already or it can't be made.
    """
    target = Path(os.path.abspath(target))
    try:
        above = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UnderwayError(f"{target} can't be made: {error.strerror}: {target.parent}") from None
    try:
        with _beside(above, target) as side, _root(side) as root:
            tree = Tree(root)
            try:
                yield tree
            finally:
                tree.close()
            os.rename(_TREE, target.name, src_dir_fd=side, dst_dir_fd=above)
    except OSError as error:
        raise UnderwayError(f"{target} can't be made: {error.strerror or error}") from error
    finally:
        os.close(above)


@contextmanager
def _beside(above: int, target: Path) -> Iterator[int]:
    """The directory ``.NAME.unpacking``, ours alone: locked, of our own user, closed to others, removed afterwards."""
    name = f".{target.name}.unpacking"
    side = _hold(above, name, target)
    try:
        if os.fstat(side).st_uid != os.geteuid():
            raise UnderwayError(f"{target.parent / name} belongs to another user; remove it")
        os.fchmod(side, 0o700)
        if _exists(above, target.name):
            raise UnderwayError(f"{target} is there already; choose another place, or remove it")
        yield side
    finally:
        with suppress(OSError):
            os.rmdir(name, dir_fd=above)
        os.close(side)


@contextmanager
def _root(side: int) -> Iterator[int]:
    _clear(side)
    os.mkdir(_TREE, 0o755, dir_fd=side)
    root = os.open(_TREE, _DIRECTORY, dir_fd=side)
    try:
        os.fchmod(root, 0o755)
        yield root
    finally:
        os.close(root)
        with suppress(OSError):
            _clear(side)


def _clear(side: int) -> None:
    for name in os.listdir(side):
        shutil.rmtree(name, dir_fd=side)


def _hold(above: int, name: str, directory: Path) -> int:
    for _ in range(100):
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
        try:
            side = os.open(name, _DIRECTORY, dir_fd=above)
        except FileNotFoundError:
            continue  # the process that held it has just removed it
        try:
            fcntl.flock(side, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(side), os.stat(name, dir_fd=above, follow_symlinks=False)):
                return side
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(side)
            if not isinstance(error, BlockingIOError):
                raise
            break
        os.close(side)
    raise BusyError(f"another process is making {directory}; wait for it, or choose another place")


def _exists(above: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
