"""The stage holds what the lock names, from what it names, and nothing of the machine that made it."""

from __future__ import annotations

import importlib.metadata
import os
import select
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from projects import TIMEOUT, ZSTD, uv
from stages import stage_of, wanted_of
from underway.errors import BuildError, ProjectError
from underway.packages import wheel_record
from underway.packages.environment import add_runtime
from underway.project.lock import read_lock
from underway.release import Application
from underway.toolchain import interpreters
from underway.toolchain import uv as uv_module
from underway.toolchain.interpreters import Interpreter
from wheels import locked_project, write_wheel

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = REPOSITORY / "tests/fixtures"
OURS = importlib.metadata.version("underway-runtime")

Stage = dict[str, Application]


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.describe(Path(sys.executable))


@pytest.fixture(scope="module")
def stage(python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """tests/fixtures/locked, a real project with real dependencies, in an environment full of traps."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PROJECT", "UV_PYTHON", "UV_CONSTRAINT", "PYTHONPATH"):
            patch.setenv(name, "/nowhere")
        for name in ("UV_NO_BUILD", "UV_NO_BINARY", "UV_SYSTEM_PYTHON", "UV_COMPILE_BYTECODE", "UV_FROZEN"):
            patch.setenv(name, "1")
        patch.setenv("UV_LINK_MODE", "symlink")
        directory = tmp_path_factory.mktemp("stage")
        applications = stage_of(FIXTURES / "locked", directory, python)
    shutil.rmtree(directory / "stage")
    return applications


def run(python: Interpreter, stage: Stage, code: str) -> str:
    """What code prints that finds the applications of a stage."""
    places = [str(app.source) for app in stage.values()]
    program = f"import sys; sys.path[:0] = {places!r}\n{code}"
    command = [str(python.executable), "-I", "-S", "-B", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout.strip()


def test_the_stage_holds_what_the_lock_names_and_the_runtime(stage: Stage) -> None:
    """The dependencies, the project, the runtime of this tool; no pip, no group, no extra."""
    assert list(stage) == [
        *ZSTD,
        "h11",
        "locked",
        "markupsafe",
        "typing_extensions",
        "underway_runtime",
    ]
    assert stage["locked"].version == "1.2.0"
    assert [name for name, app in stage.items() if app.local] == ["locked"]


def test_what_is_staged_runs(stage: Stage, python: Interpreter) -> None:
    """What was installed for an interpreter is imported by it."""
    assert run(python, stage, "import locked; locked.main()") == "&lt;locked&gt;"


def test_nothing_is_shared_with_the_cache_of_uv(stage: Stage) -> None:
    """Files are copies: what happens to a release must not reach uv's cache, nor the other way round."""
    markupsafe = stage["markupsafe"]
    files = [entry.path for entry in wheel_record.read(markupsafe.source, markupsafe.dist_info)]

    assert {os.lstat(markupsafe.source / file).st_nlink for file in files} == {1}


def test_scripts_can_be_moved(stage: Stage) -> None:
    """A script finds the interpreter next to itself and names no path of this machine."""
    tree = stage["locked"].source.parents[2]
    script = (tree / "bin/locked").read_text()

    assert str(tree.parents[2]) not in script
    assert """"$(dirname -- "$(realpath -- "$0")")"/'python'""" in script


def test_the_runtime_is_installed_as_its_wheel_would_be(stage: Stage, python: Interpreter) -> None:
    """The added runtime imports, names its version, and its RECORD is true."""
    runtime = stage["underway_runtime"]
    for entry in wheel_record.read(runtime.source, runtime.dist_info):
        if not entry.path.endswith("RECORD"):
            assert entry.digest == wheel_record.digest((runtime.source / entry.path).read_bytes())
    code = "import importlib.metadata as m, underway_runtime as r; print(m.version('underway-runtime'), r.__file__)"

    assert run(python, stage, code) == f"{OURS} {runtime.source}/underway_runtime/__init__.py"


def test_the_runtime_is_the_same_from_a_wheel_as_from_a_checkout(tmp_path: Path) -> None:
    """A tool that was installed from wheels and one that runs from its checkout add the same bytes."""
    installed, found, ours = tmp_path / "installed", tmp_path / "found", tmp_path / "ours"
    for place in (found, ours):
        place.mkdir()
    runtime = shutil.copytree(
        REPOSITORY / "runtime", tmp_path / "runtime", ignore=shutil.ignore_patterns("__pycache__", ".*")
    )
    uv("build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(runtime), cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    uv(
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(installed),
        str(wheel),
        cwd=tmp_path,
    )
    program = (
        f"import sys; sys.path[:0] = [{str(installed)!r}, {str(REPOSITORY / 'src')!r}]\n"
        f"from pathlib import Path; import underway.packages.environment as e; e.add_runtime(Path({str(found)!r}))\n"
        "import underway_runtime; print(underway_runtime.__file__)"
    )
    add_runtime(ours)

    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=True
    )

    assert done.stdout.startswith(str(installed))
    assert contents(found) == contents(ours)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_runtime_of_another_version_is_refused_before_anything_is_made(python: Interpreter, tmp_path: Path) -> None:
    """A lock that holds another runtime than the tool's is told the one command that aligns them."""
    wheel = write_wheel(tmp_path / "w", "underway-runtime", {"underway_runtime/__init__.py": ""}, version="0.0.9")
    lock = read_lock(locked_project(tmp_path / "p", [wheel]), "r", wanted_of(python))

    with pytest.raises(ProjectError, match=r"holds underway-runtime 0\.0\.9, .*: `uvx underway==0\.0\.9 release`"):
        stage_of(lock, tmp_path, python)
    with pytest.raises(ProjectError, match=f": `uv lock --upgrade-package underway-runtime=={OURS}`"):
        stage_of(replace(lock, path=Path("uv.lock")), tmp_path, python)
    assert not (tmp_path / "stage").exists()


