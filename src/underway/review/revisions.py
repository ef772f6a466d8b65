"""Git revisions of a project, each as a directory of its own; the repository is only read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..errors import BuildError

TIMEOUT = 300.0
"""Seconds that one command of git's may take."""

_NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
_ELSEWHERE = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX")
"""What git's own hooks run with, and what would point git to another repository than that of the directory."""


def commit_of(word: str, directory: Path) -> str | None:
    """Find the full name of the commit that a word stands for in the repository of a directory; None where it stands for none."""
    if word.startswith("-"):
        return None
    done = _git(directory, "rev-parse", "--verify", "--quiet", f"{word}^{{commit}}")
    return done.stdout.strip() or None if done.returncode == 0 else None


def check_out(commit: str, directory: Path, target: Path) -> Path:
    """Put the whole repository of a directory into `target`, as of a commit; returns what the directory is in there.

    It is a clone that borrows the objects, so that what asks git for its version is answered. Raises BuildError for what git
    refuses, and where the commit has no such directory.
    """
    top = Path(_git_output(directory, "rev-parse", "--show-toplevel"))
    prefix = _git_output(directory, "rev-parse", "--show-prefix")
    _git_output(directory, *_NO_HOOKS, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(target))
    _git_output(target, *_NO_HOOKS, "checkout", "--quiet", "--detach", commit)
    project = target / prefix
    if not (project / "pyproject.toml").is_file():
        raise BuildError(f"there is no {prefix}pyproject.toml in {commit[:12]}")
    return project


def _git_output(directory: Path, *arguments: str) -> str:
    done = _git(directory, *arguments)
    if done.returncode != 0:
        raise BuildError(f"git {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _git(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    try:
        return subprocess.run(
            ["git", "-C", str(directory), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess([], 127, "", "git is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess([], 1, "", f"it took more than {TIMEOUT:.0f} seconds")
