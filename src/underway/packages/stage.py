"""The stage: all that a release ships, as finished applications: found where they were made before, else installed and made.

::

    stage/
    ├── environment/      for what has to be installed; not there when nothing changed since the last build
    └── apart/NAME/       an environment for one application that would overwrite files of another
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from ..errors import ProjectError, did_you_mean, listing
from ..project import sources
from ..project.lock import Lock
from ..project.pylock import Locked
from ..project.sources import Source
from ..release import Application
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import TreeEntry
from . import wheel_record
from .applications import About, about, application_name, applications_of, start_order
from .environment import RUNTIME, Order, added_origins, builder, install


@dataclass(frozen=True)
class Installed:
    """A distribution as an installer left it."""

    about: About
    site_packages: Path
    origin: str
    """Words that stand for its contents; empty where only its files tell."""


class Finisher(Protocol):
    """Makes finished applications and keeps them; the facts of each are ``about``, as of applications.About, and ``digests``, by file."""

    @property
    def cache(self) -> Cache:
        """Where they are kept."""

    @property
    def python(self) -> Path:
        """The interpreter that they are for."""

    @property
    def home(self) -> str:
        """Where site-packages is in their trees."""

    def find(self, origin: str) -> TreeEntry | None:
        """Find what was made of this origin before; None when nothing was."""

    def make(self, installed: Sequence[Installed]) -> list[TreeEntry]:
        """Finish distributions."""

    def without(self, entry: TreeEntry, lost: Iterable[str]) -> TreeEntry:
        """The same application without some of its files."""


def make_stage(
    lock: Lock,
    directory: Path,
    environment: Mapping[str, str],
    finisher: Finisher,
    prefer: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
    out: Collection[Path] = (),
    meanwhile: Callable[[Iterable[TreeEntry]], None] = lambda _: None,
) -> dict[str, Application]:
    """Make the finished applications of a lock, by name, sorted, with the runtime of this tool where the lock has none.

    `directory` is for this build, and `environment` is the PEP 508 environment of the release's interpreter. The applications are started
    by their entry points only. Where they hold different bytes for the same importable file, those named in `prefer`
    win. `report` is told what is being done; `out` are paths that builds write, which are no source of a project;
    `meanwhile` is given what was found, while other things are built.
    Raises ProjectError for a runtime of another version, files that nobody wins, unknown names in `prefer`; BuildError for
    what uv can't do.
    """
    _check_runtime(lock, {package.name: package.version for package in lock.packages})
    made_from = {
        package.name: sources.read(package.project, out, os.environ)
        for package in lock.packages
        if package.project is not None
    }
    origins = {application_name(p.name): _origin(p, made_from.get(p.name)) for p in lock.packages}
    added = added_origins(origins.keys(), environment)
    origins |= added
    entries = {name: entry for name, origin in origins.items() if origin and (entry := finisher.find(origin))}
    if missing := {name: origin for name, origin in origins.items() if name not in entries}:
        packages = [package for package in lock.packages if application_name(package.name) in missing]
        order = Order(packages, added.keys() & missing, _builders(packages, made_from, finisher))
        installed = _install(
            order, directory, lock.root, finisher.python, missing, report, lambda: meanwhile(entries.values())
        )
        for package in packages:
            if (
                package.project is not None
                and sources.read(package.project, out, os.environ) != made_from[package.name]
            ):
                # It was edited while it was being built: of what was built nobody knows what it was made from.
                name = application_name(package.name)
                installed[name] = replace(installed[name], origin="")
        entries |= {entry.facts["about"]["name"]: entry for entry in finisher.make([*installed.values()])}

    local = [package.name for package in lock.packages if package.kind == "local"]
    abouts = (About(**entry.facts["about"]) for entry in entries.values())
    applications = applications_of(abouts, environment, lock.requirements, local)
    _check_runtime(lock, {RUNTIME: applications[application_name(RUNTIME)].version})
    digests = {name: entries[name].facts["digests"] for name in applications}
    for name, lost in settle(applications, digests, prefer).items():
        entries[name] = finisher.without(entries[name], lost)
    return {name: replace(app, source=entries[name].tree / finisher.home) for name, app in applications.items()}


def settle(
    applications: Mapping[str, Application], digests: Mapping[str, Mapping[str, str]], prefer: Sequence[str]
) -> dict[str, set[str]]:
    """Which files each application loses to another that has different bytes for them; `digests` are by application and file.

    One that can be imported goes to the first of its owners in `prefer`. Any other, scripts mostly, goes to that or to
    the owner that depends on the others, as when each is installed after what it requires. Raises ProjectError with
    every importable file that nobody wins.
    """
    preferred = [application_name(name) for name in prefer]
    if unknown := [name for name in preferred if name not in applications]:
        raise ProjectError(
            listing(
                "the option prefer names what is not in the release:",
                (f"{name!r}{did_you_mean(name, applications)}" for name in unknown),
            )
        )
    if not (contested := _contested(digests)):
        return {}
    order = start_order(applications, [])
    rank = {
        name: (len(preferred) - preferred.index(name) if name in preferred else 0, order.index(name)) for name in order
    }
    winners = {path: max(owners, key=lambda name: rank[name]) for path, owners in contested.items()}
    problems = {
        path: f"{path} is not the same in {' and '.join(sorted(owners))}"
        for path, owners in contested.items()
        if wheel_record.module_name(path) and winners[path] not in preferred
    }
    if problems:
        raise ProjectError(
            listing("applications differ in what is imported under one name:", problems.values())
            + f'\nremove one of them, or say whose file is used, as in prefer = ["{winners[next(iter(problems))]}"]'
        )
    lost: dict[str, set[str]] = {}
    for path, owners in contested.items():
        for name, digest in owners.items():
            if digest != owners[winners[path]]:
                lost.setdefault(name, set()).add(path)
    return lost


def _contested(digests: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The files that several applications have with different digests -> each one's digest, sorted by file."""
    digests_of: dict[str, dict[str, str]] = {}
    for name, files in digests.items():
        for path, digest in files.items():
            digests_of.setdefault(path, {})[name] = digest
    return {path: owners for path, owners in sorted(digests_of.items()) if len(set(owners.values())) > 1}


