"""Parts of objects that stay: set, taken out and ordered in the one act, with what fragments do to them; or nothing is."""

from __future__ import annotations

import pytest

from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place

OLD = """
from collections import OrderedDict, deque

class Slotted:
    __slots__ = ("limit", "later")
    def __init__(self): self.limit = 1

class App:
    kinds = ["a"]
    def __init__(self, version):
        self.version, self.routes, self.cached = version, ["r0", "r1", "r2"], None
        self.config, self.order = {"DEBUG": False, 3: "three", "gone": self}, OrderedDict(a=1, b=2)
        self.seen, self.queue, self.slotted, self.started = {"x"}, deque([1]), Slotted(), True
    def __setattr__(self, name, value):
        if name == "version" and "version" in self.__dict__: raise RuntimeError("foreign code")
        object.__setattr__(self, name, value)
    def route(self, path):
        assert not self.started
        self.routes.append(path); self.config[path] = len(self.routes); self.seen.add(path); self.queue.append(path)
        self.order.pop("a", None); self.order["a"] = path
        self.slotted.later = path
        App.kinds.append(path)
        return path

app = App("1")
app.started = True
routes, config = app.routes, app.config
"""

NEW = (
    OLD
    + """
added = app.route("/new")
"""
)

LOOK = """
from underway_runtime.release.parts import Part
def look():
    app = shop.app
    config = {k: v if k != "gone" else "app" for k, v in app.config.items()}
    return repr([app.version, app.routes, config, list(app.order.items()), sorted(app.seen), list(app.queue), app.slotted.limit,
        hasattr(app.slotted, "later"), shop.App.kinds, app.cached, app.started])
def step(each):
    return ("item", eval(each.strip("[]"))) if each.startswith("[") else ("attribute", each)
def at(kind, *path, was=None, now=None):
    return Part(kind, tuple(map(step, path)), was, now)
before = look()
"""


@everywhere
def test_what_a_fragment_does_to_an_object_is_put_in_place_with_all_else(become: Become) -> None:
    """While all is made ready the object is as it was; the swap puts it in; undone it is as it was, and the very same objects."""
    told = become(
        OLD,
        NEW,
        LOOK
        + """
prepared = swap(shop=dict(run=["added"], added=("added",), touches=(("shop", "app"), ("shop", "App")),
                          parts=(at("meanwhile", "app", "started", now=False),)))
prepared.stage_and_migrate()
staged = look()
prepared.swap()
after = look()
same = shop.routes is shop.app.routes and shop.config is shop.app.config
prepared.undo()
told = [staged == before, after, same, look() == before, shop.routes is shop.app.routes]
""",
    )
    assert told[0] is True
    assert told[1] == repr(
        [
            *("1", ["r0", "r1", "r2", "/new"], {"DEBUG": False, 3: "three", "gone": "app", "/new": 4}),
            *([("b", 2), ("a", "/new")], ["/new", "x"], [1, "/new"], 1, True, ["a", "/new"], None, True),
        ]
    )
    assert told[2:] == [True, True, True]


@everywhere
def test_parts_are_set_without_code_of_the_application(become: Become) -> None:
    """An attribute, an item, a slot; what is taken out, put in order and forgotten: all at once, and undone."""
    told = become(
        OLD,
        OLD + "\n",
        LOOK
        + """
shop.app.cached = "something"
seen = shop.app.seen
prepared = done(shop=dict(parts=(
    at("value", "app", "version", was="1", now="2"), at("value", "app", "config", "[3]", was="three", now=["3"]),
    at("value", "app", "slotted", "limit", was=1, now=2), at("added", "app", "config", "['NEW']", now=(1,)),
    at("gone", "app", "config", "['gone']", was="shop.App"), at("forgotten", "app", "cached"),
    at("elements", "app", "seen", was={"x"}, now={"y", "z"}),
    at("order", "app", "routes", was=3, now=[2, 0]), at("order", "app", "order", now=["b", "a"]))))
after = look()
same = shop.app.seen is seen
prepared.undo()
shop.app.cached = None
told = [after, same, look() == before]
""",
    )
    assert told == [
        repr(
            [
                *("2", ["r2", "r0"], {"DEBUG": False, 3: ["3"], "NEW": (1,)}),
                *([("b", 2), ("a", 1)], ["y", "z"], [1], 2, False, ["a"], None, True),
            ]
        ),
        True,
        True,
    ]


