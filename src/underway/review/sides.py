"""The two releases that are compared: what their names stand for, and what has to be built first.

==============================  =====================================================
a name                          stands for
==============================  =====================================================
an archive, a release,          that release
``releases/VERSION`` in one
the directory of a project      a build of it, in a scratch directory
a git revision                  a build of the project as of that commit, in another
nothing, for FROM               the release that stands at the path of the project's
nothing, for TO                 a build of the project as it is
==============================  =====================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BuildError, UnderwayError, UsageError, listing
from ..planner.releases import Opened, open_release, standing
from ..project.project import definition, read
from ..toolchain.held import held
from . import revisions

SCRATCH = "underway-review-"
"""How the directories are called, among temporary files, in which projects are built to be looked at."""

AS_IT_IS = "the project as it is"


@dataclass(frozen=True)
class Project:
    """The project whose releases are compared."""

    root: Path
    release: str | None = None
    """Which of its releases; None for the default one."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Options of its builds, as a command line gives them."""


@dataclass(frozen=True)
class Side:
    """One of two releases."""

    name: str
    """What people know it by."""
    opened: Opened
    built: bool
    """Whether it was built to be looked at, and will be gone."""


@dataclass(frozen=True)
class _Source:
    """What a name stands for, of which nothing has been built."""

    name: str
    path: Path | None = None
    """A release, or a project's directory."""
    commit: str = ""
    build: bool = False


def open_sides(
    project: Project, old: str | None, new: str | None, cleanup: ExitStack, report: Callable[[str], None]
) -> tuple[Side, Side]:
    """Both releases, ready to be read; what was built or unpacked for that goes with `cleanup`.

    `report` is told what takes time. Raises UsageError with all that is wrong with the names before anything is built, and
    BuildError where a build fails.
    """
    problems: list[str] = []
    sources = [_attempt(problems, _old, project, old), _attempt(problems, _new, project, new)]
    if problems:
        raise UsageError(listing("these can't be compared:", problems))
    one, other = (_opened(project, source, cleanup, report) for source in sources if source is not None)
    return one, other


def _attempt(
    problems: list[str], of: Callable[[Project, str | None], _Source], project: Project, word: str | None
) -> _Source | None:
    try:
        return of(project, word)
    except UsageError as error:
        problems.append(str(error))
        return None


def _old(project: Project, word: str | None) -> _Source:
    if word is not None:
        return _source(project, "FROM", word)
    from ..build.plan import release_path  # a build's modules are many, and two releases need none

    chosen = definition(read(project.root), project.release, project.overrides)
    try:
        path = standing(release_path(chosen))
    except UnderwayError as error:
        raise UsageError(
            f"FROM: {error}; name an archive, a release or a git revision, or `underway release` one"
        ) from None
    return _Source(os.path.relpath(path), path)


def _new(project: Project, word: str | None) -> _Source:
    if word is not None:
        return _source(project, "TO", word)
    read(project.root)
    return _Source(AS_IT_IS, project.root, build=True)


def _source(project: Project, which: str, word: str) -> _Source:
    path = Path(word)
    if path.is_file() or (path / "releases").is_dir() or (path / "manifest.json").is_file():
        return _Source(word, path)
    if (path / "pyproject.toml").is_file():
        return _Source(AS_IT_IS if path.resolve() == project.root.resolve() else word, path.resolve(), build=True)
    if commit := revisions.commit_of(word, project.root):
        return _Source(word if commit.startswith(word) else f"{word} ({commit[:12]})", commit=commit, build=True)
    raise UsageError(f"{which}: {word} is not an archive, a release, a project, or a git revision of {project.root}")


def _opened(project: Project, source: _Source, cleanup: ExitStack, report: Callable[[str], None]) -> Side:
    if not source.build and source.path is not None:
        return Side(source.name, open_release(source.path, cleanup), built=False)
    from . import scratch_build

    report(f"building {source.name}")
    scratch = cleanup.enter_context(held(SCRATCH))
    try:
        root = source.path or revisions.check_out(source.commit, project.root, scratch / "source")
        built = scratch_build.built(root, scratch, project.release, project.overrides)
    except UnderwayError as error:
        raise BuildError(f"{source.name} can't be built: {error}") from None
    return Side(source.name, open_release(built, cleanup), built=True)
