"""Old code that still runs is found, and named with who holds it; what must hold is looked at before anything is done."""

from __future__ import annotations

import re
from typing import Any

import pytest

from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place

OLD = """
import asyncio, threading
release = threading.Event()
async def step(): await asyncio.sleep(3600)
async def nested():
    await inner()
async def inner(): await asyncio.sleep(3600)
def numbers():
    yield 1
    yield 2
async def stream():
    yield 1
    yield 2
def blocked(): release.wait(60)
def failing(): raise ValueError("A")
def same():
    yield 1
    yield 2
async def calls_same(): await asyncio.sleep(3600)
def spare(): return 1
class Room:
    def visit(self):
        yield "A"
        yield "A"
"""
NEW = (
    OLD.replace("asyncio.sleep(3600)", "asyncio.sleep(3600.0)", 2)
    .replace(
        "yield 1\n    yield 2\nasync def stream():\n    yield 1",
        'yield 1\n    yield "B"\nasync def stream():\n    yield "B"',
    )
    .replace("wait(60)", "wait(60.0)")
    .replace('"A"', '"B"')
)


@everywhere
def test_every_frame_of_old_code_is_named_with_its_holder(become: Become) -> None:
    """Tasks with what they await, generators, threads and what tracebacks keep; what does not change is not in the way."""
    told = become(
        OLD,
        NEW,
        """
        import asyncio, shop, sys, threading, types
        class Holder: pass
        holder = Holder()
        holder.room = shop.Room().visit(); next(holder.room)
        CURSOR = shop.numbers(); next(CURSOR)
        shop.cursor = [{"x": shop.numbers()}]
        unaffected = shop.same(); next(unaffected)
        async def main():
            prepared = swap(shop={})
            names = dict(started=shop.step(), waits=shop.nested(), same=shop.calls_same())
            tasks = [asyncio.create_task(each, name=name) for name, each in names.items()]
            stream = shop.stream(); await anext(stream)
            thread = threading.Thread(target=shop.blocked, name="worker"); thread.start()
            try: shop.failing()
            except ValueError as error: kept = error
            def codes(frame):
                while frame:
                    yield frame.f_code
                    frame = frame.f_back
            while not all(each.get_coro().cr_await for each in tasks): await asyncio.sleep(0)
            while shop.blocked.__code__ not in codes(sys._current_frames().get(thread.ident)): await asyncio.sleep(0)
            unstarted = asyncio.create_task(shop.step(), name="unstarted")
            inside = sorted(str(each) for each in prepared.inside())
            by_task = sorted(each.task.get_name() for each in prepared.inside() if each.task)
            prepared.stage_and_migrate(); prepared.swap()
            after = sorted(str(each) for each in prepared.survivors())
            unquiet = sorted(str(each) for each in prepared.survivors() if each.runs)
            prepared.undo()
            for task in tasks + [unstarted]: task.cancel()
            await asyncio.gather(*tasks, unstarted, return_exceptions=True)
            shop.release.set(); thread.join(); holder.room.close(); CURSOR.close(); shop.cursor.clear(); await stream.aclose()
            return inside, by_task, after, unquiet, [str(each) for each in prepared.inside()]
        inside, by_task, after, unquiet, gone = asyncio.run(main())
        told = dict(inside=inside, tasks=by_task, after=after, unquiet=unquiet, gone=gone)
        """,
    )

    assert without_lines(told["inside"]) == [
        "shop:Room.visit: generator of a __main__.Holder",
        "shop:blocked: frame of thread 'worker'",
        "shop:inner: coroutine of task 'waits' (nested)",
        "shop:numbers: generator of list in shop.cursor",
        "shop:numbers: generator of __main__.CURSOR",
        "shop:step: coroutine of task 'started' (step)",
        "shop:step: coroutine of task 'unstarted' (step)",
        "shop:stream: async generator of a local of main, <string>",
    ]
    assert told["tasks"] == ["started", "unstarted", "waits"]
    assert [each for each in without_lines(told["after"]) if each not in without_lines(told["unquiet"])] == [
        "shop:failing: kept frame of traceback in traceback in ValueError in a local of main, <string>"
    ]
    assert without_lines(told["unquiet"]) == without_lines(told["inside"])
    assert told["gone"] == []


