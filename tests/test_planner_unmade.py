"""Classes whose instances nobody could carry over: they change in a process that has none, and in no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare
from swap_helpers import PLANNED, Become

ROOM = "class Room:\n    def __init__(self, name): self.name = name\n    def show(self): return self.name\n"
SHOUTED = ROOM.replace("= name\n", "= name.upper(); self.guests = []\n")
POINT = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
MARK = "class Mark(str):\n    __slots__ = ()\n    def __new__(cls, text): return str.__new__(cls, text)\n"

HOUSE = "class House:\n    def __init__(self): self.rooms = []\n    def build(self): self.rooms.append(Room('a'))\n"
STAYING = {
    "a global": "LOBBY = Room('lobby')\n",
    "of a derived class": "class Own(Room): pass\nLOBBY = Own('lobby')\n",
    "a default": "def show(room=Room('lobby')): return room.show()\n",
    "in a global": "ROOMS = {}\ndef enter(name):\n    room = ROOMS[name] = Room(name)\n    return room\n",
    "in what a global holds": f"{HOUSE}HOUSE = House()\n",
    "what a function gives more": "def make():\n    room = Room('a')\n    room.doors = 1\n    return room\n",
}
PASSING = {
    "nobody makes one": "",
    "a variable": "def show(name):\n    room = Room(name)\n    return room.show()\n",
    "in what nobody makes": HOUSE,
}


@pytest.mark.parametrize("more", STAYING.values(), ids=STAYING)
def test_a_plan_says_beforehand_that_instances_are_there(tmp_path: Path, more: str) -> None:
    """A fresh interpreter takes over where the release itself makes instances that stay; no node has to be asked."""
    answer = compare(tmp_path, {"m": ROOM + more}, {"m": SHOUTED + more})

    assert [row["verdict"] for row in answer["changes"] if row["change"] == "state"] == ["RESTART"]


def test_members_of_an_enumeration_are_instances_of_it(tmp_path: Path) -> None:
    """They are there as long as the module is, though no statement calls their class."""
    kind = "import enum\nclass Kind(enum.Enum):\n    A = 1\n    def __init__(self, number): self.number = number\n"
    answer = compare(tmp_path, {"m": kind}, {"m": kind.replace("= number", "= -number")})

    assert [row["verdict"] for row in answer["changes"] if row["change"] == "state"] == ["RESTART"]


@pytest.mark.parametrize("more", PASSING.values(), ids=PASSING)
@pytest.mark.in_place
def test_a_class_without_instances_changes_in_what_they_are_made_of(become: Become, more: str) -> None:
    """What is made from then on is as in a fresh start."""
    told = become(ROOM + more, SHOUTED + more, f"{PLANNED}\nroom = shop.Room('a')\ntold = [room.name, room.guests]\n")

    assert told == ["A", []]


@pytest.mark.in_place
def test_a_dataclass_without_instances_changes_in_its_fields(become: Become) -> None:
    """Also in one whose default is made for each of them."""
    new = (
        POINT.replace("import dataclass", "import dataclass, field") + "    near: list = field(default_factory=list)\n"
    )
    told = become(
        POINT, new, f"{PLANNED}\none = shop.Point(1)\none.near.append(2)\ntold = [repr(one), repr(shop.Point(1))]\n"
    )

    assert told == ["Point(x=1, near=[2])", "Point(x=1, near=[])"]


LIVE = {
    "an instance": (
        ROOM,
        SHOUTED,
        "room = shop.Room('a')",
        "shop.Room makes its instances in another way: there are 1",
    ),
    "of a class that is derived elsewhere": (
        ROOM,
        SHOUTED,
        "class Own(shop.Room): pass\nroom = Own('a')",
        "shop.Room makes its instances in another way: there are 1",
    ),
    "in the class itself": (ROOM, SHOUTED, "shop.Room.first = shop.Room('a')", "there are 1"),
    "something else in its place": (ROOM, SHOUTED, "shop.Room = len", "and no class"),
    "a text": (MARK, MARK.replace("(cls, text)\n", "(cls, text.upper())\n"), "mark = shop.Mark('a')", "there are 1"),
    "an instance of a dataclass": (POINT, f"{POINT}    y: list = list\n", "point = shop.Point(1)", "there are 1"),
}


@pytest.mark.parametrize(("old", "new", "made", "told"), LIVE.values(), ids=LIVE)
def test_one_instance_is_in_the_way(become: Become, old: str, new: str, made: str, told: str) -> None:
    """The process says which class, and who has it, before anything is changed."""
    planned, _, _ = PLANNED.partition("prepared = ")
    problems = become(
        old,
        new,
        f"{planned}\n{made}\nfrom underway_runtime.upgrade.hot import CannotSwap\ntold = []\n"
        "loads = [from_json(each) for each in plan['loads'].values()]\n"
        "try: prepare(loads, relups.version('1'), relups.version('2'))\nexcept CannotSwap as error: told = error.problems\n",
    )

    assert any(told in problem for problem in problems), problems


@pytest.mark.in_place
def test_an_instance_that_is_made_at_the_last_moment_undoes_the_swap(become: Become) -> None:
    """Threads may have made one since the look."""
    script = PLANNED.replace(
        "prepared.swap(); assert not prepared.survivors()\ntold =",
        "room = shop.Room('a')\n"
        "from underway_runtime.upgrade.hot import MadeMeanwhile\n"
        "try: prepared.swap()\n"
        "except MadeMeanwhile as error: told = [error.problems, shop.Room('b').name]\n#",
    )
    told = become(ROOM, SHOUTED, script)

    assert told == [["instances of shop.Room are made meanwhile: by a thread, or by its code_change"], "b"]
