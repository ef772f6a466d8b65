"""A new project works straight away: it is released, started and tested as its README says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from uv import find_uv_bin

from node_helpers import eventually, read_until
from ports import free_port
from projects import ENVIRONMENT, TIMEOUT, UNDERWAY, build, get, run, started, underway
from underway.errors import BuildError, ProjectError
from underway.project.new import make

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("new")
    done = underway("new", "hit-counter", "--module", "hits", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "cd hit-counter" in done.stdout
    return place / "hit-counter"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("new")
    done = underway("new", "word-count", "--template", "stream", "--develop", REPOSITORY, cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "word-count"


@pytest.fixture(params=["service", "stream"])
def project(request: pytest.FixtureRequest) -> Path:
    """Each template, as it was made."""
    made: Path = request.getfixturevalue(request.param)
    return made


@pytest.mark.e2e
def test_a_new_stream_runs_over_a_cluster_straight_away(stream: Path) -> None:
    """From `underway new` to counted words, with nothing in between but `underway release` and `bin/cluster`."""
    command = build(stream) / "bin/cluster"

    with started([command, "local", "start", "--deploy", "word_count:deploy"]) as process:
        assert process.stdout is not None
        read_until(process.stdout, r"^rose \d+$")
        asked = "import word_count; print((await word_count.feed(['rose'] * 100))['rose'] > 100)"
        done = run([command, "local", "run", "rpc", asked])
        assert "True" in done.stdout.splitlines(), done.stderr
        assert run([command, "local", "stop"]).returncode == 0


@pytest.mark.e2e
def test_a_new_stream_runs_from_the_project(stream: Path) -> None:
    """`underway run` is local mode, with the engine, and takes the commands of a release."""
    command = stream / "build/run/word-count/bin/word-count"
    with started([UNDERWAY, "run"], ENVIRONMENT, cwd=stream) as process:
        assert process.stdout is not None
        read_until(process.stdout, "has joined")
        eventually(lambda: run([command, "status"]).returncode == 0, "it runs")
        done = run([command, "rpc", "import word_count; print(await word_count.deploy(['a rose']))"])
        assert "{'a': 1, 'rose': 1}" in done.stdout.splitlines(), done.stderr
        assert run([command, "stop"]).returncode == 0


@pytest.mark.e2e
def test_a_new_service_is_released_and_serves(service: Path) -> None:
    """From `underway new` to an answer, with nothing in between but `underway release`."""
    release, port = build(service), free_port()

    with started([release / "bin/hit-counter", "start"], {"HIT_COUNTER_LISTEN": f"tcp://127.0.0.1:{port}"}) as process:
        url = f"http://127.0.0.1:{port}"
        assert json.loads(get(f"{url}/health", process))["version"] == "0.1.0"
        with urlopen(Request(f"{url}/visit/ann", method="POST"), timeout=TIMEOUT) as answer:
            assert json.load(answer) == {"name": "ann", "visits": 1}
        assert run([release / "bin/hit-counter", "stop"]).returncode == 0


@pytest.mark.e2e
def test_a_handler_of_a_new_service_is_put_into_the_process_that_runs(service: Path, tmp_path: Path) -> None:
    """Edited, released with a plan and installed: HOT, in one process, which has kept what it counted; and back."""
    root = shutil.copytree(service, tmp_path / "hit-counter", ignore=shutil.ignore_patterns("build"))
    release, port = build(root), free_port()
    edits = {
        "pyproject.toml": ('version = "0.1.0"', 'version = "0.2.0"'),
        "uv.lock": ('name = "hit-counter"\nversion = "0.1.0"', 'name = "hit-counter"\nversion = "0.2.0"'),
        "src/hits/web.py": ('return JSONResponse({"name": name,', 'return JSONResponse({"name": name.title(),'),
    }
    for name, (before, after) in edits.items():
        text = (root / name).read_text()
        assert before in text, name
        (root / name).write_text(text.replace(before, after))
    built = underway("release", cwd=root)
    assert built.returncode == 0, built.stderr
    assert "Upgrade from 0.1.0: HOT, in place; back: HOT" in built.stdout

    command = release / "bin/hit-counter"
    environ = {"HIT_COUNTER_LISTEN": f"tcp://127.0.0.1:{port}", "RELEASE_VSN": "0.1.0"}

    def visit() -> dict[str, Any]:
        with urlopen(Request(f"http://127.0.0.1:{port}/visit/ann", method="POST"), timeout=TIMEOUT) as answer:
            said: dict[str, Any] = json.load(answer)
            return said

    with started([command, "start"], environ) as process:
        before = json.loads(get(f"http://127.0.0.1:{port}/health", process))
        assert visit() == {"name": "ann", "visits": 1}
        installed = run([command, "install", "0.2.0", "--at-least", "hot"])
        assert installed.returncode == 0, installed.stderr
        assert visit() == {"name": "Ann", "visits": 2}
        assert json.loads(get(f"http://127.0.0.1:{port}/health")) == {**before, "version": "0.2.0"}
        assert run([command, "stop"]).returncode == 0


def test_where_a_new_service_listens_is_said_once(tmp_path: Path) -> None:
    """In pyproject.toml; nothing else of the project has the address, but for the README that says how it is called."""
    root = tmp_path / "hit-counter"
    made = make(root, "service", "hits", lock=False)

    assert [name for name in made if "8000" in (root / name).read_text()] == ["README.md", "pyproject.toml"]


@pytest.mark.e2e
def test_a_new_project_passes_its_own_tests(project: Path, tmp_path: Path) -> None:
    """With what it has locked."""
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [find_uv_bin(), "run", "--locked", "--python", sys.executable, "pytest", "-p", "no:cacheprovider"],
        cwd=project,
        env={**environment, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", ["service", "stream"])
def test_the_readme_of_a_new_project_explains_each_of_its_files(template: str, tmp_path: Path) -> None:
    """By name; and no file has a word of the template left."""
    root = tmp_path / "hit-counter"
    made = make(root, template, "hits", lock=False)
    readme = (root / "README.md").read_text()
    explained = [name for name in made if name not in {".gitignore", "README.md"} and not name.endswith("__init__.py")]

    for name in [*explained, "uv.lock"]:
        assert any(f"`{part}`" in readme for part in (name, f"{Path(name).parts[0]}/")), name
    for name in made:
        assert not re.search(r"app[-_](name|module)", (root / name).read_text(), re.IGNORECASE), name


@pytest.mark.parametrize(
    ("path", "module", "problem"),
    [
        ("there", None, "it exists already"),
        ("Upper", None, "'Upper' can't name a project"),
        ("-x", None, "can't name a project"),
        ("a b", None, "can't name a project"),
        ("json", None, "the module 'json' would hide another"),
        ("class", None, "'class' can't name a module"),
        ("fine", "9lives", "'9lives' can't name a module"),
        ("fine", "tests", "would hide another"),
        ("fine", "underway_runtime", "would hide another"),
    ],
)
def test_what_can_be_no_project_is_refused(tmp_path: Path, path: str, module: str | None, problem: str) -> None:
    """An existing path, and names that a project or module can't have; nothing is made."""
    (tmp_path / "there").mkdir()

    with pytest.raises(ProjectError, match=problem):
        make(tmp_path / path, "service", module, lock=False)
    with pytest.raises(ProjectError, match="is neither a checkout of underway"):
        make(tmp_path / "fine", "stream", develop=tmp_path, lock=False)

    assert os.listdir(tmp_path) == ["there"]


def test_a_new_project_that_can_not_be_locked_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index there is an error and no directory; --no-lock makes it all the same."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()

    with pytest.raises(BuildError, match="can't be locked"):
        make(tmp_path / "work/hits", "service")
    assert os.listdir(tmp_path / "work") == []

    assert "pyproject.toml" in make(tmp_path / "work/hits", "service", lock=False)


def test_where_no_index_has_the_runtime_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream depends on it: from an index that lacks it, and without one; a wheel is as good as a checkout."""
    (tmp_path / "index").mkdir()
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    for offline in ("0", "1"):
        monkeypatch.setenv("UV_OFFLINE", offline)
        with pytest.raises(BuildError, match="--develop PATH takes it from a checkout of underway, or from its wheel"):
            make(tmp_path / "words", "stream")
    assert not (tmp_path / "words").exists()

    wheel = tmp_path / "underway_runtime-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    make(tmp_path / "words", "stream", develop=wheel, lock=False)
    assert f'underway-runtime = {{ path = "{wheel}" }}' in (tmp_path / "words/pyproject.toml").read_text()
