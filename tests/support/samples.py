"""Which cases of a test the gate runs: a seeded few that have each value of each parameter at least once."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

MARK = "sample"


def covering(cases: Sequence[Mapping[str, Any]], seed: str, names: Collection[str] = ()) -> list[int]:
    """Choose cases that together have all values of the parameters, of those that are named if any are.

    Args:
        cases: by parameter, the value in each case.
        seed: what decides between cases that add as much; the same seed chooses the same.
        names: the parameters whose values count; the others' fall as they may.

    Returns:
        The places of what was chosen, in their order.
    """
    values = [{(name, repr(case[name])) for name in names or case} for case in cases]
    order = [*range(len(cases))]
    random.Random(seed).shuffle(order)
    missing = set().union(*values)
    chosen = []
    while missing:
        best = max(order, key=lambda place: len(values[place] & missing))
        chosen.append(best)
        missing -= values[best]
    return sorted(chosen)


def left_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The cases of tests marked ``sample`` that the gate leaves out."""
    functions: dict[str, list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker(MARK) and hasattr(item, "callspec"):
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    found: list[pytest.Item] = []
    for name, cases in functions.items():
        mark = cases[0].get_closest_marker(MARK)
        assert mark is not None
        chosen = covering([case.callspec.params for case in cases], name, mark.args)
        found += [case for place, case in enumerate(cases) if place not in chosen]
    return found
