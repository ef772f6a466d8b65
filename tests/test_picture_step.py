"""The picture of a release that a build writes, and what it says of imports that do more than define."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from node_helpers import eventually
from projects import ENVIRONMENT, UNDERWAY, started, underway, write_project
from underway_runtime.observation import encoded

OWN = f"python = {json.dumps(sys.executable)}\ninclude-interpreter = false\n"

SHOP = """\
import threading, time
LIMIT = 10
def main(): print("hello", flush=True)
threading.Thread(target=time.sleep, args=(99,), name="worker", daemon=True).start()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a module that starts a thread, and one that wants a database."""
    files = {
        "src/hello/__init__.py": SHOP,
        "src/hello/db.py": "import os\nURL = os.environ['DATABASE_URL']\n",
        "src/hello/limits.py": "MOST = {'rooms': 10}\n",
    }
    return write_project(tmp_path / "project", f'[tool.underway]\nmain = "hello:main"\n{OWN}', files)


@pytest.mark.e2e
def test_a_build_writes_the_picture_and_says_what_imports_do(project: Path, tmp_path: Path) -> None:
    """The picture is in the manifest; a module that can't be imported, and a thread, are named; the build goes on."""
    built = underway("release", "--path", tmp_path / "r", cwd=project, env={"DATABASE_URL": "of the builder"})

    place = tmp_path / "r/releases/0.1.0"
    picture = encoded.read(place / "picture").picture
    files = json.loads((place / "manifest.json").read_text())["files"]
    assert built.returncode == 0, built.stderr
    assert "releases/0.1.0/picture" in files
    assert list(picture.modules) == ["hello", "hello.limits"]
    assert picture.missing == {"hello.db": "KeyError: 'DATABASE_URL'"}
    assert picture.at(("hello.limits", ".MOST", "['rooms']")) is not None
    assert "hello.db can't be imported where the build looks at it" in built.stderr
    assert "import does more than define (threads): worker" in built.stderr


@pytest.mark.e2e
def test_unchanged_code_is_not_imported_again(project: Path, tmp_path: Path) -> None:
    """A second build of the same code takes the picture from the cache, and says the same."""
    module = project / "src/hello/limits.py"
    module.write_text("import time\nNOW = [time.time_ns()]\nprint('imported')\n")
    first, second = (underway("release", "--path", tmp_path / name, cwd=project) for name in ("one", "two"))

    pictures = [(tmp_path / name / "releases/0.1.0/picture").read_bytes() for name in ("one", "two")]
    assert first.returncode == second.returncode == 0
    assert pictures[0] == pictures[1]
    assert [str(path) for path in encoded.load(pictures[0]).picture.noise] == ["hello.limits.NOW[0]"]
    assert [line for line in first.stderr.splitlines() if "import" in line] == [
        line for line in second.stderr.splitlines() if "import" in line
    ]


@pytest.mark.e2e
def test_a_release_without_a_picture_is_asked_for(tmp_path: Path) -> None:
    """With ``picture = false`` nothing is imported, and there is no picture."""
    source = {"src/hello/__init__.py": "raise SystemExit('imported')\ndef main(): ...\n"}
    tool = f'[tool.underway]\nmain = "hello:main"\npicture = false\n{OWN}'
    built = underway("release", "--path", tmp_path / "r", cwd=write_project(tmp_path / "p", tool, source))

    assert built.returncode == 0, built.stderr
    assert not (tmp_path / "r/releases/0.1.0/picture").exists()
    assert "import" not in built.stderr


def _observers(release: Path) -> list[int]:
    """The processes that look at imports of this release, or import for them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_text("utf-8", "replace")
            program = Path(os.readlink(process / "exe"))
            if "underway_runtime/observation" in command and str(release) in f"{program} {command}":
                found.append(int(process.name))
    return found


@pytest.mark.e2e
def test_a_killed_build_leaves_nobody_who_looks(tmp_path: Path) -> None:
    """Who imports for it, and hangs, ends with it."""
    files = {"src/hello/__init__.py": "import time\ndef main(): pass\ntime.sleep(1000)\n"}
    project = write_project(tmp_path / "project", f'[tool.underway]\nmain = "hello:main"\n{OWN}', files)
    with started([UNDERWAY, "release", "--path", tmp_path / "r"], env=ENVIRONMENT, cwd=project) as process:
        eventually(lambda: len(_observers(tmp_path)) == 3, "both imports hang")
        process.kill()
        process.wait()

    eventually(lambda: not _observers(tmp_path), "nobody looks any more")
