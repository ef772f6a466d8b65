"""What is built here from an sdist is the same wherever it is built, or its directory in lib says what it is."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from projects import TIMEOUT
from stages import stage_of
from underway.packages.application_entries import entry_of
from underway.release import Application
from underway.steps import lib_directories
from underway.steps.binaries import buildid
from underway.toolchain import cached_tree, interpreters
from underway.toolchain.interpreters import Interpreter
from wheels import locked_project, write_wheel

BACKEND = """
import base64, hashlib, os, subprocess, zipfile

def build_wheel(directory, *_, **__):
    files = {"native/__init__.py": "", "native-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: native\\nVersion: 1.0\\n",
             "native-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n"}
    if os.path.exists("says_where"):
        files["native/where.py"] = f"WHERE = {os.getcwd()!r}\\n"
    else:
        source = os.path.abspath("module.c")  # as CMake and meson do: the directory is in the debugging information
        subprocess.run(["gcc", "-g", "-shared", "-fPIC", "-Wl,--build-id", "-o", "module.so", source], check=True)
        files["native/module.so"] = open("module.so", "rb").read()
    with zipfile.ZipFile(os.path.join(directory, "native-1.0-py3-none-any.whl"), "w") as wheel:
        rows = []
        for path, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            wheel.writestr(path, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(content)}")
        wheel.writestr("native-1.0.dist-info/RECORD", "\\n".join([*rows, "native-1.0.dist-info/RECORD,,"]) + "\\n")
    return "native-1.0-py3-none-any.whl"
"""
PROJECT = """
[project]
name = "native"
version = "1.0"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.describe(Path(sys.executable))


def sdist(place: Path, **more: str) -> Path:
    """The sdist of a distribution with a module in C, and with more files."""
    files = {"pyproject.toml": PROJECT, "backend.py": BACKEND, "module.c": "int answer(void) { return 42; }\n", **more}
    place.mkdir(parents=True, exist_ok=True)
    path = place / "native-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {**files, "PKG-INFO": "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"native-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def built(root: Path, place: Path, python: Interpreter, monkeypatch: pytest.MonkeyPatch) -> dict[str, Application]:
    """The stage of a project, with caches that nobody has used; so it is built where nobody has built it."""
    monkeypatch.setenv("UV_CACHE_DIR", str(place / "cache of uv"))
    return stage_of(root, place, python, build_sdists=("native",))


def contents(application: Application) -> dict[str, cached_tree.File]:
    entry = entry_of(application)
    assert entry is not None
    return {path: replace(file, mtime=0) for path, file in entry.files.items()}


@pytest.mark.needs_tool("gcc", "gcc")
@pytest.mark.needs_tool("strip", "binutils")
def test_a_module_in_c_has_the_same_bytes_wherever_it_is_built(
    python: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory of the build is in what is stripped, and the build id is made of what is left."""
    root = locked_project(tmp_path / "p", [sdist(tmp_path)])

    first = built(root, tmp_path / "here", python, monkeypatch)["native"]
    second = built(root, tmp_path / "somewhere else" / "far", python, monkeypatch)["native"]

    assert contents(first) == contents(second)
    assert any(path.endswith("module.so") for path in contents(first))
    module = first.source / "native/module.so"
    code = f"import ctypes; print(ctypes.CDLL({str(module)!r}).answer())"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT).stdout == "42\n"
    )
    notes = subprocess.run(["readelf", "-n", module], capture_output=True, text=True, timeout=TIMEOUT).stdout
    assert notes.count("Build ID: ") == 1


def test_what_differs_has_another_directory(
    python: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that writes down where it is gives two of one name and version, which stand next to each other in lib."""
    root = locked_project(
        tmp_path / "p", [sdist(tmp_path, says_where="x"), write_wheel(tmp_path / "w", "odd", {"odd.py": ""})]
    )
    stages = [built(root, tmp_path / name, python, monkeypatch) for name in ("one", "other")]

    homes = [lib_directories.by_contents(stage, {}, {"native"}) for stage in stages]

    assert [[*each] for each in homes] == [["native"]] * 2
    assert homes[0]["native"].startswith("native-1.0+")
    assert homes[0] != homes[1]
    assert lib_directories.by_contents(stages[0], {}, {"native"}) == homes[0]
    shared = lib_directories.by_contents(stages[0], {"native": "odd-1.0+1234", "odd": "odd-1.0+1234"}, {"native"})
    assert shared["native"] == shared["odd"]
    assert shared["native"].startswith("odd-1.0+1234+")


@pytest.mark.needs_tool("gcc", "gcc")
def test_a_build_id_is_made_of_the_contents(tmp_path: Path) -> None:
    """In a new file, with its mode; twice is once; what has none, or is not a binary, stays as it is."""
    source = tmp_path / "m.c"
    source.write_text("int x = 1;\n")
    subprocess.run(["gcc", "-shared", "-Wl,--build-id", "-o", tmp_path / "m.so", source], check=True, timeout=TIMEOUT)
    subprocess.run(
        ["gcc", "-shared", "-Wl,--build-id=none", "-o", tmp_path / "n.so", source], check=True, timeout=TIMEOUT
    )
    linked = tmp_path / "linked.so"
    linked.hardlink_to(tmp_path / "m.so")
    before = linked.read_bytes()
    (tmp_path / "m.so").chmod(0o644)

    assert buildid.settle(tmp_path / "m.so")
    after = (tmp_path / "m.so").read_bytes()
    assert linked.read_bytes() == before != after
    assert len(before) == len(after)
    assert (tmp_path / "m.so").stat().st_mode & 0o777 == 0o644
    assert not buildid.settle(tmp_path / "m.so")
    assert not buildid.settle(tmp_path / "n.so")
    assert not buildid.settle(source)
    shutil.copy(source, tmp_path / "empty")
    (tmp_path / "empty").write_bytes(b"")
    assert not buildid.settle(tmp_path / "empty")
