"""Programs that are run to their end, with nothing of ours but what they are given, within a time."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import BuildError


def run(
    command: Sequence[str | Path],
    failed: str,
    *,
    timeout: float,
    given: str = "",
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its exit status and what it has said; `given` is its standard input.

    Its environment is `environ`, by default this process's. Raises BuildError, which begins with `failed`, where the program can't be
    run or takes more than `timeout` seconds.
    """
    try:
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=environ,
            cwd=directory,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{failed}: {error}") from None
