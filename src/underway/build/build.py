"""From a plan to a release in its place: what `underway release` does, in order.

``build`` carries the plan out next to the target and puts the result there when all of it held.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.relup import Relup

from .. import steps
from ..errors import BuildError, ProjectError, listing, place_of
from ..packages import unpackaged
from ..packages.applications import application_name, boot_order, clean, mode_problems, starting
from ..packages.stage import make_stage
from ..project.project import version_problems
from ..release import Application, Artefact, BuildContext, Release
from ..steps import cached_steps, cluster, compiled_apps, lib_directories
from ..steps import interpreter as copied
from ..steps.publish import check_target, keep_other_versions, publish, workspace
from ..toolchain import cache
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import TreeEntry
from ..toolchain.interpreters import markers
from .older import older
from .plan import BuildPlan, resolver
from .starts import check_servers, lies, module_of, nothing_starts, starts_of


@dataclass(frozen=True)
class Built:
    """What came out."""

    release: Release
    """With its final path."""
    release_id: str
    archives: tuple[Path, ...]
    notes: tuple[str, ...]
    """What a person should know although nothing failed."""
    planned: Relup | None = None
    """How nodes come to it from older releases, where that was planned while it was built."""

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
            "upgrade": [
                {"from": entry.version, "verdict": entry.verdict} for entry in (self.planned.up if self.planned else ())
            ],
            "notes": list(self.notes),
        }


def build(planned: BuildPlan, report: Callable[[str], None] = lambda _: None) -> Built:
    """Carry out a plan. The target is what it was before, or the whole new release.

    `report` is told each thing that takes time. Raises an UnderwayError for whatever stops it; nothing is left behind then.
    """
    try:
        if planned.version is not None:
            check_target(planned.target, planned.version, planned.overwrite)
        with ExitStack() as stack:
            directory = stack.enter_context(workspace(planned.target))
            store = stack.enter_context(cache.opened(directory / "cache", os.environ))
            return _build(planned, directory, store, report, stack)
    except OSError as error:
        raise BuildError(_disk_problem(error, planned.target)) from error


def _build(
    planned: BuildPlan, directory: Path, store: Cache, report: Callable[[str], None], cleanup: ExitStack
) -> Built:
    chosen, interpreter = planned.definition, planned.interpreter
    environment = markers(interpreter)
    finisher = compiled_apps.finisher(store, interpreter, chosen.options.strip, directory)
    out = _written(planned)

    def meanwhile(entries: Iterable[TreeEntry]) -> None:
        finisher.prepare(entries, directory / cached_steps.READY)
        if planned.included:
            copied.cached_copy(store, interpreter, chosen.options.strips).prepare(directory / cached_steps.READY)

    prefer = chosen.options.prefer
    staged = make_stage(planned.lock, directory / "stage", environment, finisher, prefer, report, out, meanwhile)
    release = release_of(planned, staged, starts_of(chosen, staged), directory / planned.target.name)
    built = {application_name(package.name) for package in planned.lock.packages if package.kind == "sdist"}
    homes = lib_directories.by_contents(release.applications, lib_directories.shared(release.applications), built)
    release = replace(
        release,
        applications={
            name: replace(app, home=homes.get(name, ""), interpreter=release.interpreter_version)
            for name, app in release.applications.items()
        },
    )
    check_target(planned.target, release.version, planned.overwrite)

    given = release.options.upgrade_from if steps.POST_ASSEMBLE in release.steps else ()
    before = older(release.name, release.version, planned.target, given, cleanup, report)

    report(f"assembling {release.name}-{release.version}")
    release.path.mkdir()
    release = steps.run(release, resolver(chosen.project), lambda step: report(f"running {step}"), before.seal)
    sealed = manifest.read(ReleaseDirectory(release.path).version(release.version).manifest)
    lost = keep_other_versions(release.path, planned.target, release.version)

    archives = [path for path in sorted(directory.iterdir()) if path.is_file() and not path.name.endswith(".files")]
    published = tuple(path.rename(planned.target.with_name(path.name)) for path in archives)
    publish(release.path, planned.target)
    final = replace(
        release, path=planned.target, version_path=ReleaseDirectory(planned.target).version(release.version).path
    )
    notes = [f"version {version} could not be kept next to this one: its files would have changed" for version in lost]
    return Built(final, sealed.release_id, published, (*before.notes, *notes), before.planned)


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
    scripts = unpackaged.scripts(chosen.project.root, module_of(chosen.start)) if lies(chosen) else []
    applications = starting(staged, starts, [*chosen.options.lazy, *scripts])
    if cluster.STEP not in chosen.options.steps and not any(app.start for app in applications.values()):
        raise ProjectError(nothing_starts(chosen))
    check_servers(applications)
    if chosen.version is None and chosen.version_from not in applications:
        raise ProjectError(f"the version is to come from {chosen.version_from!r}, which is not in the release")
    version = chosen.version or applications[chosen.version_from].version
    if problems := version_problems(version):
        raise ProjectError(problems[0])

    order = boot_order(applications, chosen.options.applications, _project_applications(planned))
    if problems := mode_problems(applications, order, chosen.options.skip_mode_validation_for):
        raise ProjectError(listing("the modes of the applications don't fit together:", problems))
    return Release(
        name=chosen.name,
        version=version,
        path=path,
        version_path=ReleaseDirectory(path).version(version).path,
        applications=applications,
        interpreter_source=planned.interpreter.executable if planned.included else None,
        interpreter_version=planned.interpreter.version,
        context=_context(planned),
        boot_scripts={"start": order, "start_clean": clean(order)},
        config_providers=tuple(_provider(entry) for entry in chosen.options.config_providers),
        options=chosen.options.below(chosen.project.root),
        steps=tuple(chosen.options.steps),
    )


def _context(planned: BuildPlan) -> BuildContext:
    chosen = planned.definition
    return BuildContext(
        project=chosen.project.root,
        project_application=application_name(chosen.project.name),
        interpreter=planned.interpreter.executable,
        target=planned.interpreter.multiarch,
        artefacts=dict(_artefacts(planned)),
    )


def _artefacts(planned: BuildPlan) -> Iterator[tuple[str, Artefact]]:
    """What each application is downloaded as."""
    for package in planned.lock.packages:
        entry = package.entry
        artefact = entry.get("archive") or entry.get("sdist") or next(iter(entry.get("wheels", [])), None)
        if artefact is not None:
            url = urlsplit(artefact.get("url", ""))
            public = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl() if url.scheme == "https" else ""
            yield application_name(package.name), Artefact(artefact["hashes"], public)


def _project_applications(planned: BuildPlan) -> list[str]:
    """The applications that the release is made of."""
    return [package.name for package in planned.lock.packages if package.project == planned.definition.project.root]


def _provider(entry: Any) -> tuple[str, Any]:
    return (entry, None) if isinstance(entry, str) else (entry[0], entry[1])


def _disk_problem(error: OSError, target: Path) -> str:
    where = place_of(error) or target
    hints = {
        errno.ENOSPC: "free some space, or build elsewhere with --path",
        errno.EDQUOT: "free some space, or build elsewhere with --path",
        errno.EFBIG: "`ulimit -f` bounds what a file may have",
        errno.EACCES: "build elsewhere with --path, or as a user who may write there",
        errno.EPERM: "build elsewhere with --path, or as a user who may write there",
        errno.EROFS: "build elsewhere with --path",
    }
    hint = hints.get(error.errno or 0)
    return f"{where}: {error.strerror or error}{f'; {hint}' if hint else ''}; nothing was changed"
