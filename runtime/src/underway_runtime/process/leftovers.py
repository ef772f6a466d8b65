"""What a node that has stopped has left: processes that it had started, by fork or as programs, and what they hold.

=====================================  =================================================================================
belongs to the node                    how that is known, before the stop
=====================================  =================================================================================
what the keeper and its nodes have     the system says whose child, and of which session, a process is
started
who has come to hold a socket that     the system says which process has which socket open; who began before the keeper has
the node listened with                 given it that, as systemd does
what is in its control group           of a service of systemd that began with the keeper, whatever is in there and of its user is
                                       the service's; cron, or what keeps several services, began before it
=====================================  =================================================================================

A control group in which nothing else is left was the node's own, and what is in there is ended with it, as systemd does; all
else that is left is named, for it may be meant to stay. At a handover what listens is ended, which would go on to answer for the
version that has left, and all of what must not run twice. Nothing is known where there is no ``/proc``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ..frozen import Frozen
from ..release.display import one_line
from . import facts, release_processes
from .proc_sockets import address, listening, table
from .process_table import Process, process_of, processes

_TO_FOLLOW = 1.0
"""Seconds in which what notices by itself that its parent is gone ends too."""
_PAUSE = 0.1
TO_END = 3.0
"""Seconds that a process gets after SIGTERM, before SIGKILL."""
_SHOWN = 10
_UNCONNECTED = "07"
_GROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


class Left(Frozen):
    """What is left, for people."""

    named: list[str]
    """Those that run on, with what they hold."""
    ended: list[str]
    """Those that were ended."""
    pids: list[int]


class Family:
    """What belongs to a node, looked at while that runs."""

    def __init__(self, keeper: int) -> None:
        """`keeper` is the pid of the keeper, or of a node that has lost it."""
        everybody = processes()
        self._keeper = everybody.get(keeper)
        self._members = {*_descendants(keeper, everybody)}
        self._sockets: dict[int, str] = {}
        for member in self._members:
            self._sockets |= _held(member.pid)
        self._group = _group(keeper)
        if self._group is not None and self._group.name.endswith(".service"):
            inside = [everybody[pid] for pid in _inside(self._group) if pid in everybody]
            if all(map(self._is_later, inside)):
                self._members |= {process for process in inside if facts.owner(process.pid) == facts.owner(keeper)}

    def left(self) -> Left:
        """What of it runs on, once the node has stopped; in a control group of its own it is ended."""
        end = time.monotonic() + _TO_FOLLOW
        while (alive := self._alive()) and time.monotonic() < end:
            time.sleep(_PAUSE)
        descriptions = {process: self._description(process) for process in alive}
        inside = set() if self._group is None else {*_inside(self._group)}
        if inside <= {process.pid for process in alive}:
            _end([process for process in alive if process.pid in inside])
            alive = self._alive() if inside else alive
        ended = [line for process, line in descriptions.items() if process not in alive]
        return Left([self._description(process) for process in alive], ended, [process.pid for process in alive])

    def _alive(self) -> list[Process]:
        known, own_pid = {(member.pid, member.started) for member in self._members}, os.getpid()
        links = {f"socket:[{inode}]" for inode in self._sockets}
        alive = [
            process
            for process in processes().values()
            if (process.pid, process.started) in known
            or (links and self._is_later(process) and links & _open(process.pid))
        ]
        return sorted((process for process in alive if process.pid != own_pid), key=lambda process: process.pid)

    def _is_later(self, process: Process) -> bool:
        """Whether a process has begun after the keeper; of those that began within one tick of the clock, by their pids."""
        return self._keeper is None or (process.started, process.pid) >= (self._keeper.started, self._keeper.pid)

    def _description(self, process: Process) -> str:
        held = sorted({*_held(process.pid).values()})
        holds = f", which listens on {', '.join(one_line(text, 100) for text in held)}" if held else ""
        return f"pid {process.pid} ({_words(process.pid)}){holds}"


def end_own(root: Path, *, listening_only: bool = False) -> Left:
    """End what this process has started that runs code of the release below `root`; of that only what listens, where that is said."""
    processes = [
        (process, str(staying))
        for staying in release_processes.staying(root)
        if (process := _same(staying)) is not None
    ]
    ends = [process for process, _ in processes if not listening_only or _held(process.pid)]
    _end(ends)
    return Left(
        [text for process, text in processes if process not in ends],
        [text for process, text in processes if process in ends],
        [process.pid for process, _ in processes if process not in ends],
    )


def end_pools(timeout: float) -> None:
    """End pools of processes as Python does when it exits, within so many seconds: their workers end, and are not started again.

    Python itself comes to that when the last thread has ended, which a server that never knew how to stop may never do; the workers of
    a pool, or those that it has made for some that were ended, would be left with the code of this node.
    """

    def end() -> None:
        for module, name in _AT_EXIT:
            getattr(sys.modules.get(module), name, _nothing)()

    if any(module in sys.modules for module, _ in _AT_EXIT):
        ending = threading.Thread(target=end, name="pools", daemon=True)
        ending.start()
        ending.join(timeout)


_AT_EXIT = (("concurrent.futures.process", "_python_exit"), ("multiprocessing.util", "_exit_function"))
"""What the standard library has registered for its exit."""


def _nothing() -> None:
    pass


def _same(process: release_processes.Process) -> Process | None:
    now = process_of(process.pid)
    return now if now is not None and now.started == process.began else None


def notes(name: str, left: Left) -> list[str]:
    """Notes about what is left, for people."""
    lines = []
    if left.ended:
        lines.append(f"{name} has stopped; ended with its control group: {_some(left.ended)}")
    if left.named:
        pids = " ".join(map(str, left.pids[:_SHOWN]))
        lines.append(
            f"{name} has stopped, and what it had started runs on: {_some(left.named)}; `kill {pids}` ends that"
        )
    return lines


def _some(lines: list[str]) -> str:
    return "; ".join(lines[:_SHOWN]) + (f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")


def _descendants(keeper: int, everybody: Mapping[int, Process]) -> list[Process]:
    """The keeper, what it and its own have started, and what is in a session or process group that one of these leads or led."""
    pids, own_pid = {keeper} & everybody.keys(), os.getpid()
    while True:
        more = {
            process.pid
            for process in everybody.values()
            if {process.parent, process.group, process.session} & pids and process.pid not in (*pids, own_pid)
        }
        if not more:
            return [everybody[pid] for pid in pids]
        pids |= more


def _open(pid: int) -> set[str]:
    """Find out what a process has open, as the system calls it."""
    links = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                links.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return links


def _held(pid: int) -> dict[int, str]:
    """Where a process listens, and which ports of UDP it has, by the inode of the socket."""
    addresses, links = dict(listening(pid)), _open(pid)
    for file, family in (("udp", socket.AF_INET), ("udp6", socket.AF_INET6)):
        for fields in table(pid, file, 10):
            if fields[3] == _UNCONNECTED and f"socket:[{fields[9]}]" in links:
                addresses[int(fields[9])] = address(fields[1], family).replace("tcp://", "udp://")
    return addresses


def _group(pid: int) -> Path | None:
    """The control group of a process, if it has one that is not that of this command, nor at the top."""
    ours, theirs = _groups("self"), _groups(str(pid))
    for mount in _GROUPS:
        for kind, path in theirs.items():
            group = Path(mount, path.lstrip("/"))
            is_below = path != "/" and ".." not in path.split("/") and ours.get(kind) != path
            if is_below and (group / "cgroup.procs").exists():
                return group
    return None


def _groups(pid: str) -> dict[str, str]:
    """By kind, the path of each control group that only tells processes apart: of version 2, or systemd's own."""
    rows = (line.split(":", 2) for line in facts.control_groups(pid).splitlines())
    return {kind: path for number, kind, path in rows if (number, kind) == ("0", "") or kind == "name=systemd"}


def _inside(group: Path) -> list[int]:
    """The processes in a control group and those below it."""
    pids = []
    for file in (group / "cgroup.procs", *group.glob("**/cgroup.procs")):
        with contextlib.suppress(OSError, ValueError):
            pids += [int(pid) for pid in file.read_text().split()]
    return pids


def _end(processes: list[Process]) -> None:
    """First as they would be told to, then as they must."""
    with contextlib.ExitStack() as open_ones:
        descriptors = {}
        for process in processes:
            with contextlib.suppress(OSError, AttributeError):
                descriptor = os.pidfd_open(process.pid)
                open_ones.callback(os.close, descriptor)
                now = process_of(process.pid)
                if now is not None and now.started == process.started:  # from here on it means that one
                    descriptors[descriptor] = process
        for number in (signal.SIGTERM, signal.SIGKILL):
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(descriptor, number)
            end = time.monotonic() + TO_END
            for descriptor in descriptors:
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(max(0.0, end - time.monotonic()) * 1000)


def _words(pid: int) -> str:
    """What a process was started as; a text of its own choice."""
    return one_line(" ".join(facts.command_line(pid)), 80) or "gone"
