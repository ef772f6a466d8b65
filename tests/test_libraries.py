"""lib/ holds what the wheels hold, stripped, compiled and indexed, and nothing of the machine that built it."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import underway_runtime
from projects import TIMEOUT, ZSTD
from stages import stage_of, wanted_of
from test_applications import apps
from underway.errors import BuildError
from underway.packages import wheel_record
from underway.packages.applications import read_applications
from underway.packages.environment import Order, install
from underway.project.lock import Lock, read_lock
from underway.project.options import Options
from underway.release import Application, Release
from underway.steps import bytecode, libraries
from underway.steps.binaries import strip as stripping
from underway.toolchain import interpreters
from underway.toolchain.interpreters import Interpreter
from wheels import locked_project, write_wheel

Stage = dict[str, Application]

FIXTURES = Path(__file__).parent / "fixtures"
needs_strip = pytest.mark.needs_tool("strip", "binutils")


@pytest.fixture(scope="module")
def python() -> Interpreter:
    return interpreters.describe(Path(sys.executable))


@pytest.fixture(scope="module")
def lock(python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Lock:
    """tests/fixtures/locked, the distributions that it depends on, and wheels that hold all that a wheel may."""
    root = tmp_path_factory.mktemp("project")
    wheels = [
        write_wheel(
            root,
            "kit",
            {
                "kit.py": "'''doc'''\nwhere = __file__\n",
                "kit.pth": "import kit_started\n",
                "kit_started.py": "",
                "85cae__mypyc.py": "",
                "acme/2024-01/kit.py": "",
                "acme/tools/kit.py": "",
                "acme/deep/er/x.py": "",
                "regular/__init__.py": "",
                "regular/plugins/kit.py": "",
                "kit-data/notes, with a comma.txt": "",
                "kit/__pycache__/old.cpython-311.pyc": "",
                "data/share/kit/page.html": "<p>",
                "data/etc/kit.conf": "a = 1",
                "scripts/kit": "#!python\nimport kit\nprint(kit.where)\n",
            },
        ),
        write_wheel(
            root,
            "add-on",
            {
                "acme/tools/addon.py": "",
                "acme/deep/other.py": "",
                "acme/2024-01/other.py": "",
                "regular/plugins/__init__.py": "",
                "regular/plugins/addon.py": "",
                "kit/__init__.py": "",
                "a.pth": "",
                "a.start": "",
                ".hidden.pth": "",
            },
            requires=["kit"],
        ),
    ]
    locked_project(root, wheels)
    text = (root / "pylock.toml").read_text()
    (root / "pylock.toml").write_text(
        text + f'[[packages]]\nname = "locked"\ndirectory = {{ path = "{FIXTURES / "locked"}" }}\n'
    )
    real = read_lock(FIXTURES / "locked", "r", wanted_of(python))
    mine = read_lock(root, "r", wanted_of(python))
    return replace(mine, packages=(*(p for p in real.packages if p.kind == "wheel"), *mine.packages))


@pytest.fixture(scope="module")
def stage(lock: Lock, python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The finished applications of the lock."""
    return stage_of(lock, tmp_path_factory.mktemp("stage"), python)


