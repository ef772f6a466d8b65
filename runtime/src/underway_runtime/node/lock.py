"""One node per ``var``: the lock that a node holds, and finding the node that holds it.

=============  =====================================================================================================
``run/lock``   held with flock from before the boot until the process is gone, however it goes; holds what others
               need to know of the node, as JSON
``run/pid``    its pid, for people and supervisors; removed at the end, stale after a crash
=============  =====================================================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..release.directory import VarDirectory
from ..release.errors import BootError, UnderwayError
from .files import replace

_TRIES = 20
_PAUSE = 0.025
"""A command that asks for the pid holds the lock, shared, for a moment; a start that meets it tries again."""


class NodeLock:
    """The lock and pid file of this process."""

    def __init__(self, place: VarDirectory, descriptor: int) -> None:
        self._place = place
        self._descriptor = descriptor
        # A child made by fork would hold the lock of a node that is gone.
        os.register_at_fork(after_in_child=self.close)

    def announce(self, **about: object) -> None:
        """Say what others need to know of this node; the pid is added."""
        document = json.dumps({"pid": os.getpid(), **about}).encode() + b"\n"
        os.pwrite(self._descriptor, document, 0)
        os.ftruncate(self._descriptor, len(document))

    def remove_pid(self) -> None:
        """Remove the pid file. The lock goes with the process, when nothing of it is left that could be in the way."""
        if self._descriptor < 0:
            return  # a child made by fork, which is not the node
        with contextlib.suppress(OSError):
            self._place.pid.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def acquire(place: VarDirectory, name: str) -> NodeLock:
    """Become the node that runs in `place`, and write its pid.

    Raises BootError when another is, naming its pid, or when `place` can't be written.
    """
    try:
        place.run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _not_writable(place.run, error) from None
    lock = NodeLock(place, descriptor)
    try:
        if not _locked(descriptor):
            pid = _announced(descriptor).get("pid", "unknown")
            raise BootError(
                f"{name} is running already, pid {pid} ({place.lock} is held); stop it first, or give this start another"
                " RELEASE_VAR"
            )
        lock.announce()
        replace(place.pid, f"{os.getpid()}\n", 0o644)
    except OSError as error:
        lock.close()
        raise _not_writable(place.run, error) from None
    except BaseException:
        lock.close()
        raise
    return lock


@dataclass(frozen=True)
class RunningNode:
    """A node that holds the lock."""

    pid: int
    stop_timeout: float | None
    """How long it gives its applications to stop, in seconds; None while it boots."""


def find(place: VarDirectory, name: str) -> RunningNode | None:
    """The node that runs in `place`, or None.

    A pid is only believed when the lock is held and, where the system can tell, that process is the one that has it
    open: what a dead node left may name a stranger. Raises UnderwayError when a node runs that can't be seen from here.
    """
    try:
        descriptor = os.open(place.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnderwayError(f"{place.lock} can't be read: {error.strerror}; ask as the user who runs {name}") from None
    try:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE)  # it has the lock and has not said who it is yet
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                about = _announced(descriptor)
                pid, timeout = about.get("pid"), about.get("stop_timeout")
                if isinstance(pid, int) and _has_open(pid, descriptor):
                    return RunningNode(pid, float(timeout) if isinstance(timeout, (int, float)) else None)
            else:
                return None
    finally:
        os.close(descriptor)
    raise UnderwayError(
        f"{name} runs, as {place.lock} is held, but not where this command can see it; ask in the container and as the"
        " user that run it"
    )


def _locked(descriptor: int) -> bool:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _TRIES:
                time.sleep(_PAUSE)
        else:
            return True
    return False


def _announced(descriptor: int) -> dict[str, object]:
    try:
        document = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _has_open(pid: int, descriptor: int) -> bool:
    wanted = os.fstat(descriptor)
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return not Path("/proc/self/fd").exists()
    except PermissionError:
        return True  # of another user, whom we can't signal either
    for entry in entries:
        with contextlib.suppress(OSError):
            found = entry.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def _not_writable(path: Path, error: OSError) -> BootError:
    return BootError(
        f"{path} can't be written: {error.strerror}; set RELEASE_VAR to a directory that belongs to the user who runs"
        " the node"
    )
