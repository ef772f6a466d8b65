"""Classes that can't become what the newer version has: others take their place, in a process where nobody has one of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import Interpreter
from plans import compare, load_of, verdicts
from swap_helpers import Become, becoming
from underway_runtime.release.code_tree import IS_LAZY

POINT = """
class Point:
    __slots__ = ('x',)
    limit = 1
    names = []
    def __init__(self, x): self.x = x
    def told(self): return self.x
"""
PLACED = POINT.replace("('x',)", "('x', 'y')").replace("self.x = x", "self.x, self.y = x, 2")
AROUND = """
import abc, threading
class Shape(abc.ABC): ...
def told(x): return Point(x).told()
class Wide(Point):
    def wide(self): return super().told(), isinstance(self, Point)
HELD, GO, OUT = [], threading.Event(), []
def wait():
    held = Point
    GO.set()
    LEFT.wait(20)
    return held
LEFT = threading.Event()
"""
PREPARED = """
import sys
from pathlib import Path
from underway.planner.worker import compare
from underway_runtime.release.instruction_json import from_json
from underway_runtime.upgrade.hot import CannotSwap
from underway_runtime.upgrade.hot.swap import prepare
root = Path(sys.prefix).parents[1]
sides = [{"root": str(root), "versions": {}, "modules": {"shop": ("shop", f"lib/shop-{n}.0/shop.py")}} for n in (1, 2)]
asked = {"compared": ["shop"], "up": True, "kept": [], "reset": [], "pinned": [], "observed": True}
load = from_json(compare({"old": sides[0], "new": sides[1], **asked})["loads"]["shop"])
def refusals(act):
    try:
        act()
    except CannotSwap as error:
        return error.problems
    return []
def made_ready(): return prepare([load], relups.version("1"), relups.version("2"))
"""


@pytest.fixture
def become(tmp_path: Path, interpreter: Interpreter) -> Become:
    """Two versions of a module, and a process of the first."""
    return becoming(tmp_path, interpreter)


@pytest.mark.in_place
def test_a_class_with_other_slots_takes_the_place_of_one_that_nobody_has(become: Become) -> None:
    """So does each that inherits from it; undone, both are the very same as before."""
    told = become(
        POINT + AROUND,
        PLACED + AROUND,
        f"""{PREPARED}
before, told = [id(shop.Point), id(shop.Wide)], [shop.told(1)]
prepared = made_ready()
prepared.stage_and_migrate(); prepared.swap()
told += [shop.Wide.__mro__[1] is shop.Point, shop.Wide(3).wide(), shop.Point(1).y]
prepared.undo()
told += [[id(shop.Point), id(shop.Wide)] == before, hasattr(shop.Point, "y")]
prepared = made_ready()
prepared.stage_and_migrate(); prepared.swap(); prepared.survivors(); prepared.forget()
told += [len(type.__subclasses__(shop.Point)), shop.Point.__slots__]
""",
    )
    assert told == [1, True, [3, True], 2, True, False, 1, ["x", "y"]]


HOLDING = {
    "a tuple": ("held = (shop.Point,)", "refers to it"),
    "a part of a call": ("import functools; held = functools.partial(shop.Point, 1)", "functools.partial"),
    "a closure": ("held = (lambda cls: lambda: cls(1))(shop.Point)", "<lambda> refers to it"),
    "a class made since": ("held = type('Late', (shop.Point,), {})", "its subclass"),
    "an instance": ("held = shop.Point(1)", "there are 1 instances"),
    "a weak reference": ("import weakref; held = weakref.ref(shop.Point)", "a weak reference refers to it"),
    "a weak set": ("import weakref; held = weakref.WeakSet([shop.Point])", "a weak reference refers to it"),
    "an abstract class": ("shop.Shape.register(shop.Point)", "shop.Shape, as one that is registered with it"),
    "another function": ("shop.Point.told = lambda self: 7", "not the function that the module has made"),
    "another value": ("shop.Point.limit = 5", "shop.Point.limit is 5, and not 1"),
    "another member": ("shop.Point.more = 5", "shop.Point.more was put there since"),
    "an element of a list of the class": ("shop.Point.names.append(5)", "shop.Point.names is [5], and no longer empty"),
    "a list of the class": ("held = shop.Point.names", "shop.Point.names can be changed, and something refers to it"),
}


@pytest.mark.sample(most=6)
@pytest.mark.in_place
@pytest.mark.parametrize("kind", HOLDING)
def test_who_has_a_class_is_in_the_way_of_another(become: Become, kind: str) -> None:
    """The process says who, before anything has changed; so it does of what somebody has put into the class."""
    made, reason = HOLDING[kind]

    problems = become(POINT + AROUND, PLACED + AROUND, f"{PREPARED}\n{made}\ntold = refusals(made_ready)\n")

    assert any(reason in problem for problem in problems), problems


@pytest.mark.in_place
def test_a_variable_of_a_thread_that_runs_is_in_the_way(become: Become) -> None:
    """No object that the collector knows has the class; the count of references tells."""
    made = (
        "import threading; thread = threading.Thread(target=shop.wait, daemon=True); thread.start(); shop.GO.wait(20)"
    )
    done = "shop.LEFT.set(); thread.join(20); told.append(refusals(made_ready))"

    first, then = become(
        POINT + AROUND, PLACED + AROUND, f"{PREPARED}\n{made}\ntold = [refusals(made_ready)]\n{done}\n"
    )

    assert any("can't be seen from Python" in problem for problem in first), first
    assert then == []


@pytest.mark.in_place
def test_who_takes_a_class_at_the_last_moment_undoes_the_swap(become: Become) -> None:
    """A thread may have read its name since the look."""
    told = become(
        POINT + AROUND,
        PLACED + AROUND,
        f"""{PREPARED}
