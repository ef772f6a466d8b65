"""The file of the control socket: who may reach it, and that it is made again where somebody removes it.

What tidies up temporary files, or a person, removes it, or ``run`` with all that is in it. The keeper then has the lock file there again,
and the node, which is named in it, the control socket: neither a node that leaves nor one of another release puts its own there.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ..process import lock
from ..process.settings import Settings
from ..release.filesystem.descriptors import path_of

_BACKLOG = 512


class SocketFile:
    """One such file, and the socket that listens there."""

    def __init__(
        self,
        settings: Settings,
        group: int | None,
        listen: Callable[[Path, int | None], socket.socket],
        process: int = 1,
    ) -> None:
        """`listen` is as `listen_on`; `process` is the number of this one among those of the release."""
        self._settings = settings
        self._group = group
        self._listen = listen
        self._process = process
        self.path = settings.tmp.control_of(process)
        self._status: os.stat_result | None = None

    def open(self) -> socket.socket:
        """Listen there. Raises OSError, and what `listen` does."""
        if self._group is not None:
            for directory in {self._settings.var.path, self._settings.tmp.path, self._settings.tmp.run}:
                _let_pass(directory, self._group)
        listener = self._listen(self.path, self._group)
        with contextlib.suppress(OSError):
            self._status = os.lstat(self.path)
        return listener

    def is_lost(self) -> bool:
        """Whether the file is gone, or another, and is to be this node's: the lock file next to it says so."""
        with contextlib.suppress(OSError):
            if self._status is not None and os.path.samestat(os.lstat(self.path), self._status):
                return False
        return self._process > 1 or lock.contents(self._settings.tmp).get("node") == os.getpid()


def listen_on(path: Path, group: int | None = None) -> socket.socket:
    """Listen at `path`, however long it is, in place of what was there; for the owner only, or for a group as well.

    Raises OSError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # The address of a socket file is at most 107 bytes; that of its directory's descriptor is short.
    short = path_of(directory, str(path.parent))
    temporary = f".{path.name}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        listener.bind(f"{short}/{temporary}")
        # Nobody can connect before it listens, so it has its permissions in time.
        if group is not None:
            os.chown(f"{short}/{temporary}", -1, group)
        os.chmod(f"{short}/{temporary}", 0o600 if group is None else 0o660)
        listener.listen(_BACKLOG)
        os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        listener.close()
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    finally:
        os.close(directory)
    return listener


def _let_pass(directory: Path, group: int) -> None:
    """Let a group reach what is below a directory of ours that others may not enter; not look around in it, or write."""
    with contextlib.suppress(OSError):  # who is not a member of the group, or not the owner, is told at the socket
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            passes = status.st_mode & 0o001 or (status.st_gid == group and status.st_mode & 0o010)
            if status.st_uid == os.geteuid() and not passes:
                os.fchown(descriptor, -1, group)
                os.fchmod(descriptor, status.st_mode & 0o7707 | 0o010)
        finally:
            os.close(descriptor)