def test_the_command_that_aligns_a_lock_does_so(tmp_path: Path) -> None:
    """`uv lock --upgrade-package NAME==VERSION` moves one package of a lock to that version, back as well as forth."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["h11"]\n[tool.uv]\npackage = false\n'
    )
    uv("lock", "--quiet", cwd=tmp_path)
    uv("lock", "--quiet", "--upgrade-package", "h11==0.14.0", cwd=tmp_path)

    assert 'name = "h11"\nversion = "0.14.0"' in (tmp_path / "uv.lock").read_text()


def test_the_runtime_of_the_lock_is_used_where_it_has_one(python: Interpreter, tmp_path: Path) -> None:
    """A lock with the tool's own version of the runtime ships that, untouched."""
    wheel = write_wheel(tmp_path / "w", "underway-runtime", {"underway_runtime/__init__.py": "mine = 1"}, version=OURS)
    stage = stage_of(locked_project(tmp_path / "p", [wheel]), tmp_path, python)

    assert (stage["underway_runtime"].source / "underway_runtime/__init__.py").read_text() == "mine = 1"


def test_a_wheel_with_another_hash_is_not_installed(python: Interpreter, tmp_path: Path) -> None:
    """What is not byte for byte what was locked stops the build, in uv's own words."""
    wheel = write_wheel(tmp_path / "w", "odd", {"odd.py": ""})
    root = locked_project(tmp_path / "p", [wheel])
    write_wheel(tmp_path / "w", "odd", {"odd.py": "changed = 1"})

    with pytest.raises(BuildError, match=r"(?s)can't install what the lock names; uv said:.*Hash mismatch for `odd"):
        stage_of(root, tmp_path, python)


def test_an_sdist_is_built_from_the_locked_hash_when_it_is_named(python: Interpreter, tmp_path: Path) -> None:
    """build-sdists builds here, next to wheels that are only installed; another hash stops that too."""
    uv(
        "build",
        "--quiet",
        "--sdist",
        "--out-dir",
        str(tmp_path),
        str(FIXTURES / "workspace/members/store"),
        cwd=tmp_path,
    )
    sdist = tmp_path / "store-0.1.0.tar.gz"
    root = locked_project(tmp_path / "p", [sdist, write_wheel(tmp_path / "w", "odd", {"odd.py": ""})])
    stage = stage_of(root, tmp_path / "one", python, build_sdists=("store",))

    assert list(stage) == [*ZSTD, "odd", "store", "underway_runtime"]
    assert not stage["store"].local
    with sdist.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BuildError, match="Hash mismatch"):
        stage_of(root, tmp_path / "two", python, build_sdists=("store",))


