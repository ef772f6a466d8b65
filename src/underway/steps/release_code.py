"""Code of a release in the making, run by its own interpreter, apart from the environment of the build."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underway_runtime.release.directory import ReleaseDirectory

from ..errors import ProjectError
from ..release import Release

TIMEOUT = 300.0
"""Seconds that a project's own code may take at build."""


def ask(
    release: Release, program: Sequence[str], question: Mapping[str, Any], what: str, directory: Path | None = None
) -> Any:
    """Give a program a question as JSON, and return its answer, which is the last line that it prints.

    `program` are arguments of Python. Raises ProjectError with what the program said, or that `what` failed or took too long.
    """
    python = ReleaseDirectory(release.path).version(release.version).python
    try:
        done = subprocess.run(
            [python, "-I", "-B", *program],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith(("RELEASE_", "PYTHON"))},
            cwd=directory,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProjectError(f"{what} took more than {TIMEOUT:.0f} seconds") from None
    if done.returncode != 0:
        raise ProjectError(done.stderr.strip() or f"{what} could not be evaluated (status {done.returncode})")
    return json.loads(done.stdout.strip().rpartition("\n")[2])
