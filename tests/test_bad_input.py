"""Bad input gets one clear error that lists everything wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from disks import small_disk
from projects import ENVIRONMENT, TIMEOUT, UNDERWAY, underway, write_project

MAIN = 'main = "hello:main"\n'


def refused(root: Path, *arguments: str | Path, status: int = 1) -> str:
    """What `underway release` says when it refuses; it must change nothing and show no traceback."""
    before = everything(root)
    done = underway("release", *arguments, cwd=root)

    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.startswith(("error: ", "* ", "Usage: ")), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert everything(root) == before, "a refusal leaves nothing behind"
    return done.stderr


def everything(root: Path) -> list[str]:
    return sorted(os.path.join(d, name) for d, names, files in os.walk(root) for name in (*names, *files))


@pytest.mark.sample(most=6)
@pytest.mark.parametrize(
    ("tool", "parts"),
    [
        (MAIN + "step = []\n", ["unknown key 'step'; did you mean 'steps'?"]),
        (MAIN + 'version = "1/2"\n', ["the version '1/2' can't name a directory"]),
        (MAIN + 'applications = { helo = "load" }\n', ["'helo'", "did you mean 'hello'?"]),
        (MAIN + 'applications = { hello = "always" }\n', ["mode 'always'", "permanent, transient"]),
        (MAIN + 'steps = ["underway.steps:tar"]\n', ["there is no 'underway.steps:assemble'"]),
        (MAIN + 'steps = ["underway.steps:tar", "underway.steps:assemble"]\n', ["is before"]),
        (MAIN + 'steps = ["nowhere:step", "underway.steps:assemble"]\n', ["there is no 'nowhere:step'"]),
        (MAIN + 'steps = ["broken:none", "underway.steps:assemble"]\n', ["'broken:none' returned NoneType"]),
        (MAIN + 'steps = ["broken:renames", "underway.steps:assemble"]\n', ["name was changed"]),
        (MAIN + 'steps = ["underway.steps:assemble", "broken:raises"]\n', ["raised KeyError", "broken.py, line"]),
        (MAIN + 'steps = ["underway.steps:assemble", "broken:lists"]\n', ["'nothing' is not there"]),
        (MAIN + 'include-executables-for = ["windows"]\n', ["windows can't be made"]),
        (MAIN + 'cookie = "s3cret"\n', ["cookie must be"]),
        (MAIN + 'prefer = ["helo"]\n', ["'helo'"]),
        (MAIN + 'build-sdists = ["helo"]\n', ["'helo'"]),
        (MAIN + 'overlays = "nothing"\n', ["overlays: ", "/nothing"]),
        (MAIN + 'include-interpreter = "/nowhere/python3"\n', ["/nowhere/python3"]),
        (MAIN + 'python = "3.99"\n', ["3.99"]),
        (MAIN + 'config-providers = ["nowhere:Provider"]\n', ["there is no configuration provider 'nowhere:Provider'"]),
        ('main = "nothere:main"\n', ["nothere"]),
        ('asgi = "hello:app"\nlisten = ["tcp://127.0.0.1:1"]\n', ["uvicorn"]),
        ('wsgi = "hello:app"\nlisten = ["tcp://127.0.0.1:1"]\n', ["waitress"]),
        ("", ["nothing in this release starts"]),
        ('nane = 1\nquiet = "x"\nversion = "/"\n', ["'nane'", "quiet is 'x'", "version '/'"]),
    ],
)
def test_what_the_configuration_gets_wrong_is_told(tmp_path: Path, tool: str, parts: list[str]) -> None:
    """Every wrong line of [tool.underway] is answered with what is wrong and what to do."""
    files = {
        "broken.py": (
            "from dataclasses import replace\n"
            "def none(release): pass\n"
            "def renames(release): return replace(release, name='other')\n"
            "def raises(release): return {}['x']\n"
            "def lists(release): return replace(release, overlays=('nothing',))\n"
        )
    }
    root = write_project(tmp_path, f"[tool.underway]\n{tool}", files)

    message = refused(root)

    for part in parts:
        assert part in message


def test_a_project_without_a_lock_gets_the_command_that_makes_one(tmp_path: Path) -> None:
    """No lock, no release: the one command is named."""
    root = write_project(tmp_path, lock=False)

    assert "uv lock" in refused(root)


def test_a_stale_lock_gets_the_command_that_renews_it(tmp_path: Path) -> None:
    """A lock that no longer fits pyproject.toml is refused, never silently resolved again."""
    root = write_project(tmp_path)
    text = (root / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(text.replace("dependencies = []", 'dependencies = ["h11"]'))

    assert "uv lock" in refused(root)


def test_a_project_that_does_not_build_is_told_with_what_the_backend_says(tmp_path: Path) -> None:
    """The backend's own words are in the error."""
    root = write_project(tmp_path)
    (root / "src/hello/__init__.py").unlink()
    (root / "src/hello").rmdir()

    assert "hello" in refused(root)


