"""The tool is installed from a clone, from wheel files and without an index, as docs/how-to/install.md says, and makes releases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from projects import ENVIRONMENT, run, write_project

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OUR_OWN = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, with nothing that was made in it."""

    def left_out(place: str, names: list[str]) -> set[str]:
        at_the_top = {"build", "tests", "bench"} if place == str(REPOSITORY) else set()
        return shutil.ignore_patterns(".*", "__pycache__")(place, names) | at_the_top

    return Path(shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("clone") / "underway", ignore=left_out))


def do(*words: str | Path, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**OUR_OWN, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(place: Path) -> Path:
    """A new virtual environment; its directory of programs."""
    do(sys.executable, "-m", "venv", place, cwd=place.parent)
    return place / "bin"


@pytest.fixture(
    params=[
        *(pytest.param(each, marks=pytest.mark.drill) for each in ("pip install .", "uv tool install .")),
        *("wheel files, no index", "an sdist"),
    ]
)
def tool(request: pytest.FixtureRequest, clone: Path, tmp_path: Path) -> Path:
    """The command, installed in one of the ways of the guide."""
    match request.param:
        case "pip install .":
            place = environment(tmp_path / "venv")
            do(place / "pip", "install", "--quiet", ".", cwd=clone)
        case "uv tool install .":
            place = tmp_path / "bin"
            environ = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(place)}
            do(find_uv_bin(), "tool", "install", "--quiet", "--python", sys.executable, ".", cwd=clone, **environ)
        case "wheel files, no index":
            place = environment(tmp_path / "venv")
            do(place / "pip", "wheel", "--quiet", "--wheel-dir", tmp_path / "wheels", ".", cwd=clone)
            offline: list[str | Path] = ["--no-index", "--find-links", tmp_path / "wheels", "underway"]
            do(place / "pip", "install", "--quiet", *offline, cwd=tmp_path)
        case _:
            place = tmp_path / "venv/bin"
            do(find_uv_bin(), "build", "--quiet", "--sdist", "--out-dir", tmp_path / "dist", ".", cwd=clone)
            [sdist] = (tmp_path / "dist").glob("*.tar.gz")
            do(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
            do(find_uv_bin(), "pip", "install", "--quiet", "--python", place / "python", sdist, cwd=tmp_path)
    return place / "underway"


def test_what_is_installed_makes_releases(tool: Path, tmp_path: Path) -> None:
    """With the runtime of its own version, and without the repository that it came from."""
    files = {"config/runtime.py": "from underway_runtime import config\nconfig('hello', word='good day')\n"}
    root = write_project(
        tmp_path / "hello", '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n', files
    )
    assert do(tool, "--version", cwd=tmp_path).startswith("underway, version ")

    do(tool, "release", "--quiet", cwd=root)

    command = root / "build/release/hello/bin/hello"
    code = "import underway_runtime; from underway_runtime import config; print(underway_runtime.__file__, config.get('hello', 'word'))"
    said = run([command, "eval", code]).stdout.split(maxsplit=1)
    assert said[0].startswith(str(root / "build/release/hello/lib/underway_runtime-"))
    assert said[1] == "good day\n"
    assert run([command, "verify"]).returncode == 0


def test_both_distributions_are_built(clone: Path, tmp_path: Path) -> None:
    """For an index: the tool, which carries the runtime, and the runtime, which projects depend on."""
    for package in ("underway", "underway-runtime"):
        do(find_uv_bin(), "build", "--quiet", "--package", package, "--out-dir", tmp_path, cwd=clone)

    names = sorted(os.listdir(tmp_path))
    assert [name for name in names if name.endswith((".whl", ".tar.gz"))] == [
        *("underway-0.1.0-py3-none-any.whl", "underway-0.1.0.tar.gz"),
        *("underway_runtime-0.1.0-py3-none-any.whl", "underway_runtime-0.1.0.tar.gz"),
    ]
