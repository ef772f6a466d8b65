"""pyproject.toml -> what a release is to be. The only reader of a project's TOML; it validates everything at once."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from underway_runtime.release.errors import BootError
from underway_runtime.release.references import find

from ..errors import ProjectError, did_you_mean, listing
from .misplaced import hint
from .options import OPTIONS, START, TOP_ONLY, Option, Options, problem_of

NAME = re.compile(r"[a-z][a-z0-9_-]*")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]*")
LONGEST_NAME = 100


@dataclass(frozen=True)
class Project:
    """A project as its pyproject.toml states it."""

    root: Path
    name: str
    version: str | None
    """None where the build backend computes it."""
    requires_python: str | None
    scripts: Mapping[str, str]
    """[project.scripts]: command -> "module:function"."""
    package: bool
    """Whether there is something to build; a virtual project only names dependencies."""
    umbrella: bool
    """The root of a uv workspace that is not a package itself."""
    table: Mapping[str, Any] = field(repr=False)
    """[tool.underway], not validated."""


@dataclass(frozen=True)
class Definition:
    """One release as the project defines it: valid in itself, nothing looked up yet."""

    project: Project
    name: str
    version: str | None
    """None when it is the version of ``version_from``."""
    version_from: str
    """The application whose version the release takes when it has none of its own."""
    start: Mapping[str, Any]
    """The one of asgi, wsgi and main that was given, with listen or args; empty when none was."""
    options: Options
    """Every other option, with its default where it was not given."""

    def paths(self, option: str) -> tuple[Path, ...]:
        """The paths of an option, relative to the project's root."""
        value = self.options[option]
        values = [value] if isinstance(value, str) else value or []
        return tuple(self.project.root / path for path in values)


def read(root: Path) -> Project:
    """Read ``root/pyproject.toml``. Raises ProjectError when there is none or it can't be understood."""
    file = root / "pyproject.toml"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"there is no pyproject.toml in {root}; run this in the directory of a project (`uv init` makes one)"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{file} can't be read: {error}") from None

    project = document.get("project", {})
    uv = document.get("tool", {}).get("uv", {})
    workspace = "workspace" in uv
    package = bool(uv.get("package", "build-system" in document))
    if not isinstance(project.get("name"), str):
        if not workspace:
            raise ProjectError(f"{file} has no [project] with a name; a release is made from a project")
        project = {"name": root.name}
    scripts = project.get("scripts", {})
    return Project(
        root=root,
        name=project["name"],
        version=project.get("version"),
        requires_python=project.get("requires-python"),
        scripts=scripts if isinstance(scripts, dict) else {},
        package=package,
        umbrella=workspace and not package,
        table=document.get("tool", {}).get("underway", {}),
    )


def document_of(text: str) -> dict[str, Any]:
    """Parse TOML as it stands, for those who look at a project that may not be one yet. Raises ValueError."""
    return tomllib.loads(text)


def release_names(project: Project) -> tuple[str, ...]:
    """The releases that a project defines, in order; its own name when it defines none."""
    return tuple(project.table.get("releases", {})) or (canonicalize_name(project.name),)


def definition(project: Project, name: str | None = None, overrides: Mapping[str, Any] | None = None) -> Definition:
    """The release called `name` (the default one when None), with `overrides` from the command line.

    Raises ProjectError once, with everything that is wrong with it.
    """
    table = project.table
    if not isinstance(table, dict):
        raise ProjectError(f"[tool.underway] is a table, not {table!r}")
    releases = table.get("releases", {})
    if not isinstance(releases, dict):
        raise ProjectError(f"[tool.underway.releases] is a table of releases, not {releases!r}")

    chosen = _choose(project, name)
    shared = {key: value for key, value in table.items() if key not in TOP_ONLY}
    of_release, where = _own_table(project, chosen)
    names = dict.fromkeys((canonicalize_name(project.name).replace("-", "_"), project.name, chosen))
    given = {**shared, **of_release, **(overrides or {})}

    problems = [
        *(f"[tool.underway]: {problem}" for problem in _table_problems(table, {**OPTIONS, **TOP_ONLY}, names)),
        *(f"{where}: {problem}" for problem in _table_problems(of_release, OPTIONS, names)),
        *_name_problems(chosen),
        *_start_problems(given),
    ]
    if "version" in given and isinstance(given["version"], str):
        problems += version_problems(given["version"])
    if project.umbrella and "applications" not in given:
        problems.append(
            f"{project.root} is a workspace: name the members that the release starts, as in"
            ' applications = { web = "permanent" }'
        )
    custom = given.get("options", {})
    if isinstance(custom, dict):
        problems += [
            f"[tool.underway.releases.{chosen}.options] has {key!r}, which is an option itself; write it one level up"
            for key in custom
            if key in OPTIONS or key in TOP_ONLY
        ]
    if problems:
        raise ProjectError(listing(f"{project.root / 'pyproject.toml'} does not describe a release:", problems))

    version = given.get("version", project.version)
    from_app = version["from-app"] if isinstance(version, dict) else project.name
    options = {key: value for key, value in given.items() if key not in (*START, "options", "version")}
    return Definition(
        project=project,
        name=chosen,
        version=version if isinstance(version, str) else None,
        version_from=canonicalize_name(from_app).replace("-", "_"),
        start=_start(project, given),
        options=Options.of({**options, **custom}),
    )


