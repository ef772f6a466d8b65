"""The successor that boots yields to the node that serves: it has a lower priority until its applications have started.

Whoever has lowered a priority may not raise it again without CAP_SYS_NICE, or a limit (RLIMIT_NICE) that allows the priority that was
before. So that is tried first, by a process that ends; where it can't be undone nothing is lowered. ``SCHED_BATCH`` and a longer slice,
which anybody may undo, change nothing for the slowest hundredth of what serves; what can be done to groups is not ours to do here.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LOWER = 10
"""A ninth of the processor, next to one that wants all of it."""
SECONDS = 5.0
"""No start is kept back for longer: each has a time in which it is to come to its end."""
_LOWEST = 19


class Yielding:
    """The priority of one process, of all that it starts and of their threads, lower than the keeper's until `end`."""

    def __init__(self, pid: int) -> None:
        """Lower it, where that can be undone. The process has only just been started."""
        self._pid = pid
        self._before = os.getpriority(os.PRIO_PROCESS, 0)
        self._lowered = min(_LOWEST, self._before + LOWER)
        self.is_lowered = self._lowered > self._before and _can_be_undone(self._before, self._lowered)
        if self.is_lowered:
            try:
                os.setpriority(os.PRIO_PROCESS, pid, self._lowered)
            except OSError:
                self.is_lowered = False

    def end(self) -> None:
        """Raise it again, of all threads that there are by now; what they have lowered themselves stays lower. Any number of times."""
        if not self.is_lowered:
            return
        self.is_lowered = False
        seen: set[int] = set()
        while more := [
            thread for thread in _threads(self._pid) if thread not in seen
        ]:  # one may just have started another
            seen.update(more)
            for thread in more:
                try:
                    now = os.getpriority(os.PRIO_PROCESS, thread)
                    if now >= self._lowered:
                        os.setpriority(os.PRIO_PROCESS, thread, now - self._lowered + self._before)
                except OSError:
                    pass  # it has ended, or is another user's by now


def _can_be_undone(before: int, lowered: int) -> bool:
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        status = 1
        try:
            os.listdir("/proc/self/task")
            os.setpriority(os.PRIO_PROCESS, 0, lowered)
            os.setpriority(os.PRIO_PROCESS, 0, before)
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _threads(pid: int) -> Iterator[int]:
    """Those of a process, and of all that it has started."""
    pids = [pid]
    for process in pids:
        tasks = f"/proc/{process}/task"
        try:
            for thread in os.listdir(tasks):
                yield int(thread)
                with open(f"{tasks}/{thread}/children", "rb") as file:
                    pids += [int(child) for child in file.read().split()]
        except OSError:
            pass  # it has ended
