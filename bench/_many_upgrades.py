"""A process that was upgraded many times, next to one that was started a moment ago: memory, and what a request takes.

examples/chat goes up to its next version and back, in place. Both processes are asked in turns that are short, since what else runs
on the machine concerns both then; what a request takes is the processor time of the process that answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from _measure import REPOSITORY, TOOLS, free_port, make_release, run, scratch_project

VERSIONS = ("0.1.0", "0.2.0")
BODY = b'{"name": "ann", "text": "is anybody there?"}'
POST = b"POST /rooms/lobby/messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUESTS = (b"GET /rooms/lobby HTTP/1.1\r\nHost: bench\r\n\r\n", POST % len(BODY) + BODY)
IN_A_TURN = 300
WARM = 3_000
"""Requests until the interpreter has specialised all that answers them."""


@dataclass(frozen=True)
class Node:
    """A release that runs."""

    root: Path
    port: int

    @property
    def pid(self) -> int:
        """Of the process that answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n")
            return int(json.loads(_answer(connection))["pid"])

    def ask(self, count: int) -> None:
        """Ask so many times, one request after the other, over one connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            for number in range(count):
                connection.sendall(REQUESTS[number % len(REQUESTS)])
                _answer(connection)

    def memory(self) -> float:
        """Megabytes that the process has for itself, and its share of what it has with others."""
        told = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(re.findall(r"Pss: +(\d+)", told)[0]) / 1024

    def command(self, *arguments: str) -> None:
        run(self.root / f"bin/{self.root.name}", *arguments, cwd=self.root)


@contextmanager
def started(root: Path) -> Iterator[Node]:
    """A release for as long as the block lasts."""
    port = free_port()
    env = {"PATH": os.defpath, "CHAT_LISTEN": f"tcp://127.0.0.1:{port}"}
    with subprocess.Popen(
        [root / "bin/chat", "start"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _await(process, port)
            yield Node(root, port)
        finally:
            process.terminate()
            process.wait(30)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.02)
    sys.exit("chat did not answer")


def _answer(connection: socket.socket) -> bytes:
    """The body of one answer."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += _more(connection)
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
    while len(body) < length:
        body += _more(connection)
    return body


def _more(connection: socket.socket) -> bytes:
    if not (text := connection.recv(65536)):
        sys.exit("chat closed its connection")
    return text


def build(project: Path) -> Path:
    """The release of the first version, with the next one unpacked in it; `project` is a copy of examples/chat."""
    root = make_release(project)
    shutil.copytree(REPOSITORY / "examples/chat-0.2.0", project, dirs_exist_ok=True)
    for name in ("pyproject.toml", "uv.lock"):
        text = (project / name).read_text(encoding="utf-8")
        old, new = (f'name = "chat"\nversion = "{version}"' for version in VERSIONS)
        (project / name).write_text(text.replace(old, new), encoding="utf-8")
    options = ("--quiet", "--python", sys.executable, "--path", "build/next", "--upgrade-from", root)
    run(TOOLS / "underway", "release", *options, cwd=project)
    archive = next((project / "build").rglob(f"chat-{VERSIONS[1]}.tar.*"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    run(root / "bin/chat", "unpack", archive, "--sha256", digest, cwd=project)
    return root


def measure(upgrades: int, turns: int) -> dict[str, list[float]]:
    """Megabytes more after each upgrade, and by turns what a request takes of the fresh process over what it takes of the other."""
    with scratch_project() as project:
        root = build(project)
        fresh_root = shutil.copytree(root, project / "fresh", symlinks=True)
        with started(root) as node:
            node.ask(WARM)
            node.ask(WARM)
            pid, before = node.pid, node.memory()
            more = []
            for number in range(upgrades):
                node.command("install", VERSIONS[1 - number % 2], "--at-least", "hot")
                node.ask(WARM)
                more.append(node.memory() - before)
            if node.pid != pid:
                sys.exit("it was not upgraded in place")
            with started(fresh_root) as fresh:
                fresh.ask(2 * WARM)
                node.ask(WARM)
                return {"more": more, "share": [_share(fresh, node, turn) for turn in range(turns)], "before": [before]}


def _share(fresh: Node, node: Node, turn: int) -> float:
    """Requests that a process answers in the time of a processor in which a fresh one answers one; who begins changes by turns."""
    times = {}
    for process in (fresh, node) if turn % 2 else (node, fresh):
        pid = process.pid
        began = _processor_time(pid)
        process.ask(IN_A_TURN)
        times[process] = _processor_time(pid) - began
    return times[fresh] / times[node]


def _processor_time(pid: int) -> float:
    """Seconds that the first thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def summary(upgrades: int, turns: int) -> str:
    """What was measured, in words."""
    figures = measure(upgrades, turns)
    more, share = figures["more"], sorted(figures["share"])
    ends = {number: f"{more[number - 1]:.1f}" for number in (1, 2, 4, upgrades) if number <= upgrades}
    return (
        f"megabytes more than {figures['before'][0]:.1f} after so many upgrades: {ends}\n"
        f"requests of a fresh process's, after {upgrades}: {median(share):.3f}"
        f" ({share[len(share) // 4]:.3f} to {share[-1 - len(share) // 4]:.3f} in half of {turns} turns)"
    )
