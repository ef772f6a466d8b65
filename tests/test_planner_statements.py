"""Statements of a module that reach what changes: what they say to somebody leaves no marks."""

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
