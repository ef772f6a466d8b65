"""The stage: an environment of uv's, made for one build, that holds all that a release ships and nothing else.

::

    stage/
    ├── environment/                       virtual environment of the release's interpreter; scripts in it can be moved
    │   ├── bin/ share/ ...                what wheels put into the prefix
    │   └── lib/python3.11/site-packages/  every distribution with its dist-info
    ├── pylock.wheels.toml pylock.sdists.toml    what uv installs, one artefact each
    └── wheels/NAME/                       wheels of the projects that were built here
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources import files as files_of
from pathlib import Path

import underway_runtime

from . import records, uv
from .applications import application_name, read_applications, start_order
from .errors import ProjectError, listing
from .lock import Lock
from .pylock import Kind, Locked, pylock_text
from .release import Application
from .words import likely

RUNTIME = "underway-runtime"

RUNTIME_NEEDS = "backports_zstd"
"""The one application that the runtime needs, before Python 3.14; a lock that has it decides its version."""


@dataclass(frozen=True)
class Stage:
    """What was installed, and where."""

    path: Path
    """The environment; the prefix of all that is in it."""
    python: Path
    site_packages: Path
    applications: Mapping[str, Application]
    """By name, sorted; what starts them by their entry points only."""


def make_stage(
    lock: Lock,
    directory: Path,
    python: Path,
    environment: Mapping[str, str],
    prefer: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Stage:
    """Install a lock into a new environment below `directory`, with the runtime of this tool where the lock has none.

    `python` is the release's interpreter and `environment` its PEP 508 environment. Where applications hold different bytes for the same
    importable file, those named in `prefer` win. `report` is told what is being done. Raises ProjectError for a
    runtime of another version, files that nobody wins, unknown names in `prefer`; BuildError for what uv can't do.
    """
    _check_runtime(lock, {package.name: package.version for package in lock.packages})
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / "environment"
    uv.make_environment(place, python)
    [site_packages] = place.glob("lib/python*/site-packages")

    files: dict[Kind, Path] = {}
    kinds: tuple[Kind, ...] = ("wheel", "sdist")
    for kind in kinds:
        if packages := lock.of_kind(kind):
            report(f"installing {len(packages)} {kind}s" if kind == "wheel" else f"building {_names(packages)}")
            files[kind] = directory / f"pylock.{kind}s.toml"
            files[kind].write_text(pylock_text(packages), encoding="utf-8")
            uv.install_locked(place, files[kind], lock.root, build=kind == "sdist")
    wheels: dict[str, Path] = {}
    for package in lock.of_kind("local"):
        if package.project is not None:
            report(f"building {package.name}")
            wheels[package.name] = uv.build_wheel(package.project, directory / "wheels" / package.name, python)
    if wheels:
        uv.install_wheels(place, list(wheels.values()), lock.root)

    def read() -> dict[str, Application]:
        return read_applications(site_packages, environment, lock.requirements, list(wheels))

    applications = read()
    if (name := application_name(RUNTIME)) in applications:
        _check_runtime(lock, {RUNTIME: applications[name].version})
    else:
        add_runtime(site_packages)
        if RUNTIME_NEEDS not in applications:
            with as_file(files_of("underway") / "runtime-requirements.txt") as requirements:
                uv.install_pinned(place, requirements, lock.root)
        applications = read()

    def again(name: str) -> None:
        """Put an application's own bytes where another's were."""
        if name in wheels:
            uv.install_wheels(place, [wheels[name]], lock.root)
            return
        for kind, file in files.items():
            if any(package.name == name for package in lock.of_kind(kind)):
                uv.uninstall(place, name, lock.root)
                uv.install_locked(place, file, lock.root, build=kind == "sdist")
                return
        add_runtime(site_packages)

    settle(applications, prefer, lambda name: again(name.replace("_", "-")))
    return Stage(place, place / "bin/python", site_packages, applications)


def add_runtime(site_packages: Path) -> None:
    """Install the runtime that this tool runs with, as its wheel would: from a wheel or from a checkout alike."""
    dist = importlib.metadata.distribution(RUNTIME)
    name = application_name(RUNTIME)
    package = Path(underway_runtime.__file__).parent
    info = site_packages / f"{name}-{dist.version}.dist-info"
    for place in (site_packages / name, info):
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(package, site_packages / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    info.mkdir()
    (info / "METADATA").write_text(dist.read_text("METADATA") or "", encoding="utf-8")
    (info / "WHEEL").write_text(
        f"Wheel-Version: 1.0\nGenerator: underway {dist.version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        encoding="utf-8",
    )
    files = [path for place in (site_packages / name, info) for path in place.rglob("*") if path.is_file()]
    records.write(site_packages, info.name, [path.relative_to(site_packages).as_posix() for path in files])


def settle(applications: Mapping[str, Application], prefer: Sequence[str], again: Callable[[str], None]) -> None:
    """Give each file that several applications brought with different bytes to one of them, in RECORD and on disk.

    For what can be imported that is the first of them in `prefer`. For anything else, scripts mostly, it is that or the one
    that depends on the others, as when each is installed after what it requires. `again` installs an application once more,
    over the others. Raises ProjectError with every importable file that nobody wins.
    """
    preferred = [application_name(name) for name in prefer]
    if unknown := [name for name in preferred if name not in applications]:
        raise ProjectError(
            listing(
                "the option prefer names what is not in the release:",
                (f"{name!r}{likely(name, applications)}" for name in unknown),
            )
        )
    order = start_order(applications, [])
    rank = {
        name: (len(preferred) - preferred.index(name) if name in preferred else 0, order.index(name)) for name in order
    }
    winners: dict[str, str] = {}
    problems = []
    contested = _contested(applications)
    for path, owners in contested.items():
        ranked = sorted(owners, key=lambda name: rank[name])
        if records.module_name(path) and ranked[-1] not in preferred:
            problems.append(f"{path} is not the same in {' and '.join(sorted(owners))}")
        winners[path] = ranked[-1]
    if problems:
        some = winners[next(path for path in contested if records.module_name(path))]
        raise ProjectError(
            listing("applications differ in what is imported under one name:", problems)
            + f'\nremove one of them, or say whose file is used, as in prefer = ["{some}"]'
        )
    for name in sorted(set(winners.values()), key=lambda name: rank[name]):
        again(name)
    for name in sorted({owner for owners in contested.values() for owner in owners}):
        application = applications[name]
        lost = {path for path, owners in contested.items() if name in owners and owners[name] != owners[winners[path]]}
        kept = [entry.path for entry in records.read(application.source, application.dist_info)]
        records.write(application.source, application.dist_info, [path for path in kept if path not in lost])


def _contested(applications: Mapping[str, Application]) -> dict[str, dict[str, str]]:
    """The files that several applications list with different digests -> each one's digest, sorted by file."""
    digests: dict[str, dict[str, str]] = {}
    for name, application in applications.items():
        for entry in records.read(application.source, application.dist_info):
            digests.setdefault(entry.path, {})[name] = entry.digest
    return {path: owners for path, owners in sorted(digests.items()) if len(set(owners.values())) > 1}


def _check_runtime(lock: Lock, versions: Mapping[str, str | None]) -> None:
    ours, theirs = importlib.metadata.version(RUNTIME), versions.get(RUNTIME)
    if theirs is None or theirs == ours:
        return
    renew, go_back = f"uv lock --upgrade-package {RUNTIME}=={ours}", f"uvx underway=={theirs} release"
    command = renew if lock.path.name == "uv.lock" else go_back
    raise ProjectError(
        f"{lock.path} holds {RUNTIME} {theirs}, and this is underway {ours}; they must be of one version: `{command}`"
    )


def _names(packages: Sequence[Locked]) -> str:
    return ", ".join(package.name for package in packages)
