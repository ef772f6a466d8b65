"""An environment of uv's, made for one build, into which what a release ships is installed.

::

    environment/                       virtual environment of the release's interpreter; scripts in it can be moved
    ├── bin/ share/ ...                what wheels put into the prefix
    └── lib/python3.11/site-packages/  every distribution with its dist-info
    environment.sources/
    ├── pylock.wheels.toml pylock.sdists.toml    what uv installs, one artefact each
    └── wheels/NAME/                   wheels of the projects that were built here
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.resources import as_file
from importlib.resources import files as files_of
from pathlib import Path

from packaging.markers import Marker

import underway_runtime

from ..errors import BuildError
from ..project.pylock import Kind, Locked, pylock_text
from ..project.sources import Source, builds
from ..toolchain import cache, uv
from ..toolchain.cache import Cache
from . import unpackaged, wheel_record
from .applications import application_name

RUNTIME = "underway-runtime"

RUNTIME_NEEDS = "backports_zstd"
"""The one application that the runtime needs, before Python 3.14; a lock that has it decides its version."""
_NEEDS_IT = Marker("python_full_version < '3.14'")

A_DAY = 24 * 3600.0
"""How old an environment may be that builds projects: what is in it is not locked, and newer versions come out."""

BUILDERS = 2
"""How many projects are built at a time."""


@dataclass(frozen=True)
class Order:
    """What to install."""

    packages: Sequence[Locked]
    added: Collection[str] = ()
    """The applications of this tool that go with them."""
    builders: Mapping[str, Path] = field(default_factory=dict)
    """Of packages that are built here: the interpreter of an environment that builds them, where there is one."""

    def of(self, name: str) -> Order:
        """The part of it that is one application."""
        packages = [package for package in self.packages if application_name(package.name) == name]
        return replace(self, packages=packages, added={name} & {*self.added})


def install(
    directory: Path,
    order: Order,
    python: Path,
    root: Path,
    report: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Path:
    """Install what is ordered into a new environment of `python` at `directory`; returns site-packages.

    uv's settings are those of the project in `root`. `meanwhile` is called while projects are being built. Raises BuildError for what
    uv can't do.
    """
    packages, added = order.packages, order.added
    sources = directory.with_name(f"{directory.name}.sources")
    sources.mkdir(parents=True, exist_ok=True)
    projects = [(package.name, package.project) for package in packages if package.project is not None]
    wheels = []

    def start(name: str, project: Path) -> AbstractContextManager[Callable[[], Path]]:
        report(f"building {name}")
        if not builds(project):
            return nullcontext(partial(unpackaged.wheel, project, sources / "wheels" / name))
        builder = order.builders.get(name)
        return uv.building(project, sources / "wheels" / name, builder or python, isolated=builder is None)

    with ExitStack() as stack:
        # A build is mostly waiting for other processes, so it begins first.
        running = [stack.enter_context(start(*project)) for project in projects[:BUILDERS]]
        uv.make_environment(directory, python)
        [site_packages] = directory.glob("lib/python*/site-packages")
        kinds: tuple[Kind, ...] = ("wheel", "sdist")
        for kind in kinds:
            if chosen := [package for package in packages if package.kind == kind]:
                names = ", ".join(package.name for package in chosen)
                report(f"installing {len(chosen)} {kind}s" if kind == "wheel" else f"building {names}")
                file = sources / f"pylock.{kind}s.toml"
                file.write_text(pylock_text(chosen), encoding="utf-8")
                uv.install_locked(directory, file, root, build=kind == "sdist")
        if application_name(RUNTIME) in added:
            add_runtime(site_packages)
        if RUNTIME_NEEDS in added:
            with as_file(files_of("underway") / "runtime-requirements.txt") as requirements:
                uv.install_pinned(directory, requirements, root)
        meanwhile()
        wheels += [wheel() for wheel in running]
    for project in projects[BUILDERS:]:
        with start(*project) as wheel:
            wheels.append(wheel())
    if wheels:
        uv.install_wheels(directory, wheels, root)
    return site_packages


def builder(store: Cache, source: Source, python: Path, project: Path) -> Path | None:
    """The interpreter of an environment that builds a project: kept for a day, for all projects that are built by the same.

    To install what builds a project takes longer than to build it. None where that can't be installed beforehand.
    """
    if source.requires and all(requirement.startswith("uv_build") for requirement in source.requires):
        return None  # uv builds these itself
    today = int(time.time() // A_DAY)
    key = cache.key(today, source.requires, source.settings, uv.VERSION, cache.stamp(python), cache.stamp(__file__))

    def fill(tree: Path) -> Mapping[str, str]:
        uv.make_environment(tree, python)
        uv.install_builder(tree, source.requires, project)
        return {}

    try:
        return store.get("builders", key, fill).tree / "bin/python"
    except BuildError:
        return None


def added_origins(names: Collection[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The applications that a release gets next to those of its lock, which are `names`: words for the contents of each.

    `environment` is the PEP 508 environment of the release's interpreter.
    """
    if application_name(RUNTIME) in names:
        return {}
    sums = [(path, hashlib.sha256(file.read_bytes()).hexdigest()) for path, file in _runtime_files().items()]
    about = importlib.metadata.distribution(RUNTIME).read_text("METADATA")
    origins = {application_name(RUNTIME): f"runtime {hashlib.sha256(repr((sums, about)).encode()).hexdigest()}"}
    if RUNTIME_NEEDS not in names and _NEEDS_IT.evaluate(dict(environment)):
        pins = (files_of("underway") / "runtime-requirements.txt").read_bytes()
        origins[RUNTIME_NEEDS] = f"pinned {RUNTIME_NEEDS} {hashlib.sha256(pins).hexdigest()}"
    return origins


def add_runtime(site_packages: Path) -> None:
    """Install the runtime that this tool runs with, as its wheel would: from a wheel or from a checkout alike."""
    dist = importlib.metadata.distribution(RUNTIME)
    name = application_name(RUNTIME)
    info = site_packages / f"{name}-{dist.version}.dist-info"
    for directory in (site_packages / name, info):
        shutil.rmtree(directory, ignore_errors=True)
    for path, source in _runtime_files().items():
        target = site_packages / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    info.mkdir()
    (info / "METADATA").write_text(dist.read_text("METADATA") or "", encoding="utf-8")
    (info / "WHEEL").write_text(
        f"Wheel-Version: 1.0\nGenerator: underway {dist.version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        encoding="utf-8",
    )
    files = [path for directory in (site_packages / name, info) for path in directory.rglob("*") if path.is_file()]
    wheel_record.write(site_packages, info.name, [path.relative_to(site_packages).as_posix() for path in files])


def _runtime_files() -> dict[str, Path]:
    """The files of the runtime, by their paths below its package, sorted."""
    package = Path(underway_runtime.__file__).parent
    files = {}
    for directory, directories, names in os.walk(package):
        directories[:] = [name for name in directories if name != "__pycache__" and not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                files[os.path.relpath(os.path.join(directory, name), package)] = Path(directory, name)
    return dict(sorted(files.items()))
