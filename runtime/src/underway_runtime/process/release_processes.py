"""Processes besides the node's own that run code of its release: what it has forked or started, and what has left it since.

A version that is installed in the process that runs reaches none of them. Whose they are, and whether they run code of the
release, is seen in ``/proc``; one counts where both are so.

================================  ====================================================================================
it is the node's                  it was started by the node, or by what the node has started; or it began after the
                                  node, and before another that follows it, and has its variables; or has lost its
                                  parent and all variables, and is in the node's control group
it runs code of the release       its program is the node's interpreter, or a file of the release; or such a file is
                                  mapped, or on its command line; or its program is another Python, which looks for
                                  modules in the release
it does not count                 a command of ``bin/NAME``; multiprocessing's tracker, which imports nothing of ours
================================  ====================================================================================

A process between ``fork`` and ``exec`` looks like what has forked it, and is another program a moment later: so those count that
are there at several looks.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..frozen import Frozen
from ..release.display import one_line
from . import facts, process_table

LOOKS = 4
_PAUSE = 0.03
"""Seconds between two of them."""
_SHOWN = 80
"""Characters of a command line in a message."""

_OF_A_NODE = ("RELEASE_ROOT", "RELEASE_NODE", "RELEASE_TMP", "RELEASE_COMMAND")
"""Variables that all have the same who were started by one node, and whoever is about to start it once more."""
_KEEPER = "/underway_runtime/keeper/__main__.py"
_RUNS = ("start", "start_iex", "daemon", "daemon_iex", "run", "eval")
"""Commands of ``bin/NAME`` that run applications; all others come to an end by themselves."""
_TRACKER = "from multiprocessing.resource_tracker import main"
_SEARCHED = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE")
"""Variables by which a Python, also one of the host, finds modules; the launcher takes them away from a node."""
_CODE = ("lib/", "releases/", "python-", "bin/")
"""Where a release has code."""


class Process(Frozen):
    """A process of the node that runs code of its release."""

    pid: int
    began: int
    """In ticks since the host booted: another one of this pid began at another time."""
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def staying(root: Path) -> list[Process]:
    """The node's processes that run code of the release below `root`, and are not just about to run something else."""
    seen = others(root) or others(root)  # a second look, for what was being made, or lost its parent, during the first
    for _ in range(LOOKS - 1):
        if not seen:
            break
        time.sleep(_PAUSE)
        still = {(other.pid, other.began) for other in others(root)}
        seen = [process for process in seen if (process.pid, process.began) in still]
    return seen


def others(root: Path) -> list[Process]:
    """All of the node's processes that run code of the release at this moment, by pid."""
    rows, node = process_table.processes(), _own_pid()
    if node not in rows:
        return []  # there is no /proc to look at
    release = _Release(root)
    return [
        Process(pid, rows[pid].started, one_line(" ".join(arguments), _SHOWN))
        for pid in sorted(_of_the_node(rows, node, release))
        for arguments in [facts.command_line(pid)]
        if release.is_run_by(pid, arguments) and not _does_not_count(pid, arguments)
    ]


def listing_of(processes: Sequence[Process]) -> list[str]:
    """What is in the way of an upgrade, a line a process."""
    return [f"{process} runs code of this release, and would go on with the old one" for process in processes]


def _of_the_node(rows: Mapping[int, process_table.Process], node: int, release: _Release) -> set[int]:
    """The pids of what the node, or something that it has started, has started."""
    above = list(_above(rows, node))
    below = _below(rows, [node])
    unrelated = [
        pid for pid in rows if pid not in below and pid not in above and rows[pid].started >= rows[node].started
    ]
    keepers = [
        rows[node].parent,
        *(pid for pid in unrelated if any(word.endswith(_KEEPER) for word in facts.command_line(pid))),
    ]
    nodes = [pid for pid, row in rows.items() if row.parent in keepers and pid != node]
    theirs = _below(rows, nodes)
    next_nodes = [
        pid for pid in nodes if rows[pid].parent == rows[node].parent and rows[pid].started > rows[node].started
    ]
    until = min((rows[pid].started for pid in next_nodes), default=float("inf"))
    others = [pid for pid in unrelated if pid not in keepers and pid not in theirs and rows[pid].started <= until]
    return below | _below(rows, [pid for pid in others if _has_left(pid, rows, node, above, release)])