PLACED = """
import sys
from pathlib import Path
HERE = str(Path(__file__).parent)
ROW = tuple({HERE, "/usr/lib", "/opt"})
"""


@everywhere
def test_a_place_in_a_row_is_another_in_whatever_order_it_has(become: Become) -> None:
    """All else of the row stays where it is, on the way back too; a row that somebody has set has no such place, and stays."""
    told = become(
        PLACED,
        PLACED + "\n",
        LOOK.partition("def look")[0]
        + """
part = Part("placed", (("attribute", "ROW"),), "lib/shop-1.0", "lib/shop-2.0")
before, here = shop.ROW, shop.HERE
prepared = done(shop=dict(parts=(part,)))
after = tuple(here if text == here.replace("shop-1.0", "shop-2.0") else text for text in shop.ROW)
told = [after == before, shop.ROW != before]
prepared.undo()
told += [shop.ROW is before]
shop.ROW = ("/opt",)
from underway_runtime.upgrade.hot import CannotSwap
try: swap(shop=dict(parts=(part,)))
except CannotSwap as error: told += [len(error.problems), shop.ROW]
""",
    )
    assert told == [True, True, True, 1, ["/opt"]]


@everywhere
def test_a_part_that_is_not_as_the_module_has_made_it_is_left_alone(become: Become) -> None:
    """Set at run time, it is somebody's: everything that is in the way is named, and nothing has changed."""
    told = become(
        OLD,
        OLD + "\n",
        LOOK
        + """
from underway_runtime.upgrade.hot import CannotSwap
shop.app.config["DEBUG"] = "live"
shop.app.config["NEW"] = "live"
shop.app.seen = {"live"}
shop.app.seen_since = "live"
before = look()
try:
    swap(shop=dict(parts=(at("value", "app", "config", "['DEBUG']", was=False, now=True), at("added", "app", "config", "['NEW']", now=1),
        at("gone", "app", "config", "['gone']", was="shop.Other"), at("value", "app", "nothing", was=1, now=2),
        at("elements", "app", "seen", was={"x"}, now={"y"}),
        at("untouched", "app", was={"version": ["1"], "cached": [3], "seen_since": [], "lost": [1]}))))
except CannotSwap as error:
    told = [list(error.problems), look() == before]
""",
    )
    assert told == [
        [
            "shop.app.config['DEBUG'] is 'live', and not False as the module has made it",
            "shop.app.config['NEW'] is there already, as 'live'",
            "shop.app.config['gone'] is not a shop.Other as the module has made it",
            "shop.app.nothing is not there, and not 1 as the module has made it",
            "shop.app.seen is {'live'}, and not {'x'} as the module has made it",
            "shop.app has None as its cached by now, which may be made of what changes in it",
            "shop.app has 'live' as its seen_since by now, which may be made of what changes in it",
            "shop.app has nothing as its lost by now, which may be made of what changes in it",
        ],
        True,
    ]


@everywhere
def test_a_fragment_that_fails_leaves_what_it_has_touched_as_it_was(become: Become) -> None:
    """Also what it has done before it raised."""
    told = become(
        OLD,
        OLD + "\nadded = (app.route('/half'), 1 / 0)\n",
        LOOK
        + """
from underway_runtime.upgrade.hot import CannotSwap
prepared = swap(shop=dict(run=["added"], added=("added",), touches=(("shop", "app"),),
                          parts=(at("meanwhile", "app", "started", now=False),)))
try:
    prepared.stage_and_migrate()
except CannotSwap as error:
    shop.App.kinds.clear(); shop.App.kinds.append("a")
    told = [str(error).splitlines()[-1], look() == before]
""",
    )
    assert told == ["  - ZeroDivisionError: division by zero", True]
