"""Functions, methods and members that can't become what the newer version has: others take their place, if nobody else holds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from handover_helpers import asgi
from hot_helpers import planned
from node_helpers import MakeNode
from plans import compare, load_of, verdicts
from swap_helpers import PLANNED, Become
from underway_runtime.release.instructions import Guard, Load

LISTING = "class Room:\n    def guests(self): return ['a']\n    def shown(self): return ', '.join(self.guests())\n"
GIVING = LISTING.replace("return ['a']", "yield 'b'; yield 'c'")
SLOTS = "class Point:\n    __slots__ = ('y', 'x')\n    def __init__(self): self.x, self.y = 1, 2\n"
SWITCHED = """
LOCKED = True
class Lock:
    def turn(self): return 1
class NoLock:
    def turn(self): return 0
if not LOCKED:
    Lock = NoLock
"""
NAMED = """
class Field:
    def __set_name__(self, owner, name): self.name = name
    def __get__(self, instance, owner): return self.name
def make(): return type('Made', (), {'size': Field()})
"""
JSON = "import json as _json\nclass json:\n    dumps = staticmethod(lambda x: 'own ' + _json.dumps(x))\ndef f(): return json.dumps(1)\n"
AROUND = """
class Retry:
    def __init__(self, n): self.n = n
    def __call__(self, f):
        def inner(*args): return self.n, f(*args)
        return inner
