"""Loggers that a process was asked for make no difference between two pictures, as long as nobody has configured them."""

from __future__ import annotations

import pytest

from pictures import picture_of
from underway_runtime.observation import loggers
from underway_runtime.observation.compare import compare

ASKED = "import logging\nM = logging.Manager(logging.RootLogger(30))\nX = [M.getLogger('a.b')]\n"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("M.getLogger('a.c')\n", True),
        ("M.getLogger('d.e.f')\n", True),
        ("M.getLogger('a.c').setLevel(10)\n", False),
        ("M.getLogger('a.c').propagate = False\n", False),
        ("M.getLogger('a.c').addHandler(logging.NullHandler())\n", False),
        ("X[0].setLevel(10)\n", False),
        ("M.getLogger('a')\n", False),
        ("X.append(1)\n", False),
    ],
)
def test_a_logger_that_is_only_asked_for_makes_no_difference(more: str, told: bool) -> None:
    """One more or less makes none; a level, a handler or a flag of its own does, and so does being the parent of another."""
    pictures = picture_of(ASKED), picture_of(ASKED + more)
    for a, b in (pictures, pictures[::-1]):
        differences = [each for each in compare(a, b) if each.kind != "opaque"]
        assert differences
        assert all(loggers.are_asked_for(each, a, b) for each in differences) is told, differences
