"""From a project to a release in its place: what `underway release` does, in order.

``plan`` looks and decides; it changes nothing. ``build`` carries the plan out next to the target and puts the result there
when all of it held.
"""

from __future__ import annotations

import errno
import glob
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory

from . import steps
from .errors import BuildError, ProjectError, listing
from .packages import unpackaged
from .packages.applications import application_name, boot_order, clean, mode_problems, owner_of, starting
from .packages.stage import make_stage
from .project import sources
from .project.lock import Lock, Locked, Wanted, read_lock, workspace_members
from .project.options import DEFAULTS, REFERENCE
from .project.project import Definition, Project, definition, load_callable, member_start, read, version_problems
from .release import Application, Release, Step
from .steps import cached_steps, cluster, compiled_apps
from .steps import interpreter as copied
from .steps.publish import check_target, keep_other_versions, publish, workspace
from .suggestions import likely
from .toolchain import cache
from .toolchain.cache import Cache
from .toolchain.cached_tree import TreeEntry
from .toolchain.interpreters import Interpreter, find, markers, tags

PATHS = ("appup", "config-path", "overlays", "rel-templates-path", "runtime-config-path", "sign-key")
"""Options that are paths below the project's root."""

SERVERS = {"asgi": "uvicorn", "wsgi": "waitress"}
"""What serves in the release; the project locks it, so that it chooses the version."""


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
            "steps": list(self.definition.options["steps"]),
        }


@dataclass(frozen=True)
class Built:
    """What came out."""

    release: Release
    """With its final path."""
    release_id: str
    archives: tuple[Path, ...]
    notes: tuple[str, ...]
    """What a person should know although nothing failed."""

    def summary(self) -> dict[str, Any]:
        """The outcome as plain data, for --json."""
        release = self.release
        return {
            "name": release.name,
            "version": release.version,
            "release_id": self.release_id,
            "path": str(release.path),
            "archives": [str(archive) for archive in self.archives],
            "interpreter": release.interpreter_version,
            "applications": [
                {"name": name, "version": release.applications[name].version, "mode": mode}
                for name, mode in release.boot_scripts["start"]
            ],
            "notes": list(self.notes),
        }


def plan(root: Path, name: str | None, overrides: Mapping[str, Any], target: str | None = None) -> BuildPlan:
    """Everything that can be checked before something is installed, for the release called `name`.

    Raises an UnderwayError for whatever would stop the build already. Changes nothing.
    """
    if problem := _target_problem(target):
        raise BuildError(problem)
    project = read(root)
    chosen = definition(project, name, overrides)
    options = chosen.options
    if missing := list(_missing_paths(chosen)):
        raise ProjectError(listing("the release names what is not there:", missing))
    steps.check_steps(tuple(options["steps"]), _resolver(project), assembled=False)

    place = _real(Path(root, options["path"] or Path("build", "release", chosen.name)))
    if chosen.version is not None:
        check_target(place, chosen.version, overwrite=True)
    included, request = _interpreter_request(chosen)
    interpreter = find(request, root, project.requires_python)
    lock = _with_sources(read_lock(root, chosen.name, _wanted(chosen, interpreter)), chosen)
    return BuildPlan(chosen, interpreter, included, lock, place, bool(options["overwrite"]))


def _with_sources(lock: Lock, chosen: Definition) -> Lock:
    """With the project itself, where nothing builds it and what starts lies in it."""
    name, root = canonicalize_name(chosen.project.name), chosen.project.root
    if _lies(chosen) and name not in {package.name for package in lock.packages}:
        packages = [*lock.packages, Locked(name, None, "local", root)]
        return replace(lock, packages=tuple(sorted(packages, key=lambda package: package.name)))
    return lock


def _lies(chosen: Definition) -> bool:
    project, start = chosen.project, chosen.start
    if project.umbrella or sources.builds(project.root) or not start:
        return False
    return unpackaged.holds(project.root, _module(start))


def build(planned: BuildPlan, report: Callable[[str], None] = lambda _: None) -> Built:
    """Carry out a plan. The target is what it was before, or the whole new release.

    `report` is told each thing that takes time. Raises an UnderwayError for whatever stops it; nothing is left behind then.
    """
    try:
        if planned.version is not None:
            check_target(planned.target, planned.version, planned.overwrite)
        with workspace(planned.target) as place, cache.opened(place / "cache", os.environ) as kept:
            return _build(planned, place, kept, report)
    except OSError as error:
        raise BuildError(_disk_problem(error, planned.target)) from error


