"""Runs the underway command in a process that dies by SIGKILL at its Nth change of the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 300.0

_CHILD = """
import os, signal, sys

at, report = int(sys.argv[1]), sys.argv[2]
sys.argv[1:3] = []
CHANGES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "subprocess.Popen", "ctypes.dlsym",
}
seen = 0

def hook(event, arguments):
    global seen
    if event == "open":
        if not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in CHANGES:
        return
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)

from underway.cli import main
sys.addaudithook(hook)
try:
    main()
finally:
    total = seen
    with open(report, "w") as file:
        file.write(str(total))
"""
"""ctypes.dlsym is the exchange of two directories: it has no audit event of its own."""


@dataclass(frozen=True)
class Run:
    """What became of one run."""

    killed: bool
    status: int
    changes: int
    """How often it changed the disk; 0 when it was killed."""
    output: str


def underway(arguments: Sequence[str], project: Path, scratch: Path, dies_at: int = 0) -> Run:
    """Run ``underway ARGUMENTS`` in `project`; with `dies_at` it is killed at that change of the disk, from 1 on."""
    report = scratch / "changes"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(dies_at), str(report), *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
    )
    changes = int(report.read_text()) if report.exists() else 0
    return Run(done.returncode == -signal.SIGKILL, done.returncode, changes, done.stdout + done.stderr)
