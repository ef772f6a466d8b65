"""Small real releases: interpreters laid out as in a release, distributions, and the index over them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from once import made_once
from underway.steps.modules import list_code
from underway.toolchain.interpreters import SUPPORTED

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = REPOSITORY / "src/underway/templates/underway.pth"
RUNTIME = "underway_runtime-0.1.0"
TIMEOUT = 60.0
"""Seconds for anything that a process of a test does, however busy the machine is: what takes longer hangs."""

SCRIPT = """#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
' '''
# -*- coding: utf-8 -*-
"""
"""How uv begins a script in a relocatable environment."""


@dataclass(frozen=True)
class Distribution:
    """What a wheel holds."""

    name: str
    version: str = "1.0"
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    entry_points: str = ""

    @property
    def directory(self) -> str:
        return f"{re.sub(r'[-_.]+', '_', self.name).lower()}-{self.version}"

    @property
    def dist_info(self) -> str:
        return f"{re.sub(r'[-_.]+', '_', self.name)}-{self.version}.dist-info"

    def install(self, directory: Path) -> None:
        """Write the files with a true dist-info, as an installer does."""
        contents = {
            **self.files,
            f"{self.dist_info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n",
            f"{self.dist_info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if self.entry_points:
            contents[f"{self.dist_info}/entry_points.txt"] = self.entry_points
        record = []
        for path, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")
        record.append(f"{self.dist_info}/RECORD,,\n")
        (directory / self.dist_info / "RECORD").write_text("".join(record))


HELLO = Distribution(
    "Hello.World",
    "1.2",
    {
        "hello/__init__.py": "VERSION = '1.2'\n",
        "hello/__main__.py": "import sys; print(__name__, __package__, sys.argv[1:])\n",
        "hello/greet.py": "def greet():\n    return 'hello'\nif __name__ == '__main__':\n    print(greet())\n",
        "hello/data/words.txt": "hello world",
        "alone.py": "ALONE = True\n",
    },
    entry_points="[console_scripts]\nhello = hello.greet:greet\n[greeters]\nworld = hello.greet\n",
)


def directories_of(path: str) -> list[str]:
    """The directories above a file: 'a', 'a/b' for 'a/b/c.py'."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def index_of(distributions: Iterable[Distribution]) -> dict[str, Any]:
    """The code.index of these distributions, in their order."""
    top: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    pth = []
    for distribution in distributions:
        names = []
        for path in distribution.files:
            directories = directories_of(path)
            names += directories[:1] or [path.split(".")[0]]
            pth += [f"{distribution.directory}/{path}"] if path.endswith((".pth", ".start")) else []
            for directory in directories[1:]:
                here = places.setdefault(directory.replace("/", "."), [])
                here += [] if distribution.directory in here else [distribution.directory]
        for name in dict.fromkeys(name for name in names if name.isidentifier()):
            top.setdefault(name, []).append(distribution.directory)
    return {
        "format": 1,
        "top": top,
        "shared": {name: where for name, where in places.items() if len(where) > 1},
        "distributions": {
            re.sub(r"[-_.]+", "-", d.name).lower(): f"{d.directory}/{d.dist_info}" for d in distributions
        },
        "pth": pth,
    }


@dataclass(frozen=True)
class Interpreter:
    """An interpreter laid out as ``python-X.Y.Z`` of a release, and the runtime compiled for it."""

    directory: Path
    version: str
    runtime: Path

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def executable(self) -> Path:
        return self.directory / f"bin/python{self.minor}"

    @property
    def extension(self) -> Path:
        """An extension module, ``_queue``, that has nothing to do with its directory."""
        return next(self.directory.glob("lib/python3.*/lib-dynload/_queue.*.so"))


