"""The same input gives the same release, byte for byte: on another path, as another user, from a cold cache or a warm one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from projects import ENVIRONMENT, TIMEOUT, write_project

NOBODY = 65534

PYPROJECT = """\
[project]
name = "hello"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["h11", "markupsafe"]

[project.scripts]
hello = "hello:main"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""

MODULE = """\
'''A module.'''
WORDS = {"one", "two", "three"}
def main():
    assert WORDS, "there are words"
    print("hello")
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "src/hello/__init__.py": MODULE,
    "src/hello/other.py": "def f(x): return x in {'a', 'b', 'c'}\n",
    "config/config.py": "from underway_runtime import config\nconfig('hello', words={'b': 1, 'a': 2})\n",
}


@dataclass(frozen=True)
class Builder:
    """One who builds: where, as whom, and in which surroundings."""

    home: Path
    """What is this builder's alone: the project, HOME and the caches are below it."""
    command: Sequence[str | Path]
    environ: Mapping[str, str]
    umask: int
    user: int

    @property
    def project(self) -> Path:
        return self.home / "deep" / "project"

    def begin_with(self, project: Path) -> None:
        """Take a copy of a project; its files have new dates, and belong to this builder."""
        self.project.parent.mkdir(parents=True)
        shutil.copytree(project, self.project, copy_function=shutil.copyfile)
        for directory, _, files in os.walk(self.home):
            for name in (".", *files):
                os.chown(os.path.join(directory, name), self.user, self.user)

    def build(self, **environ: str) -> Path:
        """Build the project's release, with its archive, and return its root."""
        done = subprocess.run(
            [*as_user(self.user), *self.command, "release", "--quiet", "--json", "--overwrite"],
            cwd=self.project,
            env={**self.environ, "HOME": str(self.home), "UNDERWAY_CACHE": str(self.home / "cache"), **environ},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            umask=self.umask,
        )
        assert done.returncode == 0, done.stderr
        return Path(json.loads(done.stdout)["path"])


def as_user(user: int) -> list[str]:
    """What begins a command that another user is to run."""
    return [] if user == os.geteuid() else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


