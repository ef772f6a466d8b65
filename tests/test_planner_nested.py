"""What is nested in functions: an instance keeps some of its ``__init__``, and classes that differ must not be alive."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, load_of, verdicts
from swap_helpers import PLANNED, Become
from underway_runtime.release.instructions import Guard

BASE = """
class Base:
    hook: object = None
    def __init__(self, size, hook=None):
        self.size = size
        self.hook = hook
"""
ROOM = """
class Room(Base):
    def __init__(self, size):
        def told(room):
            return 1, room.size
        super().__init__(size, told)
"""
OWN = """
class Room:
    def __init__(self, size):
        self.size = size
        def told(room):
            return 1, room.size
        self.hook = told
"""
KEPT = {
    "by a base": BASE + ROOM,
    "itself": OWN,
    "by a base, which the module can't be told by": BASE + ROOM.replace("Base)", "Base, object)"),
}
BEYOND = {
    "it is called": BASE + ROOM.replace("super()", "told(self)\n        super()"),
    "what keeps it is not the last thing": BASE
    + ROOM
    + "        self.begin()\n    def begin(self): self.begun = self.hook(self)\n",
    "the base calls it": BASE.replace("= hook\n", "= hook\n        self.begun = hook(self)\n") + ROOM,
    "the base keeps it, and goes on": BASE + "        self.begun = self.hook(self)\n" + ROOM,
    "setting the attribute does more": BASE.replace("hook: object = None", "hook: object = Hook()") + ROOM,
    "setting any attribute does more": BASE + "    def __setattr__(self, name, value): ...\n" + ROOM,
    "a base that is not known": ROOM.replace("Room(Base)", "Room(other.Base)"),
    "another class comes in between": BASE + ROOM + "class Wide(Base): ...\nclass Hall(Room, Wide): ...\n",
    "it is decorated": OWN.replace("        def told", "        @kept\n        def told"),
    "its default": OWN.replace("told(room):\n            return 1", "told(room, n=1):\n            return n"),
    "it sets an attribute more": OWN.replace("return 1, room.size", "room.seen = 1"),
    "it sets an attribute less": OWN.replace("return 1, room.size", "room.gone = 1"),
}


def _asks_for_instances(root: Path, old: str) -> bool:
    new = old.replace("return 1", "return 2").replace("n=1", "n=2")
    new = new.replace("room.seen = 1", "room.seen = room.more = 1").replace("room.gone = 1", "pass")
    return Guard("no_instances", "Room") in load_of(compare(root, {"m": old}, {"m": new}, observed=True)).guards


@pytest.mark.parametrize("kind", KEPT)
def test_the_body_of_what_an_instance_keeps_changes_in_those_that_there_are(tmp_path: Path, kind: str) -> None:
    """Nothing has run it while the instance was made."""
    assert not _asks_for_instances(tmp_path, KEPT[kind])


@pytest.mark.parametrize("kind", BEYOND)
def test_what_may_have_run_it_makes_instances_in_another_way(tmp_path: Path, kind: str) -> None:
    """Or what is done with it, or what it leaves in an instance, is not only a matter of its body."""
    assert _asks_for_instances(tmp_path, BEYOND[kind])


@pytest.mark.in_place
def test_an_instance_calls_the_new_body(become: Become) -> None:
    """The function that it keeps is the same, with other code."""
    code = "Room.__init__.<locals>.told"
    told = become(
        BASE + ROOM,
        (BASE + ROOM).replace("return 1", "return 2"),
        f"import shop; room = shop.Room(5); done(shop={{}}); told = room.hook(room), {code!r} in room.hook.__qualname__",
    )

    assert told == [[2, 5], True]


MAKES = """
def make():
    class Item:
        size = 1
        def told(self, more=1): return self.size, more
    return Item
"""
OTHERWISE = {
    "a default": MAKES.replace("more=1", "more=2"),
    "a member": MAKES.replace("size = 1", "size = 2"),
    "a base": MAKES.replace("Item:", "Item(dict):"),
    "a method more": MAKES.replace("    return Item", "        def again(self): ...\n    return Item"),
}
LIVING = {
    "an instance": "held = shop.make()()",
    "a class": "held = shop.make()",
    "a method": "held = shop.make().told",
    "a class without its methods": "held = shop.make(); del held.told",
}
REFUSED = f"""
{PLANNED.partition("prepared = ")[0]}
from underway_runtime.upgrade.hot import CannotSwap
try: prepare([from_json(each) for each in plan["loads"].values()], relups.version("1"), relups.version("2"))
except CannotSwap as error: told = error.problems
else: told = []
"""


@pytest.mark.parametrize("kind", OTHERWISE)
def test_a_class_that_a_function_makes_must_not_be_alive_if_it_differs(tmp_path: Path, kind: str) -> None:
    """Whatever differs: what is made next is made otherwise."""
    load = load_of(compare(tmp_path, {"m": MAKES}, {"m": OTHERWISE[kind]}))

    assert {guard.of for guard in load.guards} == {"make.<locals>.Item", "make.<locals>.Item.told"}


def test_one_without_methods_takes_a_fresh_interpreter(tmp_path: Path) -> None:
    """Its name alone does not tell it from others."""
    bare = MAKES.replace("        def told(self, more=1): return self.size, more\n", "")
    answer = compare(tmp_path, {"m": bare}, {"m": bare.replace("size = 1", "size = 2")})

    assert verdicts(answer)["m:make"] == "RESTART body"


@pytest.mark.parametrize("kind", LIVING)
@pytest.mark.in_place
def test_what_is_alive_of_it_is_in_the_way(become: Become, kind: str) -> None:
    """Whoever has the class, or what is of it."""
    new = MAKES.replace("size = 1", "size = 2")

    told = become(MAKES, new, f"import shop; shop.make()().told(); {LIVING[kind]}\n{REFUSED}")

    assert any("is alive, and can't become another" in problem for problem in told)


@pytest.mark.in_place
def test_those_that_are_gone_are_in_nobodys_way(become: Become) -> None:
    """The function makes others from then on."""
    script = f"import gc, shop; shop.make()().told(); gc.collect()\n{PLANNED}\ntold = shop.make()().told()"

    assert become(MAKES, MAKES.replace("size = 1", "size = 2"), script) == [2, 1]
