"""What a module becomes: values, names, classes and new modules are those of a fresh start."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from swap_helpers import Become, everywhere, unlike_fresh

pytestmark = pytest.mark.in_place

OLD = {
    "shop/__init__.py": '''"""The shop, A."""
''',
    "shop/limits.py": """
MAX = 10
NAMES = ("a", "b")
OPEN = {"x": [1]}
KEPT = []
DOUBLE = MAX * 2
""",
    "shop/rooms.py": '''"""Rooms, A."""
import abc
import functools
from shop.limits import MAX, NAMES
from shop import limits

LIMIT = MAX + 1
TABLE: dict[str, int] = {"a": 1}
GONE = 1

def helper(x): return x

def sized(n=LIMIT, *, k=MAX): return n, k

class Base(abc.ABC):
    @abc.abstractmethod
    def must(self): ...
    def other(self): return "A"

class Room(Base):
    """A room, A."""
    size: int = LIMIT
    kinds = NAMES
    def must(self): return "must"
    def join(self, who="A"): return who
    def name(self): return "name"
    def old(self): return "old"
    @property
    def full(self):
        """A"""
        return self.size
    @staticmethod
    def make(a=1): return a
    class Inner:
        n = 1
        def f(self): return 1

class Vip(Room):
    def join(self, who="vip"): return super().join(who) + "!"

class Gone: pass
''',
}

NEW = {
    "shop/__init__.py": '''"""The shop, B."""
VERSION = "B"
''',
    "shop/limits.py": """
EXTRA = 5
MAX = 10 + EXTRA
NAMES = ("a", "b", "c")
OPEN = {"x": [1, 2]}
KEPT = []
DOUBLE = MAX * 2
""",
    "shop/history.py": """
from shop.limits import EXTRA
def log(x): return "logged", x, EXTRA
""",
    "shop/rooms.py": '''"""Rooms, B."""

import abc
import functools
import shop.history
from shop.history import log
from shop.limits import MAX, NAMES, EXTRA
from shop import limits

LIMIT = MAX + EXTRA
TABLE: dict[str, int] = {"a": 2}
ADDED: "int" = 3

def added(x: int) -> "Room": return log(x)

def sized(n: int = LIMIT, m=ADDED, *, k=MAX):
    "Doc"
    return n, m, k

class Base(abc.ABC):
    @abc.abstractmethod
    def must(self): ...
    def other(self): return "B"
    @abc.abstractmethod
    def also(self): ...

class Room(Base):
    """A room, B."""
    size: int = LIMIT
    kinds = NAMES
    deep: bool = ADDED
    def must(self): return "must B"
    def join(self, who="B", *, why=LIMIT): return who, why
    @classmethod
    def name(cls): return cls.__name__
    @property
    def full(self):
        """B"""
        return self.size, 2
    @staticmethod
    def make(a: int = LIMIT, b=3): return a, b
    def fresh(self): return super().other()
    @functools.cached_property
    def cached(self): return self.size
    def also(self): return 1
    class Inner:
        n = LIMIT
        def f(self): return 2

class Vip(Room):
    def join(self, who="vip"): return super().join(who)[0] + "!"

class Limits:
    def __init__(self): self.n = ADDED
''',
}

SWAP = """
import copy, fresh, json, sys, shop.rooms, shop.limits
room, vip = shop.rooms.Room(), shop.rooms.Vip()
kept = shop.limits.KEPT
kept.append(1)
held = [room.join, shop.rooms.sized, shop.rooms.Room.make, lambda: room.name()]
objects = [shop.rooms.Room, shop.rooms.sized, shop.rooms.Room.__dict__["full"]]
def go():
    return swap(
        shop=dict(run=["VERSION"], added=["VERSION"]),
        shop__limits=dict(
            run=["EXTRA", "MAX", "NAMES", "OPEN", "DOUBLE"], added=["EXTRA"],
            values=dict(MAX=10, NAMES=("a", "b"), OPEN={"x": [1]}, DOUBLE=20),
        ),
        shop__rooms=dict(
            literal=dict(MAX=15, NAMES=("a", "b", "c"), LIMIT=20),
            run=["log", "shop", "LIMIT", "TABLE", "ADDED", "EXTRA", "added", "sized", "Room.size", "Room.kinds", "Room.deep",
                 "Room.join", "Room.name", "Room.make", "Room.fresh", "Room.cached", "Room.also", "Room.Inner.n", "Room.Inner",
                 "Base.also", "Limits"],
            imports=["shop.history"], refreshed=["sized", "Room.join", "Room.name", "Room.make"],
            added=["log", "shop", "EXTRA", "ADDED", "added", "Room.deep", "Room.fresh", "Room.cached", "Room.also", "Base.also",
                   "Limits"],
            removed=["GONE", "helper", "Room.old", "Gone"],
            values={"LIMIT": 11, "TABLE": {"a": 1}, "Room.size": 11, "Room.kinds": ("a", "b"), "Room.Inner.n": 1},
            rebind=dict(MAX=("shop.limits", "MAX"), NAMES=("shop.limits", "NAMES")),
            guards=[("no_holders", "helper"), ("no_holders", "Room.old"), ("no_holders", "Gone"), ("no_instances", "Gone"),
                    ("plain_class", "Room")],
        ),
    )
