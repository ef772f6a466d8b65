"""What the project has locked -> what to install, all of it checked before anything is downloaded.

The lock is the first of these that the project has:

======================  ==========================================================================
``pylock.NAME.toml``    for the release NAME (PEP 751)
``pylock.toml``         for every release
``uv.lock``             the project's own or its workspace's, through uv's own export to the same form
======================  ==========================================================================
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.dependency_groups import DependencyGroupResolver
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..errors import ProjectError, did_you_mean, listing
from ..toolchain import cache, uv
from . import sources
from .pylock import Locked, Wanted, select

log = logging.getLogger("underway")

__all__ = ["Lock", "Locked", "Wanted", "read_lock", "workspace_members"]


@dataclass(frozen=True)
class Lock:
    """What a release installs."""

    path: Path
    """The lock that it was read from."""
    sha256: str
    """Of that file."""
    root: Path
    """The project, whose uv settings hold while installing."""
    packages: tuple[Locked, ...]
    """In the order of their names."""
    requirements: tuple[str, ...] = ()
    """What the release asks for itself: the project with its extras, or, where that is nothing to install, what it
    depends on. It decides which extras of the distributions are in force."""


def read_lock(root: Path, release: str, wanted: Wanted) -> Lock:
    """Choose the lock of the project in `root` for a release, and check all of it. Downloads nothing.

    Raises ProjectError once with everything that is wrong with it: what has no hash, what would have to be built and is not
    in build-sdists, what has no wheel for this interpreter, what no hash pins, a group or an extra that is not there.
    Where there is no lock, or a stale one, it names the command that makes it.
    """
    root = root.absolute()
    members = workspace_members(root)
    if unknown := [name for name in wanted.members if name not in members]:
        raise ProjectError(
            listing(
                f"the workspace in {root} has no members",
                (f"{name!r}{did_you_mean(name, members)}" for name in unknown),
            )
        )

    path = next((path for path in (root / f"pylock.{release}.toml", root / "pylock.toml") if path.is_file()), None)
    path = path or _uv_lock(root)
    key = _key(path, root, wanted)
    packages, problems = _recalled(key), [*_unknown(path, wanted)]
    if packages is None or problems:
        packages, unfit = _select(path, root, wanted)
        if problems := [*unfit, *problems]:
            raise ProjectError(listing(f"{path} can't be installed as it is:", problems))
        _remember(key, packages)

    tops = [_top(members[name]) for name in wanted.members] or [_top(root)]
    chosen = {package.name for package in packages}
    # A lock may leave out the project that it is of, as what `uv pip compile` writes does.
    packages += [Locked(top.name, None, "local", top.root) for top in tops if top.builds and top.name not in chosen]
    packages = [package for package in packages if package.project is None or _top(package.project).builds]
    return Lock(
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        root=root,
        packages=tuple(sorted(packages, key=lambda package: package.name)),
        requirements=tuple(requirement for top in tops for requirement in top.requirements(wanted)),
    )


def _unknown(path: Path, wanted: Wanted) -> Iterator[str]:
    """Names in build-sdists that the lock does not hold, where another is meant; any other is a warning in the log.

    Several releases may share the option, and a name may be in the lock for other platforms, groups and extras than this
    release's, as for uv's ``no-binary-package``.
    """
    held = {canonicalize_name(name) for name in _NAMES.findall(_read(path))} if wanted.build_sdists else set()
    for name in wanted.build_sdists:
        if canonicalize_name(name) in held:
            continue
        if meant := did_you_mean(name, held):
            yield f"it has no {name!r}, which build-sdists names{meant}"
        else:
            log.warning("build-sdists names %r, which %s does not hold", name, path)


_NAMES = re.compile(r"""^\s*name\s*=\s*["']([\w.-]+)["']""", re.MULTILINE)


def _select(path: Path, root: Path, wanted: Wanted) -> tuple[list[Locked], list[str]]:
    if path.name != "uv.lock":
        return select(_parsed(path, _read(path)), root, wanted)
    text = uv.export(root, wanted.python, groups=wanted.groups, extras=wanted.extras, packages=wanted.members)
    # What uv exports holds what the groups and extras add that were named; nothing is left to choose.
    return select(_parsed(path, text), root, replace(wanted, groups=(), extras=()))


_LOCAL = re.compile(r'^source = \{ (?:editable|directory|virtual|path) = "(.*)" \}$', re.MULTILINE)


def _key(path: Path, root: Path, wanted: Wanted) -> str | None:
    """Stands for all that is chosen from a lock, and that it is not stale; None where that can't be told."""
    files = {path, root / "pyproject.toml"}
    if path.name == "uv.lock":
        projects = [path.parent / path_in_lock for path_in_lock in _LOCAL.findall(_read(path))]
        files |= {project / "pyproject.toml" for project in projects if project.suffix not in (".whl", ".gz", ".zip")}
        for file in files - {path}:
            project = _toml_file(file).get("project")
            if not isinstance(project, dict) or {*project.get("dynamic", [])} - {"version", "readme", "description"}:
                return None  # what it requires is known to its build backend only
        files |= {parent / "uv.toml" for parent in (root, *root.parents)} | {
            parent / "pyproject.toml" for parent in root.parents
        }
        files |= {Path(setting).expanduser() for setting in sources.SETTINGS}
    texts = {str(file): file.read_bytes().hex() if file.is_file() else None for file in files}
    variables = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "XDG_CONFIG_HOME"))}
    chosen = (wanted.groups, wanted.extras, wanted.build_sdists, wanted.members)
    tags = [str(tag) for tag in wanted.tags]
    python = (str(wanted.python), dict(wanted.environment), tags)
    return cache.key("lock", uv.VERSION, version("packaging"), str(root), texts, variables, chosen, python)