prepared = made_ready()
prepared.stage_and_migrate()
shop.HELD.append(shop.Point)
told = [refusals(prepared.swap), shop.HELD.pop() is shop.Point, hasattr(shop.Point, "y")]
""",
    )
    assert told == [["shop.Point is taken meanwhile: list in shop.HELD refers to it"], True, False]


BASES = "import typing\nT = typing.TypeVar('T')\nclass Given: ...\n"
ALLOWED = {
    "other slots": ("class A:\n    __slots__ = ('x',)\n", "class A:\n    __slots__ = ('x', 'y')\n"),
    "a base": ("class A:\n    def f(self): return 1\n", "class A(Given):\n    def f(self): return 2\n"),
    "type parameters": (
        "class A:\n    def f(self): return 1\n",
        "class A(typing.Generic[T]):\n    def f(self): return 2\n",
    ),
    "a decorator": (
        "import dataclasses\nclass A:\n    x: int = 1\n",
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int = 1\n",
    ),
    "what each instance has": (
        "class A:\n    __slots__ = ('seen',)\n    def __init__(self): self.seen = {}\n    def f(self): self.seen[1] = 2\n",
        "class A:\n    __slots__ = ('seen', 'x')\n    def __init__(self): self.seen = {}\n    def f(self): self.seen[1] = 2\n",
    ),
    "a list that is empty": (
        "class A:\n    __slots__ = ('x',)\n    all = []\n",
        "class A:\n    __slots__ = ('x', 'y')\n    all = []\n",
    ),
    "a metaclass": ("class A:\n    x = 1\n", "import abc\nclass A(metaclass=abc.ABCMeta):\n    x = 1\n"),
}
BEYOND = {
    "a list": (
        "class A:\n    __slots__ = ('x',)\n    all = [1]\n",
        "class A:\n    __slots__ = ('x', 'y')\n    all = [1]\n",
    ),
    "a default": (
        "class A:\n    __slots__ = ('x',)\n    def f(self, all=[]): all.append(1)\n",
        "class A:\n    __slots__ = ('x', 'y')\n    def f(self, all=[]): all.append(1)\n",
    ),
    "a cache": (
        "import functools\nclass A:\n    __slots__ = ('x',)\n    @functools.cache\n    def f(): return 1\n",
        "import functools\nclass A:\n    __slots__ = ()\n    @functools.cache\n    def f(): return 1\n",
    ),
    "what a function sets": (
        "class A:\n    __slots__ = ('x',)\n    n = 0\ndef f(): A.n = 1\n",
        "class A:\n    __slots__ = ('x', 'y')\n    n = 0\ndef f(): A.n = 1\n",
    ),
    "an instance of the module": (
        "class A:\n    __slots__ = ('x',)\nONE = A()\n",
        "class A:\n    __slots__ = ('x', 'y')\nONE = A()\n",
    ),
    "a list of classes": (
        "class A(Given):\n    __slots__ = ('x',)\ndef f(): return Given.__subclasses__()\n",
        "class A(Given):\n    __slots__ = ('x', 'y')\ndef f(): return Given.__subclasses__()\n",
    ),
    "a decorator that keeps": (
        "from other import kept\nclass A:\n    x = 1\n",
        "from other import kept\n@kept\nclass A:\n    x = 1\n",
    ),
}


def _verdict(root: Path, old: str, new: str, **said: Any) -> str:
    found = verdicts(compare(root, {"m": BASES + old}, {"m": BASES + new}, **said))
    return "RESTART" if any(text.startswith("RESTART") for text in found.values()) else found["m:A"].partition(" ")[0]


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_class_is_replaced_where_a_look_tells_what_becomes_of_it(tmp_path: Path, kind: str) -> None:
    """Never without that: what was made with it may be anywhere."""
    assert _verdict(tmp_path / "1", *ALLOWED[kind]) == "RESTART"
    assert _verdict(tmp_path / "2", *ALLOWED[kind], observed=True) == "HOT"


@pytest.mark.skipif(IS_LAZY, reason="`from __future__ import annotations` comes with RESTART since Python 3.14")
def test_a_class_is_replaced_where_annotations_become_texts(tmp_path: Path) -> None:
    """All of the module is annotated again but for what another takes the place of."""
    old = f"{BASES}class A:\n    def f(self) -> int: return 1\nclass B:\n    def g(self) -> int: return 1\n"
    new = "from __future__ import annotations\n" + old.replace("class A:", "class A(typing.Generic[T]):")

    answer = compare(tmp_path, {"m": old}, {"m": new}, observed=True)

    load = load_of(answer)
    assert verdicts(answer)["m:A"] == "HOT made"
    assert load.replaced == ("A",)
    assert {path for path in load.changed if path.startswith("A.")} == set()
    assert load.refreshed == ("B.g",)


@pytest.mark.parametrize("kind", BEYOND)
def test_what_would_be_lost_with_a_class_takes_a_fresh_interpreter(tmp_path: Path, kind: str) -> None:
    """What is in it, or is of it, and changes while the process runs: another would not have that."""
    assert _verdict(tmp_path, *BEYOND[kind], observed=True) == "RESTART"
