"""What a swap looks at belongs to others: it runs none of their code while it looks, and nothing that can fail."""

from __future__ import annotations

import pytest

from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place

OLD = """
def answer(): return 1
def gone(): return 0
LIMIT = 1
class Room:
    def size(self): return 1
"""
NEW = """
def answer(): return 2
LIMIT = 2
class Room:
    def size(self): return 2
"""

HOSTILE = """
ran = []
def noted(what):
    def run(self, *arguments, **keywords):
        ran.append(what)
        raise RuntimeError(what)
    return run
class Meta(type):
    armed = False
    def __getattribute__(cls, name):
        if type.__getattribute__(Meta, "armed"): ran.append(f"metaclass {name}"); raise RuntimeError(name)
        return type.__getattribute__(cls, name)
    def __hash__(cls):
        if type.__getattribute__(Meta, "armed"): ran.append("metaclass hash"); raise RuntimeError("hash")
        return 1
    def __eq__(cls, other):
        if type.__getattribute__(Meta, "armed"): ran.append("metaclass eq"); raise RuntimeError("eq")
        return cls is other
    def __instancecheck__(cls, other): ran.append("instancecheck"); raise RuntimeError("instancecheck")
    def __subclasscheck__(cls, other): ran.append("subclasscheck"); raise RuntimeError("subclasscheck")
class Liar(metaclass=Meta):
    __class__ = property(noted("class"))
    __dict__ = property(noted("dict"))
    __module__ = property(noted("module"))
    __name__ = __qualname2__ = __doc__ = __wrapped__ = __func__ = property(noted("attribute"))
    for name in ("getattribute", "getattr", "eq", "ne", "hash", "repr", "str", "format", "len", "iter", "bool", "contains", "get"):
        locals()[f"__{name}__"] = noted(name)
    def __init__(self): object.__setattr__(self, "held", None)
"""


@everywhere
def test_nothing_of_what_others_have_put_into_a_process_runs_or_stops_a_swap(become: Become) -> None:
    """Proxies that raise, metaclasses, lazy objects, things half made: in modules, classes, tasks, and as holders."""
    told = become(
        OLD,
        NEW,
        HOSTILE
        + """
import functools, sys, types, weakref
class Target: pass
target = Target()
dead = weakref.proxy(target); del target
lives = Target(); proxy = weakref.proxy(lives)
class Lazy(types.ModuleType):
    def __getattribute__(self, name): ran.append(f"module {name}"); raise RuntimeError(name)
class Table(dict):
    for name in ("get", "items", "keys", "values", "__iter__", "__getitem__", "__contains__", "__len__"):
        locals()[name] = noted(f"table {name}")
def finished():
    return 1
    yield
generator = finished()
for each in generator: pass
def cell():
    if False: inner = 1
    return lambda: inner
shop.liar, shop.liars, shop.dead, shop.proxy = Liar(), [Liar(), {"a": Liar()}], dead, proxy
shop.table, shop.empty, shop.ended = Table(a=shop.answer), cell(), generator
def half_made(kind):
    try: return kind.__new__(kind)
    except TypeError: return None  # since 3.15 there are no such of some
shop.half = [object.__new__(functools.cached_property), half_made(staticmethod), property.__new__(property),
             object.__new__(Liar), object.__new__(functools.partialmethod), super.__new__(super)]
shop.Room.liar, shop.Room.half, shop.Room.lazy = Liar(), object.__new__(functools.cached_property), Lazy("lazy")
shop.Room.another = half_made(staticmethod)
sys.modules["lazy"], sys.modules["liar"], sys.modules["nothing"] = Lazy("lazy"), shop.liar, None
sys.modules["odd"] = types.ModuleType("odd"); sys.modules["odd"].__spec__ = Liar()
code = compile("0", "odd", "eval").replace(co_consts=(Liar(),))
odd = types.FunctionType(code, Table(__name__=Liar()))
strange = types.FunctionType(shop.answer.__code__.replace(co_consts=(None, Liar())), vars(shop))
del strange
Meta.armed = True
prepared = done(shop=dict(run=["LIMIT"], values=dict(LIMIT=1), removed=["gone"], guards=[("no_holders", "gone")]))
prepared.forget()
Meta.armed = False
told = [ran, shop.answer(), shop.LIMIT, shop.Room().size(), hasattr(shop, "gone")]
""",
    )

    assert told == [[], 2, 2, 2, False]


