"""What the planner takes from the picture in a release, instead of importing it."""

from __future__ import annotations

import argparse
import ast
import asyncio.taskgroups
import dataclasses
import json
import sys
import typing
from dataclasses import replace
from pathlib import Path

import pytest

from pictures import NAME, imported, picture_of
from projects import build, underway
from underway.planner import source
from underway.planner.trial.stored import is_quiet
from underway_runtime.observation import columns, encoded
from underway_runtime.observation.canonical import canonical
from underway_runtime.observation.compare import compare
from underway_runtime.observation.encoded import Document, Observation
from underway_runtime.observation.node import Flag
from underway_runtime.observation.picture import take
from wheels import locked_project, write_wheel

SOURCE = """
class Holder: pass
HOLDER = Holder()
HOLDER.inner = ["noise"]
QUIET = {"a": [1]}
"""


def document(*path: str, flag: int) -> Document:
    """The picture of a module in which what is at a path is noise."""
    picture = picture_of(SOURCE, keep=False)
    number = picture.at((NAME, *path))
    assert number is not None
    nodes = list(picture.nodes)
    nodes[number] = nodes[number]._replace(flags=flag)
    return encoded.document(Observation(replace(picture, nodes=nodes)))


@pytest.mark.parametrize("flag", [Flag.NOISE, Flag.UNSETTLED])
def test_what_differs_by_itself_is_found_wherever_it_can_be_reached(flag: int) -> None:
    """One node of noise below a module, and a second import has to tell what else is; a module without is quiet."""
    assert not is_quiet(document(".HOLDER", ".inner", "[0]", flag=flag), [NAME])
    assert is_quiet(encoded.document(Observation(picture_of(SOURCE, keep=False))), [NAME])


def test_a_module_that_is_not_in_the_picture_is_not_quiet() -> None:
    """Of what the build could not import nothing is known."""
    assert not is_quiet(encoded.document(Observation(picture_of(SOURCE, keep=False))), [NAME, "other"])


def test_what_stands_in_another_module_is_not_entered() -> None:
    """As in a trial: a class of another module is told by its name, and what that module holds is nothing to this one."""
    picture = {
        "python": "3",
        "texts": ["builtins.module", "builtins.type", "t", "a", "b:C", "", ".C", ".x", "b"],
        "types": [0, 0, 1, 2],
        "names": [3, 8, 4, 5],
        "flags": [0, 0, 0, Flag.NOISE],
        "edges": [1, 1, 1, 0],
        "labels": [6, 6, 7],
        "targets": [2, 1, 1],
        "modules": [["a", 0], ["b", 1]],
    }
    assert is_quiet(picture, ["a"])
    assert not is_quiet(picture, ["a", "b"])


SHOP = "import bench_desk\nLIMIT = {limit}\nAPP = bench_desk.register(LIMIT)\ndef main() -> None: ...\n"
DESK = "import bench_shelf\ndef register(limit):\n    {act}\n    return [limit]\n"


def release(place: Path, limit: int, act: str) -> Path:
    """A release whose application gives a value to a library, which may give it to another."""
    wheels = [
        write_wheel(place / "w", "bench_shelf", {"bench_shelf.py": "KEPT = []\n"}),
        write_wheel(place / "w", "bench_desk", {"bench_desk.py": DESK.format(act=act)}, requires=["bench_shelf"]),
        write_wheel(place / "w", "bench_shop", {"bench_shop.py": SHOP.format(limit=limit)}, version=str(limit)),
    ]
    project = locked_project(place / "shop", wheels)
    text = (project / "pyproject.toml").read_text().replace('version = "1"', f'version = "{limit}"')
    tool = 'main = "bench_shop:main"\ninclude-interpreter = false\nsteps = ["underway.steps:assemble"]\n'
    (project / "pyproject.toml").write_text(f"{text}\n[tool.underway]\n{tool}")
    return build(project, "--path", place / "release")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        pytest.param("bench_shelf.KEPT.append(limit)", "RESTART", id="another library keeps it"),
        pytest.param("bench_shelf.KEPT.append(1)", "HOT", id="nobody else keeps it"),
    ],
)
@pytest.mark.in_place
def test_a_library_that_a_library_has_told_counts(tmp_path: Path, act: str, verdict: str) -> None:
    """What holds a copy of what changes is compared, though no name of the application leads there."""
    old, new = (release(tmp_path / str(limit), limit, act) for limit in (7, 8))
    planned = json.loads(underway("plan", old, new, "--json", cwd=tmp_path).stdout)

    assert planned["verdict"] == verdict, planned
    assert ("bench_shelf.KEPT" in json.dumps(planned)) == (verdict == "RESTART")


HOLDERS = {
    "held_a": "V = {value}; L = [{value}, 5]; N = 7\ndef f(): return {value}",
    "held_b": "from held_a import *; from held_a import f as g; O = {{'k': L}}",
    "held_c": "from held_a import V, f; W = (V, [V]); N = 7",
    "held_d": "from held_a import N; X = {value} + 1\nclass C: y = {value}",
    "held_e": "from held_d import C; M = 7",
}
"""Modules that hold values, code and what holds these, of one another."""


@pytest.mark.parametrize("changed", ["", *HOLDERS])
def test_where_values_differ_is_told_as_by_the_walk(changed: str) -> None:
    """Where only values and code do: a value at each path, an object at the shortest."""
    documents = []
    for version in (1, 2):
        for name, text in HOLDERS.items():
            imported(text.format(value=f"'{name} {version if name == changed else 1}'").replace("' + 1", "' * 2"), name)
        documents.append(encoded.document(Observation(canonical(take(HOLDERS)))))
    for name in HOLDERS:
        del sys.modules[name]
    one, other = (encoded.of_document(document).picture for document in documents)

    told = columns.paths_of_other_values(*documents)

    assert told is not None
    assert sorted(map(tuple, told)) == sorted(difference.path for difference in compare(one, other))
    assert bool(told) == (changed not in ("", "held_b", "held_c", "held_e"))


def test_more_than_values_takes_the_walk() -> None:
    """An element more, and numbers of nodes say nothing any longer."""
    documents = [encoded.document(Observation(picture_of(source, keep=False))) for source in ("A = [1]", "A = [1, 2]")]

    assert columns.paths_of_other_values(*documents) is None


def test_trees_are_gone_over_as_python_does_it() -> None:
    """All nodes below one, and right below each, in the same order, of any source."""
    for module in (ast, argparse, asyncio.taskgroups, dataclasses, typing):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))

        assert list(source.walk(tree)) == list(ast.walk(tree))
        assert all(source.children(node) == list(ast.iter_child_nodes(node)) for node in ast.walk(tree))
