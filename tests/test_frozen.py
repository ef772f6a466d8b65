"""Values that don't change, next to those that `dataclasses` makes."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from underway_runtime.frozen import Frozen


class Point(Frozen):
    """The same as `AsDataclass`."""

    x: int
    secret: str = field(default="s", repr=False)
    names: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class AsDataclass:
    """What a point is to be like."""

    x: int
    secret: str = field(default="s", repr=False)
    names: list[str] = field(default_factory=list, compare=False)


class Named(Frozen, kw_only=True):
    """Given by name; with a bound."""

    low: int = 0
    high: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Wider(Named, kw_only=True):
    """One more, which has no default."""

    unit: str


GIVEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, "t", ["n"]), {}),
    ((), {"secret": "u", "x": 2}),
    ((), {}),
    ((1,), {"x": 1}),
    ((1, "t", [], 4), {}),
    ((1,), {"y": 2}),
]


@pytest.mark.parametrize(("values", "named"), GIVEN)
def test_it_is_made_as_a_dataclass_is(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """The same is taken, with the same content, and the same refused; the error lists the fields and shows no value."""
    kind: Any = Point
    try:
        expected = AsDataclass(*values, **named)
    except TypeError:
        with pytest.raises(TypeError, match=r"^Point is made of x, secret, names; it was given \d in order[, xy]*$"):
            kind(*values, **named)
    else:
        point = kind(*values, **named)
        assert asdict(expected) == asdict(point)
        assert repr(expected).removeprefix("AsDataclass") == repr(point).removeprefix("Point")
        assert hash(expected) == hash(point)


def test_it_does_not_change() -> None:
    """Nothing is set or deleted, whether there is a field of that name or not."""
    point: Any = Point(1)

    for name in ("x", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(point, name, 2)
        with pytest.raises(FrozenInstanceError):
            delattr(point, name)


def test_it_is_equal_where_what_is_compared_is() -> None:
    """Equal values of one class are, and are one key; those of another class are not."""
    assert Point(1, names=["a"]) == Point(1)
    assert {Point(1): "one"}[Point(1)] == "one"
    assert Point(1) != Point(2)
    assert Point(1) != AsDataclass(1)


def test_each_has_a_default_of_its_own() -> None:
    """What a factory makes is not shared."""
    assert Point(1).names is not Point(1).names


def test_dataclasses_knows_it() -> None:
    """`replace`, `fields` and `match` do with it what they do with theirs."""
    assert [name.name for name in fields(Point)] == [name.name for name in fields(AsDataclass)]
    assert replace(Point(1, "t"), x=2) == Point(2, "t")
    match Point(3):
        case Point(x, "s"):
            assert x == 3
        case _:
            pytest.fail("it does not match")
    assert dataclasses.is_dataclass(Point)


def test_fields_by_name_are_inherited_and_checked() -> None:
    """A subclass adds to those of its base, takes none in order, and what does not go together is refused."""
    assert (Wider(unit="m").high, Wider(unit="m", high=3).high) == (1, 3)
    wider: Any = Wider
    for values, named in (((), {}), ((), {"unit": "m", "hihg": 1}), (("m",), {"unit": "m"})):
        with pytest.raises(TypeError, match=f"Wider is made of low, high, unit; it was given {len(values)} in order"):
            wider(*values, **named)
    with pytest.raises(ValueError, match="low is above high"):
        replace(Wider(unit="m"), low=2)