def tree(root: Path) -> dict[str, tuple[int, bytes | str]]:
    """Every name below a directory with its mode, and its bytes or target."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        content = os.readlink(path) if stat.S_ISLNK(mode) else path.read_bytes() if stat.S_ISREG(mode) else ""
        found[path.relative_to(root).as_posix()] = (mode, content)
    return found


def different(one: Path, other: Path) -> list[str]:
    """The names in which two releases differ, their archives included."""
    ours, theirs = ({**tree(root), "archive": (0, archive(root))} for root in (one, other))
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def archive(release: Path) -> bytes:
    [file] = release.parent.glob("hello-0.1.0.tar.zst")
    return file.read_bytes()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("original") / "hello", files=FILES)


@dataclass(frozen=True)
class Tool:
    """A command that runs underway, and another user than this one who may run it; this one where there is none."""

    command: Sequence[str | Path]
    environ: Mapping[str, str]
    other: int


@pytest.fixture(scope="module")
def tool() -> Tool:
    program = ["-c", "from underway.cli import main; main()"]
    environ = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path for path in sys.path if os.path.isabs(path))}
    for python in (sys.executable, "/usr/bin/python3"):
        reachable = all(place.stat().st_mode & 0o001 for place in Path(python).resolve().parents)
        if os.geteuid() == 0 and reachable and os.path.exists(python) and shutil.which("setpriv"):
            probe = [*as_user(NOBODY), python, "-c", "import underway.cli, underway_runtime, uv; uv.find_uv_bin()"]
            done = subprocess.run(probe, env=environ, cwd="/", capture_output=True, timeout=TIMEOUT, check=False)
            if done.returncode == 0:
                return Tool([python, *program], environ, NOBODY)
    return Tool([sys.executable, *program], environ, os.geteuid())


@pytest.fixture(scope="module")
def first(project: Path, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """One who has built once, from an empty cache."""
    environ = {**tool.environ, "PYTHONHASHSEED": "1"}
    builder = Builder(tmp_path_factory.mktemp("first"), tool.command, environ, 0o022, os.geteuid())
    builder.begin_with(project)
    builder.build()
    return builder


@pytest.fixture
def release(first: Builder, tmp_path: Path) -> Path:
    """What the first one built, kept aside."""
    shutil.copytree(first.project / "build", tmp_path / "build", symlinks=True)
    return tmp_path / "build/release/hello"


pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_another_user_on_another_path_builds_the_same(
    project: Path, tool: Tool, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Path, user, umask, HOME, hash seed, language, time zone, dates of files, an empty cache: none of it is in a release."""
    home = tmp_path_factory.mktemp("second") / "another one"
    home.mkdir()
    for directory in home.parents:
        if directory.stat().st_uid == os.geteuid() and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    surroundings = {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LANG": "C", "USER": "somebody"}
    if tool.other != os.geteuid():
        surroundings["UV_CACHE_DIR"] = str(home / "uv")
    second = Builder(home, tool.command, {**tool.environ, **surroundings}, 0o077, tool.other)
    second.begin_with(project)

    assert different(release, second.build()) == []


def test_a_warm_cache_gives_the_same_as_an_empty_one(first: Builder, release: Path) -> None:
    """What is found is what would be made; as hard links or as copies."""
    assert different(release, first.build()) == []
    assert different(release, first.build(UNDERWAY_LINK_MODE="copy")) == []


@pytest.mark.drill
def test_a_date_that_is_given_changes_what_bears_it_and_nothing_else(first: Builder, release: Path) -> None:
    """SOURCE_DATE_EPOCH is the date of the archive's members and of the SBOM, and so in the manifest."""
    dated = first.build(SOURCE_DATE_EPOCH="1700000000")
    try:
        assert different(release, dated) == [
            "archive",
            "releases/0.1.0/manifest.json",
            "releases/0.1.0/sbom.cdx.json",
        ]
        sbom = json.loads((dated / "releases/0.1.0/sbom.cdx.json").read_text())
        assert sbom["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    finally:
        assert different(release, first.build()) == []


def test_after_one_line_only_what_must_differ_differs(first: Builder, release: Path) -> None:
    """A changed line of a module is in that module, its pyc and its RECORD, in the manifest and the archive; nowhere else."""
    module = first.project / "src/hello/other.py"
    before = module.read_text()
    module.write_text(before.replace("'c'", "'d'"))
    try:
        changed = first.build()
        python = next(changed.glob("python-*")).name.removeprefix("python-")
        tag, home = "cpython-" + "".join(python.split(".")[:2]), f"lib/hello-0.1.0-py{python}"
        assert different(release, changed) == [
            "archive",
            f"{home}/hello-0.1.0.dist-info/RECORD",
            f"{home}/hello/__pycache__/other.{tag}.pyc",
            f"{home}/hello/other.py",
            "releases/0.1.0/manifest.json",
            "releases/0.1.0/picture",
        ]
    finally:
        module.write_text(before)
        assert different(release, first.build()) == []


@pytest.mark.drill
def test_the_order_of_directories_does_not_matter(project: Path, tool: Tool, release: Path, tmp_path: Path) -> None:
    """Listings come in any order; a project whose files were made in another one gives the same release."""
    builder = Builder(tmp_path, tool.command, tool.environ, 0o022, os.geteuid())
    builder.project.mkdir(parents=True)
    for path in sorted(project.rglob("*"), reverse=True):
        if path.is_file():
            target = builder.project / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (tmp_path / "shuffle").mkdir()
    (tmp_path / "shuffle/sitecustomize.py").write_text(SHUFFLE)
    places = f"{tmp_path / 'shuffle'}{os.pathsep}{tool.environ['PYTHONPATH']}"

    assert different(release, builder.build(PYTHONPATH=places)) == []


SHUFFLE = """\
import os, random
_scandir, _listdir = os.scandir, os.listdir
class _Entries:
    def __init__(self, entries): self._entries = iter(entries)
    def __iter__(self): return self
    def __next__(self): return next(self._entries)
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def close(self): pass
def _shuffled(values):
    random.shuffle(values)
    return values
os.scandir = lambda path=".": _Entries(_shuffled(list(_scandir(path))))
os.listdir = lambda path=".": _shuffled(_listdir(path))
"""
"""Python's own view of directories, in an order that is different each time."""