def test_a_project_that_does_not_build_says_why(python: Interpreter, tmp_path: Path) -> None:
    """The last lines of the build backend are in the error."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (tmp_path / "backend.py").write_text("def build_wheel(*_, **__):\n    raise RuntimeError('no compiler today')\n")
    (tmp_path / "pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "t"\npackages = []\n')

    with pytest.raises(BuildError, match=r"(?s)does not build; uv said:.*RuntimeError: no compiler today"):
        stage_of(tmp_path, tmp_path / "stage", python)


def test_a_workspace_is_built_member_by_member(python: Interpreter, tmp_path: Path) -> None:
    """Each member that ships is built and installed as a wheel of its own; the sources hold nothing new."""
    before = contents(FIXTURES / "workspace")
    lock = read_lock(FIXTURES / "workspace", "r", replace(wanted_of(python), members=("web", "tools")))
    said: list[str] = []
    stage = stage_of(lock, tmp_path, python, report=said.append)

    assert list(stage) == [*ZSTD, "h11", "iniconfig", "store", "underway_runtime", "web"]
    assert [name for name, app in stage.items() if app.local] == ["store", "web"]
    assert stage["web"].requires == ("store",)
    assert said == ["building store", "building web", "installing 2 wheels"]
    assert contents(FIXTURES / "workspace") == before


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose wheels get in each other's way: left, right and third, of which right requires left."""
    root = tmp_path_factory.mktemp("rivals")
    script = "#!python\nprint({!r})\n"

    def files(name: str) -> dict[str, str]:
        return {
            "shared/__init__.py": "",
            "shared/who.py": f"name = {name!r}",
            f"shared/{name}.py": "",
            "common.py": f"name = {name!r}",
            "LICENSE.txt": name,
            "scripts/who": script.format(name),
        }

    wheels = [
        write_wheel(root / "w", "left", files("left")),
        write_wheel(root / "w", "right", files("right"), requires=["left"]),
        write_wheel(root / "w", "third", {"shared/__init__.py": "", "shared/who.py": "name = 'left'"}),
    ]
    return locked_project(root / "p", wheels)


def test_files_that_differ_between_applications_are_all_named(
    rivals: Path, python: Interpreter, tmp_path: Path
) -> None:
    """Every module that two applications hold differently is in one error, with the option that decides; equal ones aren't."""
    with pytest.raises(ProjectError) as caught:
        stage_of(rivals, tmp_path, python)

    assert str(caught.value).splitlines() == [
        "applications differ in what is imported under one name:",
        "  - common.py is not the same in left and right",
        "  - shared/who.py is not the same in left and right and third",
        'remove one of them, or say whose file is used, as in prefer = ["right"]',
    ]


@pytest.mark.parametrize(("prefer", "winner"), [("left", "left"), ("Right", "right")])
def test_the_preferred_application_wins(
    rivals: Path, python: Interpreter, tmp_path: Path, prefer: str, winner: str
) -> None:
    """With prefer its bytes are the ones that ship, and no other has or lists the file; equal bytes stay with each."""
    stage = stage_of(rivals, tmp_path, python, (prefer,))
    lists = {
        name: {entry.path for entry in wheel_record.read(app.source, app.dist_info)} for name, app in stage.items()
    }

    assert (stage[winner].source / "common.py").read_text() == f"name = {winner!r}"
    assert (stage[winner].source / "shared/who.py").read_text() == f"name = {winner!r}"
    assert [name for name, files in lists.items() if "common.py" in files] == [winner]
    third = ["third"] if winner == "left" else []  # it holds the same bytes as left
    assert [name for name, files in lists.items() if "shared/who.py" in files] == [winner, *third]
    assert [name for name, files in lists.items() if "shared/__init__.py" in files] == ["left", "right", "third"]
    assert [name for name, app in stage.items() if (app.source.parents[2] / "bin/who").exists()] == [winner]
    for app in stage.values():
        there = {path.relative_to(app.source).as_posix() for path in app.source.rglob("*") if path.is_file()}
        assert {path for path in there if "__pycache__" not in path} == lists[app.name]
        for entry in wheel_record.read(app.source, app.dist_info):
            if not entry.path.endswith("RECORD"):
                assert entry.digest == wheel_record.digest((app.source / entry.path).read_bytes())


def test_a_script_of_two_applications_is_that_of_the_one_that_requires_the_other(
    python: Interpreter, tmp_path: Path
) -> None:
    """What is not a module is not worth an error: as when installed in order, who depends on the other comes last."""
    wheels = [
        write_wheel(tmp_path / "w", "zebra", {"scripts/who": "#!python\n'zebra'", "NOTES": "zebra"}),
        write_wheel(tmp_path / "w", "ant", {"scripts/who": "#!python\n'ant'", "NOTES": "ant"}, requires=["zebra"]),
    ]
    stage = stage_of(locked_project(tmp_path / "p", wheels), tmp_path, python)
    ant, zebra = stage["ant"].source, stage["zebra"].source

    assert "ant" in (ant.parents[2] / "bin/who").read_text()
    assert (ant / "NOTES").read_text() == "ant"
    assert not (zebra.parents[2] / "bin/who").exists()
    assert not (zebra / "NOTES").exists()
    assert "NOTES" not in {entry.path for entry in wheel_record.read(zebra, stage["zebra"].dist_info)}


