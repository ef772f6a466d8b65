"""Which cases of a test the gate runs: a seeded few that have each value of each parameter at least once, here or in its file."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import pytest

MARK = "sample"
DEALT = "dealt"
EACH = 2
"""How many values of a parameter that is dealt out one test has."""


def covering(
    cases: Sequence[Mapping[str, Any]], seed: str, names: Collection[str] = (), most: int | None = None
) -> list[int]:
    """Choose cases that together have all values of the parameters, of those that are named if any are.

    Args:
        cases: by parameter, the value in each case.
        seed: what decides between cases that add as much; the same seed chooses the same.
        names: the parameters whose values count; the others' fall as they may.
        most: how many of these are enough.

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
    return sorted(random.Random(seed).sample(chosen, min(len(chosen), most or len(chosen))))


def deal(rows: int, values: Sequence[str], seed: str) -> list[set[str]]:
    """Deal values out, `EACH` to a row, each as often as the others or once more; all to all where the rows are too few."""
    if rows * EACH < len(values):
        return [{*values}] * rows
    chance, times, dealt = random.Random(seed), Counter[str](), []
    for _ in range(rows):
        order = sorted(chance.sample(values, len(values)), key=times.__getitem__)
        dealt.append({*order[:EACH]})
        times.update(order[:EACH])
    return dealt


def left_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The cases of tests marked ``sample`` or ``dealt`` that the gate leaves out; who is skipped anyway takes nobody's place."""
    cases = [item for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    skipped = [case for case in cases if case.get_closest_marker("skip")]
    others = [case for case in cases if not case.get_closest_marker("skip")]
    return [*_not_sampled(skipped), *_not_sampled(others), *_not_dealt(others)]


def is_sampled(item: pytest.Item) -> bool:
    """Whether the gate may leave an item out."""
    return any(item.get_closest_marker(mark) for mark in (MARK, DEALT))


def _not_sampled(items: Iterable[pytest.Function]) -> list[pytest.Function]:
    functions: dict[str, list[pytest.Function]] = {}
    for item in items:
        if item.get_closest_marker(MARK):
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    found: list[pytest.Function] = []
    for name, cases in functions.items():
        mark = cases[0].get_closest_marker(MARK)
        assert mark is not None
        chosen = covering([case.callspec.params for case in cases], name, mark.args, **mark.kwargs)
        found += [case for place, case in enumerate(cases) if place not in chosen]
    return found


def _not_dealt(items: Iterable[pytest.Function]) -> list[pytest.Function]:
    files: dict[tuple[str, str], dict[Hashable, list[pytest.Function]]] = {}
    for item in items:
        mark = item.get_closest_marker(DEALT)
        if mark is None or item.get_closest_marker(MARK):
            continue
        [name] = mark.args
        file, _, function = item.nodeid.partition("[")[0].partition("::")
        row = (function, *(repr(value) for other, value in item.callspec.params.items() if other != name))
        files.setdefault((file, name), {}).setdefault(row, []).append(item)
    found: list[pytest.Function] = []
    for (file, name), rows in files.items():
        values = sorted({str(case.callspec.params[name]) for cases in rows.values() for case in cases})
        for cases, dealt in zip(rows.values(), deal(len(rows), values, file), strict=True):
            found += [case for case in cases if str(case.callspec.params[name]) not in dealt]
    return found
