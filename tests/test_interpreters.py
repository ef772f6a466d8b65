"""Which interpreter a release is built with: found on this machine, described by itself, refused with all reasons."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.tags import sys_tags

from underway.errors import BuildError, ProjectError
from underway.toolchain.interpreters import Interpreter, describe, find, markers, problems, tags

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def running() -> Interpreter:
    """The base of the interpreter that runs the tests."""
    return describe(Path(sys.executable))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: Interpreter) -> Path:
    """A project on a machine where only the interpreter that runs the tests is on PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / f"python{MINOR}").symlink_to(running.executable)
    monkeypatch.setenv("PATH", f"{place}:{tmp_path / 'pyenv' / 'shims'}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    monkeypatch.delenv("UV_PYTHON", raising=False)
    root = tmp_path / "work" / "project"
    root.mkdir(parents=True)
    return root


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def virtual_environment(base: Interpreter, place: Path, how: str) -> Path:
    """The interpreter of a new virtual environment."""
    command = [str(base.executable), "-m", "venv", "--without-pip", how, str(place)]
    subprocess.run(command, check=True, timeout=60)
    return place / "bin" / "python"


def test_an_interpreter_describes_itself(running: Interpreter) -> None:
    """What is recorded is what the interpreter itself would say."""
    assert running.version == platform.python_version()
    assert running.minor == MINOR
    assert running.implementation == "cpython"
    assert running.platform == sysconfig.get_platform()
    assert running.multiarch == (sysconfig.get_config_var("MULTIARCH") or "")
    assert running.ext_suffix == sysconfig.get_config_var("EXT_SUFFIX")
    assert running.libc == platform.libc_ver()
    assert running.base_prefix == Path(sys.base_prefix).resolve()
    assert running.stdlib == Path(os.__file__).parent.resolve()
    assert running.optimized == ("--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""))


def test_its_markers_and_tags_are_those_that_packaging_computes_in_it(running: Interpreter) -> None:
    """A lock is read for the release's interpreter, with its environment and its tags, best first."""
    assert markers(running) == dict(default_environment())
    assert tags(running) == tuple(sys_tags())


@pytest.mark.parametrize("how", ["--symlinks", "--copies"])
def test_a_virtual_environment_is_resolved_to_its_base(tmp_path: Path, running: Interpreter, how: str) -> None:
    """A release is never made from the copy or link in a virtual environment."""
    python = virtual_environment(running, tmp_path / "venv", how)

    assert describe(python) == running


def test_a_virtual_environment_of_copies_is_not_of_whatever_python3_is(tmp_path: Path, running: Interpreter) -> None:
    """Where several versions are installed in one place, the base is the one of the same version."""
    python = virtual_environment(running, tmp_path / "venv", "--copies")
    home = tmp_path / "home"
    script(home / "python3.99", "exit 1")
    for name, target in (("python", "python3.99"), ("python3", "python3.99"), (f"python{MINOR}", running.executable)):
        (home / name).symlink_to(target)
    (tmp_path / "venv/pyvenv.cfg").write_text(f"home = {home}\n")

    assert describe(python).executable == running.executable


def test_a_shim_is_resolved_to_what_it_starts(tmp_path: Path, running: Interpreter) -> None:
    """A script that execs an interpreter, as pyenv's do, stands for that interpreter."""
    shim = script(tmp_path / "with space" / "python3", f'exec "{running.executable}" "$@"')

    assert describe(shim) == running


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 0", "does not answer as a Python does"),
        ("echo '{}'", "does not answer as a Python does"),
        ("echo 'pyenv: python3.9: command not found' >&2; exit 127", "127.*pyenv: python3.9: command not found"),
    ],
)
def test_what_is_no_interpreter_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The first line that it said on stderr is passed on."""
    with pytest.raises(BuildError, match=said):
        describe(script(tmp_path / "python3", text))


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(BuildError, match=f"{tmp_path}/none can't be run"):
        describe(tmp_path / "none")


def test_asking_an_interpreter_writes_nothing(tmp_path: Path, running: Interpreter) -> None:
    """Not even pycs next to a module that it imports."""
    import packaging

    here = Path(packaging.__file__).parent
    before = {path: path.stat().st_mtime_ns for path in (running.stdlib, here) for path in path.rglob("*.pyc")}

    describe(running.executable)

    assert {path: path.stat().st_mtime_ns for path in (running.stdlib, here) for path in path.rglob("*.pyc")} == before


def test_without_a_wish_the_running_interpreter_is_taken(project: Path, running: Interpreter) -> None:
    """requires-python allows it, so there is nothing to look for."""
    assert find(None, project, f">={MINOR}") == running
    assert find(None, project, None) == running


@pytest.mark.parametrize("request_", [MINOR, f"cpython@{MINOR}", f"python{MINOR}", f">={MINOR}"])
def test_an_interpreter_is_asked_for_as_uv_names_it(project: Path, running: Interpreter, request_: str) -> None:
    """The option takes versions, ranges, and names on PATH."""
    assert find(request_, project, None) == running


def test_an_interpreter_is_asked_for_by_path(project: Path, running: Interpreter) -> None:
    """A path may be relative to the project, and may be that of an environment."""
    virtual_environment(running, project / ".venv", "--symlinks")

    assert find(str(running.executable), project, None) == running
    assert find(".venv/bin/python", project, None) == running
    assert find("./.venv", project, None) == running


def test_the_nearest_python_version_file_counts(project: Path, running: Interpreter) -> None:
    """One in the project hides one above it; comments and further lines do not count."""
    (project.parent / ".python-version").write_text("3.7\n")
    (project / ".python-version").write_text(f"# pinned\n\n{MINOR}\n3.8\n")

    assert find(None, project, None) == running


def test_a_python_version_file_above_the_project_counts(project: Path) -> None:
    """As pyenv and uv read it; the error says which file it was."""
    (project.parent / ".python-version").write_text("3.7\n")

    with pytest.raises(BuildError, match=rf"no interpreter '3.7', which {project.parent}/.python-version names"):
        find(None, project, None)


def test_the_option_comes_before_the_python_version_file(project: Path, running: Interpreter) -> None:
    """What is asked for by name wins over what is pinned."""
    (project / ".python-version").write_text("3.7\n")

    assert find(MINOR, project, None) == running


def test_what_is_not_installed_is_refused_with_what_is(project: Path, running: Interpreter, tmp_path: Path) -> None:
    """The error lists this machine's interpreters and where they were looked for, and not what each shim said."""
    script(project.parents[1] / "pyenv" / "shims" / "python3.9", "echo pyenv: no >&2; exit 127")

    with pytest.raises(BuildError) as refusal:
        find("3.9", project, None)

    assert str(refusal.value).splitlines() == [
        "there is no interpreter '3.9', which was asked for",
        "this machine has:",
        f"  - cpython {running.version}: {running.executable}",
        "looked at:",
        f"  - {tmp_path / 'none'}",
        f"  - {tmp_path / 'bin'}",
        "install Python 3.11, 3.12, 3.13, 3.14 or 3.15, as by `uv python install 3.15`, or name one by its path with --python",
    ]