def test_another_platform_is_refused_at_once_with_the_reason(tmp_path: Path) -> None:
    """--target for what can't be built here says why, before anything is looked up."""
    root = write_project(tmp_path, lock=False)

    message = refused(root, "--target", "aarch64-linux-gnu")

    assert "aarch64-linux-gnu" in message
    assert "can't be built here" in message


def test_an_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    """A mistyped flag exits with 2."""
    assert "--overwrit" in refused(write_project(tmp_path, lock=False), "--overwrit", status=2)


def test_a_version_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    """The same version again needs --overwrite."""
    root = write_project(tmp_path, '[tool.underway]\nmain = "hello:main"\ninclude-interpreter = false\n')
    assert underway("release", cwd=root).returncode == 0

    assert "use --overwrite" in refused(root)
    assert underway("release", "--overwrite", cwd=root).returncode == 0


def test_a_place_that_is_no_release_is_not_replaced(tmp_path: Path) -> None:
    """--path at somebody's files is refused."""
    root = write_project(tmp_path / "project")
    (tmp_path / "project/home").mkdir()
    (tmp_path / "project/home/thesis.txt").touch()

    assert "is not a release" in refused(root, "--path", "home", "--overwrite")


@pytest.mark.needs_tool("setpriv", "util-linux")
def test_a_place_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """No permission is one sentence with the path."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    if not all(place.stat().st_mode & 0o001 for place in Path(sys.executable).resolve().parents):
        pytest.skip("the interpreter of the tests is where another user may not look")
    root = write_project(tmp_path / "project")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        if directory.owner() == "root" and directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 65534, 65534)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", UNDERWAY, "release", "--path", locked / "x"],
        env={**ENVIRONMENT, "UV_CACHE_DIR": str(cache), "HOME": str(cache)},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode == 1
    assert f"{locked}/.x.partial can't be made: Permission denied; choose another place with --path" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(locked) == []


@pytest.mark.needs_tool("mount", "mount")
@pytest.mark.parametrize("size", ["1m", "12m"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, size: str) -> None:
    """No space left is one sentence, which names what could not be written and nothing that was read, and what was begun is gone."""
    root = write_project(tmp_path / "project")
    with small_disk(tmp_path / "disk", f"size={size}") as disk:
        done = underway("release", "--path", disk / "deep/hello", cwd=root)

        assert done.returncode == 1
        assert f"error: {disk}/" in done.stderr
        assert "No space left on device; free some space, or build elsewhere" in done.stderr
        assert "Traceback" not in done.stderr
        assert os.listdir(disk) == []


@pytest.mark.needs_tool("mount", "mount")
def test_a_disk_that_may_only_be_read_is_told(tmp_path: Path) -> None:
    """A place that can't be written is one sentence, before anything is installed."""
    root = write_project(tmp_path / "project")
    with small_disk(tmp_path / "disk", "ro") as disk:
        done = underway("release", "--path", disk / "hello", cwd=root)

        assert done.returncode == 1
        assert f"{disk}/.hello.partial can't be made: Read-only file system" in done.stderr
        assert "installing" not in done.stderr
