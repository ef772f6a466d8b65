"""Functions that are called in another way now: who holds one may call it as before, and is asked for."""

from __future__ import annotations

import pytest

from swap_helpers import Become

pytestmark = pytest.mark.in_place

OLD = """
import functools
def tick(a): return a
class Room:
    def __init__(self, a): self.a = a
    def __call__(self, a): return a
    def enter(self, a): return a
    @staticmethod
    def open(a): return a
class Hall(Room): pass
"""
NEW = OLD.replace("(self, a)", "(self, a, b=1)").replace("(a)", "(a, b=1)")
HELD = [
    pytest.param("tick", "functools.partial(shop.tick, 1)", "list in __main__.held", id="a pending call"),
    pytest.param("tick", "lambda f=shop.tick: f(1)", "function __main__.<lambda>", id="a default"),
    pytest.param("Room.enter", "shop.Room(1).enter", "method", id="a method that is bound"),
    pytest.param("Room.open", "(shop.Room.open, 1)", "tuple", id="a static method"),
    pytest.param("Room.__init__", "functools.partial(shop.Hall, 1)", "partial of shop.Hall", id="making an instance"),
    pytest.param("Room.__call__", "functools.partial(shop.Room(1), 1)", "partial of shop.Room", id="an instance"),
]


@pytest.mark.parametrize(("guarded", "held", "holder"), HELD)
def test_who_holds_what_is_called_in_another_way_is_named(become: Become, guarded: str, held: str, holder: str) -> None:
    """Whatever holds it: it may have the arguments too."""
    told = become(OLD, NEW, _asking(guarded, held))

    assert len(told) == 1
    assert f"shop.{guarded} is called in another way" in told[0]
    assert holder in told[0]


@pytest.mark.parametrize("guarded", ["tick", "Room.enter", "Room.open", "Room.__init__", "Room.__call__"])
def test_modules_classes_and_instances_are_in_nobodys_way(become: Become, guarded: str) -> None:
    """They call it by its name, and so does who has a class or an instance of it."""
    told = become(
        OLD, NEW, "import shop\nfrom shop import tick, tick as again, Room\n" + _asking(guarded, "shop.Hall(1), [Room]")
    )

    assert told == []


def _asking(guarded: str, held: str) -> str:
    """A script that says what is in the way of a swap, where a module holds something."""
    return f"""
import functools, shop
from underway_runtime.upgrade.hot import CannotSwap
held = [{held}]
try:
    swap(shop={{"guards": [("not_handed", {guarded!r})]}})
except CannotSwap as error:
    told = list(error.problems)
else:
    told = []
"""
