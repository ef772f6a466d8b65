"""Two versions of a small application in one release, and a process of the first that becomes the second."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from code_server_helpers import (
    REPOSITORY,
    RUNTIME,
    Distribution,
    Interpreter,
    Release,
    compile_all,
    index_of,
    installed,
    make_release,
)
from fresh import differences
from once import made_once
from underway.steps.modules import list_code

TESTS = Path(__file__).parent

Test = TypeVar("Test", bound=Callable[..., object])
Sources = Mapping[str, str]
"""File -> text, in the version's one distribution."""


Ask = Callable[[str, str], tuple[Any, Any]]

PLANNED = """
import fresh, sys
from pathlib import Path
from underway.planner.worker import compare
from underway_runtime.release.instruction_json import from_json
from underway_runtime.upgrade.hot.swap import prepare
root = Path(sys.prefix).parents[1]
def side(number):
    files = sorted((root / f"lib/shop-{number}.0").rglob("*.py"))
    names = {".".join(each.relative_to(root / f"lib/shop-{number}.0").with_suffix("").parts).removesuffix(".__init__"): each
             for each in files}
    return {"root": str(root), "versions": {}, "modules": {name: ("shop", str(each.relative_to(root))) for name, each in names.items()}}
sides = side(1), side(2)
names = sorted({*sides[0]["modules"], *sides[1]["modules"]})
plan = compare({"old": sides[0], "new": sides[1], "compared": names, "up": True, "kept": [], "reset": [], "pinned": []})
assert {each["verdict"] for each in plan["changes"]} == {"HOT"}, plan["changes"]
prepared = prepare([from_json(each) for each in plan["loads"].values()], relups.version("1"), relups.version("2"))
prepared.stage_and_migrate(); prepared.swap(); assert not prepared.survivors()
told = fresh.describe("shop")
"""
"""What runs a swap from version 1 to version 2 as it is planned, all HOT."""


def everywhere(test: Test) -> Test:
    """With each Python that is installed here: the tests of a file together in the gate, each test in ``make drills``."""
    dealt: Test = pytest.mark.dealt("interpreter")(test)
    with_each: Test = pytest.mark.parametrize("interpreter", list(installed()), indirect=True)(dealt)
    return with_each


@cache
def helpers(interpreter: Interpreter) -> str:
    """The PYTHONPATH that has these helpers and the tool, compiled for an interpreter once in a run: no process of a release writes
    what it compiles."""

    def compiled(place: Path) -> None:
        for source in (TESTS, REPOSITORY / "src"):
            shutil.copytree(source, place / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        compile_all(interpreter, place)

    place = made_once(f"helpers-{interpreter.version}", compiled)
    return f"{place / TESTS.name}:{place / 'src'}"


class Become(Protocol):
    def __call__(self, old: Sources | str, new: Sources | str, script: str, *more: Sources | str) -> Any: ...


def two_versions(root: Path, interpreter: Interpreter, versions: Mapping[str, Distribution]) -> Release:
    """A release directory that has these versions of one distribution, as a build lays them out."""
    first, *others = versions
    release = make_release(root, interpreter, [versions[first]])
    for number in others:
        versions[number].install(release.lib / versions[number].directory)
        shutil.copytree(release.version, root / "releases" / number, symlinks=True)
    for number, distribution in versions.items():
        directory = release.lib / distribution.directory
        compile_all(interpreter, directory)
        index = index_of([distribution])
        index["top"]["underway_runtime"] = [RUNTIME]
        index["code"] = list_code(root, [directory], f"cpython-{interpreter.minor.replace('.', '')}")
        (root / "releases" / number / "code.index").write_text(json.dumps(index))
    return release


def becoming(place: Path, interpreter: Interpreter) -> Become:
    """``become(old, new, script)``: run a script in a process of version 1; what it assigns to ``told``.

    A version is one module, ``shop``, or files of the package ``shop``; `more` are versions 3 and on.
    """

    def become(old: Sources | str, new: Sources | str, script: str, *more: Sources | str) -> Any:
        distributions = {
            str(number): Distribution("shop", f"{number}.0", _files(sources))
            for number, sources in enumerate((old, new, *more), 1)
        }
        release = two_versions(place / "hello", interpreter, distributions)
        code = f"import relups, shop\nfrom relups import swap, done\n{textwrap.dedent(script)}"
        return release.evaluate(code, "-B", env={"PYTHONPATH": helpers(interpreter)})

    return become


def unlike_fresh(interpreter: Interpreter, root: Path, number: str, told: Any, name: str = "shop") -> list[str]:
    """Where what ``fresh.describe`` told differs from what it tells in a new process that imports the same modules."""
    release = Release(root)
    imports = f"import fresh, importlib, sys, json\nfor name in {[*told]!r}: importlib.import_module(name)\n"
    code = f"{imports}print(json.dumps(fresh.describe({name!r})))"
    python = root / "releases" / number / "bin/python"
    output = release.output("-B", "-c", code, command=str(python), env={"PYTHONPATH": helpers(interpreter)})
    return differences(told, json.loads(output))


def _files(sources: Sources | str) -> dict[str, str | bytes]:
    if isinstance(sources, str):
        return {"shop.py": textwrap.dedent(sources)}
    return {path: textwrap.dedent(text) for path, text in sources.items()}


@contextlib.contextmanager
def asking(root: Path, interpreter: Interpreter) -> Iterator[Ask]:
    """``ask(old, new)``: what a process has of a module that was planned, swapped, and undone, and what one has that imports it afresh."""
    nothing = {number: Distribution("nothing", f"{number}.0", {"nothing.py": ""}) for number in ("1", "2")}
    release = two_versions(root, interpreter, nothing)
    processes = [_server(release, number, helpers(interpreter)) for number in ("1", "2")]
    numbers = count()

    def ask(old: str, new: str) -> tuple[Any, Any]:
        task = json.dumps({"name": f"shop{next(numbers)}", "sources": [old, new]})
        answers = []
        for process in processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{task}\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline() or '"it has ended"'))
        return answers[0], answers[1]

    yield ask
    for process in processes:
        process.communicate(timeout=60)


def _server(release: Release, number: str, path: str) -> subprocess.Popen[str]:
    python = release.root / "releases" / number / "bin/python"
    return subprocess.Popen(
        [python, "-B", Path(TESTS, "swap_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": path},
    )


def check_hot(ask: Ask, old: str, new: str) -> None:
    """Every module, function, member and plain global is as in a fresh start and does the same; undone, as it was."""
    swapped, fresh = ask(textwrap.dedent(old), textwrap.dedent(new))

    assert "described" in swapped, swapped
    assert differences(swapped["calls"], fresh["calls"]) == []
    assert differences(swapped["described"], fresh["described"]) == []
    assert swapped["undone"] == []