def _origin(package: Locked, source: Source | None) -> str:
    """Words that stand for the contents of what is installed of a package; empty where there are none."""
    if package.project is not None:
        return f"project {package.name} {source.digest}" if source else ""
    if package.kind == "sdist":
        return ""  # what builds it is not locked
    artefact = package.entry["archive"] if "archive" in package.entry else package.entry["wheels"][0]
    algorithm, digest = min(artefact["hashes"].items(), key=lambda item: (item[0] != "sha256", item))
    return f"wheel {package.name} {algorithm}:{digest}"


def _builders(
    packages: Iterable[Locked], made_from: Mapping[str, Source | None], finisher: Finisher
) -> dict[str, Path]:
    builders = {}
    for package in packages:
        if package.project is not None and (source := made_from[package.name]) is not None:
            builders[package.name] = builder(finisher.cache, source, finisher.python, package.project)
    return {name: python for name, python in builders.items() if python is not None}


def _install(
    order: Order,
    directory: Path,
    root: Path,
    python: Path,
    origins: Mapping[str, str],
    report: Callable[[str], None],
    meanwhile: Callable[[], None],
) -> dict[str, Installed]:
    """Install what is ordered; each has its own bytes, whatever the others have."""
    site_packages = install(directory / "environment", order, python, root, report, meanwhile)
    installed = _read_installed(site_packages, origins)
    digests = {
        name: {entry.path: entry.digest for entry in wheel_record.read(site_packages, one.about.dist_info)}
        for name, one in installed.items()
    }
    for name in sorted({name for owners in _contested(digests).values() for name in owners}):
        apart = install(directory / "apart" / name, order.of(name), python, root)
        installed[name] = _read_installed(apart, origins)[name]
    return installed


def _read_installed(site_packages: Path, origins: Mapping[str, str]) -> dict[str, Installed]:
    abouts = [about(site_packages, info) for info in wheel_record.dist_infos(site_packages)]
    return {one.name: Installed(one, site_packages, origins.get(one.name, "")) for one in abouts}


def _check_runtime(lock: Lock, versions: Mapping[str, str | None]) -> None:
    ours, theirs = version(RUNTIME), versions.get(RUNTIME)
    if theirs is None or theirs == ours:
        return
    renew, go_back = f"uv lock --upgrade-package {RUNTIME}=={ours}", f"uvx underway=={theirs} release"
    command = renew if lock.path.name == "uv.lock" else go_back
    raise ProjectError(
        f"{lock.path} holds {RUNTIME} {theirs}, and this is underway {ours}; they must be of one version: `{command}`"
    )
