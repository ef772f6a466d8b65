"""Attributes that live instances get, or lose, without a ``code_change``: where each instance that a fresh start makes has the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from plans import compare, load_of
from swap_helpers import PLANNED, Become, everywhere
from underway_runtime.release.instructions import Guard

ROOM = "class Room:\n    def __init__(self, name): self.name = name\n    def show(self): return self.name\n"
TOPIC = ROOM.replace("= name\n", "= name; self.topic = 'none'\n").replace("self.name\n", "self.name, self.topic\n")
LIMITED = ROOM.replace("name): ", "name, limit=3): self.limit = limit; ")
RETURNING = (
    f"{ROOM.partition(' self.name')[0]}\n        self.name = name\n        if not name: return\n        self.size = 1\n"
)
POINT = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
DEEP = f"{POINT}    z: int = 0\n"

GIVEN = [
    pytest.param(ROOM, TOPIC, {"Room": {"topic": "none"}}, id="a constant"),
    pytest.param(ROOM, LIMITED, {"Room": {"limit": 3}}, id="the default of a new parameter"),
    pytest.param(ROOM, f"{LIMITED}def new(): return Room('a', limit=4)\n", {"Room": {"limit": 3}}, id="a new maker"),
    pytest.param(
        f"N = 1\n{ROOM}", f"N = 2\n{TOPIC}".replace("'none'", "N"), {"Room": {"topic": 2}}, id="a constant that changes"
    ),
    pytest.param(POINT, DEEP, {"Point": {"z": 0}}, id="a field of a dataclass"),
    pytest.param(
        POINT.replace("@dataclass\n", "@dataclass(kw_only=True, order=True)\n"),
        DEEP.replace("@dataclass\n", "@dataclass(kw_only=True, order=True)\n"),
        {"Point": {"z": 0}},
        id="a field that is named",
    ),
    pytest.param(
        f"{POINT}@dataclass\nclass Own(Point):\n    y: int = 1\n",
        f"{POINT}@dataclass\nclass Own(Point):\n    y: int = 1\n    z: int = 2\n",
        {"Own": {"z": 2}},
        id="a field of a derived dataclass",
    ),
]
UNPROVEN = {
    "a list, which may be another by now": (ROOM, TOPIC.replace("'none'", "[]"), "`[]` is not one value"),
    "an argument": (ROOM, TOPIC.replace("'none'", "name.upper()"), "depends on what it is made with"),
    "a condition": (
        ROOM,
        ROOM.replace("name): ", "name):\n        if name: self.topic = 1\n        "),
        "under a condition",
    ),
    "set elsewhere": (ROOM, f"{TOPIC}    def turn(self): self.topic = 'all'\n", "set elsewhere too"),
    "set by name": (ROOM, f"{TOPIC}def turn(room, to): setattr(room, to, 1)\n", "sets attributes by name"),
    "an old maker": (
        f"{ROOM}def new(): return Room('a')\n",
        f"{LIMITED}def new(): return Room('a', limit=4)\n",
        "makes one with another value",
    ),
    "an old maker of another name": (
        f"{ROOM}def new(): return Room('a')\n",
        f"{LIMITED}def make(): return Room('a', 4)\n",
        "makes one with another value",
    ),
    "a new name": (
        "class A:\n    def __init__(self): self.n = 1\n",
        "class A:\n    def __init__(self): self.count = 1\n",
        "count may be what n was",
    ),
    "a property": (ROOM, f"{TOPIC}    @property\n    def topic(self): return 1\n", "decides what is set"),
    "__setattr__": (ROOM, f"{TOPIC}    def __setattr__(self, name, value): pass\n", "decides what is set"),
    "a call": (ROOM, TOPIC.replace("self.name = name", "self.register()"), "more than set attributes"),
    "a factory": (POINT, DEEP.replace("= 0", "= field(default_factory=list)"), "no value"),
    "a default": (f"{POINT}    y: int = 1\n", f"{POINT}    y: int = 2\n", "has another default"),
    "a default of __init__": (LIMITED, LIMITED.replace("=3", "=4"), "the default of limit"),
    "a default of __init__, and an attribute": (
        LIMITED,
        LIMITED.replace("=3", "=4").replace("self.limit", "self.topic = 'none'; self.limit"),
        "the default of limit",
    ),
    "a positional argument": (
        f"{POINT}def new(): return Point(1)\n",
        f"{DEEP}def new(): return Point(1, 2)\n",
        "another value",
    ),
    "a class that is handed over": (
        f"{ROOM}KINDS = [Room]\ndef new(kind=0): return KINDS[kind]('a')\n",
        f"{LIMITED}KINDS = [Room]\ndef new(kind=0): return KINDS[kind]('a', 4)\n",
        "what Room is handed to",
    ),
    "made without __init__": (
        f"{ROOM}def new(): return Room.__new__(Room)\n",
        f"{TOPIC}def new(): return Room.__new__(Room)\n",
        "makes one without __init__",
    ),
    "a subclass with an __init__ of its own": (
        f"{ROOM}class Own(Room):\n    def __init__(self): self.name = 1\n",
        f"{TOPIC}class Own(Room):\n    def __init__(self): self.name = 1\n",
        "__init__ of Own may end without that of Room",
    ),
    "a subclass that calls it under a condition": (
        f"{ROOM}class Own(Room):\n    def __init__(self, n=0):\n        if n: super().__init__(n)\n",
        f"{TOPIC}class Own(Room):\n    def __init__(self, n=0):\n        if n: super().__init__(n)\n",
        "__init__ of Own may end without that of Room",
    ),
    "a subclass that may return before it calls it": (
        f"{ROOM}class Own(Room):\n    def __init__(self, n=0):\n        if n: return\n        super().__init__(n)\n",
        f"{TOPIC}class Own(Room):\n    def __init__(self, n=0):\n        if n: return\n        super().__init__(n)\n",
        "__init__ of Own may end without that of Room",
    ),
    "a subclass that calls another one": (
        f"class Other: pass\n{ROOM}class Own(Room):\n    def __init__(self): Other.__init__(self)\n",
        f"class Other: pass\n{TOPIC}class Own(Room):\n    def __init__(self): Other.__init__(self)\n",
        "__init__ of Own may end without that of Room",
    ),
    "a subclass of a subclass that does not call it": (
        f"{ROOM}class Own(Room): pass\nclass More(Own):\n    def __init__(self): self.name = 1\n",
        f"{TOPIC}class Own(Room): pass\nclass More(Own):\n    def __init__(self): self.name = 1\n",
        "__init__ of More may end without that of Room",
    ),
    "a subclass with another base before it": (
        f"class Other:\n    def __init__(self): pass\n{ROOM}class Own(Other, Room): pass\n",
        f"class Other:\n    def __init__(self): pass\n{TOPIC}class Own(Other, Room): pass\n",
        "Own comes from Other too",
    ),
    "an __init__ that may have returned before": (
        RETURNING,
        f"{RETURNING}        self.topic = 'none'\n",
        "__init__ may have returned before, in line 4",
    ),
    "an __init__ that may have returned before, by a match": (
        RETURNING.replace("if not name: return", "match name:\n            case 0: return"),
        RETURNING.replace("if not name: return", "match name:\n            case 0: return")
        + "        self.topic = 'none'\n",
        "__init__ may have returned before, in line 5",
    ),
    "its dict": (ROOM, f"{TOPIC}def turn(room): room.__dict__['topic'] = 1\n", "sets attributes by name"),
    "a constant that functions change": (
        f"N = 1\ndef more():\n    global N\n    N += 1\n{ROOM}",
        "N = 1\ndef more():\n    global N\n    N += 1\n" + TOPIC.replace("'none'", "N"),
        "not the same all the time",
    ),
    "a hash of all": (
        f"{ROOM}    def __hash__(self): return hash(tuple(vars(self).items()))\n",
        f"{TOPIC}    def __hash__(self): return hash(tuple(vars(self).items()))\n",
        "the hash of a Room depends",
    ),
    "an order that is asked for": (
        ROOM,
        f"{ROOM.replace('name): ', 'name): self.topic = 1; ')}def shown(room): return list(vars(room))\n",
        "in another order",
    ),
    "a field that is set": (POINT, f"{DEEP}def move(point): point.z = 2\n", "set elsewhere too"),
}


@pytest.mark.parametrize(("old", "new", "given"), GIVEN)
def test_what_all_instances_would_have_is_given_to_those_that_there_are(
    tmp_path: Path, old: str, new: str, given: dict[str, dict[str, object]]
) -> None:
    """And on the way back they lose it again."""
    up = compare(tmp_path / "up", {"m": old}, {"m": new})
    down = compare(tmp_path / "down", {"m": new}, {"m": old}, up=False)

    assert {row["verdict"] for row in up["changes"]} <= {"HOT", "MIGRATE"}, up["changes"]
    assert load_of(up).given == given
    assert load_of(down).taken == {name: tuple(each) for name, each in given.items()}


def test_a_default_that_leaves_nothing_in_an_instance_may_be_another(tmp_path: Path) -> None:
    """A parameter that is only checked, or that has a default from now on."""
    checked = ROOM.replace("name): ", "name, limit=3):\n        if limit > 9: raise ValueError\n        ")
    later = checked.replace("limit=3", "limit=4").replace("name, limit", "name='a', limit")

    answer = compare(tmp_path, {"m": checked}, {"m": later})

    assert {row["verdict"] for row in answer["changes"]} == {"HOT"}, answer["changes"]


@pytest.mark.parametrize(("old", "new", "reason"), UNPROVEN.values(), ids=UNPROVEN)
def test_what_only_some_would_have_is_given_to_none(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """The reason says why, and of which attribute; the process looks that there are none, if the plan is in place at all."""
    answer = compare(tmp_path, {"m": old}, {"m": new})

    row = next(each for each in answer["changes"] if reason in each["reason"])
    if "RESTART" not in {each["verdict"] for each in answer["changes"]}:
        load = load_of(answer)
        assert Guard("no_instances", row["definition"]) in load.guards
        assert not load.given


PAIR = "class Pair:\n    def __init__(self, a, b):\n        self.a = a\n        self.b = b\n"
TURNED = PAIR.replace("self.a = a", "self.x").replace("self.b = b", "self.a = a").replace("self.x", "self.b = b")
FILE = """
from os import fsdecode
class File:
    def __init__(self, name):
        if name is not None:
            name = fsdecode(name)
        if name and name[0] == '<' and name[-1] == '>':
            name = None
        self.name = name
