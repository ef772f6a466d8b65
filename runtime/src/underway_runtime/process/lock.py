"""One node per ``var``: finding the one that runs. Its keeper holds the lock, and the node shares it.

=============  =====================================================================================================
``run/lock``   held with flock from before the boot until keeper and node are gone, however they go; holds what others
               need to know of them, as JSON; the keeper locks ``var`` itself too, for when somebody removes the file
``run/pid``    the keeper's pid, for people and supervisors; removed at the end, stale after a crash
=============  =====================================================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from ..frozen import Frozen
from ..release.directory import VarDirectory
from ..release.errors import UnderwayError
from ..release.filesystem import openat
from . import facts

TRIES = 20
PAUSE = 0.025
"""A command that asks for the pid holds the lock, shared, for a moment; a start that meets it tries again."""

_LARGEST = 16384
_LONGEST = 86400.0


class RunningNode(Frozen):
    """A release that runs."""

    pid: int
    """Of the keeper; of the node where it has lost its keeper, and is therefore about to end."""
    stop_timeout: float | None
    """How long it gives its applications to stop, in seconds; None while it boots."""
    orphan: bool = False
    """Whether the keeper is gone."""


def find(var: VarDirectory, name: str) -> RunningNode | None:
    """Find the node that runs in `var`, or None.

    A pid is only believed when the lock is held and, where the system can tell, that process is the one that has it
    open: what a dead node left may name a stranger, and so may the owner of `var`, whose own process it has to be where he is
    another user. Raises UnderwayError when a node runs that can't be seen from here.
    """
    for open_one in _open_file, _open_directory:
        try:
            descriptor, uid = open_one(var)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UnderwayError(
                f"{var.lock} can't be read: {error.strerror}; ask as the user who runs {name}"
            ) from None
        owner = None if uid in (0, os.geteuid()) else uid  # the file may be another name of somebody's
        try:
            held, node = _find_by(descriptor, owner)
        finally:
            os.close(descriptor)
        if node is not None:
            return node
        if held:
            raise UnderwayError(
                f"{name} runs, as {var.lock} is held, but not where this command can see it; ask in the container and as"
                " the user that run it"
            )
    return None


def _open_file(var: VarDirectory) -> tuple[int, int]:
    """The lock file, and the owner of its directory. Raises OSError."""
    with openat.directory(var.path, var.run.name) as run:
        return run.open(var.lock.name, os.O_RDONLY), run.uid


def _open_directory(var: VarDirectory) -> tuple[int, int]:
    """What a keeper locks as well: somebody may have removed the file, which is there again a little later. Raises OSError."""
    descriptor = os.open(var.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return descriptor, os.fstat(descriptor).st_uid


def _find_by(descriptor: int, owner: int | None) -> tuple[bool, RunningNode | None]:
    """Find out whether a lock is held, and by whom, as far as he can be seen and is `owner`, where that is not None."""
    about: dict[str, object] = {}
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)  # it has the lock and has not said who it is yet
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(IsADirectoryError):
                about = read(os.pread(descriptor, _LARGEST, 0))
            for who in ("pid", "node"):
                pid = about.get(who)
                if is_pid(pid) and _has_open(pid, descriptor) and owner in (None, owner_of(pid)):
                    return True, RunningNode(pid, _seconds(about.get("stop_timeout")), orphan=who == "node")
        else:
            return False, None
    # A stranger that is named may be the keeper in another view of the processes; where nobody is, the file is damaged.
    damaged = not any(is_pid(about.get(who)) for who in ("pid", "node"))
    if damaged and (pid := _holder(descriptor)) and _has_open(pid, descriptor) and owner in (None, owner_of(pid)):
        return True, RunningNode(pid, None)
    for pid in _inheritors(descriptor):
        if owner in (None, owner_of(pid)):
            return True, RunningNode(pid, _seconds(about.get("stop_timeout")), orphan=True)
    return not _becomes_free(descriptor), None


def _becomes_free(descriptor: int) -> bool:
    """Whether the lock is let go of: who was not found may have been about to end, which has closed its descriptors by then."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE)
    return False


def _holder(descriptor: int) -> int | None:
    """The keeper as the kernel knows it, where what the file says is damaged; None where that can't be told."""
    status = os.fstat(descriptor)
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text().splitlines():
            match line.split():
                case [_, "FLOCK", _, "WRITE", pid, where, *_] if where == wanted and is_pid(int(pid)):
                    return int(pid)
    return None


def _inheritors(descriptor: int) -> Iterator[int]:
    """Processes here that have the lock from a keeper that is gone: of a handover, a successor that nobody has named yet."""
    from .process_table import processes  # where a keeper is gone: who asks for one that is there does without

    namespace = _pid_namespace("self")
    for pid in processes():
        if _pid_namespace(pid) == namespace is not None:
            with contextlib.suppress(OSError):  # of another user, or gone
                if any(_is_inherited(f"/proc/{pid}", number, descriptor) for number in os.listdir(f"/proc/{pid}/fd")):
                    yield pid


def _is_inherited(process: str, number: str, descriptor: int) -> bool:
    """Whether a descriptor of a process holds the lock, and who took it does not have it any more. Raises OSError."""
    if not _is_same(Path(process, "fd", number), descriptor):
        return False
    for line in Path(process, "fdinfo", number).read_text().splitlines():
        match line.split():
            case ["lock:", _, "FLOCK", _, "WRITE", pid, *_]:
                return not _has_open(int(pid), descriptor)
    return False


def _pid_namespace(process: int | str) -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{process}/ns/pid")
    return None


def contents(var: VarDirectory) -> dict[str, object]:
    """What the lock file says, of the node that runs or of the one that was before it; nothing where it can't be read."""
    with contextlib.suppress(OSError):
        return read(openat.read(var.path, var.lock, _LARGEST))
    return {}


def is_pid(value: object) -> TypeGuard[int]:
    """Whether what somebody states may be the id of one process; 0 and less mean several."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def owner_of(pid: int) -> int | None:
    """The user of a process, where all its ids are his, as the system says; None for one that is not there, or has several."""
    uids = {*facts.status(pid).get("Uid", ())}
    return int(uids.pop()) if len(uids) == 1 else None


def _seconds(value: object) -> float | None:
    """A time limit as it is stated, where it is one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    return None


def read(document: bytes | str) -> dict[str, object]:
    """Read what the lock file holds; nothing where that is damaged."""
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _has_open(pid: int, descriptor: int) -> bool:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return not Path("/proc/self/fd").exists()
    except PermissionError:
        return True  # of another user, whom we can't signal either
    return any(_is_same(entry, descriptor) for entry in entries)


def _is_same(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
