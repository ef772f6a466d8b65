"""Releases and the cache share files; neither builds nor what is done to a release make a wrong one of the next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from binaries import library
from projects import ENVIRONMENT, TIMEOUT, UNDERWAY, run
from stages import damaged
from underway_runtime.release import manifest
from wheels import locked_project, write_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.needs_tool("gcc", "gcc"), pytest.mark.timeout(600)]

MODULE = """\
'''A module with a docstring.'''
def main():
    print("hello")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one wheel; its binary has symbols and a DT_RUNPATH, and needs a library that this machine has."""
    place = tmp_path_factory.mktemp("shared")
    far = library(place / "machine/libfar.so.1")
    module = library(place / "module.so", far, runpath="$ORIGIN:/opt/far")
    files: dict[str, str | bytes] = {
        "native/__init__.py": MODULE,
        "scripts/native": "#!python\n",
        "native/module.so": module.read_bytes(),
    }
    return locked_project(place / "hello", [write_wheel(place / "wheels", "native", files)])


def options(project: Path, tool: str) -> None:
    """Give the project's release some options."""
    file = project / "pyproject.toml"
    file.write_text(
        f'{file.read_text().partition("[tool.underway]")[0]}[tool.underway]\nmain = "native:main"\n{tool}\n'
    )


def command(project: Path, cache: Path, *before: str | Path) -> tuple[list[str | Path], dict[str, str]]:
    """A build, and its environment."""
    environ = {"UNDERWAY_CACHE": str(cache), "LD_LIBRARY_PATH": str(project.with_name("machine"))}
    return [*before, UNDERWAY, "release", "--json", "--overwrite"], {**ENVIRONMENT, **environ}


def build(project: Path, cache: Path, *before: str | Path) -> tuple[Path, str]:
    """Build with a cache, and return the root of the release and what was said."""
    words, environ = command(project, cache, *before)
    done = subprocess.run(words, cwd=project, env=environ, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["path"]), done.stderr


def whole(root: Path) -> str:
    """The id of a release, every file of which is as its manifest says; and it runs."""
    sealed = manifest.read(root / "releases/1/manifest.json")
    assert manifest.survey(root, sealed.files) == dict(sealed.files)
    assert run([root / "bin/hello", "verify"]).returncode == 0
    return sealed.release_id


VARIANTS = (
    *("", "strip = false", "strip = { docstrings = true }", 'tar = "gz"', "include-interpreter = false"),
    *('host-libraries = ["libfar.so.1"]', 'overlays = "files"\nsteps = ["underway.steps:assemble", "work:work"]'),
)

STEP = """\
def work(release):
    [module] = release.path.glob("lib/native-1.0-py*/native/__init__.py")
    module.with_name("new").write_text("'''Changed.'''")
    module.with_name("new").replace(module)
    return release
"""


@pytest.fixture(scope="module")
def usual(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What a build without options leaves in an empty cache, and the id of its release; who writes to it takes a copy."""
    cache = tmp_path_factory.mktemp("usual") / "cache"
    options(project, "")
    release, _ = build(project, cache)
    return cache, whole(release)


def test_no_build_changes_what_it_shares(project: Path, usual: tuple[Path, str], tmp_path: Path) -> None:
    """Stripped, patched, packed, edited by a step: with each option the files in the cache stay as they were made."""
    (project / "files").mkdir()
    (project / "files/read.me").touch()
    (project / "work.py").write_text(STEP)
    shutil.copytree(usual[0], tmp_path / "cache", symlinks=True)
    ids = set()
    for tool in (*VARIANTS, ""):
        options(project, tool)
        release, _ = build(project, tmp_path / "cache")
        ids.add(whole(release))

        assert damaged(tmp_path / "cache") == []
    assert len(ids) == len(VARIANTS) - 1  # it is not in a release how it is packed


def append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"\n")


def overwrite(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.write(b"#" * size)


@pytest.mark.drill
def test_what_is_written_into_a_release_is_in_no_other(project: Path, usual: tuple[Path, str], tmp_path: Path) -> None:
    """A file of each kind is changed in place, each in another way; the next build gives what the first one gave."""
    options(project, "")
    shutil.copytree(usual[0], tmp_path / "cache", symlinks=True)
    release, _ = build(project, tmp_path / "cache")
    before = whole(release)
    assert before == usual[1]
    python = next(release.glob("python-*"))
    native = f"lib/native-1.0-py{python.name.removeprefix('python-')}"
    changes: dict[str, Callable[[Path], object]] = {
        f"{native}/native/__init__.py": overwrite,
        f"{native}/native/module.so": append,
        "releases/1/bin/native": lambda file: file.chmod(0o600),
        "releases/1/glibc": append,
        f"{python.name}/lib/libfar.so.1": append,
        f"{next(python.glob('lib/python3*/json/__init__.py')).relative_to(release)}": lambda file: os.truncate(file, 0),
    }
    for path, change in changes.items():
        assert (release / path).stat().st_nlink > 1, f"{path} is not shared"
        change(release / path)

        release, _ = build(project, tmp_path / "cache")

        assert whole(release) == before, path
        assert damaged(tmp_path / "cache") == []


@pytest.mark.drill
def test_two_builds_at_once_begin_with_an_empty_cache(project: Path, tmp_path: Path) -> None:
    """Both are right, and so is what they leave in the cache."""
    options(project, "")
    shutil.copytree(project.parent, tmp_path / "other", ignore=shutil.ignore_patterns("build"))
    projects = [project, tmp_path / "other" / project.name]
    builds = []
    for root in projects:
        words, environ = command(root, tmp_path / "cache")
        builds.append(subprocess.Popen(words, cwd=root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    said = [done.communicate(timeout=TIMEOUT)[1] for done in builds]

    assert [done.returncode for done in builds] == [0, 0], said
    assert len({whole(root / "build/release/hello") for root in projects}) == 1
    assert damaged(tmp_path / "cache") == []


def mounted(cache: Path, how: str) -> list[str | Path]:
    """What begins a command that sees another file system at `cache`."""
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {how} tmpfs "$0" && exec "$@"', cache]


def can_mount() -> bool:
    probe = mounted(Path("/mnt"), "size=1m")
    return (
        bool(shutil.which("unshare"))
        and subprocess.run([*probe, "true"], capture_output=True, timeout=60).returncode == 0
    )


@pytest.mark.sample(most=1)
@pytest.mark.skipif(os.geteuid() != 0 or not can_mount(), reason="needs root, and leave to mount")
@pytest.mark.parametrize(
    ("how", "word"),
    [
        pytest.param("size=4g", "", id="another file system"),
        pytest.param("size=1m", "No space left on device", id="a full one"),
        pytest.param("ro", "it can't be written", id="a read-only one", marks=pytest.mark.drill),
        pytest.param("uid=1", "another user", id="another user's", marks=pytest.mark.drill),
    ],
)
def test_any_cache_gives_the_same_release(
    project: Path, usual: tuple[Path, str], tmp_path: Path, how: str, word: str
) -> None:
    """Where it can't be linked to, or not be written, the release is the same; what is not cached is said."""
    options(project, "")
    cache = tmp_path / "cache"
    cache.mkdir()

    release, said = build(project, cache, *mounted(cache, f"{how},mode=0700"))

    assert whole(release) == usual[1]
    assert word in said