def _build(planned: BuildPlan, place: Path, kept: Cache, report: Callable[[str], None]) -> Built:
    chosen, interpreter = planned.definition, planned.interpreter
    environment = markers(interpreter)
    finisher = compiled_apps.finisher(kept, interpreter, chosen.options["strip"], place)
    out = _written(planned)

    def meanwhile(found: Iterable[TreeEntry]) -> None:
        finisher.prepare(found, place / compiled_apps.READY)
        if planned.included:
            strip = chosen.options["strip"] is not False
            copied.finished(kept, interpreter, strip).prepare(place / compiled_apps.READY)

    prefer = chosen.options["prefer"]
    staged = make_stage(planned.lock, place / "stage", environment, finisher, prefer, report, out, meanwhile)
    release = release_of(planned, staged, starts_of(planned, staged), place / planned.target.name)
    built = {application_name(package.name) for package in planned.lock.packages if package.kind == "sdist"}
    homes = cached_steps.by_contents(release.applications, cached_steps.homes(release.applications), built)
    release = replace(
        release,
        applications={
            name: replace(app, home=homes.get(name, ""), interpreter=release.interpreter_version)
            for name, app in release.applications.items()
        },
    )
    check_target(planned.target, release.version, planned.overwrite)

    report(f"assembling {release.name}-{release.version}")
    release.path.mkdir()
    release = steps.run(release, _resolver(chosen.project), lambda step: report(f"running {step}"))
    sealed = manifest.read(ReleaseDirectory(release.path).version(release.version).manifest)
    lost = keep_other_versions(release.path, planned.target, release.version)

    archives = [path for path in sorted(place.iterdir()) if path.is_file() and not path.name.endswith(".files")]
    published = tuple(path.rename(planned.target.with_name(path.name)) for path in archives)
    publish(release.path, planned.target)
    final = replace(
        release, path=planned.target, version_path=ReleaseDirectory(planned.target).version(release.version).path
    )
    notes = [f"version {version} could not be kept next to this one: its files would have changed" for version in lost]
    return Built(final, sealed.release_id, published, tuple(notes))


def _written(planned: BuildPlan) -> list[Path]:
    """What builds of this release write, which is not a source of it though it may be below the project."""
    target = planned.target
    archives = target.parent.glob(f"{glob.escape(planned.definition.name)}-*.tar.*")
    return [target, target.with_name(f".{target.name}.partial"), *archives]


def release_of(
    planned: BuildPlan, staged: Mapping[str, Application], starts: Mapping[str, Mapping[str, Any]], path: Path
) -> Release:
    """The release as a value, to be assembled at `path`: what was planned, with what is installed and what starts it.

    Raises ProjectError when nothing starts, a server is missing, or versions and modes don't fit.
    """
    chosen = planned.definition
    beside = unpackaged.scripts(chosen.project.root, _module(chosen.start)) if _lies(chosen) else []
    applications = starting(staged, starts, [*chosen.options["lazy"], *beside])
    if cluster.STEP not in chosen.options["steps"] and not any(app.start for app in applications.values()):
        raise ProjectError(_nothing_starts(chosen))
    _check_servers(applications)
    if chosen.version is None and chosen.version_from not in applications:
        raise ProjectError(f"the version is to come from {chosen.version_from!r}, which is not in the release")
    version = chosen.version or applications[chosen.version_from].version
    if problems := version_problems(version):
        raise ProjectError(problems[0])

    order = boot_order(applications, chosen.options["applications"], _own(planned))
    if problems := mode_problems(applications, order, chosen.options["skip-mode-validation-for"]):
        raise ProjectError(listing("the modes of the applications don't fit together:", problems))
    return Release(
        name=chosen.name,
        version=version,
        path=path,
        version_path=ReleaseDirectory(path).version(version).path,
        applications=applications,
        interpreter_source=planned.interpreter.executable if planned.included else None,
        interpreter_version=planned.interpreter.version,
        boot_scripts={"start": order, "start_clean": clean(order)},
        config_providers=tuple(_provider(entry) for entry in chosen.options["config-providers"]),
        options=_options(planned),
        steps=tuple(chosen.options["steps"]),
    )


def _options(planned: BuildPlan) -> dict[str, Any]:
    """The options as steps see them: paths are absolute."""
    chosen = planned.definition
    options = dict(chosen.options)
    for name in PATHS:
        paths = [str(path) for path in chosen.paths(name)] if options[name] else []
        options[name] = paths if name == "overlays" else next(iter(paths), None)
    return {
        **options,
        "project-application": application_name(chosen.project.name),
        "interpreter-path": str(planned.interpreter.executable),
        "project-path": str(chosen.project.root),
        "target": planned.interpreter.multiarch,
        "artefacts": dict(_artefacts(planned)),
    }


