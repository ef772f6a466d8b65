"""``code_change``: what is alive gets its new state, all of it or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from sources import source
from swap_helpers import Become, everywhere, unlike_fresh

pytestmark = pytest.mark.in_place

OLD = source("members/v1/members.py")

NEW = source("members/v2/members.py")

SWAP = """
import gc, shop
gc.freeze()
room, vip = shop.rooms
members = room.members
fields = dict(run=["STEP", "FAIL", "ADDED", "code_change", "Room.code_change", "Vip.code_change", "Point.code_change"],
              added=["FAIL", "ADDED", "code_change", "Room.code_change", "Vip.code_change", "Point.code_change"],
              values=dict(STEP=1), code_change=["", "Room", "Vip", "Point"])
def state():
    return [vars(each).copy() for each in shop.rooms] + [
        (each.x, getattr(each, "y", None), getattr(each, "extra", None)) for each in shop.points] + [shop.total, shop.STEP]
"""


@everywhere
def test_code_change_gives_every_instance_its_new_state(become: Become) -> None:
    """Attributes in dicts and slots, subclasses after their base, and the module; undone, they are what they were."""
    told = become(
        OLD,
        NEW,
        SWAP
        + """
before = state()
swapped = swap(extra={"n": 1}, shop=fields)
swapped.stage_and_migrate()
assert state() == before
swapped.swap()
told = dict(after=state(), shown=[each.show() for each in shop.rooms], same=room.members is members)
swapped.undo()
told["undone"] = state() == before and room.show() == ("A", "a") and shop.points[0].x == 1
""",
    )

    topic = ["1.0", {"n": 1}, 2, "B added"]
    assert told["after"] == [
        {"name": "A", "members": ["a"], "topic": topic},
        {"name": "B", "members": ["b"], "topic": topic, "bonus": 10, "seen": "B"},
        [11, 2, None],
        [12, 2, "extra"],
        9,
        2,
    ]
    assert told["shown"] == [["B", "A", topic], ["B", "B", topic]]
    assert (told["same"], told["undone"]) == (True, True)


def test_a_code_change_that_raises_has_changed_nothing(become: Become) -> None:
    """One of a thousand instances that can't be carried over leaves all of them, and all code, as they were."""
    told = become(
        OLD,
        NEW,
        SWAP
        + """
from underway_runtime.upgrade.hot import CannotSwap
many = [shop.Point(n) for n in range(90)] + [shop.Room(str(n)) for n in range(900)]
before = state(), [each.x for each in many[:90]], [vars(each).copy() for each in many[90:]]
def failing(prepared):
    try:
        prepared.stage_and_migrate()
    except CannotSwap as error:
        return list(error.problems)
point = shop.Point(99)
told = dict(raised=failing(swap(shop=fields)))
del point
after = state(), [each.x for each in many[:90]], [vars(each).copy() for each in many[90:]]
told["same"] = before == after and room.show() == ("A", "a") and not hasattr(shop, "FAIL") and shop.__file__
again = swap(shop=fields)
again.stage_and_migrate(); again.swap()
told["then"] = [room.show()[0], many[3].x]
""",
    )

    assert told["raised"] == ["code_change of shop.Point raised ValueError: no such point"]
    assert told["same"] == "ROOT/lib/shop-1.0/shop.py"
    assert told["then"] == ["B", 13]


def test_what_a_code_change_must_not_do_is_refused(become: Become) -> None:
    """No mapping, attributes that there is no slot for, functions that change or instances of the class: refused by name."""
    old = """
    class Room:
        def __init__(self): self.n = 1
    class Point:
        __slots__ = ("x",)
    def helper(): return 1
    room, point, mode = Room(), Point(), [""]
    """
    new = """
    class Room:
        def __init__(self): self.n = 2
        @staticmethod
        def code_change(old_version, state, extra):
            return {"none": None, "names": {1: 2}, "helper": {"f": helper}, "made": {"f": lambda: state},
                    "instance": {"r": Room()} if extra == "instance" else 0, "": {}}[extra]
    class Point:
        __slots__ = ("x",)
        @staticmethod
        def code_change(old_version, state, extra):
            return {"z": 1}
    def helper(): return 2
    room, point, mode = Room(), Point(), [""]
    """
    told = become(
        old,
        new,
        """
        from underway_runtime.upgrade.hot import CannotSwap
        told = {}
        fields = dict(run=["Room.code_change", "Point.code_change"], added=["Room.code_change", "Point.code_change"])
        for extra in ("none", "names", "helper", "made", "instance", ""):
            try:
                classes = ["Room"] if extra else ["Room", "Point"]
                swap(extra=extra, shop={**fields, "code_change": classes}).stage_and_migrate()
            except CannotSwap as error:
                told[extra] = list(error.problems)
        """,
    )

    assert told == {
        "none": ["code_change of shop.Room returned NoneType, and not a mapping of names to values"],
        "names": ["code_change of shop.Room: an attribute is named by builtins.int, and not by str"],
        "helper": ["code_change of shop put helper into a state; that must be plain data"],
        "made": ["code_change of shop put a function that it made into a state; that must be plain data"],
        "instance": ["instances of shop.Room are made meanwhile: by a thread, or by its code_change"],
        "": ["code_change of shop.Point: it has slots, and none for z"],
    }


