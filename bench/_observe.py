"""What a benchmark sees of other programs: what a build costs, how a server starts, what it takes. All of it is bounded."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from backports import zstd

BUILD_WITHIN = 600.0
ANSWER_WITHIN = 120.0
STOP_WITHIN = 20.0
LEVEL = 3
_TICKS = os.sysconf("SC_CLK_TCK")

Command = Sequence[str | Path]


class Failed(Exception):
    """A tool could not do what was asked of it; the text is the reason, in one line."""


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall: float
    cpu: float
    """Seconds of user and system, of the command and of all children that it waited for."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True)
class Started:
    """A server at the moment of its first answer. Processor time and memory are those of its whole tree of processes."""

    wall: float
    cpu: float
    rss: int


@dataclass(frozen=True)
class Server:
    """How to start something that answers over HTTP, and what to ask it."""

    command: Command
    env: Mapping[str, str]
    cwd: Path
    port: int
    path: str


def run(command: Command, cwd: Path, env: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end. Raises Failed when that is not 0, or takes too long; then its group is ended."""
    with log.open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        watchdog = Timer(BUILD_WITHIN, _kill_group, [process.pid])
        watchdog.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watchdog.cancel()
            _kill_group(process.pid)
    if process.returncode != 0:
        late = f", after {BUILD_WITHIN:.0f} s" if wall >= BUILD_WITHIN else ""
        raise Failed(f"{Path(command[0]).name} ended with status {process.returncode}{late}: {last_line(log)}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def start(server: Server, log: Path, then: Callable[[int], None] = lambda _: None) -> Started:
    """Start a server, wait for its first answer, stop it. `then` is called with its port while it still runs.

    Raises Failed when it ends, answers something else than 200, or takes too long.
    """
    with _serving(server.command, server, log) as (process, began):
        _await_answer(process, server, log)
        wall = time.perf_counter() - began
        tree = _tree(process.pid)
        started = Started(wall, sum(map(_cpu, tree)), sum(map(_rss, tree)))
        then(server.port)
        return started


def files_opened(server: Server, log: Path) -> tuple[int, int]:
    """How many files a server opens until its first answer, and how many it tries to. Raises Failed as `start` does."""
    strace = shutil.which("strace")
    if strace is None:
        raise Failed("strace is missing; apt install strace")
    trace = log.with_suffix(".strace")
    watched = [strace, "-f", "-qq", "-e", "trace=open,openat", "-o", trace, *server.command]
    with _serving(watched, server, log) as (process, _):
        _await_answer(process, server, log)
        # strace lets no signal end it before what it watches has ended.
        for pid in _tree(process.pid):
            if pid != process.pid:
                _kill(pid, signal.SIGKILL)
        process.wait(STOP_WITHIN)
    results = re.findall(r"open(?:at)?(?:\(| resumed).* = (-?\d+)", trace.read_text(encoding="utf-8", errors="replace"))
    return sum(not result.startswith("-") for result in results), len(results)


def ask(port: int, path: str, timeout: float = 30.0) -> tuple[int, str]:
    """The status and the text that a server on this machine answers with. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def tree_size(root: Path, leave_out: str = "") -> int:
    """The bytes of all files below a directory, or of one file; links count as links, a file with two names once."""
    seen = {}
    for path in _files(root, leave_out):
        found = path.lstat()
        seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def packed_size(root: Path, leave_out: str = "") -> int:
    """What a directory takes as tar.zst at level 3."""
    with tempfile.TemporaryFile() as file:
        with (
            zstd.ZstdFile(file, "wb", level=LEVEL) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for path in _files(root, leave_out):
                tar.add(path, path.relative_to(root), recursive=False)
        return file.tell()


def last_line(log: Path) -> str:
    """The last line of a log that names an error, or else the last that says something; shortened."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i)\S*error\b", line)]
    return ["it said nothing", *lines, *errors][-1][:160]


@contextmanager
def _serving(command: Command, server: Server, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A process for as long as the block lasts, and when it began; nothing of its tree outlives the block."""
    with log.open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=server.cwd,
            env=dict(server.env),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield process, began
    finally:
        tree = _tree(process.pid)
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            for pid in tree:
                _kill(pid, signal.SIGKILL)
            process.wait()
        finally:
            _kill_group(process.pid)


def _await_answer(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    deadline = time.monotonic() + ANSWER_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"it ended with status {process.returncode} before it answered: {last_line(log)}")
        try:
            status, _ = ask(server.port, server.path, deadline - time.monotonic())
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
        else:
            if status != 200:
                raise Failed(f"{server.path} answered {status}")
            return
    raise Failed(f"it did not answer within {ANSWER_WITHIN:.0f} s")


def _tree(root: int) -> list[int]:
    """A process and all that descends from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything; none when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    """Of the process and of the children that it waited for: utime, stime, cutime, cstime."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def _rss(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _files(root: Path, leave_out: str) -> Iterator[Path]:
    if root.is_file():
        yield root
    for directory, names, files in os.walk(root):
        if leave_out and Path(directory) == root and leave_out in names:
            names.remove(leave_out)
        names.sort()
        links = [name for name in names if Path(directory, name).is_symlink()]
        yield from (Path(directory, name) for name in sorted([*files, *links]))


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
