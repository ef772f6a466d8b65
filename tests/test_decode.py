"""Data from outside becomes the value that its type says, or everything that is wrong with it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underway_runtime.release.decode import Choice, Invalid, Reader, Rule, content_of, decode, problems_of


def even(text: Any) -> int:
    """The number in a text; an odd one is refused."""
    if not isinstance(text, str) or int(text) % 2:
        raise ValueError(f"{text} is odd")
    return int(text)


@dataclass(frozen=True)
class Room:
    name: str
    seats: Annotated[int, Rule("a number of seats", lambda seats: seats > 0)] = 1


@dataclass(frozen=True)
class House:
    rooms: tuple[Room, ...] = ()
    colour: Literal["red", "blue"] = "red"
    height: float = 1.0
    owner: str | None = None
    numbers: list[Annotated[int, Reader(even)]] = field(default_factory=list)
    weights: Mapping[str, float] = field(default_factory=dict)
    front_door: bool = field(default=True, metadata={"key": "front-door"})
    anything: Any = None

    def __post_init__(self) -> None:
        if self.height > 100:
            raise ValueError(f"{self.height:g} m is too high")


def test_data_becomes_the_value_that_its_type_says() -> None:
    """Nested, with the defaults of what is not given, numbers as floats where they are to be, and keys by their own names."""
    given = {
        "rooms": [{"name": "hall", "seats": 2}, {"name": "loft"}],
        "height": 3,
        "numbers": ["2", "4"],
        "weights": {"roof": 1},
        "front-door": False,
        "anything": [{}],
    }

    house = decode(House, given)

    assert house == House(
        (Room("hall", 2), Room("loft")),
        height=3.0,
        numbers=[2, 4],
        weights={"roof": 1.0},
        front_door=False,
        anything=[{}],
    )
    assert type(house.height) is float
    assert decode(House, {}) == House()


def test_all_that_is_wrong_is_told_with_its_place() -> None:
    """Unknown keys with the one that was meant, missing ones, wrong types and values, and what a reader refuses."""
    given = {
        "rooms": [{"seats": 2}, {"name": "loft", "seats": 0}, {"name": 1, "saets": 2}, 7],
        "color": "red",
        "colour": "green",
        "height": True,
        "numbers": ["2", "3", "x"],
        "weights": {"roof": "heavy"},
        "front_door": 1,
    }

    assert [str(problem) for problem in problems_of(House, given, ("house",))] == [
        "unknown key 'house.color'; did you mean 'colour'?",
        "unknown key 'house.front_door'; did you mean 'front-door'?",
        "house.rooms.0.name is missing; it must be str",
        "house.rooms.1.seats is 0; it must be a number of seats",
        "unknown key 'house.rooms.2.saets'; did you mean 'seats'?",
        "house.rooms.2.name is 1; it must be str",
        "house.rooms.3 is 7; it must be Room",
        'house.colour is \'green\'; it must be one of "red", "blue"',
        "house.height is True; it must be float",
        "house.numbers.1: 3 is odd",
        "house.numbers.2: invalid literal for int() with base 10: 'x'",
        "house.weights.roof is 'heavy'; it must be float",
    ]
    assert list(map(str, problems_of(House, {"height": 101}))) == ["101 m is too high"]


def test_keys_of_a_newer_version_may_be_passed_over() -> None:
    """In a file whose writer may be newer than its reader; nested ones too."""
    given = {"rooms": [{"name": "hall", "lights": 3}], "garden": True}

    assert decode(House, given, ignore_unknown=True) == House((Room("hall"),))
    with pytest.raises(Invalid, match=r"'garden'.*'rooms.0.lights'"):
        decode(House, given)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "it is not an object"),
        ({}, "it has no 'format'"),
        ({"format": 2}, "its format is 2; this runtime reads format 1"),
    ],
)
def test_a_file_of_another_format_is_refused(document: Any, reason: str) -> None:
    """Before anything else of it is looked at."""
    assert content_of({"format": 1, "name": "x"}, 1) == {"name": "x"}
    with pytest.raises(ValueError, match=reason):
        content_of(document, 1)


keys = st.sampled_from(
    ["rooms", "colour", "height", "owner", "numbers", "weights", "front-door", "name", "seats", "other"]
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@given(plain)
def test_any_data_is_a_value_or_has_problems(data: Any) -> None:
    """Never anything else, and each problem has its words."""
    if problems := problems_of(House, data):
        assert all(map(str, problems))
    else:
        assert isinstance(decode(House, data), House)


@dataclass(frozen=True)
class Garden:
    trees: int


def room_or_garden(table: Any) -> type[Room | Garden]:
    if not isinstance(table, Mapping) or {"name", "trees"}.isdisjoint(table):
        raise ValueError(f"{table!r} is neither a room nor a garden")
    return Room if "name" in table else Garden


@dataclass(frozen=True)
class Estate:
    parts: tuple[Annotated[Room | Garden, Choice(room_or_garden)], ...]


def test_a_table_says_which_dataclass_it_is() -> None:
    """What is wrong with each has its path; one that is none of them is told as such."""
    assert decode(Estate, {"parts": [{"name": "hall"}, {"trees": 3}]}) == Estate((Room("hall"), Garden(3)))

    with pytest.raises(Invalid) as caught:
        decode(Estate, {"parts": [{"name": 1}, {"trees": 3, "ponds": 1}, {}]})

    assert [str(problem) for problem in caught.value.problems] == [
        "parts.0.name is 1; it must be str",
        "unknown key 'parts.1.ponds'; there are trees",
        "parts.2: {} is neither a room nor a garden",
    ]