def without_lines(texts: list[str]) -> list[str]:
    return [re.sub(r", line \d+|:\d+$", "", text) for text in texts]


def test_a_greenlet_is_found_where_it_waits(become: Become) -> None:
    """A suspended greenlet is in no thread's stack, and named all the same."""
    # What greenlet looks like from Python, as it is not among what the tests install.
    told = become(
        "def wait(gate): next(gate)\ndef gate():\n    yield 1\n    yield 2\n",
        "def wait(gate): next(gate), 1\ndef gate():\n    yield 1\n    yield 2\n",
        """
        import shop, sys, threading, types
        greenlet = types.ModuleType("greenlet")
        class Greenlet:
            gr_frame = None
        greenlet.greenlet = Greenlet
        sys.modules["greenlet"] = greenlet
        class Own(Greenlet): pass
        pool = [Own()]
        entered, leave = threading.Event(), threading.Event()
        def held():
            entered.set(); leave.wait(60); yield
        thread = threading.Thread(target=shop.wait, args=(held(),), name="below"); thread.start()
        entered.wait(60)
        frame = sys._current_frames()[thread.ident]
        while frame.f_code is not shop.wait.__code__: frame = frame.f_back
        pool[0].gr_frame = frame
        told = [str(each) for each in swap(shop={}).inside()]
        leave.set(); thread.join()
        """,
    )

    assert told == [
        "shop:wait, line 1: frame of thread 'below'",
        "shop:wait, line 1: greenlet of list in __main__.pool",
    ]


def refused(become: Become, old: str, new: str, setup: str, **loads: Any) -> Any:
    """What is in the way, and whether anything was changed."""
    return become(
        old,
        new,
        f"""
import shop, sys
from underway_runtime.upgrade.hot import CannotSwap
{setup}
before = [(name, id(value)) for name, value in vars(shop).items()], sys.prefix
try:
    swap(**{loads!r})
except CannotSwap as error:
    told = sorted(error.problems)
else:
    told = []
assert before == ([(name, id(value)) for name, value in vars(shop).items()], sys.prefix)
""",
    )


def test_everything_that_is_in_the_way_is_told_at_once(become: Become) -> None:
    """Closures, holders, instances, metaclasses, values that were set or lent: each is named, and nothing has changed."""
    old = """
    import functools
    LIMIT = 1
    OPEN = [1, 2]
    NAMES = {"a": [1]}
    CONSTANT = (1, True)
    def make():
        def inner(): return 1
        return inner
    def helper(): return 1
    def twice(): return 1
    class Meta(type): pass
    class Room(metaclass=Meta): pass
    class Gone: pass
    class Slotted(int): __slots__ = ()
    class Parent: pass
    class Child(Parent): pass
    def native(x): return 1
    """
    new = (
        old.replace("def inner(): return 1", "def inner(): return 2")
        .replace("def native(x): return 1", "def native(x): return 2")
        .replace("def twice(): return 1", "def twice(): return 2")
    )
    told = refused(
        become,
        old,
        new,
        """
closure = shop.make()
shop.LIMIT = 5
lent = shop.OPEN
inner = shop.NAMES["a"]
shop.CONSTANT = (1, 1)
table = {"helper": shop.helper}
gone = [shop.Gone()]
shop.native = len
shop.twice = shop.twice.__get__(1)
""",
        shop={
            "values": {"LIMIT": 1, "OPEN": [1, 2], "NAMES": {"a": [1]}, "CONSTANT": (1, True), "MISSING": 1},
            "guards": [
                ("no_closures", "make.<locals>.inner"),
                ("no_holders", "helper"),
                ("no_instances", "Gone"),
                ("no_instances", "Slotted"),
                ("no_holders", "Parent"),
                ("plain_class", "Room"),
            ],
        },
    )

    assert told == [
        "members of shop.Room are up to its metaclass shop.Meta",
        "shop.CONSTANT is (1, 1), and not (1, True) as the module has made it",
        "shop.Gone makes its instances in another way: there are 1 instances, one in list in __main__.gone",
        "shop.LIMIT is 5, and not 1 as the module has made it",
        "shop.MISSING is not there",
        "shop.NAMES can be changed, and something refers to it that is not known",
        "shop.OPEN can be changed, and something refers to it that is not known",
        "shop.Parent goes away, and its subclass shop.Child refers to it",
        "shop.helper goes away, and __main__.table refers to it",
        "shop.native is a builtins.builtin_function_or_method here, and no function of Python",
        "shop:make.<locals>.inner is alive, and can't become another: __main__.closure has it",
    ]