@Retry(3)
def go(x): return x
"""
CLOSURE = "def make():\n    limit = 10\n    def inner(): return limit\n    return inner\n"
ROW = "import collections\nclass Row(collections.namedtuple('Row', 'a b')):\n    __slots__ = ()\n    def sum(self): return self.a\n"
WARNING = "import warnings\nclass Retry:\n    def __init__(self, total=None): self.total = total\nDEFAULT = Retry(1)\n"
WARNED = WARNING.replace("total=None): ", "total=None):\n        if not total: warnings.warn('none')\n        ")


def _problems(become: Become, old: str, new: str, made: str) -> list[str]:
    """What a process says is in the way that has made something of the old version."""
    planned, _, _ = PLANNED.partition("prepared = ")
    found: list[str] = become(
        old,
        new,
        f"{planned}\n{made}\nfrom underway_runtime.upgrade.hot import CannotSwap\ntold = []\n"
        "loads = [from_json(each) for each in plan['loads'].values()]\n"
        "try: prepare(loads, relups.version('1'), relups.version('2'))\nexcept CannotSwap as error: told = error.problems\n",
    )
    return found


@pytest.mark.in_place
def test_a_method_becomes_a_generator(become: Become) -> None:
    """Who calls it next has the new one, on instances that are there too."""
    script = f"room = shop.Room()\n{PLANNED}\ntold = [room.shown(), shop.Room().shown(), [*room.guests()]]\n"

    assert become(LISTING, GIVING, script) == ["b, c", "b, c", ["b", "c"]]


@pytest.mark.parametrize("made", ["held = shop.Room().guests", "held = [shop.Room.guests]"])
def test_a_method_that_somebody_holds_is_in_the_way_of_another_kind_of_it(become: Become, made: str) -> None:
    """Who holds it would call what the old version has."""
    problems = _problems(become, LISTING, GIVING, made)

    assert any("shop.Room.guests goes away" in problem for problem in problems), problems


def test_modules_that_import_a_function_of_another_kind_are_bound_again(tmp_path: Path) -> None:
    """Under whatever name they have it; who has it in a table is found by a look."""
    old = {"m": "def f(): return [1]\n", "n": "from m import f as g\n", "o": "from n import g\n"}
    answer = compare(tmp_path, old, {**old, "m": "def f(): yield 1\n"}, observed=True)

    assert verdicts(answer) == {"m:f": "HOT kind", "n:g": "HOT import", "o:g": "HOT import"}
    assert [load_of(answer, name).rebind for name in ("n", "o")] == [{"g": ("m", "f")}] * 2
    assert Guard("no_holders", "f") in load_of(answer).guards


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def f(): return 1\n", "def f(key={}): yield key\n"),
        ("def f():\n    class A: pass\n    return A\n", "def f():\n    class B: pass\n    yield B\n"),
    ],
)
def test_a_function_of_another_kind_must_lose_nothing(tmp_path: Path, old: str, new: str) -> None:
    """What only it has, such as a default that is filled or a class that it has made, would be another."""
    assert "RESTART" in verdicts(compare(tmp_path, {"m": old}, {"m": new}, observed=True))["m:f"]


@pytest.mark.in_place
def test_a_class_takes_the_name_of_a_module(become: Become) -> None:
    """Functions that stay find it there, and modules that have imported the name from here."""
    old = {
        "shop/__init__.py": "import json\ndef f(): return json.dumps(1)\n",
        "shop/other.py": "from shop import json\n",
    }
    new = {**old, "shop/__init__.py": JSON}
    told = become(old, new, f"import shop.other\n{PLANNED}\ntold = [shop.f(), shop.other.json.dumps(2)]\n")

    assert told == ["own 1", "own 2"]


def test_a_module_that_more_than_modules_have_stays(become: Become) -> None:
    """Who has been given it by that name would go on with it."""
    problems = _problems(become, "import json\ndef f(): return json.dumps(1)\n", JSON, "held = [shop.json]")

    assert any("shop.json goes away" in problem for problem in problems), problems


@pytest.mark.in_place
def test_a_module_takes_the_name_of_a_class_that_nobody_has(become: Become) -> None:
    """On the way back."""
    script = f"{PLANNED}\ntold = shop.f()\n"

    assert become(JSON, "import json\ndef f(): return json.dumps(1)\n", script) == "1"


@pytest.mark.in_place
def test_what_a_closure_holds_changes_where_none_is_alive(become: Become) -> None:
    """What is made from then on has the new value."""
    told = become(CLOSURE, CLOSURE.replace("= 10", "= 20"), f"shop.make()\n{PLANNED}\ntold = shop.make()()\n")

    assert told == 20


def test_a_closure_that_is_alive_is_in_the_way_of_what_it_would_hold(become: Become) -> None:
    """It has the value that the old version gave it."""
    problems = _problems(become, CLOSURE, CLOSURE.replace("= 10", "= 20"), "held = shop.make()")

    assert any("shop:make.<locals>.inner is alive" in problem for problem in problems), problems


@pytest.mark.in_place
def test_slots_in_another_order_are_the_same_places(become: Become) -> None:
    """Python lays instances out by the sorted names, so that those that are there stay as they are."""
    new = SLOTS.replace("'y', 'x'", "'x', 'y'")
    told = become(SLOTS, new, f"point = shop.Point()\n{PLANNED}\ntold = [point.x, point.y, shop.Point.__slots__]\n")

    assert told == [1, 2, ["x", "y"]]


def test_a_slot_more_is_another_layout(tmp_path: Path) -> None:
    """Instances that are there have no room for it."""
    new = SLOTS.replace("'y', 'x'", "'x', 'y', 'z'")

    assert verdicts(compare(tmp_path, {"m": SLOTS}, {"m": new}))["m:Point"] == "RESTART made"


@pytest.mark.in_place
def test_a_class_that_another_statement_may_take_the_place_of_changes_in_its_methods(become: Become) -> None:
    """While it is what its name is bound to."""
    told = become(SWITCHED, SWITCHED.replace("return 1", "return 2"), f"{PLANNED}\ntold = shop.Lock().turn()\n")

    assert told == 2


@pytest.mark.in_place
def test_a_method_that_is_told_names_changes_where_no_class_has_told_any(become: Become) -> None:
    """Which name it was told is in an instance; where there is none, nobody knows of the old one."""
    told = become(
        NAMED, NAMED.replace("self.name = name", "self.name = name.upper()"), f"{PLANNED}\ntold = shop.make().size\n"
    )

    assert told == "SIZE"


def test_a_method_that_classes_of_the_release_have_told_names_takes_a_fresh_interpreter(tmp_path: Path) -> None:
    """Its instance is there, and has the name as the old version took it."""
    old = f"{NAMED}class Room:\n    size = Field()\n"
    answer = compare(tmp_path, {"m": old}, {"m": old.replace("= name\n", "= name.upper()\n")})

    assert verdicts(answer)["m:Field"] == "RESTART state"


@pytest.mark.in_place
def test_a_class_of_a_named_tuple_changes_as_any_other(become: Become) -> None:
    """Methods come, and change; instances that are there have them."""
    new = ROW.replace("return self.a\n", "return self.a + self.b\n    def __str__(self): return 'row'\n")
    told = become(ROW, new, f"row = shop.Row(1, 2)\n{PLANNED}\ntold = [row.sum(), str(row), shop.Row(2, 2).sum()]\n")

    assert told == [3, "row", 4]


def test_a_warning_makes_no_other_instance(tmp_path: Path) -> None:
    """Under a condition too: those that import has made are as the new version makes them, which a look makes sure of."""
    assert "m:Retry" not in verdicts(compare(tmp_path, {"m": WARNING}, {"m": WARNED}))


def test_what_else_a_condition_does_makes_another_instance(tmp_path: Path) -> None:
    """Import has made one in the old way."""
    new = WARNED.replace("warnings.warn('none')", "warnings.warn('none'); total = 3")

    assert verdicts(compare(tmp_path, {"m": WARNING}, {"m": new}))["m:Retry"] == "RESTART state"


@pytest.mark.parametrize(
    ("old", "new"),
    [(AROUND, AROUND.replace("(3)", "(4)")), (AROUND, AROUND.replace("@Retry(3)\n", ""))],
    ids=["another", "none"],
)
@pytest.mark.in_place
def test_what_is_around_a_function_may_be_another_where_nobody_else_holds_it(
    make: MakeNode, old: str, new: str
) -> None:
    """Who holds the function has what decorates it, which stays what it is: the plan says so, and the process looks."""
    entry = planned(make(asgi(old)), new, back=False).up[0]

    [load] = (each for each in entry.instructions if isinstance(each, Load))
    assert Guard("no_holders", "go") in load.guards
    assert any("if nobody else holds the one before by then" in row.reason for row in entry.changes)
