"""Files that no version has brought: one word about all of them, and none against a version but for those that are loaded instead of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import code_server_helpers as helpers
from archive_helpers import make_tree
from code_server_helpers import Distribution, Make
from node_helpers import MakeNode, finish, read_until, recorder
from underway_runtime.release import strays, verify
from underway_runtime.release.strays import Judge
from versions import add_sealed

release_make = helpers.make
interpreter = helpers.interpreter

HELLO = "lib/hello-1.0/hello"
LISTED = [
    f"{HELLO}/__init__.py",
    f"{HELLO}/__pycache__/__init__.cpython-311.pyc",
    f"{HELLO}/greet.py",
    f"{HELLO}/fast.cpython-311-x86_64-linux-gnu.so",
    f"{HELLO}/old.pyc",
    f"{HELLO}/plugins/one.py",
    f"{HELLO}/static/style.css",
    "lib/hello-1.0/hello-1.0.dist-info/METADATA",
    "python-3.11.7/lib/python3.11/json/__init__.py",
    "python-3.11.7/lib/python3.11/abc.py",
    "releases/1.0/env.sh",
]


@pytest.mark.parametrize(
    ("path", "instead_of"),
    [
        (f"{HELLO}/greet.cpython-311-x86_64-linux-gnu.so", f"{HELLO}/greet.py"),
        (f"{HELLO}/greet.abi3.so", f"{HELLO}/greet.py"),
        (f"{HELLO}/greet.so", f"{HELLO}/greet.py"),
        (f"{HELLO}/greet/__init__.py", f"{HELLO}/greet.py"),
        (f"{HELLO}/fast/__init__.pyc", f"{HELLO}/fast.cpython-311-x86_64-linux-gnu.so"),
        (f"{HELLO}/old.py", f"{HELLO}/old.pyc"),
        (f"{HELLO}/__init__.abi3.so", f"{HELLO}/__init__.py"),
        (f"{HELLO}/plugins/__init__.py", f"{HELLO}/plugins"),
        ("python-3.11.7/lib/python3.11/requests.py", "any other requests"),
        ("python-3.11.7/lib/python3.11/sitecustomize.py", "any other sitecustomize"),
        ("python-3.11.7/lib/python3.11/lib-dynload/_added.so", "any other _added"),
        ("python-3.11.7/lib/python3.11/requests/api.py", "any other requests"),
        ("releases/1.0/gates.json", "nothing, by what starts the version"),
        ("releases/1.0/bin/sh", "nothing, by what starts the version"),
        ("releases/1.0/lib/python3.11/site-packages/evil.pth", "nothing, by what starts the version"),
        ("lib/hello-1.0/hello-1.0.dist-info/entry_points.txt", "nothing, by what looks for plugins in"),
    ],
)
def test_what_is_loaded_instead_of_a_version_s_own_is_damage(tmp_path: Path, path: str, instead_of: str) -> None:
    """A stray that the import system or the launcher takes before what the version has speaks against it."""
    stray = Judge(tmp_path, LISTED).stray(path)
    assert stray.instead_of.startswith(instead_of)
    [line] = strays.damage([stray])
    assert line.startswith(f"{path} is in no manifest, and would be ")
    assert strays.notes([stray]) == []


@pytest.mark.parametrize(
    ("path", "is_code"),
    [
        ("lib/hello-1.0/upload.txt", False),
        (f"{HELLO}/static/admin/css/base.css", False),
        (f"{HELLO}/greet.py~", False),
        (f"{HELLO}/.greet.py.swp", False),
        (f"{HELLO}/#greet.py#", False),
        (f"{HELLO}/greet.py.orig", False),
        (f"{HELLO}/greet.pyc", False),
        (f"{HELLO}/__pycache__/greet.cpython-311.pyc", False),
        (f"{HELLO}/__pycache__/greet.cpython-311.opt-1.pyc", False),
        (f"{HELLO}/__pycache__/gone.cpython-311.pyc", False),
        (f"{HELLO}/my-script.py", True),
        ("lib/hello-1.0/top.py", False),
        ("lib/evil-1/evil.py", False),
        ("lib/evil", False),
        ("releases/1.0/env.sh~", False),
        ("releases/1.0/notes.txt", False),
        ("python-9/bin/python", False),
        ("releases/1.0/bin/tool~", False),
        ("python-3.11.7/lib/python3.11/site-packages/x/y.txt", False),
        ("python-3.11.7/lib/python3.11/notes.txt", False),
        (f"{HELLO}/migrations/0002_auto.py", True),
        (f"{HELLO}/migrations/m0002.py", True),
        (f"{HELLO}/added.py", True),
        (f"{HELLO}/added.cpython-311-x86_64-linux-gnu.so", True),
        (f"{HELLO}/plugins/two.py", True),
        (f"{HELLO}/plugins/__pycache__/two.cpython-311.pyc", False),
    ],
)
def test_what_is_beside_a_version_is_not_damage(tmp_path: Path, path: str, is_code: bool) -> None:
    """Any other stray is worth a word; one that could be imported is named as that."""
    stray = Judge(tmp_path, LISTED).stray(path)
    assert (stray.instead_of, stray.is_code) == ("", is_code)


@pytest.mark.parametrize(("flags", "is_damage"), [(1, True), (3, False), (0, False)])
def test_a_pyc_that_is_not_compared_with_its_source_is_damage(tmp_path: Path, flags: int, is_damage: bool) -> None:
    """Of a module whose own pyc the version has not brought; one that is compared stands for its source and nothing else."""
    place = tmp_path / HELLO / "__pycache__"
    place.mkdir(parents=True)
    (place / "greet.cpython-311.pyc").write_bytes(importlib.util.MAGIC_NUMBER + bytes([flags, 0, 0, 0]) + bytes(8))
    stray = Judge(tmp_path, LISTED).stray(f"{HELLO}/__pycache__/greet.cpython-311.pyc")
    assert bool(stray.instead_of) is is_damage


@pytest.mark.sample
@pytest.mark.parametrize(
    ("added", "name"),
    [
        ("greet.abi3.so", "greet"),
        ("greet/__init__.py", "greet"),
        ("plugins/__init__.py", "plugins"),
    ],
)
def test_the_import_system_does_take_these_first(release_make: Make, added: str, name: str) -> None:
    """What is called damage here is what a process of the release would load, where the index does not list its directory."""
    release = release_make(
        Distribution("hello", "1.0", {"hello/__init__.py": "", "hello/greet.py": "", "hello/plugins/one.py": ""})
    )
    index = json.loads((release.version / "code.index").read_text())
    listed = [str(path.relative_to(release.root)) for path in release.lib.rglob("*") if path.is_file()]
    before = release.evaluate(f"import hello, importlib.util as u; told = u.find_spec('hello.{name}').origin")
    place = release.lib / "hello-1.0/hello" / added
    place.parent.mkdir(exist_ok=True)
    place.write_text("")
    after = release.evaluate(f"import hello, importlib.util as u; told = u.find_spec('hello.{name}').origin")
    stray = Judge(release.root, listed).stray(str(place.relative_to(release.root)))
    assert stray.instead_of
    assert (before != after) or "code" in index


def test_a_directory_of_strays_is_one_line(tmp_path: Path) -> None:
    """However many there are; `verify` names twenty to people and all to programs, and says with its status that they are there."""
    make_tree(tmp_path / "hello")
    place = tmp_path / "hello/lib/hello-1.0/hello/static"
    place.mkdir()
    for number in range(513):
        (place / f"{number:03}.css").touch()
    (place.parent / "added.py").touch()
    found = verify.look(tmp_path / "hello", "1.0")
    assert (found.problems, found.damage) == ([], [])
    first, second = found.notes
    assert first.startswith("514 files are here that no version has brought: lib/hello-1.0/hello/added.py, ")
    assert second == "of these 1 could be imported: lib/hello-1.0/hello/added.py"
    assert len(verify.verify(tmp_path / "hello", "1.0")) == 514
    shown = verify.lines(verify.report(tmp_path / "hello", "1.0"))
    assert len(shown) == 22
    assert shown[0] == "version 1.0 has all of its files, and there are others that no version has brought:"
    assert verify.run(tmp_path / "hello", "1.0") == 1


Do = Callable[[Path], object]


@pytest.mark.sample(most=2)
@pytest.mark.parametrize(
    "do",
    [
        pytest.param(lambda place: open(os.fsencode(place) + b"/\xff\x1b]0;owned\x07", "w").close(), id="odd name"),
        pytest.param(lambda place: os.mkfifo(place / "pipe"), id="FIFO"),
        pytest.param(lambda place: (place / "upload.txt").write_text("x"), id="file", marks=pytest.mark.drill),
        pytest.param(lambda place: (place / "one.py~").write_text("x"), id="backup", marks=pytest.mark.drill),
        pytest.param(lambda place: (place / "one.pyc").write_text("x"), id="pyc"),
        pytest.param(lambda place: (place / "data").symlink_to("/etc"), id="link", marks=pytest.mark.drill),
        pytest.param(lambda place: shutil.copytree(place, place / "static"), id="tree"),
        pytest.param(
            lambda place: (place / "empty/inner").mkdir(parents=True), id="directories", marks=pytest.mark.drill
        ),
    ],
)
def test_strays_of_the_running_version_block_no_upgrade(make: MakeNode, do: Do) -> None:
    """`check` says it in a line, `upgrade` goes through, and the version that comes is not called damaged."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    for place in ("lib/one-1.0", "lib/one-2.0"):
        do(node.root / place)
    checked = json.loads(node.run("check", "2", "--json").stdout)
    assert checked["reasons"] == []
    assert len([note for note in checked["notes"] if "no version has brought" in note]) <= 1
    said = node.run("check", "2").stdout + node.run("verify").stdout
    assert said.replace("\n", "").isprintable()
    done = node.run("upgrade", "2")
    assert done.returncode == 0, done.stderr
    again = node.run("unpack", "2")
    assert again.returncode == 0, again.stderr
    node.run("stop")
    finish(process)


def test_a_stray_that_is_loaded_first_refuses_an_upgrade(make: MakeNode) -> None:
    """With the file, and what it would be loaded instead of."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    (node.root / "lib/one-2.0/one").mkdir()
    (node.root / "lib/one-2.0/one/__init__.py").write_text("")
    done = node.run("check", "2")
    assert done.returncode == 6
    assert (
        "lib/one-2.0/one/__init__.py is in no manifest, and would be loaded instead of lib/one-2.0/one.py"
        in done.stdout
    )