def test_a_version_that_pyenv_has_and_has_not_selected_is_found(project: Path, running: Interpreter) -> None:
    """pyenv's shims fail for all but the selected versions; its installations are looked at instead."""
    pyenv = project.parents[1] / "pyenv"
    (project.parents[1] / "bin" / f"python{MINOR}").unlink()
    script(pyenv / "shims" / f"python{MINOR}", "exit 127")
    installed = pyenv / "versions" / running.version / "bin" / f"python{MINOR}"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(running.executable)

    assert find(MINOR, project, None) == running


def test_where_the_running_one_may_not_be_used_another_is_looked_for(project: Path, running: Interpreter) -> None:
    """requires-python decides, and what can't be is said with the reason and the list."""
    with pytest.raises(BuildError) as refusal:
        find(None, project, f">={MINOR},!={running.version}")

    assert f"it is Python {running.version}; the project's requires-python is" in str(refusal.value)
    assert f"cpython {running.version}: {running.executable}" in str(refusal.value)


def test_one_that_requires_python_allows_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running interpreter is left for another one of this machine."""
    others = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python3.1[123]"))
    other = next((path for path in others if path.name != f"python{MINOR}"), None)
    if other is None:
        pytest.skip(f"not installed: an interpreter of another version than {MINOR}")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{other.parent}")

    assert find(None, project, f"=={other.name.removeprefix('python')}.*").executable == other.resolve()


def test_asked_for_and_outside_requires_python_is_refused(project: Path, running: Interpreter) -> None:
    """The project says both; the developer must decide."""
    allowed = next(minor for minor in ("3.11", "3.12") if minor != MINOR)

    with pytest.raises(ProjectError, match=rf"which was asked for as '{MINOR}', can't be used") as refusal:
        find(MINOR, project, f"=={allowed}.*")

    assert f"it is Python {running.version}; the project's requires-python is '=={allowed}.*'" in str(refusal.value)


@pytest.mark.parametrize(
    ("requires_python", "said"),
    [
        (
            ">=3.16",
            "allows none of the versions that a release runs: 3.11, 3.12, 3.13, 3.14 or 3.15; later ones are not",
        ),
        ("<3.11", "allows none of the versions that a release runs"),
        ("3.11 or so", "is not a set of versions; write it like '>=3.11'"),
    ],
)
def test_a_requires_python_that_nothing_satisfies_is_refused(project: Path, requires_python: str, said: str) -> None:
    """That is said at once, whatever is installed."""
    with pytest.raises(ProjectError, match=said):
        find(None, project, requires_python)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"platform": "macosx-14.0-arm64", "libc": None}, "macosx-14.0-arm64; .* Linux with glibc only"),
        ({"libc": None}, r"not glibc \(musl\?\)"),
        ({"implementation": "pypy"}, "it is pypy; a release runs CPython"),
        ({"version": "3.10.13"}, "it is Python 3.10.13, which is too old; a release runs 3.11, 3.12,"),
        ({"version": "3.16.0rc2"}, "it is Python 3.16.0rc2, which is not supported yet; a release runs"),
        ({"version": "3.15.0b1+"}, "it is Python 3.15.0b1\\+, a preview"),
        ({"free_threaded": True}, "a free-threaded build, which is not supported yet"),
    ],
)
def test_what_a_release_can_not_be_made_with_is_refused(running: Interpreter, change: Any, said: str) -> None:
    """Each with its own reason, and only that."""
    assert problems(running) == []

    (reason,) = problems(replace(running, **change))

    assert re.search(said, reason)


def test_all_reasons_are_given_at_once(running: Interpreter) -> None:
    """Nobody learns the second reason only after mending the first."""
    hopeless = replace(running, implementation="pypy", version="3.10.1", libc=None)

    assert len(problems(hopeless, ">=3.11")) == 4
