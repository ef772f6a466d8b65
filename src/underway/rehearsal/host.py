"""A release that runs here for a while, as a child of this process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError
from .player import Deadline

START = 60.0
STOP = 60.0
COMMAND = 180.0
"""Seconds that a start, a stop and another command may take."""
LAST_LINES = 20
"""Of what a release has said, in an error."""

_PROGRAM = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM: what runs for nobody stops
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Host:
    """A release that runs."""

    command: Path
    environ: Mapping[str, str]
    deadline: Deadline

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the release to its end. Raises BuildError when that takes too long."""
        try:
            return subprocess.run(
                [self.command, *arguments],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.deadline.left(COMMAND),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"bin/{self.command.name} {arguments[0]} takes too long") from None

    def pid(self) -> int:
        """Of the node that runs. Raises BuildError where none does."""
        done = self.run("status", "--json")
        if done.returncode != 0:
            raise BuildError(f"the release does not run any longer: {done.stderr.strip()}")
        return int(json.loads(done.stdout)["pid"])


@contextmanager
def running(root: Path, name: str, var: Path, environ: Mapping[str, str], deadline: Deadline) -> Iterator[Host]:
    """Start a release with a var of its own, and stop it at the end of the block. Raises BuildError where it does not start.

    Whatever becomes of this process, the release ends with it.
    """
    var.mkdir(parents=True)
    log = var.with_name(f"{var.name}.log")
    address = var.with_name(f"{var.name}.ready")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RELEASE_", "PYTHON"))}
    chosen = {**inherited, **environ, "RELEASE_VAR": str(var)}
    command = root / "bin" / name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as out:
        ready.bind(str(address))
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(os.getpid()), str(command), "start"],
            env={**chosen, "NOTIFY_SOCKET": str(address)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            _await_ready(ready, process, log, deadline)
            yield Host(command, chosen, deadline)
        finally:
            _stop(process)


def _await_ready(ready: socket.socket, process: subprocess.Popen[bytes], log: Path, deadline: Deadline) -> None:
    end = Deadline(deadline.clock() + deadline.left(START), deadline.clock)
    while True:
        if process.poll() is not None:
            raise BuildError(f"the release ended with status {process.returncode} before it was ready:\n{_last(log)}")
        try:
            ready.settimeout(end.left(0.2))
            if b"READY=1" in ready.recv(4096).split(b"\n"):
                return
        except TimeoutError:
            deadline.left(START)
            if deadline.clock() >= end.end:
                raise BuildError(f"the release was not ready within {START:.0f} seconds:\n{_last(log)}") from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:])