def test_on_the_way_down_the_newer_code_change_is_asked(become: Become) -> None:
    """From the newer version to the older one, the live ``code_change`` gets `Down` with the version gone back to."""
    told = become(
        NEW.replace(
            "        state.pop",
            "        if isinstance(old_version, Down): return down(old_version, state)\n        state.pop",
        )
        + "from underway_runtime import Down\ndef down(old_version, state):\n    return {**state, 'topic': repr(old_version)}\n",
        OLD,
        """
        import shop
        room, vip = shop.rooms
        swapped = done(direction="down", shop=dict(
            removed=["FAIL", "ADDED", "code_change", "Room.code_change", "Vip.code_change", "Point.code_change", "Down", "down"],
            run=["STEP"], values=dict(STEP=2), code_change=["Room"]))
        swapped.forget()
        told = dict(room=vars(room), vip=vars(vip), shown=room.show(), gone=hasattr(shop.Room, "code_change"))
        """,
    )

    assert told["room"]["topic"] == told["vip"]["topic"] == "Down(version='2.0')"
    assert (told["shown"], told["gone"]) == (["A", "a"], False)


def test_frozen_instances_and_shadowed_names_are_carried_over(become: Become) -> None:
    """A frozen dataclass, an attribute that a property hides, and an exception get their new state without asking them."""
    old = """
    import dataclasses
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        x: int = 1
    class Shadowed:
        def __init__(self): self.__dict__["size"] = 1
        @property
        def size(self): return self.__dict__["size"]
        def __setattr__(self, name, value): raise RuntimeError
    class Wrong(Exception):
        def __init__(self): self.code = 1
    """
    change = "    @staticmethod\n        def code_change(_, state, extra): return {key: value + 1 for key, value in state.items()}"
    new = old
    for line in ("x: int = 1", 'return self.__dict__["size"]', "self.code = 1"):
        new = new.replace(line, f"{line}\n    {change}")
    told = become(
        old,
        new,
        """
        import shop
        frozen, shadowed, wrong = shop.Frozen(), shop.Shadowed(), shop.Wrong()
        names = ["Frozen", "Shadowed", "Wrong"]
        changes = [f"{name}.code_change" for name in names]
        swapped = done(shop=dict(run=changes, added=changes, code_change=names))
        told = dict(after=[frozen.x, shadowed.size, wrong.code])
        swapped.undo()
        told["undone"] = [frozen.x, shadowed.size, wrong.code]
        """,
    )

    assert told == {"after": [2, 2, 2], "undone": [1, 1, 1]}


@everywhere
def test_what_relup_plans_is_what_is_done(become: Become, interpreter: Interpreter, tmp_path: Path) -> None:
    """A dataclass and an ordinary class with new state, there and back, by the instructions of `underway relup`."""
    old = """
    import dataclasses
    LIMIT = 10
    @dataclasses.dataclass
    class Member:
        name: str
        seen: int = LIMIT
    class Room:
        def __init__(self, name):
            self.name, self.members = name, []
        def join(self, who):
            self.members.append(Member(who))
            return len(self.members), LIMIT
    ROOMS = {}
    def lobby():
        return ROOMS.setdefault("lobby", Room("lobby"))
    """
    new = """
    import dataclasses
    LIMIT = 20
    @dataclasses.dataclass
    class Member:
        name: str
        seen: int = LIMIT
        tags: list = dataclasses.field(default_factory=list)
        @staticmethod
        def code_change(old_version, state, extra):
            match old_version:
                case Down():
                    state.pop("tags")
                    return state
            return {**state, "tags": [old_version, extra]}
    class Room:
        def __init__(self, name):
            self.name, self.members, self.topic = name, [], "none"
        def join(self, who):
            self.members.append(Member(who))
            return len(self.members), LIMIT, self.topic, self.shout()
        def shout(self):
            return self.name.upper()
        @staticmethod
        def code_change(old_version, state, extra):
            if isinstance(old_version, Down):
                del state["topic"]
                return state
            return {**state, "topic": f"since {old_version}"}
    ROOMS = {}
    def lobby():
        return ROOMS.setdefault("lobby", Room("lobby"))
    from underway_runtime import Down
    """
    told = become(
        old,
        new,
        """
        import fresh, shop, sys
        room = shop.lobby()
        join, member = room.join, shop.Member("first")
        told = dict(before=[join("a"), repr(member)])
        rows, prepared = relups.planned(extra="x")
        prepared.stage_and_migrate(); prepared.swap(); told["left"] = [str(each) for each in prepared.survivors()]
        prepared.forget()
        told["up"] = [join("b"), repr(member), repr(room.members[0]), repr(room.members[1]), shop.lobby() is room]
        shop.ROOMS.clear()
        told["new"] = fresh.describe("shop")
        rows, prepared = relups.planned(to="1")
        prepared.stage_and_migrate(); prepared.swap(); prepared.forget()
        told["down"] = [join("c"), repr(member), sorted(vars(room)), sys.prefix]
        told["old"] = fresh.describe("shop")
        """,
    )

    assert told["before"] == [[1, 10], "Member(name='first', seen=10)"]
    assert told["left"] == []
    assert told["up"] == [
        [2, 20, "since 1.0", "LOBBY"],
        "Member(name='first', seen=10, tags=['1.0', 'x'])",
        "Member(name='a', seen=10, tags=['1.0', 'x'])",
        "Member(name='b', seen=20, tags=[])",
        True,
    ]
    assert told["down"] == [[3, 10], "Member(name='first', seen=10)", ["members", "name"], "ROOT/releases/1"]
    assert unlike_fresh(interpreter, tmp_path / "hello", "2", told["new"]) == []
    assert unlike_fresh(interpreter, tmp_path / "hello", "1", told["old"]) == []


