"""What is measured: how uv, underway, PyInstaller, PEX and shiv build a service and start it.

All get the same interpreter, the same locked versions and the service's own wheel; each has a copy of the project and its
caches in its own corner of the scratch directory. Making the tools themselves ready is not measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from _apps import App, environment
from _measure import REPOSITORY, TOOLS
from _observe import Cost, Failed, Server, run

REQUIREMENTS = REPOSITORY / "bench/requirements-peers.txt"
HOST = ("--host", "127.0.0.1")

_CACHES = (
    *("UV_CACHE_DIR", "PIP_CACHE_DIR", "PEX_ROOT", "SHIV_ROOT", "PYINSTALLER_CONFIG_DIR"),
    *("UNDERWAY_CACHE", "XDG_CACHE_HOME"),
)


@dataclass(frozen=True)
class Place:
    """One tool's corner of the scratch directory, for one service."""

    app: App
    root: Path
    python: Path
    """The interpreter that all tools use; not that of a virtual environment."""
    peers: Path
    """The virtual environment that pex and shiv are in."""
    caches: Path
    """Where whatever runs here caches things; empty at first."""

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def requirements(self) -> Path:
        return self.project / "requirements.txt"

    @property
    def venv(self) -> Path:
        return self.root / "venv"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def do(self, *command: str | Path) -> Cost:
        """Run a command of a build in the project, with the caches of this corner. Raises Failed."""
        caches = {name: str(self.caches / name.lower()) for name in _CACHES}
        return run(command, self.project, environment(**caches), self.log)

    def install(self, *options: str) -> Cost:
        """Install what the lock holds, and the project, into the virtual environment of this corner."""
        into = ("--quiet", "--no-deps", "--python", self.venv / "bin/python")
        what = ("--requirements", self.requirements, self.project)
        return self.do(TOOLS / "uv", "pip", "install", *into, *options, *what)

    def wheel(self) -> tuple[Path, Cost]:
        """Build the wheel of the project, which pex and shiv are given."""
        wheels = self.root / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        options = ("--quiet", "--wheel", "--python", self.python, "--out-dir", wheels)
        cost = self.do(TOOLS / "uv", "build", *options, self.project)
        return next(wheels.glob("*.whl")), cost

    def serve(self, port: int, *command: str | Path, **env: str) -> Server:
        """A start in an environment that holds next to nothing."""
        env = {"PATH": os.defpath, "HOME": str(self.root / "home"), **env}
        return Server(command, env, self.root, port, self.app.path)

    def words(self, port: int) -> tuple[str, ...]:
        """The arguments of the service's script."""
        return (*self.app.args, *HOST, "--port", str(port))


@dataclass(frozen=True)
class Tool:
    """A way to bring a service to where it runs."""

    label: str
    build: Callable[[Place], Cost]
    rebuild: Callable[[Place], Cost]
    """After one changed line, with warm caches."""
    server: Callable[[Place, int], Server] | None = None
    """How to start what was built; None for a way that is only built."""
    artefact: Callable[[Place], Path] = lambda place: place.venv
    """What is copied to another machine: a file, or a tree that is packed for it."""
    tree: Callable[[Place], Sequence[Path]] = lambda place: [place.venv]
    """What is on the disk when it runs."""
    prepare: Callable[[Place], object] = lambda place: None
    cold: bool = True
    """Whether a build with cold caches is a figure of its own."""
    slow: bool = False
    """Whether one round of rebuilding it is enough."""
    whole: bool = False
    """Whether the interpreter is in what is shipped."""


def make_peers(place: Path, python: Path) -> None:
    """A virtual environment with pex and shiv (and PyInstaller), as pinned. Raises Failed."""
    log = place.with_name("peers.log")
    run([TOOLS / "uv", "venv", "--quiet", "--python", python, place], place.parent, environment(), log)
    install = (TOOLS / "uv", "pip", "install", "--quiet", "--require-hashes", "--python", place / "bin/python")
    run([*install, "--requirements", REQUIREMENTS], place.parent, environment(), log)


def _uv_build(place: Place) -> Cost:
    cost = place.do(TOOLS / "uv", "venv", "--quiet", "--clear", "--python", place.python, place.venv)
    return cost + place.install("--compile-bytecode")


def _uv_rebuild(place: Place) -> Cost:
    return place.install("--compile-bytecode", "--reinstall-package", place.app.name)


def _uv_anew(place: Place) -> Cost:
    # uv does not look into the source of a project that it has built; it has to be told.
    cost = place.do(TOOLS / "uv", "venv", "--quiet", "--clear", "--python", place.python, place.venv)
    return cost + place.install("--compile-bytecode", "--refresh-package", place.app.name)


def _uv_server(place: Place, port: int) -> Server:
    return place.serve(port, place.venv / "bin" / place.app.script, *place.words(port))