def _artefacts(planned: BuildPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each application that is downloaded: where from, and what pins it."""
    for package in planned.lock.packages:
        entry = package.entry
        artefact = entry.get("archive") or entry.get("sdist") or next(iter(entry.get("wheels", [])), None)
        if artefact is not None:
            url = urlsplit(artefact.get("url", ""))
            public = (
                {"url": url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()} if url.scheme == "https" else {}
            )
            yield application_name(package.name), {**public, "hashes": artefact["hashes"]}


def starts_of(
    planned: BuildPlan,
    applications: Mapping[str, Application],
    owner: Callable[[Mapping[str, Application], str], str] = owner_of,
) -> dict[str, Mapping[str, Any]]:
    """What the project and the members of its workspace say starts, by the application that holds the module."""
    chosen = planned.definition
    members = workspace_members(chosen.project.root) if chosen.project.umbrella else {}
    given = [chosen.start, *(member_start(members[name]) for name in _members(chosen))]
    starts: dict[str, Mapping[str, Any]] = {}
    for start in filter(None, given):
        by_default = start.get("by-default", False)
        own = {key: value for key, value in start.items() if key != "by-default"}
        try:
            name = owner(applications, _module(own))
        except ProjectError as error:
            if sources.builds(chosen.project.root):
                raise
            modules = unpackaged.modules(chosen.project.root)
            raise ProjectError(
                f"{error}; {chosen.project.root} has no [build-system], so its modules are taken as they lie, in it and in its"
                f" src: {', '.join(modules) or 'there are none'}{likely(_module(own), modules)}"
            ) from None
        if not (by_default and applications[name].start):  # an Application class says more than a script
            starts[name] = own
    return starts


def _module(start: Mapping[str, Any]) -> str:
    return str(next(start[kind] for kind in ("asgi", "wsgi", "main") if kind in start)).partition(":")[0]


def _check_servers(applications: Mapping[str, Application]) -> None:
    problems = [
        f"{name} starts by {kind}, which {server} serves, and {server} is not in the lock: `uv add {server}`"
        for name, application in applications.items()
        for kind, server in SERVERS.items()
        if application.start and kind in application.start and server not in applications
    ]
    if problems:
        raise ProjectError(listing("what is to serve is missing:", problems))


def _nothing_starts(chosen: Definition) -> str:
    scripts = chosen.project.scripts
    hint = (
        f"; its scripts are {', '.join(f'{name} = {target!r}' for name, target in scripts.items())}" if scripts else ""
    )
    if not scripts and not sources.builds(chosen.project.root) and "main" in unpackaged.modules(chosen.project.root):
        hint = '; main.py of the project starts with main = "main:main"'
    return (
        f'nothing in this release starts{hint}; say what does: asgi = "module:app", wsgi = "module:app",'
        ' main = "module:function" in [tool.underway], or an Application class in the entry point group underway.application'
    )


def _wanted(chosen: Definition, interpreter: Interpreter) -> Wanted:
    return Wanted(
        python=interpreter.executable,
        environment=markers(interpreter),
        tags=tags(interpreter),
        groups=tuple(chosen.options["groups"]),
        extras=tuple(chosen.options["extras"]),
        build_sdists=tuple(chosen.options["build-sdists"]),
        members=tuple(_members(chosen)),
    )


def _members(chosen: Definition) -> list[str]:
    """The members of a workspace that the release lists."""
    if not chosen.project.umbrella:
        return []
    listed = {application_name(name) for name in chosen.options["applications"]}
    return [name for name in workspace_members(chosen.project.root) if application_name(name) in listed]


def _own(planned: BuildPlan) -> list[str]:
    """The applications that the release is made of."""
    return [package.name for package in planned.lock.packages if package.project == planned.definition.project.root]


def _interpreter_request(chosen: Definition) -> tuple[bool, str | None]:
    """Whether the interpreter is included, and which was asked for."""
    wanted, request = chosen.options["include-interpreter"], chosen.options["python"]
    if isinstance(wanted, str) and REFERENCE.fullmatch(wanted):
        wanted = load_callable(wanted, chosen.project.root)()
        if not isinstance(wanted, (bool, str, Path)):
            raise ProjectError(
                f"{chosen.options['include-interpreter']!r} returned {wanted!r}; it returns true, false or a path"
            )
    if isinstance(wanted, bool):
        return wanted, request
    return True, request or str(chosen.project.root / wanted)


def _resolver(project: Project) -> Callable[[str], Step]:
    def resolve(name: str) -> Step:
        step: Step = load_callable(name, project.root)
        return step

    return resolve


def _provider(entry: Any) -> tuple[str, Any]:
    return (entry, None) if isinstance(entry, str) else (entry[0], entry[1])


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


def _disk_problem(error: OSError, target: Path) -> str:
    where = error.filename or target
    hints = {
        errno.ENOSPC: "free some space, or build elsewhere with --path",
        errno.EDQUOT: "free some space, or build elsewhere with --path",
        errno.EACCES: "build elsewhere with --path, or as a user who may write there",
        errno.EPERM: "build elsewhere with --path, or as a user who may write there",
        errno.EROFS: "build elsewhere with --path",
    }
    hint = hints.get(error.errno or 0)
    return f"{where}: {error.strerror or error}{f'; {hint}' if hint else ''}; nothing was changed"
