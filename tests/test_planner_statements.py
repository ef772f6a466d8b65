"""Statements that are made again, or reach what changes: of descriptors, and of what is only said to somebody."""

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