MADE_OLD = """
import functools, threading
class Event:
    def __init__(self): self.n = 1
class Last:
    def __del__(self): made.append(Event())
made, wanted, there = [], threading.Event(), threading.Event()
@functools.lru_cache
def cached(n): return Last()
"""
MADE_NEW = MADE_OLD.replace(
    "self.n = 1",
    """self.n, self.topic = 1, "new"
    @staticmethod
    def code_change(old_version, state, extra):
        if extra and not made: wanted.set(); there.wait()
        return {**state, "topic": "carried"}""",
).replace("return Last()", "return (Last(), 2)")
FIELDS = """
fields = dict(run=["Event.code_change"], added=["Event.code_change"], code_change=["Event"])
"""


@everywhere
def test_an_instance_that_a_thread_makes_during_the_migration_is_carried_over(become: Become) -> None:
    """Between the look at all instances and the swap: it has the new state, as all others."""
    told = become(
        MADE_OLD,
        MADE_NEW,
        FIELDS
        + """
import threading
def make():
    shop.wanted.wait(60); shop.made.append(shop.Event()); shop.there.set()
thread = threading.Thread(target=make); thread.start()
first = shop.Event()
done(extra=True, shop=fields)
thread.join()
told = [first.topic, [each.topic for each in shop.made], shop.Event().topic]
""",
    )

    assert told == ["carried", ["carried"], "new"]


@everywhere
def test_an_instance_that_is_made_while_all_is_put_in_place_undoes_it(become: Become) -> None:
    """A finalizer of what a cache held makes one: all is as it was, and the next try goes through."""
    told = become(
        MADE_OLD,
        MADE_NEW,
        FIELDS
        + """
from underway_runtime.upgrade.hot import MadeMeanwhile
first = shop.Event(); shop.cached(1)
try: done(shop={**fields, "caches": ["cached"]})
except MadeMeanwhile as error: told = [list(error.problems), hasattr(first, "topic"), hasattr(shop.Event(), "topic")]
done(shop={**fields, "caches": ["cached"]})
told.append([each.topic for each in (first, *shop.made, shop.Event())])
""",
    )

    assert told == [
        ["instances of shop.Event are made meanwhile: by a thread, or by its code_change"],
        False,
        False,
        ["carried", "carried", "new"],
    ]


@everywhere
def test_no_instance_stays_as_the_old_code_has_made_it(become: Become) -> None:
    """A thread makes them all the time: where the swap is done, each that is there has the new state."""
    told = become(
        MADE_OLD,
        MADE_NEW,
        FIELDS
        + """
import threading
from underway_runtime.upgrade.hot import MadeMeanwhile
stop = threading.Event()
def make():
    while not stop.wait(0.005): shop.made.append(shop.Event())
thread = threading.Thread(target=make); thread.start()
bare = 0
for _ in range(10):
    prepared = swap(shop=fields)
    try: prepared.stage_and_migrate(); prepared.swap()
    except MadeMeanwhile: continue
    bare += sum(not hasattr(each, "topic") for each in shop.made[:len(shop.made)])
    prepared.undo()
stop.set(); thread.join()
told = bare
""",
    )

    assert told == 0
