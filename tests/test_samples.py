"""What the gate leaves out of the cases of a test, and what it never does."""

from __future__ import annotations

import itertools
from typing import Any

from samples import covering, deal

PRODUCT: list[dict[str, Any]] = [
    {"how": how, "what": what, "where": where} for how, what, where in itertools.product("abc", range(8), [None, ""])
]


def test_a_sample_has_each_value_of_each_parameter() -> None:
    """And no more cases than it takes."""
    chosen = [PRODUCT[place] for place in covering(PRODUCT, "any")]
    for name in ("how", "what", "where"):
        assert {case[name] for case in chosen} == {case[name] for case in PRODUCT}
    assert len(chosen) == 8


def test_a_sample_of_named_parameters_has_each_of_their_values() -> None:
    """Whatever values the others have."""
    assert sorted(PRODUCT[place]["how"] for place in covering(PRODUCT, "any", ["how"])) == ["a", "b", "c"]


def test_a_sample_is_the_same_for_a_seed_and_differs_between_seeds() -> None:
    """So workers agree, a failure can be had again, and tests of one shape do not all leave out the same."""
    assert covering(PRODUCT, "one") == covering(PRODUCT, "one")
    assert len({tuple(covering(PRODUCT, str(seed))) for seed in range(20)}) > 1


def test_one_parameter_and_one_case_leave_nothing_out() -> None:
    """Each value is a case of its own."""
    assert covering([{"how": [each]} for each in range(9)], "any") == [*range(9)]
    assert covering([{"how": 1}], "any") == [0]


def test_a_sample_may_have_a_bound() -> None:
    """Then it is so many of those that would be chosen, by the same seed the same."""
    few = covering(PRODUCT, "any", most=3)
    assert len(few) == 3
    assert {*few} < {*covering(PRODUCT, "any")}
    assert few == covering(PRODUCT, "any", most=3)
    assert covering(PRODUCT, "any", most=99) == covering(PRODUCT, "any")


def test_what_is_dealt_has_each_value_as_often() -> None:
    """Two to a row, which differ; by a seed; and where the rows are too few for all values, each has them all."""
    values = ["3.11", "3.12", "3.13", "3.14", "3.15"]
    dealt = deal(10, values, "any")
    assert {len(row) for row in dealt} == {2}
    assert {sum(value in row for row in dealt) for value in values} == {4}
    assert dealt == deal(10, values, "any") != deal(10, values, "another")
    assert deal(2, values, "any") == [{*values}] * 2
    assert deal(1, values[:1], "any") == [{"3.11"}]