@everywhere
def test_names_that_are_more_than_a_text_are_not_asked(become: Become) -> None:
    """Keys of a module, of its classes and of instances whose class compares in its own way, as members of a `StrEnum` may."""
    told = become(
        OLD + "    def __init__(self): self.gone = 1",
        NEW + "    def __init__(self): pass",
        HOSTILE
        + """
from underway_runtime.upgrade.hot import CannotSwap
class Name(str):
    __hash__ = str.__hash__
    for name in ("eq", "ne", "str", "repr", "format", "len", "iter", "contains", "getitem"):
        locals()[f"__{name}__"] = noted(f"name {name}")
vars(shop)[Name("other")] = 1
shop.helper, shop.room = (lambda: 1), shop.Room()
shop.helper.__name__ = shop.helper.__qualname__ = Name("helper")
fields = dict(run=["LIMIT"], values=dict(LIMIT=1), removed=["gone"], guards=[("no_holders", "gone")])
done(shop={**fields, "taken": {"Room": ("gone",)}}).undo()
vars(shop.room)[Name("more")] = 1
try: swap(shop={**fields, "taken": {"Room": ("gone",)}}).stage_and_migrate()
except CannotSwap as error: told = [ran, shop.answer(), shop.LIMIT, error.problems]
""",
    )

    assert told == [[], 1, 1, ["code_change of shop.Room: an attribute is named by __main__.Name, and not by str"]]


@pytest.mark.sample
@everywhere
@pytest.mark.parametrize(
    "held",
    [
        "liar = Liar(); object.__setattr__(liar, 'held', shop.gone)",
        "liar = Liar(); liars = [({'a': [shop.gone]}, liar)]",
        "class Keeper(metaclass=Meta): gone = shop.gone",
        "class Keeper: __module__ = property(noted('module'))\nkeeper = Keeper(); keeper.gone = shop.gone",
    ],
)
def test_who_holds_what_goes_away_is_named_though_it_would_raise_when_asked(become: Become, held: str) -> None:
    """Every refusal is one that can be read, and the version can be handed over to; it is not an error out of the application."""
    told = become(
        OLD,
        NEW,
        f"""{HOSTILE.replace("property(noted('dict'))", "None").replace('__dict__ = property(noted("dict"))', "pass")}
from underway_runtime.upgrade.hot import CannotSwap
def hold():
    global liar, liars, Keeper, keeper
    {held.replace(chr(10), chr(10) + "    ")}
hold()
Meta.armed = True
try: swap(shop=dict(run=["LIMIT"], values=dict(LIMIT=1), removed=["gone"], guards=[("no_holders", "gone")]))
except CannotSwap as error: told = [list(error.problems), ran]
Meta.armed = False
""",
    )

    [[problem], ran] = told
    assert problem.startswith("shop.gone goes away, and ")
    assert ran == []


@everywhere
def test_a_value_that_somebody_has_replaced_is_told_without_asking_it(become: Become) -> None:
    """What stands where a plain value should is named by its class."""
    told = become(
        OLD,
        NEW,
        HOSTILE
        + """
from underway_runtime.upgrade.hot import CannotSwap
told = []
for value in (Liar(), [Liar()], {1, object}, type("Numbers", (), {"__eq__": noted("eq"), "__repr__": noted("repr")})()):
    shop.LIMIT = value
    try: swap(shop=dict(run=["LIMIT"], values=dict(LIMIT=1), removed=["gone"]))
    except CannotSwap as error: told += error.problems
told.append(ran)
""",
    )

    *problems, ran = told
    assert ran == []
    assert [each.partition(", and not 1")[0] for each in problems] == [
        "shop.LIMIT is a ?.Liar",
        "shop.LIMIT is a list",
        "shop.LIMIT is a set",
        "shop.LIMIT is a __main__.Numbers",
    ]