def version_problems(version: str) -> list[str]:
    """What is wrong with a release's version; it becomes the name of a directory."""
    if VERSION.fullmatch(version) and len(version) <= LONGEST_NAME:
        return []
    return [
        f"the version {version!r} can't name a directory; use letters, digits and . + ! _ -, at most {LONGEST_NAME}"
    ]


def load_callable(reference: str, root: Path) -> Any:
    """Load what ``"module:function"`` names, imported with the project's root and its ``src`` on the path.

    Raises ProjectError when there is no such thing.
    """
    for directory in (root / "src", root):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    try:
        value = find(reference)
    except (BootError, ImportError, AttributeError, ValueError) as error:
        raise ProjectError(f"there is no {reference!r}: {error}") from error
    if not callable(value):
        raise ProjectError(f"{reference!r} is {value!r}, which can't be called")
    return value


def _choose(project: Project, name: str | None) -> str:
    names = release_names(project)
    default = project.table.get("default-release")
    if default is not None and default not in names:
        raise ProjectError(f"default-release is {default!r}{_one_of(names)}{did_you_mean(str(default), names)}")
    if name is None:
        if default is None and len(names) > 1:
            raise ProjectError(
                f"this project defines several releases: {', '.join(names)}; name one (`underway release {names[0]}`)"
                " or set default-release"
            )
        return str(default or names[0])
    if name not in names:
        raise ProjectError(f"there is no release {name!r}{_one_of(names)}{did_you_mean(name, names)}")
    return name


def _one_of(names: Sequence[str]) -> str:
    return f"; this project defines {', '.join(names)}"


def _own_table(project: Project, name: str) -> tuple[dict[str, Any], str]:
    """The release's own options, from its table or from what its callable returns, and where they stand."""
    table = project.table.get("releases", {}).get(name, {})
    where = f"[tool.underway.releases.{name}]"
    if isinstance(table, str):
        where = f"{table} for release {name}"
        try:
            table = load_callable(table, project.root)()
        except ProjectError:
            raise
        except Exception as error:
            raise ProjectError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(table, dict):
        raise ProjectError(f'{where} is a table or a callable "module:function" that returns one, not {table!r}')
    return table, where


def _table_problems(
    table: Mapping[str, Any], known: Mapping[str, Option], names: Collection[str] = ()
) -> Iterator[str]:
    for key, value in table.items():
        if key not in known:
            yield f"unknown key {key!r}{hint(key, value, names) or did_you_mean(key, known)}"
        elif problem := problem_of(key, value):
            yield problem


def _name_problems(name: str) -> Iterator[str]:
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        yield (
            f"the name {name!r} can't name a command; use lower-case letters, digits, _ and -, beginning with a letter,"
            f" at most {LONGEST_NAME}"
        )


def _start_problems(given: Mapping[str, Any]) -> Iterator[str]:
    kinds = [kind for kind in ("asgi", "wsgi", "main") if kind in given]
    if len(kinds) > 1:
        yield f"{' and '.join(kinds)} are given; a release starts by one of them"
    if "args" in given and "main" not in given and kinds:
        yield f"args go with main; {kinds[0]} takes none"
    if "ready" in given and kinds and "main" not in given:
        yield f"ready goes with main; {kinds[0]} is ready when it serves"
    if given.get("processes", 1) != 1 and not given.get("overlap", True):
        yield "processes are given, and overlap is false: what must not run twice runs in one process"
    if given.get("ready") == "accepts" and not given.get("listen"):
        yield 'ready = "accepts" needs an address, as in listen = ["tcp://127.0.0.1:8000"]'
    if kinds in (["asgi"], ["wsgi"]) and not given.get("listen"):
        yield f'{kinds[0]} needs an address, as in listen = ["tcp://127.0.0.1:8000"]'


def _start(project: Project, given: Mapping[str, Any]) -> dict[str, Any]:
    shared: dict[str, Any] = {"listen": list(given["listen"])} if given.get("listen") else {}
    if not given.get("overlap", True):
        shared["overlap"] = False
    if given.get("processes", 1) != 1:
        shared["processes"] = given["processes"]
    for kind in ("asgi", "wsgi"):
        if kind in given:
            return {kind: given[kind], **shared}
    if given.get("ready"):
        shared["ready"] = given["ready"]
    args = {"args": list(given.get("args", [])), **shared}
    if "main" in given:
        return {"main": given["main"], **args}
    if len(project.scripts) == 1 and not project.umbrella:
        [target] = project.scripts.values()
        return {"main": target, **args, "by-default": True}
    return {}


def member_start(root: Path) -> dict[str, Any]:
    """What starts a member of a workspace by its own [tool.underway]; empty when it says nothing.

    Raises ProjectError when what it says is wrong.
    """
    project = read(root)
    given = {key: value for key, value in project.table.items() if key in START}
    if problems := [*_table_problems(given, OPTIONS), *_start_problems(given)]:
        raise ProjectError(listing(f"{root / 'pyproject.toml'} does not say what starts:", problems))
    return _start(project, given)