def test_code_that_is_not_the_releases_is_refused(become: Become) -> None:
    """Code that a tracer has rewritten, functions that are gone, other free variables, a second copy and children."""
    old = """
    def traced(): return 1
    def make():
        def gone(): return 1
        return gone
    def over(x, y):
        def inner(): return x
        return inner
    def loaded(): return 1
    """
    new = """
    def traced(): return 1
    def make():
        return None
    def over(x, y):
        def inner(): return y
        return inner
    def loaded(): return 1
    """
    told = refused(
        become,
        old,
        new,
        """
import multiprocessing, time, types
shop.traced.__code__ = shop.traced.__code__.replace(co_consts=(None, 5))
gone, inner = shop.make(), shop.over(1, 2)
double = types.ModuleType("double")
exec(shop.__spec__.loader.get_code("shop"), vars(double))
child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True, name="child")
child.start()
shop.__spec__._initializing = True
""",
        shop={},
    )

    [child] = [each for each in told if re.search(r"\(pid \d+\) runs code of this release", each)]
    assert [each for each in told if each != child] == [
        "shop is being imported at the moment; try again",
        "shop:loaded is loaded twice, as a function of 'double' too",
        "shop:make is loaded twice, as a function of 'double' too",
        "shop:make.<locals>.gone is gone, and still held by __main__.gone",
        "shop:over is loaded twice, as a function of 'double' too",
        "shop:over.<locals>.inner would use y of what surrounds it instead of x; __main__.inner has it",
        "shop:traced is loaded twice, as a function of 'double' too",
        "shop:traced runs other code than ROOT/lib/shop-1.0/shop.py holds: something has rewritten it, a tracer perhaps",
    ]


def test_an_audit_hook_is_noticed_where_they_are_watched(become: Become) -> None:
    """A hook that is added after `audit.watch` refuses the swap: it would let other threads in."""
    told = refused(
        become,
        "def f(): return 1",
        "def f(): return 2",
        """
from underway_runtime.process import audit_hooks as audit
audit.watch()
audit.watch()
told = []
def hook(event, arguments): pass
assert swap(shop={})
sys.addaudithook(hook)
""",
        shop={},
    )

    assert told == ["the audit hook __main__.hook would run in the middle"]


def test_a_value_that_is_set_after_the_look_undoes_the_swap(become: Become) -> None:
    """Between staging and swapping the value is looked at once more."""
    told = become(
        "LIMIT = 1\ndef f(): return 'A'\n",
        "LIMIT = 2\ndef f(): return 'B'\n",
        """
        from underway_runtime.upgrade.hot import CannotSwap
        import shop
        prepared = swap(shop=dict(run=["LIMIT"], values=dict(LIMIT=1)))
        prepared.stage_and_migrate()
        shop.LIMIT = 3
        try: prepared.swap()
        except CannotSwap as error: told = [list(error.problems), shop.LIMIT, shop.f(), shop.__file__]
        """,
    )

    assert told == [
        ["shop.LIMIT is 3, and not 1 as the module has made it"],
        3,
        "A",
        "ROOT/lib/shop-1.0/shop.py",
    ]


def test_code_of_two_versions_ago_is_not_forgotten(become: Become) -> None:
    """What still runs code of the version before the last is found when the next one comes; what was the same is replaced."""
    text = """
    def numbers():
        yield {a}
        yield {a}
    def make():
        def inner(): return {b}
        yield inner
        yield inner
    def outer():
        while True:
            def fresh(): return {c}
            yield fresh
    """
    told = become(
        text.format(a=1, b=1, c=1),
        text.format(a=2, b=1, c=1),
        """
        import shop
        old = shop.numbers(); next(old)
        outer = shop.outer(); next(outer)
        done(shop={}).forget()
        late = next(outer)  # made by a frame of version 1
        told = dict(file=late.__code__.co_filename)
        prepared = swap(to="3", shop={})
        told["inside"] = [str(each) for each in prepared.inside()]
        old.close()
        told["then"] = [str(each) for each in prepared.inside()]
        outer.close()
        prepared.stage_and_migrate(); prepared.swap(); prepared.forget()
        told["after"] = [late(), late.__code__.co_filename]
        """,
        text.format(a=2, b=1, c=3),
    )

    assert told == {
        "file": "ROOT/lib/shop-1.0/shop.py",
        "inside": [
            "shop:numbers, line 3: generator of __main__.old",
            "shop:outer, line 12: generator of __main__.outer",
        ],
        "then": ["shop:outer, line 12: generator of __main__.outer"],
        "after": [3, "ROOT/lib/shop-3.0/shop.py"],
    }


