"""What a function in a cache remembers is let go of where it is what the function makes, and where nobody else has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, HttpUrl, SecretStr

from underway_runtime.upgrade.hot import remembered
from underway_runtime.upgrade.hot.holders import Belonging


class Model(BaseModel):
    """Of pydantic."""

    size: int = 2
    key: SecretStr = SecretStr("none")
    home: HttpUrl = HttpUrl("http://a.example")
    names: list[str] = ["a"]


class Plain:
    """Of nobody."""

    def __init__(self) -> None:
        self.size = 2
        self.names = {"a", "b"}
        self.place = Path("/srv")


CACHES: list[Any] = [functools.lru_cache, functools.lru_cache(maxsize=1), functools.cache]


def making(kind: Callable[[], Any]) -> Callable[[], Any]:
    """A function that makes one."""

    def make() -> Any:
        return kind()

    return make


def problems(function: Any) -> list[str]:
    """What is in the way of letting go of what it remembers."""
    return [*remembered.problems(function, "m.f", Belonging(remembered.leaving(function)).ids)]


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", [Model, Plain])
def test_it_is_known_what_a_function_remembers(cache: Callable[..., Any], kind: type) -> None:
    """Nothing before it is asked; one object then, which nobody has who is not seen."""
    function = cache(making(kind))
    assert remembered.values(function) == []
    assert problems(function) == []
    function()
    assert [type(value) for value in remembered.values(function)] == [kind]
    assert problems(function) == []


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", [Model, Plain])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda made: setattr(made, "size", 3), id="set"),
        pytest.param(lambda made: made.__dict__.update(more=3), id="more"),
        pytest.param(lambda made: made.__dict__.pop("size"), id="less"),
        pytest.param(lambda made: made.names.clear(), id="within"),
    ],
)
def test_what_was_set_since_is_somebodys_state(
    cache: Callable[..., Any], kind: type, change: Callable[[Any], object]
) -> None:
    """It is made once more to tell, and compared with that."""
    function = cache(making(kind))
    change(function())
    [problem] = problems(function)
    assert "is not what m.f makes by now" in problem


@pytest.mark.parametrize("cache", CACHES)
def test_who_holds_it_is_named(cache: Callable[..., Any]) -> None:
    """A list, and whoever has that."""
    function = cache(making(Plain))
    kept = [function()]
    [problem] = problems(function)
    assert "m.f remembers a " in problem
    assert "a list refers to it" in problem
    del kept
    assert problems(function) == []


def test_what_can_t_be_made_any_more_stays() -> None:
    """A variable of the environment that is gone, perhaps."""
    made = [Plain()]
    function = functools.cache(making(made.pop))
    function()
    [problem] = problems(function)
    assert "can't make another: IndexError" in problem


@pytest.mark.parametrize("value", [len, {}, "text", None])
def test_what_is_no_cache_remembers_nothing(value: object) -> None:
    """What has taken the place of the function may be anything."""
    assert remembered.values(value) == []
    assert problems(value) == []