def _recalled(key: str | None) -> list[Locked] | None:
    remembered = cache.recall(key, os.environ) if key else None
    return remembered and [
        Locked(**{**fields, "project": fields["project"] and Path(fields["project"])}) for fields in remembered
    ]


def _remember(key: str | None, packages: list[Locked]) -> None:
    if key:
        fields = [{**vars(package), "project": package.project and str(package.project)} for package in packages]
        cache.remember(key, fields, os.environ)


def workspace_members(root: Path) -> dict[str, Path]:
    """The members of the uv workspace whose root is `root`: normalized name -> directory; empty when it is none."""
    workspace = _toml_file(root / "pyproject.toml").get("tool", {}).get("uv", {}).get("workspace")
    if not isinstance(workspace, dict):
        return {}
    left_out = {path for pattern in workspace.get("exclude", []) for path in root.glob(pattern)}
    members = sorted({path for pattern in workspace.get("members", []) for path in root.glob(pattern)} - left_out)
    tops = [_top(path) for path in (root, *members) if (path / "pyproject.toml").is_file()]
    return {top.name: top.root for top in tops if top.name}


@dataclass(frozen=True)
class _Top:
    """A project that a release is made of, as its pyproject.toml has it."""

    root: Path
    name: str
    builds: bool
    """Whether there is something to build; a virtual project only names dependencies."""
    project: Mapping[str, Any]
    groups: Mapping[str, Any]

    def requirements(self, wanted: Wanted) -> Iterator[str]:
        extras = [canonicalize_name(extra) for extra in wanted.extras]
        if self.builds:
            yield f"{self.name}[{','.join(extras)}]" if extras else self.name
        else:
            yield from self.project.get("dependencies", [])
            for extra, requirements in self.project.get("optional-dependencies", {}).items():
                if canonicalize_name(extra) in extras:
                    yield from requirements
        for group in wanted.groups:
            try:
                yield from map(str, DependencyGroupResolver(self.groups).resolve(group))
            except ExceptionGroup:
                continue  # another member's; one that is nobody's is refused where it is looked up


def _top(root: Path) -> _Top:
    document = _toml_file(root / "pyproject.toml")
    project = document.get("project", {})
    return _Top(
        root=root,
        name=canonicalize_name(project.get("name", "")),
        builds=sources.builds(root),
        project=project,
        groups=document.get("dependency-groups", {}),
    )


def _uv_lock(root: Path) -> Path:
    workspaces = [directory for directory in root.parents if root in workspace_members(directory).values()]
    path = (workspaces[0] if workspaces else root) / "uv.lock"
    if not path.is_file():
        raise ProjectError(f"{root} has no lock: neither pylock.toml nor uv.lock; make one with `uv lock`")
    return path


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
        version = Version(document["lock-version"])
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path} is not TOML: {error}") from None
    except (KeyError, TypeError, InvalidVersion):
        raise ProjectError(f"{path} is not a lock: it has no lock-version (PEP 751)") from None
    if version.major != 1:
        raise ProjectError(f"{path} has lock-version {version}; this underway reads 1.x: make the lock again")
    return document


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} can't be read: {error}") from None


def _toml_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # project.py has refused it for the project itself; a stray file next to the members is uv's concern
