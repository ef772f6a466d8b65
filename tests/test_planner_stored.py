"""What the planner takes from the picture in a release, instead of importing it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pictures import NAME, picture_of
from underway.planner.stored import is_quiet
from underway_runtime.observation import encoded
from underway_runtime.observation.encoded import Document, Observation
from underway_runtime.observation.node import Flag

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
