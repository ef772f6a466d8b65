"""A process becomes another version of what it runs: identities stay, the code is the new one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place


@everywhere
def test_those_who_hold_a_function_run_its_new_body(become: Become) -> None:
    """Partials, bound methods, closures, properties, generics, contexts, callbacks and executors run the new code."""
    source = """
    import contextlib, functools
    def greet(name): return f"A {name}"
    def make(n):
        def inner(): return "A", n
        return inner
    class Room:
        def __init__(self): self.n = 1
        def plain(self): return "A plain", self.n
        @staticmethod
        def static(): return "A static"
        @classmethod
        def made(cls): return "A", cls.__name__
        @property
        def size(self): return "A size"
        @size.setter
        def size(self, value): self.n = ("A", value)
        def above(self): return "A", super().__repr__()[:5]
    class Vip(Room):
        pass
    @functools.singledispatch
    def kind(x): return "A object"
    @kind.register
    def _(x: int): return "A int"
    @contextlib.contextmanager
    def around():
        yield "A around"
    @functools.lru_cache
    def cached(x): return "A", x
    def wrapped(f):
        def outer(*a): return f(*a)
        return outer
    @wrapped
    def hidden(): return "A hidden"
    def undecorated(x=1, *, y=2):
        "A doc"
        return x, y
    """
    told = become(
        source,
        "\n    # a line more" + source.replace('"A', '"B').replace('f"A', 'f"B').replace("'A", "'B"),
        """
        import asyncio, functools, shop, concurrent.futures, threading, inspect
        room, vip = shop.Room(), shop.Vip()
        held = [functools.partial(shop.greet, "x"), room.plain, vip.plain, shop.make(3), room.static, shop.Room.static,
                room.made, room.above, lambda: room.size, functools.partial(shop.kind, 1), functools.partial(shop.kind, "s"),
                lambda: shop.around().__enter__(), functools.partial(shop.cached, 1), shop.hidden, shop.undecorated]
        identities = [shop.greet, shop.Room, shop.Room.plain, shop.Room.__dict__["size"], shop.kind, shop.cached]
        before = [each() for each in held]
        pool = concurrent.futures.ThreadPoolExecutor(1)
        gate = threading.Event()
        pool.submit(gate.wait)
        queued = pool.submit(shop.greet, "queue")
        seen = []
        async def main():
            loop = asyncio.get_running_loop()
            task = asyncio.ensure_future(turn())
            loop.call_later(0.01, lambda: seen.append(shop.greet("lambda")))
            loop.call_later(0.01, shop.Room.plain, room)
            task.add_done_callback(lambda t: seen.append(shop.greet("done")))
            done(shop=dict(caches=("cached",))).forget()
            room.size = 5
            seen.append(room.n)
            await task
            await asyncio.sleep(0.02)
        async def turn():
            await asyncio.sleep(0.01)
            seen.append(shop.greet("task"))
        asyncio.run(main())
        gate.set()
        after = [each() for each in held]
        told = dict(before=str(before), after=str(after), seen=seen, queued=queued.result(), same=identities == [
            shop.greet, shop.Room, shop.Room.plain, shop.Room.__dict__["size"], shop.kind, shop.cached],
            doc=shop.undecorated.__doc__, file=shop.__file__, source=inspect.getsource(shop.greet),
            line=shop.greet.__code__.co_firstlineno)
        """,
    )

    assert told["after"] == told["before"].replace("'A", "'B").replace("B plain', 1", "B plain', ('B', 5)", 1)
    assert told["seen"] == [["B", 5], "B lambda", "B task", "B done"]
    assert told["queued"] == "B queue"
    assert told["same"]
    assert told["doc"] == "B doc"
    assert told["file"] == "ROOT/lib/shop-2.0/shop.py"
    assert told["source"] == 'def greet(name): return f"B {name}"\n'


@everywhere
def test_a_module_that_says_that_it_is_another_file_says_so_of_the_new_version(become: Become) -> None:
    """A file of its own version; undone, it is that of the old one."""
    sources = {"shop/__init__.py": "__file__ = __file__.replace('__init__', 'other')\n", "shop/other.py": ""}
    told = become(
        sources,
        sources,
        "before = shop.__file__\nswapped = done(shop={})\nafter = shop.__file__\nswapped.undo()\ntold = [before, after, shop.__file__]\n",
    )

    assert told == [f"ROOT/lib/shop-{version}.0/shop/other.py" for version in (1, 2, 1)]


@everywhere
def test_what_is_imported_later_is_of_the_new_version(become: Become) -> None:
    """Late imports, data, metadata, pkgutil, child processes and spawned ones see the new version; undone, the old one."""
    both = {
        "shop/__init__.py": "def where(): return __file__\n",
        "shop/late.py": "NAME = 'late A'\n",
        "shop/later.py": "NAME = 'later A'\n",
        "shop/data.txt": "data A",
        "shop/spawned.py": "def work(x):\n    return 'A', x\n",
        "shop/space/inner.py": "NAME = 'inner A'\n",
    }
    told = become(
        both,
        {path: re.sub(r"\bA\b", "B", text) for path, text in both.items()} | {"shop/added.py": "NAME = 'added'\n"},
        """
        import importlib.metadata, importlib.resources, importlib, json, multiprocessing, os, pkgutil, shop.space, subprocess
        import sys, traceback, copy, site, sysconfig
        os.environ["RELEASE_VSN"] = "1"
        sysconfig.get_config_var("prefix")
        def state():
            return dict(path=[*shop.__path__], space=[*shop.space.__path__], file=shop.__file__, cached=vars(shop).get("__cached__"),
                origin=shop.__spec__.origin, loader=shop.__loader__.path, where=shop.where(),
                data=importlib.resources.files("shop").joinpath("data.txt").read_text(),
                version=importlib.metadata.version("shop"), dist=str(importlib.metadata.distribution("shop").locate_file("")),
                found=sorted(each.name for each in pkgutil.iter_modules(shop.__path__)), prefix=[sys.prefix, sys.exec_prefix],
                top=[each.name for each in pkgutil.iter_modules([sys.path[-1]])],
                executable=[sys.executable, sys._base_executable], site=[*site.PREFIXES], path_entries=[*sys.path],
                config=[sysconfig.get_config_var("base"), sysconfig.get_path("data")], vsn=os.environ["RELEASE_VSN"])
        def imported():
            return dict(late=importlib.import_module("shop.late").NAME, inner=importlib.import_module("shop.space.inner").NAME)
        child = "import shop.late, os; print(shop.late.NAME, os.environ['RELEASE_VSN'])"
        old = state()
        swapped = done(shop={})
        new = state()
        late = imported()
        added = importlib.import_module("shop.added").NAME
        process = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.split()
        from shop import spawned
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pooled = pool.map(spawned.work, [1])
            pool.close(); pool.join()
        swapped.undo()
        back = state()
        again = imported()
        told = dict(old=old, new=new, back=back, late=late, again=again, added=added, process=process, pooled=pooled,
                    gone="shop.added" in sys.modules, gone_too=hasattr(shop, "late") and shop.late.NAME)
        """,
    )

    assert told["new"] == _as_version_2(told["old"])
    assert told["new"]["version"] == "2.0"
    assert told["new"]["data"] == "data B"
    assert told["back"] == told["old"]
    assert told["late"] == {"late": "late B", "inner": "inner B"}
    assert told["again"] == {"late": "late A", "inner": "inner A"}
    assert (told["process"], told["pooled"]) == (["late", "B", "2"], [["B", 1]])
    assert (told["added"], told["gone"], told["gone_too"]) == ("added", False, "late A")


def test_a_module_that_goes_away_is_forgotten(become: Become) -> None:
    """It can't be imported afterwards; undone, it is the same module as before."""
    told = become(
        {"shop/__init__.py": "", "shop/gone.py": "def f(): return 1\n"},
        {"shop/__init__.py": ""},
        """
        import importlib, shop.gone, sys
        module = shop.gone
        swapped = done(shop={}, removed=["shop.gone"])
        told = [hasattr(shop, "gone"), "shop.gone" in sys.modules]
        try: importlib.import_module("shop.gone")
        except ModuleNotFoundError: told.append("gone")
        swapped.undo()
        told += [shop.gone is module, sys.modules["shop.gone"] is module]
        """,
    )

    assert told == [False, False, "gone", True, True]


def _as_version_2(state: dict[str, Any]) -> Any:
    text = json.dumps(state)
    for before, after in (
        ("shop-1.0", "shop-2.0"),
        ("releases/1", "releases/2"),
        ('"1.0"', '"2.0"'),
        ('"vsn": "1"', '"vsn": "2"'),
        ("data A", "data B"),
        ('["late"', '["added", "late"'),
    ):
        text = text.replace(before, after)
    return json.loads(text)


@everywhere
def test_a_process_with_more_interpreters_stays_as_it_is(become: Become) -> None:
    """Nobody can look at their objects from the main one; once they are gone it is swapped."""
    told = become(
        "def f(): return 1\n",
        "def f(): return 2\n",
        """
        import importlib, sys
        from underway_runtime.upgrade.hot import CannotSwap
        interpreters = importlib.import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
        made = interpreters.create()
        try: done(shop={})
        except CannotSwap as error: told = [*error.problems, shop.f()]
        interpreters.destroy(made)
        done(shop={})
        told.append(shop.f())
        """,
    )

    assert told == [
        "other interpreters are in this process besides the main one (1), whose objects nobody can look at",
        1,
        2,
    ]