@everywhere
def test_tasks_that_ran_eagerly_or_never_began_are_looked_at(become: Become) -> None:
    """CPython 3.12.1 ends with a segmentation fault when it is asked for the coroutine of one: it is not asked."""
    told = become(
        "import asyncio\nasync def work(): await asyncio.sleep(3600)\nasync def quick(): return 1\n",
        "import asyncio\nasync def work(): await asyncio.sleep(3600.0)\nasync def quick(): return 2\n",
        """
        import asyncio, asyncio.tasks, sys
        class Own(asyncio.Task):
            def __init__(self, coro, **keywords):
                self.other = shop.quick()
                super().__init__(coro, **keywords)
            def get_coro(self): raise RuntimeError("asked")
            def get_name(self): raise RuntimeError("asked")
        async def main():
            loop = asyncio.get_running_loop()
            eager = {"eager_start": True} if sys.version_info >= (3, 12) else {}
            kinds = asyncio.Task, Own, asyncio.tasks._PyTask
            ended = [kind(shop.quick(), loop=loop, **eager) for kind in kinds]
            waits = [kind(shop.work(), loop=loop, name=kind.__name__) for kind in kinds]
            if eager: loop.set_task_factory(asyncio.eager_task_factory)
            more = [asyncio.ensure_future(shop.quick()) for _ in range(20)]
            half = [kind.__new__(kind) for kind in kinds]
            await asyncio.sleep(0)
            found = sorted(str(each) for each in swap(shop={}).inside())
            for each in waits: each.cancel(); await asyncio.wait({each})
            for each in (*ended, *waits):
                if hasattr(each, "other"): each.other.close()
            for each in half: each._log_destroy_pending = False
            return found
        told = asyncio.run(main())
        """,
    )

    assert [each for each in told if "shop:work" in each] == [
        f"shop:work, line 2: coroutine of task {name!r} (work)" for name in ("Own", "Task", "Task")
    ]


@everywhere
def test_something_else_that_stands_for_a_module_is_named(become: Become) -> None:
    """A module that has put an object in its place is not changed: that takes a new interpreter."""
    told = become(
        OLD,
        NEW,
        HOSTILE
        + """
from underway_runtime.upgrade.hot import CannotSwap
import sys
told = []
class Namespace: pass
for value in (Liar(), Namespace()):
    sys.modules["shop"] = value
    try: swap(shop=dict(run=["LIMIT"], values=dict(LIMIT=1)))
    except CannotSwap as error: told += error.problems
told.append(ran)
""",
    )

    *problems, ran = told
    assert [each.partition(" in sys.modules")[0] for each in problems] == [
        "shop is a ?.Liar",
        "shop is a __main__.Namespace",
    ]
    assert ran == []


@everywhere
def test_members_of_an_abstract_class_are_not_asked_whether_they_are_abstract(become: Become) -> None:
    """What somebody has put onto it is left alone; what is missing is as in a fresh start."""
    told = become(
        "import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def must(self): pass\n"
        "    @property\n    @abc.abstractmethod\n    def size(self): pass\n    def more(self): return 1\n",
        "import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def must(self): pass\n"
        "    @property\n    @abc.abstractmethod\n    def size(self): pass\n    @abc.abstractmethod\n    def new(self): pass\n",
        HOSTILE
        + """
shop.Base.liar, shop.Base.lazy = Liar(), type("Lazy", (), {"__getattr__": noted("getattr")})()
done(shop=dict(run=["Base.new"], added=["Base.new"], removed=["Base.more"]))
told = [sorted(shop.Base.__abstractmethods__), ran]
""",
    )

    assert told == [["must", "new", "size"], []]


@everywhere
def test_what_stands_where_a_part_is_to_change_is_not_asked(become: Become) -> None:
    """A proxy that raises, what holds one, or its class, in the place of what the module has made: refused, with the path."""
    told = become(
        "def answer(): return 1\nclass App: pass\napp = App()\napp.version = 1\n",
        "def answer(): return 2\nclass App: pass\napp = App()\napp.version = 2\n",
        HOSTILE
        + """
from underway_runtime.release.parts import Part
from underway_runtime.upgrade.hot import CannotSwap
Meta.armed, told = True, []
values = dict(value=(1, 2), place=("a", "b"), added=(None, 2), pattern=(("a", 0), ("b", 0)), order=(1, [0]), gone=("builtins.int", None))
for put in (Liar(), [Liar()], Liar, {1: Liar()}):
    for kind, (was, now) in values.items():
        shop.app.version = put
        part = Part(kind, (("attribute", "app"), ("attribute", "version")), was, now)
        try:
            prepared = swap(shop=dict(parts=(part,)))
            prepared.stage_and_migrate(); prepared.swap()
            said = "swapped"
            prepared.undo()
        except CannotSwap as error:
            said = str(error)
        if "shop.app.version" not in said or shop.app.__dict__["version"] is not put or shop.answer() != 1:
            told.append((kind, type.__getattribute__(type(put), "__name__"), said))
told = [ran, told]
""",
    )

    assert told == [
        [],
        [["order", "list", "swapped"], ["order", "dict", "swapped"]],
    ]  # of as many elements, whatever they are