@pytest.mark.sample
@everywhere
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ({"tool/a.py": "A = 1"}, {"tool/__init__.py": "A = 2"}, "tool of 1 has no code: it is a namespace package"),
        ({"tool/a.py": "A = 1"}, {"tool.py": "A = 2"}, "tool of 1 has no code: it is a namespace package"),
        ({"tool/__init__.py": "A = 1"}, {"tool/a.py": "A = 2"}, "tool of 2 has no code: it is a namespace package"),
    ],
)
def test_a_module_that_becomes_a_package_is_left_as_it_is(
    become: Become, old: dict[str, str], new: dict[str, str], problem: str
) -> None:
    """Also where a relup says nothing of it: up, down, and in the place of a namespace."""
    told = become(
        {"shop.py": "", **old},
        {"shop.py": "", **new},
        """
        from underway_runtime.release.instructions import Load
        from underway_runtime.upgrade.hot import CannotSwap
        from underway_runtime.upgrade.hot.swap import prepare
        import tool
        before = {name: str(value) for name, value in vars(tool).items()}
        try: prepare([Load("tool", "shop")], relups.version("1"), relups.version("2"))
        except CannotSwap as error: told = [list(error.problems), {name: str(value) for name, value in vars(tool).items()} == before]
        """,
    )

    assert told == [[problem], True]


@everywhere
def test_a_package_that_leaves_a_namespace_is_not_removed(become: Become) -> None:
    """A fresh start could import it still."""
    told = become(
        {"shop.py": "", "tool/__init__.py": "A = 1", "tool/a.py": ""},
        {"shop.py": "", "tool/a.py": ""},
        """
        from underway_runtime.upgrade.hot import CannotSwap
        import tool
        try: swap(removed=["tool"])
        except CannotSwap as error: told = list(error.problems)
        """,
    )

    assert told == ["tool is a namespace package in 2"]


@everywhere
@pytest.mark.parametrize(
    "meanwhile", ["", "gc.collect()", "gc.freeze()", "shop.begun = shop.numbers(); next(shop.begun)"]
)
def test_all_that_is_alive_is_looked_at_once_while_work_waits(become: Become, meanwhile: str) -> None:
    """And afterwards only what was made since, unless that may be old by then, or somebody was inside: what is found is the same."""
    told = become(
        "def numbers():\n    yield 1\n    yield 1\nbegun = None\ndef make():\n    def inner(): return 1\n    return inner\n",
        "def numbers():\n    yield 2\n    yield 2\nbegun = None\ndef make():\n    def inner(): return 2\n    return inner\n",
        f"""
        import gc, shop
        from underway_runtime.upgrade.hot import heap
        looks = []
        everything = heap.all_objects
        heap.all_objects = lambda: looks.append(1) or everything()
        inside = {"begun" in meanwhile!r}
        prepared = swap(shop={{}})
        looks.clear()
        gc.disable()
        if inside:
            {meanwhile or "pass"}
        prepared.stage_and_migrate()
        make, running = shop.make.__code__, shop.numbers()
        next(running)
        old = type(shop.make)(make, vars(shop))
        prepared.swap()
        late = old()  # of code that was replaced just now
        if not inside:
            {meanwhile or "pass"}
        told = [sorted(str(each) for each in prepared.survivors()), late(), len(looks)]
        """,
    )

    found = ["shop:numbers, line 2: generator of __main__.running"]
    if "begun" in meanwhile:
        found.append("shop:numbers, line 2: generator of shop.begun")
    assert told == [found, 2, 1 if not meanwhile else 2]