def _has_left(
    pid: int, rows: Mapping[int, process_table.Process], node: int, above: Sequence[int], release: _Release
) -> bool:
    """Whether a process that is not below the node comes from it all the same."""
    variables = _variables(pid)
    if "RELEASE_ROOT" in variables:
        return all(variables.get(name) == os.environ.get(name) for name in _OF_A_NODE)
    parent = rows[pid].parent
    lost = parent == 1 or (parent in above and parent in rows and rows[pid].session != rows[parent].session)
    return lost and release.is_mapped_by(pid) and facts.control_groups(pid) == facts.control_groups(node)


def _above(rows: Mapping[int, process_table.Process], pid: int) -> Iterator[int]:
    while pid in rows and rows[pid].parent:
        yield pid
        pid = rows[pid].parent


def _below(rows: Mapping[int, process_table.Process], roots: Sequence[int]) -> set[int]:
    """These and all that were started by them, but not this process."""
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    pids: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in pids:
            pids.add(pid)
            waiting += children.get(pid, ())
    return pids - {_own_pid()}


class _Release:
    """The files of a release, as ``/proc`` names them."""

    def __init__(self, root: Path) -> None:
        places = {str(root), os.path.realpath(root)}
        self._code = tuple(f"{directory}/{below}" for directory in places for below in _CODE)
        self._interpreter = _file("/proc/self/exe")

    def is_run_by(self, pid: int, arguments: Sequence[str]) -> bool:
        """Whether a process runs the interpreter, or any other code of the release."""
        program = _file(f"/proc/{pid}/exe")
        if program is not None and program == self._interpreter:
            return True
        return self._is_named_by(pid, arguments) or self.is_mapped_by(pid)

    def _is_named_by(self, pid: int, arguments: Sequence[str]) -> bool:
        """Whether its command line names a file of the release, or it is a Python that looks for modules there."""
        directory = _link(f"/proc/{pid}/cwd")
        if any(self._has(argument) or self._has_file(directory, argument) for argument in arguments):
            return True
        variables = facts.environment(pid)
        searched = [path for name in _SEARCHED for path in variables.get(name, "").split(":") if path]
        if arguments and "python" in os.path.basename(arguments[0]):
            searched.append(directory)  # that of `-c` and `-m`
        return any(self._has(os.path.join(directory, path)) for path in searched)

    def _has(self, path: str) -> bool:
        return f"{path}/".startswith(self._code)

    def _has_file(self, directory: str, name: str) -> bool:
        """Whether a word is the name of a file of the release, from where a process works."""
        return self._has(path := os.path.join(directory, name)) and os.path.exists(path)

    def is_mapped_by(self, pid: int) -> bool:
        """Whether its program, or a file that it has mapped, is of the release."""
        if _link(f"/proc/{pid}/exe").startswith(self._code):
            return True
        with contextlib.suppress(OSError):
            lines = os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).splitlines()
            return any(fields[5].startswith(self._code) for line in lines if len(fields := line.split(maxsplit=5)) == 6)
        return False


def _does_not_count(pid: int, arguments: Sequence[str]) -> bool:
    command = _variables(pid).get("RELEASE_COMMAND", "start")
    is_command = command not in (*_RUNS, os.environ.get("RELEASE_COMMAND"))
    return is_command or any(argument.startswith(_TRACKER) for argument in arguments)


def _own_pid() -> int:
    """The pid of this process, as this ``/proc`` has it."""
    with contextlib.suppress(OSError, ValueError):
        return int(os.readlink("/proc/self"))
    return os.getpid()


def _variables(pid: int) -> dict[str, str]:
    """The ``RELEASE_*`` variables with which a process was started; none where that can't be seen."""
    return {name: value for name, value in facts.environment(pid).items() if name.startswith("RELEASE_")}


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def _file(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None
