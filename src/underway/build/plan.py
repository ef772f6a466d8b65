"""What a build will do, decided before it does anything: ``plan`` looks, and changes nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.references import is_reference

from .. import steps
from ..errors import BuildError, ProjectError, listing
from ..project.lock import Lock, Locked, Wanted, read_lock
from ..project.options import DEFAULTS, PATHS
from ..project.project import Definition, Project, definition, load_callable, read
from ..release import Step
from ..steps.publish import check_target
from ..toolchain.interpreters import Interpreter, find, markers, tags
from . import starts


@dataclass(frozen=True)
class BuildPlan:
    """All that can be known about a release before anything is installed."""

    definition: Definition
    interpreter: Interpreter
    included: bool
    """Whether the interpreter is copied into the release."""
    lock: Lock
    target: Path
    overwrite: bool

    @property
    def version(self) -> str | None:
        """None when an application says it, which is known once that is installed."""
        return self.definition.version

    @property
    def overwrites(self) -> bool:
        """Whether this version is at the target already."""
        return self.version is not None and ReleaseDirectory(self.target).version(self.version).path.exists()

    def overwriting(self) -> BuildPlan:
        """The same plan, allowed to replace what is there."""
        return replace(self, overwrite=True)

    def summary(self) -> dict[str, Any]:
        """The plan as plain data, for --dry-run."""
        return {
            "name": self.definition.name,
            "version": self.version or f"that of {self.definition.version_from}",
            "path": str(self.target),
            "overwrites": self.overwrites,
            "interpreter": f"{self.interpreter.version} ({self.interpreter.executable})",
            "interpreter_included": self.included,
            "lock": str(self.lock.path),
            "applications": [f"{p.name} {p.version or '(built here)'}" for p in self.lock.packages],
            "steps": list(self.definition.options.steps),
        }


def plan(root: Path, name: str | None, overrides: Mapping[str, Any], target: str | None = None) -> BuildPlan:
    """Check everything that can be checked before something is installed, for the release called `name`.

    Raises an UnderwayError for whatever would stop the build already. Changes nothing.
    """
    if problem := _target_problem(target):
        raise BuildError(problem)
    project = read(root)
    chosen = definition(project, name, overrides)
    options = chosen.options
    if missing := list(_missing_paths(chosen)):
        raise ProjectError(listing("the release names files that do not exist:", missing))
    steps.check_steps(tuple(options.steps), resolver(project), assembled=False)

    path = release_path(chosen)
    if chosen.version is not None:
        check_target(path, chosen.version, overwrite=True)
    included, request = _interpreter_request(chosen)
    interpreter = find(request, root, project.requires_python)
    lock = _with_sources(read_lock(root, chosen.name, _wanted(chosen, interpreter)), chosen)
    return BuildPlan(chosen, interpreter, included, lock, path, options.overwrite)


def release_path(chosen: Definition) -> Path:
    """Where the release of a definition is put."""
    return _real(Path(chosen.project.root, chosen.options.path or Path("build", "release", chosen.name)))


def _with_sources(lock: Lock, chosen: Definition) -> Lock:
    """With the project itself, where nothing builds it and what starts lies in it."""
    name, root = canonicalize_name(chosen.project.name), chosen.project.root
    if starts.lies(chosen) and name not in {package.name for package in lock.packages}:
        packages = [*lock.packages, Locked(name, None, "local", root)]
        return replace(lock, packages=tuple(sorted(packages, key=lambda package: package.name)))
    return lock


def _wanted(chosen: Definition, interpreter: Interpreter) -> Wanted:
    return Wanted(
        python=interpreter.executable,
        environment=markers(interpreter),
        tags=tags(interpreter),
        groups=tuple(chosen.options.groups),
        extras=tuple(chosen.options.extras),
        build_sdists=tuple(chosen.options.build_sdists),
        members=tuple(starts.members(chosen)),
    )


def _interpreter_request(chosen: Definition) -> tuple[bool, str | None]:
    """Whether the interpreter is included, and which was asked for."""
    wanted, request = chosen.options.include_interpreter, chosen.options.python
    if is_reference(wanted):
        wanted = load_callable(wanted, chosen.project.root)()
        if not isinstance(wanted, (bool, str, Path)):
            raise ProjectError(
                f"{chosen.options['include-interpreter']!r} returned {wanted!r}; it returns true, false or a path"
            )
    if isinstance(wanted, bool):
        return wanted, request
    return True, request or str(chosen.project.root / wanted)


def resolver(project: Project) -> Callable[[str], Step]:
    """What finds a step of the project's own by its name, ``"module:function"``."""

    def resolve(name: str) -> Step:
        step: Step = load_callable(name, project.root)
        return step

    return resolve


def _missing_paths(chosen: Definition) -> Iterator[str]:
    for name in PATHS:
        value = chosen.options[name]
        if value and value != DEFAULTS[name]:
            yield from (f"{name}: {path}" for path in chosen.paths(name) if not path.exists())


def _real(path: Path) -> Path:
    """The path of a directory without ``..`` and links on the way to it, as all that is compared with it is."""
    return Path(os.path.realpath(path)) if path.name == ".." else Path(os.path.realpath(path.parent), path.name)


def _target_problem(target: str | None) -> str | None:
    here = f"{platform.machine()}-linux-gnu"
    if target is None or target == here:
        return None
    return (
        f"a release for {target!r} can't be built here: its interpreter and its binaries must run on the building machine,"
        f" which is {here}; build on a machine of that kind"
    )