"""


@everywhere
def test_a_swapped_process_is_like_a_fresh_one(become: Become, interpreter: Interpreter, tmp_path: Path) -> None:
    """Values, what was made of them, names, members, new modules, docstrings and lines are those of a fresh start."""
    told = become(
        OLD,
        NEW,
        SWAP
        + """
prepared = go()
prepared.stage_and_migrate()
early = [shop.limits.MAX, shop.rooms.LIMIT, room.join(), shop.limits.EXTRA, hasattr(room, "fresh")]
prepared.swap()
prepared.survivors()
prepared.forget()
told = dict(
    early=early, held=[each() for each in held], vip=vip.join(), new=[room.fresh(), room.cached, room.full],
    same=objects == [shop.rooms.Room, shop.rooms.sized, shop.rooms.Room.__dict__["full"]], kept=shop.limits.KEPT is kept,
    abstract=sorted(shop.rooms.Base.__abstractmethods__), room=sorted(shop.rooms.Room.__abstractmethods__))
kept.clear()
told["all"] = fresh.describe("shop")
""",
    )

    assert told["early"] == [10, 11, "A", 5, False]
    assert told["held"] == [["B", 20], [20, 3, 15], [20, 3], "Room"]
    assert (told["vip"], told["new"], told["same"], told["kept"]) == ("vip!", ["B", 20, [20, 2]], True, True)
    assert (told["abstract"], told["room"]) == (["also", "must"], [])
    assert unlike_fresh(interpreter, tmp_path / "hello", "2", told["all"]) == []


@everywhere
def test_undone_it_is_as_it_was(become: Become, interpreter: Interpreter, tmp_path: Path) -> None:
    """Undone before the swap or after it, everything is the very same as before, but for the order of names."""
    told = become(
        OLD,
        NEW,
        SWAP
        + """
def shape(names):
    return {name: (id(value), {} if not isinstance(value, type) else shape(vars(value))) for name, value in names.items()
            if name not in ("__dict__", "__weakref__")}
def functions():
    return {id(f): (id(f.__code__), id(f.__defaults__), id(f.__kwdefaults__), f.__doc__, str(f.__annotations__))
            for f in relups.functions_of("shop")}
def everything():
    gc.collect()
    modules = {name: shape(vars(module)) for name, module in sys.modules.items() if name.startswith("shop")}
    finders =  {key: id(value) for key, value in sys.path_importer_cache.items() if value}
    return modules, functions(), str(sys.path), finders, sys.prefix, vars(room), kept
import gc
go()
for f in relups.functions_of("shop"): f.__annotations__
before = everything()
told = {}
for name, steps in (("staged", 1), ("swapped", 2), ("looked", 3)):
    prepared = go()
    for step in (prepared.stage_and_migrate, prepared.swap, prepared.survivors)[:steps]:
        step()
    assert everything() != before
    prepared.undo()
    after = everything()
    told[name] = [line for one, other in zip(before, after) for line in fresh.differences(one, other)]
kept.clear()
told["all"] = fresh.describe("shop")
""",
    )

    assert told.pop("all")
    assert told == {"staged": [], "swapped": [], "looked": []}
