"""The lock and the pid file of a running release; ``process/lock.py`` reads them, and says what they mean."""

from __future__ import annotations

import fcntl
import os
import stat

from ..release.filesystem import directories

_SIZE = 1024
"""The document is padded to this, so that it is replaced by one write, which needs no new room on a full disk."""
_LARGEST = 16384
"""Bytes that are read of the document of another."""


class Lock:
    """A lock that this process holds, and shares with its node.

    It is held on the file, and by the keeper alone on the directory two above it too, ``var``: who removes the file, or ``run``, does
    not make room for a second start.
    """

    def __init__(self, path: str, pid_path: str, descriptor: int, var: int) -> None:
        """`descriptor` is of the file at `path`, `var` that of the directory."""
        self.path = path
        self.descriptor = descriptor
        self.var = var
        self.pid_path = pid_path
        self._content = b""

    def write(self, document: str) -> None:
        """Put a document into the lock file, and nothing else is in it then. Raises OSError."""
        self._content = document.encode(errors="replace").ljust(_SIZE - 1) + b"\n"
        os.pwrite(self.descriptor, self._content, 0)
        os.ftruncate(self.descriptor, len(self._content))

    def is_at(self, path: str) -> bool:
        """Whether this is the lock of a path, which is its own from then on: the same file may have come to another."""
        try:
            if self.path != path and os.path.samestat(os.stat(path), os.fstat(self.descriptor)):
                self.path = path
        except OSError:
            pass
        return self.path == path

    def is_there(self) -> bool:
        """Whether the file is still the one by which others find the lock, or went with its directory, which is elsewhere then.

        Raises OSError where that can't be said.
        """
        status = os.fstat(self.descriptor)
        try:
            if os.path.samestat(os.stat(self.path), status):
                return True
        except FileNotFoundError:
            pass
        var = _var_of(self.path)
        if status.st_nlink:
            return not self.is_in(var)
        return not os.path.isdir(os.path.dirname(var))  # the whole release was removed

    def is_in(self, var: str) -> bool:
        """Whether the directory that is locked with the file is the one at a path."""
        try:
            return os.path.samestat(os.stat(var), os.fstat(self.var))
        except OSError:
            return False

    def follow(self) -> Lock | str:
        """Take the lock in a new file, where this one was removed or replaced; or who has that. This one is kept as well.

        The document comes with the next `mend`.
        """
        lock = acquire(self.path, self.pid_path, self)
        if not isinstance(lock, str):
            lock._content = self._content
        return lock

    def mend(self) -> bool:
        """Write the document again where somebody has damaged it; whether that was so. Raises OSError."""
        size = len(self._content)
        if os.fstat(self.descriptor).st_size == size and os.pread(self.descriptor, size, 0) == self._content:
            return False
        self.write(self._content.decode().rstrip())
        return True

    def write_pid(self) -> None:
        """Write the pid file. Raises OSError; then there is none, rather than that of another."""
        try:
            replace(self.pid_path, f"{os.getpid()}\n")
        except OSError:
            _remove(self.pid_path)
            raise

    def close(self) -> None:
        """Remove the pid file and let go of the lock, which is free when the node has ended too."""
        _remove(self.pid_path)
        os.close(self.descriptor)
        os.close(self.var)


def acquire(path: str, pid_path: str, held: Lock | None = None) -> Lock | str:
    """Take the lock, or return the document of the one who has it; `held` is one that this process has. Raises OSError."""
    directories.make(os.path.dirname(path))
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    var = -1
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            import errno  # as in `child`

            raise OSError(errno.EINVAL, f"{path} is not a regular file")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        var = _lock_directory(_var_of(path), held)
        lock = Lock(path, pid_path, descriptor, var)
        lock.write(f'{{"pid": {os.getpid()}}}')
    except BlockingIOError:
        document = os.pread(descriptor, _LARGEST, 0).decode(errors="replace")
        os.close(descriptor)
        return document
    except OSError:
        os.close(descriptor)
        if var >= 0:
            os.close(var)
        raise
    return lock


def _var_of(path: str) -> str:
    return os.path.dirname(os.path.dirname(path))


def _lock_directory(var: str, held: Lock | None) -> int:
    """Lock a directory, where its file system can do that, unless it is the one of `held`. Raises OSError."""
    if held is not None and held.is_in(var):
        return os.dup(held.var)
    descriptor = os.open(var, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        pass  # as with NFS: then the file alone is locked
    return descriptor


def replace(path: str, text: str) -> None:
    """Write a small file that others read, as a whole. Raises OSError. It waits for no disk: the service would wait too."""
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text.encode(errors="replace"))
        os.rename(temporary, path)
    except OSError:
        _remove(temporary)
        raise


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