def test_prefer_names_applications_of_the_release(rivals: Path, python: Interpreter, tmp_path: Path) -> None:
    """A name that is not there is refused, with the likely one."""
    with pytest.raises(ProjectError, match="'rihgt'; did you mean 'right'"):
        stage_of(rivals, tmp_path, python, ("left", "rihgt"))


@pytest.mark.parametrize("written", ["/etc/passwd", "../../../../outside", "../../../lib64/linked"])
def test_a_record_that_leaves_the_environment_is_refused(stage: Stage, tmp_path: Path, written: str) -> None:
    """Absolute paths, paths out of the prefix and symbolic links are refused, naming the distribution."""
    site_packages = tmp_path / "lib/python3.11/site-packages"
    shutil.copytree(stage["h11"].source, site_packages)
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "lib/linked").touch()
    info = stage["h11"].dist_info
    with (site_packages / info / "RECORD").open("a") as record:
        record.write(f"{written},,\n")

    with pytest.raises(BuildError, match=r"h11-.* can't be released") as caught:
        wheel_record.read(site_packages, info)
    assert written in str(caught.value)


def test_a_symbolic_link_in_a_record_is_refused(stage: Stage, tmp_path: Path) -> None:
    """A file of a distribution is a file: a link would bring what it points to on the build host."""
    site_packages = tmp_path / "lib/python3.11/site-packages"
    shutil.copytree(stage["h11"].source, site_packages)
    info = stage["h11"].dist_info
    (site_packages / "h11/_util.py").unlink()
    (site_packages / "h11/_util.py").symlink_to("/etc/hostname")

    with pytest.raises(BuildError, match=r"'h11/_util\.py' is, or is reached by, a symbolic link"):
        wheel_record.read(site_packages, info)


def test_a_file_that_is_gone_is_missed(stage: Stage, tmp_path: Path) -> None:
    """A distribution whose files are not all there can't be released."""
    site_packages = tmp_path / "lib/python3.11/site-packages"
    shutil.copytree(stage["h11"].source, site_packages)
    (site_packages / "h11/_util.py").unlink()

    with pytest.raises(BuildError, match=r"'h11/_util\.py' is not there"):
        wheel_record.read(site_packages, stage["h11"].dist_info)


def test_an_interrupted_build_leaves_no_process_behind(tmp_path: Path) -> None:
    """Ctrl-C while a build backend runs ends uv and all that it started."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    note = tmp_path / "pid"
    (tmp_path / "backend.py").write_text(
        "import os, signal\n"
        "def build_wheel(*_, **__):\n"
        f"    with open({str(note)!r}, 'w') as note:\n        note.write(str(os.getpid()))\n"
        f"    os.kill({os.getpid()}, signal.SIGINT)\n    signal.pause()\n"
    )

    with (
        pytest.raises(KeyboardInterrupt),
        uv_module.building(tmp_path, tmp_path / "out", Path(sys.executable)) as wheel,
    ):
        wheel()
    assert ends(int(note.read_text()))


def ends(pid: int) -> bool:
    """Whether a process that was sent SIGKILL is gone, or is as soon as the system gets to it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(process):
        return bool(select.select([process], [], [], TIMEOUT)[0])


def test_a_command_of_uv_has_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes too long is ended, and says so: here it reads what nobody writes."""
    os.mkfifo(tmp_path / "requirements.txt")
    monkeypatch.setattr(uv_module, "TIMEOUT", 0.2)

    with pytest.raises(BuildError, match="was ended after 0 seconds"):
        uv_module.install_pinned(tmp_path / "environment", tmp_path / "requirements.txt", tmp_path)


def test_the_installers_own_files_are_left_out(stage: Stage) -> None:
    """INSTALLER, REQUESTED and the notes of uv tell of this machine; no application lists them."""
    listed = {Path(entry.path).name for app in stage.values() for entry in wheel_record.read(app.source, app.dist_info)}

    assert not listed & set(wheel_record.INSTALLERS_OWN)
    assert {"METADATA", "RECORD", "WHEEL", "entry_points.txt"} <= listed
