"""Runs the underway command, or one of bin/NAME, in a process that dies by SIGKILL at its Nth change of the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 300.0
ASKED = "?"
"""For what runs: the node is asked, as ever."""

_CHILD = """
import os, signal, sys

at, report, runs = int(sys.argv[1]), sys.argv[2], sys.argv[3] or None
sys.argv[1:4] = []
CHANGES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "subprocess.Popen", "ctypes.dlsym",
}
seen = 0

def change():
    global seen
    seen += 1
    return seen == at

def hook(event, arguments):
    if event == "open":
        if not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in CHANGES:
        return
    if change():
        os.kill(os.getpid(), signal.SIGKILL)

def dying(function):
    def called(*arguments):
        if change():
            if function.__name__ in ("write", "pwrite"):  # only some of it reaches the disk
                function(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return called
"""
"""ctypes.dlsym is the exchange of two directories: it has no audit event of its own."""

_BUILDING = """
from underway.cli import main
"""

_RELEASE = """
from underway_runtime import boot
from underway_runtime.upgrade import commands
if runs != "?":
    commands.running_version = lambda settings: runs
for name in ("write", "pwrite", "fsync"):
    setattr(os, name, dying(getattr(os, name)))
def main():
    sys.exit(boot.main())
"""

_RUN = """
sys.addaudithook(hook)
try:
    main()
finally:
    total = seen
    with open(report, "w") as file:
        file.write(str(total))
"""


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
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    return _run(_BUILDING, arguments, project, environ, scratch, dies_at)


def release(root: Path, arguments: Sequence[str], version: str, scratch: Path, dies_at: int = 0, runs: str = "") -> Run:
    """Run ``bin/hello ARGUMENTS`` of a version of the release at `root`, as if its node ran the version `runs`; the same."""
    environ = {**os.environ, "RELEASE_ROOT": str(root), "RELEASE_NAME": "hello", "RELEASE_VSN": version}
    return _run(_RELEASE, arguments, root, environ, scratch, dies_at, runs)


def _run(
    entry: str,
    arguments: Sequence[str],
    directory: Path,
    environ: Mapping[str, str],
    scratch: Path,
    dies_at: int,
    runs: str = "",
) -> Run:
    report = scratch / "changes"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-B", "-c", _CHILD + entry + _RUN, str(dies_at), str(report), runs, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environ,
    )
    changes = int(report.read_text()) if report.exists() else 0
    return Run(done.returncode == -signal.SIGKILL, done.returncode, changes, done.stdout + done.stderr)
