"""What may name a version: the one rule, in Python."""

from __future__ import annotations

import doctest

import pytest

from underway_runtime.release import names


@pytest.mark.parametrize(
    "text",
    [
        "..",
        ".",
        "a/b",
        "/a",
        "a\\b",
        "a b",
        " 1.0",
        "1.0 ",
        "1.0\n",
        "1.0\0",
        "a" * 101,
        "$(id)",
        "é",
        "\uff11.0",
        b"1.0",
        1,
        True,
        ["1.0"],
    ],
)
def test_what_is_not_a_version(text: object) -> None:
    """Nothing that could leave its directory, be more than one word, or look like another version is a version."""
    assert not names.is_version(text)
    assert names.shown(text).isprintable()


@pytest.mark.parametrize("text", ["0.1.0", "1!2.0.post1+linux-x86_64", "2024-01-02", "a", "a" * 100, "1..2"])
def test_what_is_a_version(text: str) -> None:
    """All that a build takes."""
    assert names.is_version(text)


def test_the_examples_hold() -> None:
    """What the functions say of themselves."""
    assert doctest.testmod(names).failed == 0