"""
ASKED = FILE.replace("name[0] == '<'", "name.startswith('<')").replace("name[-1] == '>'", "name.endswith('>')")
PROPERTY = "    @property\n    def a(self): return 1\n    @a.setter\n    def a(self, a): self.b = a\n"
LISTS = "    def names(self): return list(self.__dict__)\n"
LOOKS = "    def get(self, name):\n        names = self.__dict__\n        return names[name], names.get(name)\n"

ALIKE = {
    "in another order": (PAIR, TURNED),
    "in another order, and looked up by name": (PAIR + LOOKS, TURNED + LOOKS),
    "in another order, where another class lists its own": (f"{PAIR}class A:\n{LISTS}", f"{TURNED}class A:\n{LISTS}"),
    "a text that is asked in other words": (FILE, ASKED),
}
OTHERWISE = {
    "exchanged": (PAIR, TURNED.replace("= b", "= c").replace("= a", "= b").replace("= c", "= a")),
    "in another order, and listed": (PAIR + LISTS, TURNED + LISTS),
    "in another order, and listed by anybody": (
        f"{PAIR}def f(x): return [*vars(x)]\n",
        f"{TURNED}def f(x): return [*vars(x)]\n",
    ),
    "in another order, and listed by a base": (
        f"class A:\n{LISTS}{PAIR.replace('Pair', 'Pair(A)')}",
        f"class A:\n{LISTS}{TURNED.replace('Pair', 'Pair(A)')}",
    ),
    "in another order, which a property sees": (PAIR + PROPERTY, TURNED + PROPERTY),
    "in another order, which a property of a derived class sees": (
        f"{PAIR}class A(Pair):\n{PROPERTY}",
        f"{TURNED}class A(Pair):\n{PROPERTY}",
    ),
    "in another order, made by calls": (
        PAIR.replace("= a", "= a()").replace("= b", "= b()"),
        TURNED.replace("= a", "= a()").replace("= b", "= b()"),
    ),
    "in another order, of each other": (PAIR.replace("= b", "= self.a"), TURNED.replace("= b", "= self.a")),
    "a text that is asked for another character": (FILE, ASKED.replace("h('<')", "h('[')")),
    "what may be no text": tuple(text.replace("fsdecode(name)", "list(name)") for text in (FILE, ASKED)),
    "a text that may be empty": tuple(
        text.replace("name and name[0]", "name[0]").replace("name and name.s", "name.s") for text in (FILE, ASKED)
    ),
    "what another function has made": tuple(
        text.replace("from os import fsdecode", "def fsdecode(x): return [x]") for text in (FILE, ASKED)
    ),
}


@pytest.mark.parametrize(("old", "new"), ALIKE.values(), ids=ALIKE)
def test_instances_that_are_made_alike_in_other_words_stay(tmp_path: Path, old: str, new: str) -> None:
    """On both ways, whoever has some."""
    for up, (before, after) in ((True, (old, new)), (False, (new, old))):
        answer = compare(tmp_path / str(up), {"m": before}, {"m": after}, up=up)
        assert {row["verdict"] for row in answer["changes"]} == {"HOT"}, answer["changes"]
        assert not any(guard.kind == "no_instances" for guard in load_of(answer).guards)


@pytest.mark.parametrize(("old", "new"), OTHERWISE.values(), ids=OTHERWISE)
def test_instances_that_may_be_made_otherwise_must_not_be_there(tmp_path: Path, old: str, new: str) -> None:
    """The process looks that there are none, or it takes a fresh one by plan."""
    answer = compare(tmp_path, {"m": old}, {"m": new})

    if "RESTART" not in {row["verdict"] for row in answer["changes"]}:
        assert any(guard.kind == "no_instances" for guard in load_of(answer).guards), answer["changes"]


@everywhere
@pytest.mark.parametrize(
    ("old", "new", "make"), [(ROOM, TOPIC, "Room('a')"), (POINT, DEEP, "Point(1)")], ids=["class", "dataclass"]
)
@pytest.mark.in_place
def test_live_instances_are_as_those_that_a_fresh_start_makes(
    become: Become, interpreter: Interpreter, old: str, new: str, make: str
) -> None:
    """Also those of a subclass, and one that has such an attribute keeps it."""
    planned = PLANNED.replace('== {"HOT"}', '<= {"HOT", "MIGRATE"}')
    name = make.partition("(")[0]
    told = become(
        old,
        new,
        f"one = shop.{make}\nclass Other(shop.{name}): pass\nother = Other(2)\nother.topic = other.z = 'own'\n{planned}\n"
        f"told = [vars(one) == vars(shop.{make}), other.topic, other.z, sorted(vars(one))]\n",
    )

    assert told[:3] == [True, "own", "own"]
    assert len(told[3]) == 2