def lay_out(executable: Path, directory: Path) -> Interpreter:
    """Make a relocated interpreter: its own executable, over the standard library where that is installed."""
    asked = subprocess.run(
        [executable, "-I", "-S", "-c", "import os, sys; print(*sys.version_info[:3], os.path.dirname(os.__file__))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    major, minor, micro, standard_library = asked.stdout.split()
    version = f"{major}.{minor}.{micro}"
    python = directory / f"python-{version}"
    (python / "bin").mkdir(parents=True)
    (python / "lib").mkdir()
    shutil.copy(executable, python / f"bin/python{major}.{minor}")
    (python / f"lib/python{major}.{minor}").symlink_to(standard_library)
    runtime = directory / RUNTIME
    interpreter = Interpreter(python, version, runtime)

    def compiled(place: Path) -> None:
        shutil.copytree(
            REPOSITORY / "runtime/src/underway_runtime",
            place / "underway_runtime",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        compile_all(interpreter, place)

    shutil.copytree(made_once(f"runtime-{version}", compiled), runtime)
    return interpreter


def compile_all(interpreter: Interpreter, directory: Path) -> None:
    """Compile what is in a directory, as a build does."""
    subprocess.run(
        [interpreter.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", directory],
        check=True,
        timeout=TIMEOUT,
    )


@dataclass(frozen=True)
class Release:
    """A release directory with version 1 of something in it."""

    root: Path

    @property
    def version(self) -> Path:
        return self.root / "releases/1"

    @property
    def python(self) -> Path:
        return self.version / "bin/python"

    @property
    def lib(self) -> Path:
        return self.root / "lib"

    def run(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, command: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the release's python (or ``command``) in an otherwise empty environment, anywhere but in the release."""
        return subprocess.run(
            [command or str(self.python), *arguments],
            cwd=cwd or "/",
            env={"PATH": os.defpath, **(env or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def output(self, *arguments: str, **how: Any) -> str:
        """What that prints; it must succeed and have nothing to complain about. The root is written as ROOT."""
        result = self.run(*arguments, **how)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout.replace(str(self.root), "ROOT")

    def evaluate(self, code: str, *options: str, **how: Any) -> Any:
        """The value of ``told`` after running code in the release's python."""
        return json.loads(self.output(*options, "-c", f"{code}\nimport json; print(json.dumps(told))", **how))

    def files(self) -> set[str]:
        """Every file of the release."""
        return {
            os.path.join(place, name)
            for top in ("lib", "releases")
            for place, _, names in os.walk(self.root / top, followlinks=True)
            for name in names
        }


def make_release(
    root: Path, interpreter: Interpreter, distributions: Iterable[Distribution], *, listed: bool = False
) -> Release:
    """Lay the distributions out as a release; with `listed`, compiled, and the index lists what is in each directory."""
    release = Release(root)
    site_packages = release.version / f"lib/python{interpreter.minor}/site-packages"
    site_packages.mkdir(parents=True)
    (release.version / "bin").mkdir()
    release.lib.mkdir()
    (root / interpreter.directory.name).symlink_to(interpreter.directory)
    release.python.symlink_to(f"../../../{interpreter.directory.name}/bin/python{interpreter.minor}")
    (release.version / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (site_packages / "underway.pth").write_text(TEMPLATE.read_text().replace("@RUNTIME_DIRECTORY@", RUNTIME))
    (release.lib / RUNTIME).symlink_to(interpreter.runtime)
    for distribution in distributions:
        distribution.install(release.lib / distribution.directory)
    index = index_of(distributions)
    index["top"]["underway_runtime"] = [RUNTIME]
    if listed:
        compile_all(interpreter, release.lib)
        index["code"] = list_code(root, release.lib.iterdir(), f"cpython-{interpreter.minor.replace('.', '')}")
    (release.version / "code.index").write_text(json.dumps(index, indent=1))
    return release


def installed() -> Iterator[Any]:
    """The interpreters to test with: the system's and pyenv's newest of each supported minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in SUPPORTED:
        system = Path(f"/usr/bin/python{minor}")
        micros = [int(place.name.rpartition(".")[2]) for place in pyenv.glob(f"{minor}.*") if place.name[5:].isdigit()]
        built = [pyenv / f"{minor}.{micro}/bin/python{minor}" for micro in sorted(micros)]
        built = [executable for executable in built if executable.exists()]
        found = [("system", system)] * system.exists() + [("pyenv", executable) for executable in built[-1:]]
        for source, path in found:
            yield pytest.param(path, id=f"{minor}-{source}")
        if not found:
            yield pytest.param(None, id=minor, marks=pytest.mark.skip(f"python{minor} is not installed here"))


@cache
def laid_out(executable: Path, directory: Path) -> Interpreter:
    """The interpreter as in a release, made once in a process however many modules of tests ask for it."""
    return lay_out(executable, directory / f"interpreter-{executable.parts[-3]}-{executable.name}")


Make: TypeAlias = Callable[..., Release]


@pytest.fixture(scope="session", params=installed())
def interpreter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Each interpreter that is installed here, in turn. A module of tests takes it by assignment."""
    return laid_out(request.param, tmp_path_factory.getbasetemp())


@pytest.fixture(params=["searched", "listed"])
def make(interpreter: Interpreter, tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """``make(*distributions)``: a release of them for that interpreter, whose directories are searched or listed."""
    return lambda *distributions: make_release(
        tmp_path / "hello", interpreter, distributions, listed=request.param == "listed"
    )
