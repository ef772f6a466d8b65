"""Statements that are made again, or reach what changes: descriptors, what is only said to somebody, fields of classes."""

from __future__ import annotations

import pytest

from handover_helpers import asgi
from hot_helpers import planned
from node_helpers import MakeNode

WARNS = """
import warnings
N = 1
X = [N + n for n in (1, 2)]
if X == [5]:
    warnings.warn("five")
"""
DESCRIBED = """
def one(self=0): return 1
def two(self=0): return 2
class Known:
    make = staticmethod(one)
    size = property(one)
    of = classmethod(one)
"""
KEPT = "KEPT = [Known.__dict__['make']]\n"


@pytest.mark.in_place
def test_another_descriptor_is_put_into_a_class(make: MakeNode) -> None:
    """Of another function: nobody changes one, and who looks a member up asks the class."""
    entry = planned(make(asgi(DESCRIBED)), DESCRIBED.replace("(one)", "(two)"), back=False).up[0]

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.in_place
def test_one_that_something_else_has_too_is_restart(make: MakeNode) -> None:
    """It would go on with the one before."""
    node = make(asgi(DESCRIBED + KEPT))
    entry = planned(node, (DESCRIBED + KEPT).replace("(one)", "(two)"), back=False).up[0]

    assert entry.verdict == "RESTART"
    assert "seen: web.KEPT[0]" in "\n".join(row.reason for row in entry.changes)


@pytest.mark.in_place
def test_a_statement_that_may_warn_is_in_nobodys_way(make: MakeNode) -> None:
    """It tells somebody something, and what it has made is seen."""
    entry = planned(make(asgi(WARNS)), WARNS.replace("N = 1", "N = 2"), back=False).up[0]

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.in_place
def test_one_that_may_change_what_is_warned_of_is_restart(make: MakeNode) -> None:
    """Filters are of the process."""
    filters = WARNS.replace("warn(", "simplefilter(")
    entry = planned(make(asgi(filters)), filters.replace("N = 1", "N = 2"), back=False).up[0]

    assert entry.verdict == "RESTART"
    assert "warnings.simplefilter leaves marks that are in no object" in "\n".join(row.reason for row in entry.changes)


FIELDS = """
from dataclasses import dataclass
class Base: pass
def base(): return Base
def checked(n): return n
@dataclass
class Item(base()):
    n: checked = 0
"""
TOLD = {
    "a base that hears of it": FIELDS.replace("Base: pass", "Base:\n    def __init_subclass__(cls): ..."),
    "a metaclass": FIELDS.replace("Base: pass", "Meta(type): pass\nclass Base(metaclass=Meta): pass"),
    "a decorator": FIELDS.replace("class Base", "def same(cls): return cls\nclass Base").replace(
        "@dataclass", "@same\n@dataclass"
    ),
}


@pytest.mark.in_place
def test_a_class_that_no_source_tells_the_base_of_has_compiled_nothing(make: MakeNode) -> None:
    """Where what was made shows that nothing is told of a class when it is made but its own decorator, which is known."""
    entry = planned(make(asgi(FIELDS)), FIELDS.replace("return n", "return -n"), back=False).up[0]

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.in_place
def test_one_that_something_is_told_of_may_have(make: MakeNode, kind: str) -> None:
    """By the time that a validator is there nobody knows of what."""
    node = make(asgi(TOLD[kind]))
    entry = planned(node, TOLD[kind].replace("return n", "return -n"), back=False).up[0]

    assert entry.verdict == "RESTART"
    assert "seen: web.Item.__pydantic_validator__" in "\n".join(row.reason for row in entry.changes)