def underway(place: Place, *options: str) -> Cost:
    """Make a release of the project; over what is there. Raises Failed."""
    return place.do(TOOLS / "underway", "release", "--quiet", "--overwrite", "--python", place.python, *options)


def release_of(place: Place) -> Path:
    return place.project / "build/release" / place.app.name


def archive_of(place: Place) -> Path:
    """The one archive next to the release. Raises Failed when there is none, or more than one."""
    found = list(release_of(place).parent.glob(f"{place.app.name}-*.tar.*"))
    if len(found) != 1:
        raise Failed(f"{len(found)} archives of {place.app.name} where one was expected")
    return found[0]


def _underway_server(place: Place, port: int) -> Server:
    return place.serve(port, release_of(place) / "bin" / place.app.name, "start", **place.app.settings(port))


def _leave_out_archive(place: Place) -> None:
    file = place.project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    steps = '[tool.underway]\nsteps = ["underway.steps:assemble"]\n'
    file.write_text(text.replace("[tool.underway]\n", steps, 1), encoding="utf-8")


def _pyinstaller_prepare(place: Place) -> None:
    module, _, function = place.app.entry.partition(":")
    script = f"import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
    (place.root / "serve.py").write_text(script, encoding="utf-8")
    run([TOOLS / "uv", "venv", "--quiet", "--python", place.python, place.venv], place.root, environment(), place.log)
    install = (TOOLS / "uv", "pip", "install", "--quiet", "--python", place.venv / "bin/python", "pyinstaller")
    run([*install, "--constraints", REQUIREMENTS], place.root, environment(), place.log)


def _pyinstaller(place: Place) -> Cost:
    options = ["--noconfirm", "--onedir", "--log-level=ERROR", f"--name={place.app.name}", f"--specpath={place.root}"]
    options += [f"--distpath={place.root / 'dist'}", f"--workpath={place.root / 'work'}"]
    options += [f"--collect-all={name}" for name in place.app.collect]
    options += [f"--copy-metadata={name.replace('_', '-')}" for name in place.app.collect]
    return place.do(place.venv / "bin/pyinstaller", *options, place.root / "serve.py")


def _pyinstaller_server(place: Place, port: int) -> Server:
    return place.serve(port, place.root / "dist" / place.app.name / place.app.name, *place.words(port))


def _pex(place: Place) -> Cost:
    wheel, cost = place.wheel()
    options = ("--venv", "--intransitive", "--python", place.python, "--console-script", place.app.script)
    what = ("--requirement", place.requirements, wheel)
    return cost + place.do(place.peers / "bin/pex", *options, "--output-file", place.root / "app.pex", *what)


def _pex_server(place: Place, port: int) -> Server:
    env = {"PEX_ROOT": str(place.root / "run")}
    return place.serve(port, place.python, place.root / "app.pex", *place.words(port), **env)


def _shiv(place: Place) -> Cost:
    wheel, cost = place.wheel()
    options = ("--python", place.python, "--console-script", place.app.script, "--output-file", place.root / "app.pyz")
    what = ("--no-deps", "--requirement", place.requirements, wheel)
    return cost + place.do(place.peers / "bin/shiv", *options, *what)


def _shiv_server(place: Place, port: int) -> Server:
    env = {"SHIV_ROOT": str(place.root / "run")}
    return place.serve(port, place.python, place.root / "app.pyz", *place.words(port), **env)


def _rebuilt(build: Callable[[Place], Cost]) -> Callable[[Place], Cost]:
    return lambda place: place.install("--reinstall-package", place.app.name) + build(place)


ALL = {
    "uv": Tool("uv venv", _uv_build, _uv_rebuild, _uv_server),
    "uv-again": Tool("uv venv, made again", _uv_build, _uv_anew, cold=False),
    "underway": Tool(
        "underway",
        underway,
        underway,
        _underway_server,
        artefact=archive_of,
        tree=lambda place: [release_of(place)],
        whole=True,
    ),
    "underway-bare": Tool("underway, no archive", underway, underway, prepare=_leave_out_archive, cold=False),
    "pyinstaller": Tool(
        "PyInstaller onedir",
        lambda place: place.install() + _pyinstaller(place),
        _rebuilt(_pyinstaller),
        _pyinstaller_server,
        artefact=lambda place: place.root / "dist",
        tree=lambda place: [place.root / "dist"],
        prepare=_pyinstaller_prepare,
        slow=True,
        whole=True,
    ),
    "pex": Tool(
        "PEX --venv",
        _pex,
        _pex,
        _pex_server,
        artefact=lambda place: place.root / "app.pex",
        tree=lambda place: [place.root / "app.pex", place.root / "run"],
        slow=True,
    ),
    "shiv": Tool(
        "shiv",
        _shiv,
        _shiv,
        _shiv_server,
        artefact=lambda place: place.root / "app.pyz",
        tree=lambda place: [place.root / "app.pyz", place.root / "run"],
        slow=True,
    ),
}
"""In the order in which they are shown. The first is what all others are compared with."""