@pytest.fixture(scope="module")
def installed(lock: Lock, python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same, in an environment as uv leaves it."""
    packages = [package for package in lock.packages if package.name in ("kit", "markupsafe", "locked")]
    site_packages = install(tmp_path_factory.mktemp("installed") / "e", Order(packages), python.executable, lock.root)
    return read_applications(site_packages, interpreters.markers(python))


def make_release(root: Path, stage: Stage, python: Interpreter, **options: Any) -> Release:
    return Release(
        name="r",
        version="1",
        path=root,
        version_path=root / "releases/1",
        applications=stage,
        interpreter_source=None,
        interpreter_version=python.version,
        boot_scripts={},
        options=Options.of(options),
    )


def assemble(release: Release) -> Release:
    for name in release.applications:
        assert libraries.copy_app(release, name) is not None
    libraries.compile_applications(release)
    libraries.write_code_index(release)
    return release


@pytest.fixture(scope="module")
def release(stage: Stage, python: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return assemble(make_release(tmp_path_factory.mktemp("release") / "r", stage, python, strip=True))


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def lib(release: Release, name: str) -> Path:
    return release.path / "lib" / f"{name}-{release.applications[name].version}"


# copying


def test_lib_holds_what_the_wheel_put_into_site_packages(release: Release) -> None:
    """Each application has one directory with its own files, its dist-info and its pycs; nothing of the installer's."""
    held = {file for file in files_of(lib(release, "kit")) if "__pycache__" not in file}

    assert sorted(path.name for path in (release.path / "lib").iterdir()) == sorted(
        f"{app.name}-{app.version}" for app in release.applications.values()
    )
    assert held == {
        *("kit.py", "kit.pth", "kit_started.py", "acme/tools/kit.py", "acme/deep/er/x.py", "regular/__init__.py"),
        *("regular/plugins/kit.py", "kit-data/notes, with a comma.txt", "85cae__mypyc.py", "acme/2024-01/kit.py"),
        *(f"kit-1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
    }
    assert not any(path.name in wheel_record.INSTALLERS_OWN for path in (release.path / "lib").rglob("*"))


def test_what_goes_into_the_prefix_is_below_the_version(release: Release) -> None:
    """Scripts, share and etc are where programs look under sys.prefix, with their modes."""
    assert files_of(release.version_path) - {"code.index"} == {
        "bin/kit",
        "bin/locked",
        "etc/kit.conf",
        "share/kit/page.html",
    }
    assert os.access(release.version_path / "bin/kit", os.X_OK)
    assert not os.access(release.version_path / "etc/kit.conf", os.X_OK)


def test_a_script_runs_where_the_release_is_moved_to(release: Release, python: Interpreter, tmp_path: Path) -> None:
    """A wheel's script starts the interpreter next to it, whatever the path."""
    moved = shutil.copytree(release.version_path, tmp_path / "moved to")
    (moved / "bin/python").symlink_to(python.executable)
    done = subprocess.run(
        [moved / "bin/kit"],
        env={"PYTHONPATH": str(lib(release, "kit")), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.stdout == f"{lib(release, 'kit')}/kit.py\n", done.stderr


def test_records_are_true(release: Release) -> None:
    """RECORD lists the files of its directory, no other, with the digest and size that each has, stripped or not."""
    for name, application in release.applications.items():
        home = lib(release, name)
        record = home / application.dist_info / "RECORD"
        listed = {entry.path: entry.digest for entry in wheel_record.read(home, application.dist_info)}

        assert set(listed) == {file for file in files_of(home) if "__pycache__" not in file}
        assert listed.pop(record.relative_to(home).as_posix()) == ""
        assert listed == {file: wheel_record.digest((home / file).read_bytes()) for file in listed}
    assert (
        f"kit.py,{listed_size(lib(release, 'kit'))}" in (lib(release, "kit") / "kit-1.0.dist-info/RECORD").read_text()
    )


def listed_size(home: Path) -> str:
    content = (home / "kit.py").read_bytes()
    return f"{wheel_record.digest(content)},{len(content)}"


def test_nothing_names_the_machine_that_built_it(release: Release, stage: Stage) -> None:
    """No file of lib/ or releases/V holds the path of the cache, of the release or of the project."""
    cache = stage["kit"].source.parents[5]
    for place in (release.path / "lib", release.version_path):
        for file in sorted(place.rglob("*")):
            content = file.read_bytes() if file.is_file() else b""
            for path in (cache, release.path, FIXTURES):
                assert str(path).encode() not in content, file


def test_other_users_may_read_everything(stage: Stage, python: Interpreter, tmp_path: Path) -> None:
    """A careful umask of the one who builds does not lock out the one who runs."""
    before = os.umask(0o077)
    try:
        release = make_release(tmp_path / "r", stage, python)
        assemble(release)
    finally:
        os.umask(before)

    for path in (tmp_path / "r/lib").rglob("*"):
        assert path.stat().st_mode & (0o055 if path.is_dir() else 0o044) == (0o055 if path.is_dir() else 0o044), path


def test_an_application_is_copied_anew(stage: Stage, python: Interpreter, tmp_path: Path) -> None:
    """What was at its place goes first; copying twice is copying once."""
    release = make_release(tmp_path / "r", stage, python)
    (lib(release, "h11")).mkdir(parents=True)
    (lib(release, "h11") / "stale.py").touch()
    libraries.copy_app(release, "h11")
    once = files_of(release.path)
    libraries.copy_app(release, "h11")

    assert files_of(release.path) == once
    assert not (lib(release, "h11") / "stale.py").exists()


def test_an_application_that_is_not_in_the_release_is_refused(release: Release) -> None:
    """copy_app and copy_code name what there is."""
    with pytest.raises(
        BuildError, match=f"'kitt' is not in the release; it has {', '.join(['add_on', *ZSTD, 'h11', 'kit'])}"
    ):
        libraries.copy_app(release, "kitt")
    with pytest.raises(BuildError, match="'kitt' is not in the release"):
        libraries.copy_code(release, "kitt", release.path / "x")


def test_an_application_without_files_is_not_copied(python: Interpreter, stage: Stage, tmp_path: Path) -> None:
    """What was not installed from a distribution has nothing to copy, and the answer says so."""
    release = replace(make_release(tmp_path / "r", stage, python), applications=apps(bare=[]))

    assert libraries.copy_app(release, "bare") is None
    assert not (tmp_path / "r").exists()


def test_code_is_copied_where_it_is_wanted(release: Release, tmp_path: Path) -> None:
    """copy_code copies what is importable and its metadata to any directory; the prefix is left alone."""
    assert libraries.copy_code(release, "kit", tmp_path / "kit") is True
    assert files_of(tmp_path / "kit") == {f for f in files_of(lib(release, "kit")) if "__pycache__" not in f}


@pytest.mark.parametrize("path", ["bin/python", "pyvenv.cfg", "manifest.json", "start.script", "launcher"])
def test_a_wheel_cannot_replace_a_file_of_the_release(python: Interpreter, tmp_path: Path, path: str) -> None:
    """What a wheel puts into the prefix must not be taken for what the boot reads."""
    site_packages = tmp_path / "stage/lib/python3.11/site-packages"
    wheel = write_wheel(tmp_path, "sly", {"sly.py": ""})
    shutil.unpack_archive(wheel, site_packages, "zip")
    (tmp_path / "stage" / path).parent.mkdir(exist_ok=True)
    (tmp_path / "stage" / path).touch()
    with (site_packages / "sly-1.0.dist-info/RECORD").open("a") as record:
        record.write(f"../../../{path},,\n")
    sly = replace(apps(sly=[])["sly"], source=site_packages, dist_info="sly-1.0.dist-info")
    release = make_release(tmp_path / "r", {"sly": sly}, python)

    with pytest.raises(BuildError, match=f"sly 1 can't be released:\n  - {path} is a file of the release itself"):
        libraries.copy_app(release, "sly")


# stripping


@needs_strip
def test_binaries_lose_their_symbols_and_still_import(release: Release, installed: Stage, python: Interpreter) -> None:
    """A compiled module gets smaller and works; the file that was installed keeps its bytes."""
    [binary] = lib(release, "markupsafe").rglob("*.so")
    original = installed["markupsafe"].source / binary.relative_to(lib(release, "markupsafe"))
    code = f"import sys; sys.path.insert(0, {str(lib(release, 'markupsafe'))!r}); import markupsafe._speedups as s; print(s.__file__)"
    command = [str(python.executable), "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)

    assert done.stdout.strip() == str(binary)
    assert binary.stat().st_size < original.stat().st_size
    [entry] = [
        entry
        for entry in wheel_record.read(installed["markupsafe"].source, installed["markupsafe"].dist_info)
        if entry.path.endswith(".so")
    ]
    assert wheel_record.digest(original.read_bytes()) == entry.digest
    assert binary.stat().st_mode & 0o777 in (0o755, 0o644)


def test_with_strip_false_every_byte_is_the_wheels(
    lock: Lock, installed: Stage, python: Interpreter, tmp_path: Path
) -> None:
    """strip = false copies, and nothing else, whether the application was finished before or not."""
    finished = stage_of(lock, tmp_path, python, strip=False)["markupsafe"]
    for number, application in enumerate((finished, installed["markupsafe"])):
        release = make_release(tmp_path / str(number), {"markupsafe": application}, python, strip=False)
        libraries.copy_app(release, "markupsafe")

        for entry in wheel_record.read(application.source, application.dist_info):
            source, target = installed["markupsafe"].source / entry.path, lib(release, "markupsafe") / entry.path
            if not entry.path.endswith("RECORD"):
                assert target.read_bytes() == source.read_bytes()


def test_what_was_only_installed_becomes_the_same(
    release: Release, installed: Stage, python: Interpreter, tmp_path: Path
) -> None:
    """An application that a step brings in from any site-packages is copied, stripped and compiled as all others are."""
    again = make_release(tmp_path / "r", {"kit": installed["kit"], "markupsafe": installed["markupsafe"]}, python)
    assemble(again)

    for name in ("kit", "markupsafe"):
        assert contents(lib(again, name)) == contents(lib(release, name))
    assert (again.version_path / "bin/kit").read_bytes() == (release.version_path / "bin/kit").read_bytes()


@needs_strip
def test_what_strip_damages_is_kept_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Stage
) -> None:
    """A binary that would not load the same way afterwards, one of another machine, or a text, is left alone."""
    [binary] = (installed["markupsafe"].source / "markupsafe").glob("*.so")
    content = binary.read_bytes()
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/strip"
    fake.write_text('#!/bin/sh\nhead -c 8000 "$4" > "$3"\n')
    fake.chmod(0o755)
    foreign = tmp_path / "foreign.so"
    foreign.write_bytes(content[:18] + b"\xf3\x7f" + content[20:])
    text = tmp_path / "text.so"
    text.write_text("not a binary")
    damaged = Path(shutil.copy(binary, tmp_path / "damaged.so"))

    assert not stripping.strip_file(foreign)
    assert not stripping.strip_file(text)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert not stripping.strip_file(damaged)
    assert damaged.read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "foreign.so", "text.so", "damaged.so"}


def test_without_binutils_nothing_is_stripped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Stage
) -> None:
    """The tool is not required: then binaries ship as they are."""
    [binary] = (installed["markupsafe"].source / "markupsafe").glob("*.so")
    copy = Path(shutil.copy(binary, tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert stripping.strip(tmp_path) is False
    assert copy.read_bytes() == binary.read_bytes()


@needs_strip
def test_strip_can_be_called_on_any_directory(tmp_path: Path, installed: Stage) -> None:
    """A step strips a directory or a file by itself; the RECORD there stays true, and False as option does nothing."""
    info = installed["markupsafe"].dist_info
    for name in ("markupsafe", info):
        shutil.copytree(installed["markupsafe"].source / name, tmp_path / "m" / name)

    assert stripping.strip(tmp_path / "m", False) is False
    assert stripping.strip(tmp_path / "m", {"docstrings": True}) is True
    assert stripping.strip(tmp_path / "m", True) is False
    for row in (tmp_path / "m" / info / "RECORD").read_text().splitlines():
        path, digest, _ = row.split(",")
        if digest:
            assert digest == wheel_record.digest((tmp_path / "m" / path).read_bytes())


# compiling


def code_of(source: Path) -> CodeType:
    content = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    code = marshal.loads(content[16:])
    assert isinstance(code, CodeType)
    return code


def nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def test_every_module_is_compiled_and_never_checked(release: Release) -> None:
    """Each module that compiles has an unchecked, hash-based pyc next to it; what doesn't is passed over."""
    template = lib(release, "locked") / "locked/templates/module.py"
    for source in (release.path / "lib").rglob("*.py"):
        pyc = Path(importlib.util.cache_from_source(str(source)))
        assert pyc.exists() == (source != template)
        if pyc.exists():
            header = pyc.read_bytes()[:16]
            assert header[:4] == importlib.util.MAGIC_NUMBER
            assert int.from_bytes(header[4:8], "little") == 0b01
            assert header[8:] == importlib.util.source_hash(source.read_bytes())
            assert pyc.stat().st_mode & 0o444 == 0o444


def test_a_pyc_names_its_source_relative_to_the_release(release: Release) -> None:
    """No place on the build host is in the code; what imports it fills in where the source is."""
    source = lib(release, "locked") / "locked/service.py"

    assert {code.co_filename for code in nested(code_of(source))} == {"lib/locked-1.2.0/locked/service.py"}


def test_docstrings_and_asserts_stay(release: Release) -> None:
    """strip = true takes no docstring, no assert and no line number."""
    [_, checked] = functions(lib(release, "locked") / "locked/service.py")

    assert checked["checked"].__doc__ == "The docstring of checked."
    with pytest.raises(AssertionError, match="asserts stay"):
        checked["checked"](0)


def functions(source: Path) -> tuple[CodeType, dict[str, Any]]:
    code = code_of(source)
    names: dict[str, Any] = {"__name__": "m"}
    exec(code, names)
    return code, names


@pytest.mark.parametrize("cached", [True, False])
def test_docstrings_go_when_asked_and_nothing_else_does(
    lock: Lock, installed: Stage, python: Interpreter, tmp_path: Path, cached: bool
) -> None:
    """strip = { docstrings = true }: no docstring in the pyc, while asserts, lines and the source stay."""
    strip = {"docstrings": True}
    locked = stage_of(lock, tmp_path, python, strip=strip)["locked"] if cached else installed["locked"]
    release = make_release(tmp_path / "r", {"locked": locked}, python, strip=strip)
    libraries.copy_app(release, "locked")
    libraries.compile_applications(release)
    code, names = functions(lib(release, "locked") / "locked/service.py")

    assert not any("docstring" in str(constant) for inner in nested(code) for constant in inner.co_consts)
    assert names["Service"].__doc__ is None
    with pytest.raises(AssertionError, match="asserts stay") as caught:
        names["checked"](0)
    assert caught.traceback[-1].lineno == 6  # counted from 0: the line in the source
    assert "The docstring" in (lib(release, "locked") / "locked/service.py").read_text()


@pytest.mark.parametrize(
    ("source", "same_as"),
    [
        ("'doc'\nfrom __future__ import annotations\nx = 1", "\nfrom __future__ import annotations\nx = 1"),
        ("def f():\n 'doc'\n", "def f():\n pass\n"),
        ("class C:\n 'doc'\n 'more'\n x = 1", "class C:\n\n\n x = 1"),
        (
            "async def f(x):\n 'doc'\n assert x, 'why'\n return 'kept'",
            "async def f(x):\n\n assert x, 'why'\n return 'kept'",
        ),
        ("x = 'kept'\n'not a docstring'", "x = 'kept'\n'not a docstring'"),
        ("def f():\n f'{1}'\n", "def f():\n f'{1}'\n"),
    ],
)
def test_only_docstrings_are_docstrings(tmp_path: Path, source: str, same_as: str) -> None:
    """What is left compiles to what the source would without them, with the same line numbers."""
    for name, text, keep in (("a", source, False), ("b", same_as, True)):
        (tmp_path / f"{name}.py").write_text(text + "\n")
        assert bytecode.compile_file(str(tmp_path), f"{name}.py", docstrings=keep)
    one, other = (code_of(tmp_path / f"{name}.py") for name in "ab")

    assert [shape(code) for code in nested(one)] == [shape(code) for code in nested(other)]


def test_what_stays_in_memory_is_bare(tmp_path: Path) -> None:
    """The keeper's modules have no docstrings and no annotations of functions, in every release; each that is named is there."""
    runtime = Path(underway_runtime.__file__).parent.parent
    source = "'doc'\nclass C:\n x: int\n def f(self, a: int, *b: str) -> int:\n  'doc'\n  return a\n"
    for name in ("underway_runtime/keeper/m.py", "m.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
        assert bytecode.compile_file(str(tmp_path), name)

    _, bare = functions(tmp_path / "underway_runtime/keeper/m.py")
    _, other = functions(tmp_path / "m.py")

    assert (bare["C"].f.__doc__, bare["C"].f.__annotations__, [*bare["C"].__annotations__]) == (None, {}, ["x"])
    assert (other["C"].f.__doc__, [*other["C"].f.__annotations__]) == ("doc", ["a", "b", "return"])
    assert all((runtime / path).exists() for path in bytecode.BARE)


def shape(code: CodeType) -> tuple[object, ...]:
    constants = {str(c) for c in code.co_consts if not isinstance(c, CodeType) and c is not None}
    lines = {line for *_, line in code.co_lines() if line}
    return code.co_qualname, code.co_firstlineno, constants, lines - {code.co_firstlineno}


def test_the_same_source_gives_the_same_bytes(tmp_path: Path, python: Interpreter) -> None:
    """A pyc does not depend on what its process compiled or imported before, nor on the hash seed or the place."""
    source = (
        "class Info:\n def make(self): return 'Info.make', ('Info.make', 'x.y'), 'x.y'\n"
        "def f(x): return x in {'225', '226', 'Info.make'}\n"
        "def g(x): return x in {'225', '226', 'Info.make'} or x in {1, 2.0} or x in {True, 2}\n"
        "def h(*, kw=('a', 'b')): return [kw for kw in ('a', 'b')]\n"
    )
    noise = "import sys, asyncio, email.message, typing\nkeep = [sys.intern(s) for s in ('225', 'Info.make', 'x.y', 'kw')]\n"
    found = set()
    for number, before in enumerate(("", noise, noise + "import inspect, argparse, ftplib\n")):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "m.py").write_text(source)
        program = (
            f"{before}import sys; sys.path.insert(0, {str(Path(bytecode.__file__).parent)!r})\nimport bytecode\n"
            f"bytecode.compile_file({str(root)!r}, 'm.py')"
        )
        subprocess.run([python.executable, "-B", "-c", program], timeout=TIMEOUT, check=True)
        found.add(b"".join(path.read_bytes() for path in root.rglob("*.pyc")))

    assert len(found) == 1


def test_settled_code_is_the_same_code(release: Release) -> None:
    """What makes the bytes the same changes nothing of what the code does."""
    source = (lib(release, "typing_extensions") / "typing_extensions.py").read_text()
    code = compile(source, "x", "exec", dont_inherit=True)

    assert bytecode.settled(code) == code


def test_an_interpreter_that_fails_is_told(installed: Stage, tmp_path: Path, python: Interpreter) -> None:
    """A release whose interpreter does not run says so with its last line."""
    release = make_release(tmp_path / "r", {"kit": installed["kit"]}, python)
    libraries.copy_app(release, "kit")
    place = release.path / f"python-{python.version}/bin/python{python.minor}"
    place.parent.mkdir(parents=True)
    place.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    place.chmod(0o755)

    with pytest.raises(BuildError, match="can't be compiled: out of order"):
        libraries.compile_applications(release)


# the index


def test_the_index_says_where_everything_is(release: Release) -> None:
    """Top-level names, packages below them that several applications share, distributions and what Python reads when it starts."""
    index = json.loads((release.version_path / "code.index").read_text())
    home = {name: lib(release, name).name for name in release.applications}

    assert index["format"] == 1
    assert {name: index["top"][name] for name in ("acme", "h11", "markupsafe", "regular", "typing_extensions")} == {
        "acme": ["add_on-1.0", "kit-1.0"],
        "h11": [home["h11"]],
        "markupsafe": [home["markupsafe"]],
        "regular": ["kit-1.0", "add_on-1.0"],  # the one with __init__ first
        "typing_extensions": [home["typing_extensions"]],
    }
    assert index["top"]["kit"] == ["add_on-1.0", "kit-1.0"]  # a package hides a module, as in one directory
    assert index["top"]["85cae__mypyc"] == ["kit-1.0"]  # a name that is not an identifier can be imported all the same
    assert index["shared"] == {
        "acme.2024-01": ["add_on-1.0", "kit-1.0"],
        "acme.deep": ["add_on-1.0", "kit-1.0"],
        "acme.tools": ["add_on-1.0", "kit-1.0"],
        "regular.plugins": ["add_on-1.0", "kit-1.0"],
    }
    assert index["distributions"]["typing-extensions"] == (
        f"{home['typing_extensions']}/{home['typing_extensions']}.dist-info"
    )
    assert set(index["distributions"]) == {name.replace("_", "-") for name in home}
    assert index["pth"] == ["add_on-1.0/a.pth", "add_on-1.0/a.start", "kit-1.0/kit.pth"]
    assert "add_on-1.0.dist-info" not in index["top"]
    assert "__pycache__" not in index["top"]


def contents(root: Path) -> dict[str, bytes]:
    return {file: (root / file).read_bytes() for file in files_of(root)}


def test_two_builds_are_equal(stage: Stage, python: Interpreter, release: Release, tmp_path: Path) -> None:
    """The same stage gives the same files with the same bytes, wherever it is assembled."""
    again = assemble(make_release(tmp_path / "elsewhere" / "r", stage, python, strip=True))

    assert contents(again.path) == contents(release.path)
