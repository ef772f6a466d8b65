"""The process in which the modules of two releases are compared: the interpreter that they are for, which sees nothing of either.

It is asked once for each way between the two, and again where what it proposes is tried; what it has read of a module it keeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import underway_runtime

from ..errors import BuildError
from .releases import Opened

TIMEOUT = 600.0
"""Seconds that comparing all modules of two releases may take, each way."""

_PROGRAM = """\
import json, os, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: what is compared for nobody ends
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[2]):
    sys.exit(1)
sys.path[:0] = json.loads(sys.argv[1])
from underway.planner.worker import main
main()
"""


class Comparer:
    """Asks the process, which begins with the first question."""

    def __init__(self, python: Path, releases: Mapping[str, Opened], errors: IO[str]) -> None:
        self._python = python
        self._releases = releases
        """By the names that tasks give them."""
        self._errors = errors
        """A file for what it says when it fails."""
        self._process: subprocess.Popen[str] | None = None

    def answer(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """What `worker.compare` says to a task, in which releases are names. Raises BuildError."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            process.stdin.write(f"{json.dumps(task)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
        if not line:
            self.close()
            if timed_out:
                raise BuildError(f"comparing the modules took more than {TIMEOUT:.0f} seconds")
            self._errors.seek(0)
            raise BuildError(f"the modules could not be compared:\n{self._errors.read().strip()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        packages = [str(Path(__file__).parents[2]), str(Path(underway_runtime.__file__).parents[1])]
        try:
            process = subprocess.Popen(
                [self._python, "-I", "-S", "-B", "-c", _PROGRAM, json.dumps(packages), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            )
        except OSError as error:
            raise BuildError(f"{self._python} can't be run: {error.strerror}") from None
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # the first question says why
            process.stdin.write(f"{json.dumps({name: _side(release) for name, release in self._releases.items()})}\n")
        return process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def comparer(python: Path, releases: Mapping[str, Opened]) -> Iterator[Comparer]:
    """What compares modules of these releases, until the block ends."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        worker = Comparer(python, releases, errors)
        try:
            yield worker
        finally:
            worker.close()


def _side(side: Opened) -> dict[str, Any]:
    names = {name.replace("_", "-"): version for name, (version, _) in side.rel.items()}
    return {
        "root": str(side.root),
        "modules": {name: list(origin) for name, origin in side.modules.items()},
        "versions": names | {name: version for name, (version, _) in side.rel.items()},
    }
