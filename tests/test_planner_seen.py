"""What only a look can tell: both versions are imported, and what becomes of the older one is compared with the newer one."""

from __future__ import annotations

import ast
import textwrap
from contextlib import ExitStack
from dataclasses import replace

import pytest

from handover_helpers import ASGI, asgi
from hot_helpers import compiled, planned, write_rel
from node_helpers import MakeNode
from underway.planner.displays import new_elements
from underway.planner.plan import plan
from underway.planner.releases import open_release
from underway.review.next_version import as_next
from underway_runtime.release.instructions import Guard, Load
from versions import seal

WRAPS = """
import functools
def deco(f):
    @functools.wraps(f)
    def inner(*args): return "<", f(*args), ">"
    return inner
@deco
def shown(x): return x
"""
LINE = "def f(): pass\nLINE = f.__code__.co_firstlineno\n"
NAMES = "X = [name for name in globals() if name in 'AB']\n"
KEEPING = """
def memo(f):
    known = {}
    def inner(x):
        if x not in known: known[x] = f(x)
        return known[x]
    return inner
@memo
def shown(x): return x
"""
REGISTRY = """
HANDLERS = {}
def handles(kind):
    def register(f):
        HANDLERS[kind] = f
        return f
    return register
@handles("a")
def a(): return 1
"""
PLACE = "from pathlib import Path\nX = Path(__file__).parent\n"
PLACES = "X = tuple({__file__, *'abcdefghij'})\ndef f(): return 1\n"
RAISES = "N = 1\ndef f(n): return 1\nx = f(N)"
TABLE = "def one(): return 1\nTABLE = {'one': one}\nMORE = [one]\n"

KIND = """
from enum import Enum
class Kind(Enum):
    A = 1
    B = 2
NAMES = {Kind.A: 'one', Kind.B: 2}
"""
MORE_KINDS = KIND.replace("    B = 2\n", "    B = 2\n    C = 3\n")
AUTO = "from enum import Enum, auto\nclass Kind(Enum):\n    A = auto()\n    B = auto()\n"
LOGGER = "import logging\nlog = logging.getLogger('a')\nN = 1\nX = [N for _ in (1, 2)]\n"
SHARED = "CONF = {'a': 1}\nclass A:\n    conf = CONF\ndef f(conf=CONF): return conf\n"

ALIASES = "from collections.abc import Callable\nX = int | str\nY = Callable[[X], list[X]]\ndef f(): return X, Y\n"
OPENED = """
N = 1
X = [N + n for n in (1, 2)]
class Base:
    size = 1
class Room(Base):
    def width(self): return super().size
    def height(self): return 0
"""

MODEL = """
from typing import Annotated
from pydantic import AfterValidator, BaseModel, Field
LIMIT = 1
def checked(n): return n
class Item(BaseModel):
    n: Annotated[int, AfterValidator(checked), Field(le=LIMIT)] = 0
"""
LATE = MODEL.replace("    n:", "    later: 'Later | None' = None\n    n:") + "class Later(BaseModel): pass\n"
TYPED = """
import re
class Row: pass
class Table(dict):
    legal = re.compile('a+')
"""
OWN_TEXT = """
class Text(str): pass
class Source:
    END = Text('x')
"""
FOUND = """
import sys
def _found(): return 1
def __getattr__(name):
    if name == "found": return globals()["_found"]
    raise AttributeError(name)
KEPT = [sys.modules["web"].found]
"""
HOT = [
    pytest.param(TYPED, TYPED.replace("Table(dict)", "Table(Row)"), id="another base of a class that nobody has"),
    pytest.param(PLACES, PLACES.replace("return 1", "return 2"), id="a place in an order by chance"),
    pytest.param(MODEL, MODEL.replace("= 1", "= 2"), id="limit in a field of a model"),
    pytest.param(WRAPS, WRAPS.replace("return x", "return x, x"), id="body in a decorator of the application's own"),
    pytest.param(
        "from datetime import timedelta\nX = timedelta(1)",
        "from datetime import timedelta\nX = timedelta(2)",
        id="timedelta",
    ),
    pytest.param("import re\nX = re.compile('a')", "import re\nX = re.compile('b')", id="compiled pattern"),
    pytest.param("N = 1\nX = [n + N for n in (1, 2)]", "N = 2\nX = [n + N for n in (1, 2)]", id="computed list"),
    pytest.param(
        "from pathlib import Path\nX = Path(__file__).parent",
        "from pathlib import Path\nX = Path(__file__).parent\nN = 1",
        id="place",
    ),
    pytest.param(
        TABLE, "def two(): return 2\n" + TABLE.replace("one}", "one, 'two': two}"), id="function more in a table"
    ),
    pytest.param(REGISTRY, REGISTRY.replace("return 1", "return 2"), id="body of what is registered"),
    pytest.param(REGISTRY, REGISTRY + "@handles('b')\ndef b(): return 2\n", id="registration more"),
    pytest.param(REGISTRY + "@handles('b')\ndef b(): return 2\n", REGISTRY, id="registration less"),
    pytest.param(
        "import uuid\nclass A:\n    def __init__(self, n): self.n, self.id = n, uuid.uuid4()\nN = 1\na = A(N)",
        "import uuid\nclass A:\n    def __init__(self, n): self.n, self.id = n, uuid.uuid4()\nN = 2\na = A(N)",
        id="next to what is another at each start",
    ),
    pytest.param(KIND, MORE_KINDS, id="member of an enumeration"),
    pytest.param(KIND, MORE_KINDS.replace("'one'", "'two'").replace("B: 2", "B: 3, Kind.C: 4"), id="table by members"),
    pytest.param(
        KIND,
        KIND.replace("    B = 2\n", "    B = 2\n    def __copy__(self): return self\n"),
        id="special method of an enumeration",
    ),
    pytest.param(TYPED, TYPED.replace("Table(dict)", "Table(dict[str, Row])"), id="type arguments of a base"),
    pytest.param(TYPED, TYPED.replace("'a+')", "'a+')\n    is_legal = legal.fullmatch"), id="member that is made by a call"),
    pytest.param(OWN_TEXT, OWN_TEXT.replace("Text('x')", "'y'"), id="text of a class of its own"),
    pytest.param(FOUND, FOUND.replace("return 1", "return 2"), id="what __getattr__ has found"),
    pytest.param(LOGGER, LOGGER.replace("'a'", "'b'"), id="logger"),
    pytest.param(LOGGER, f"{LOGGER}more = logging.getLogger('c.d')\n".replace("= 1", "= 2"), id="logger next to a look"),
    pytest.param("import re\nclass A:\n    X = re.compile('a')", "import re\nclass A:\n    X = re.compile('b')", id="pattern of a class"),
    pytest.param(SHARED, SHARED.replace("1", "2"), id="dictionary that a class and a default have too"),
    pytest.param(ALIASES, ALIASES.replace("int | str", "int | str | bytes"), id="type that others have as an argument"),
    pytest.param(OPENED, OPENED.replace("return 0", "return super().size").replace("N = 1", "N = 2"), id="method that comes to use super"),
    pytest.param("N = 1\nX = {n + N for n in (1, 2)}\nY = [X]", "N = 2\nX = {n + N for n in (1, 2)}\nY = [X]", id="set that others have"),
    pytest.param(LINE, f"# more\n{LINE}", id="line of a function"),
    pytest.param(f"A = 1\nB = 2\n{NAMES}", f"B = 2\nA = 1\n{NAMES}", id="order of names"),
    pytest.param("X = {'a': (1, 2)}\nY = dict(X)", "X = {'a': (1, 3)}\nY = dict(X)", id="row in a dictionary"),
]  # fmt: skip


@pytest.mark.sample(most=14)
@pytest.mark.parametrize(("old", "new"), HOT)
@pytest.mark.in_place
def test_what_becomes_what_a_fresh_start_has_is_put_in_place(make: MakeNode, old: str, new: str) -> None:
    """An edit that takes a new interpreter by the source alone, and none by the look."""
    node = make(asgi(old), libraries=("pydantic",))
    entry = planned(node, new, back=False).up[0]

    assert entry.verdict == "HOT", entry.changes


LIFESPAN = """
from contextlib import asynccontextmanager
class App:
    def __init__(self, lifespan): self.lifespan = lifespan
async def begin(): return 1
@asynccontextmanager
async def lifespan(app):
    await begin()
    yield
app = App(lifespan=lifespan)
"""
KEPT = """
from contextlib import asynccontextmanager
NAME = 1
class App:
    def __init__(self, lifespan, name): self.lifespan, self.name = lifespan, name
@asynccontextmanager
async def lifespan(app):
    app.state.ready = [1]
    yield
    app.state.ready.clear()
app = App(lifespan=lifespan, name=NAME)
"""
ASKED = KEPT.replace("ready = [1]", "ready = [app.name]")
COMPILED = """
from typing import Annotated
from pydantic import Field, TypeAdapter
LIMIT = 1
Count = TypeAdapter(Annotated[int, Field(le=LIMIT)])
"""
MADE = """
import sys, types
def build():
    import web
    made = types.ModuleType("web.api")
    made.__dict__.update({name: value for name, value in vars(web).items() if name.startswith("on_")})
    sys.modules["web.api"] = made
def on_a(): return 1
build()
"""
RESTART = [
    pytest.param(LATE, LATE.replace("return n", "return -n"), "seen: web.Item", id="model that is compiled later"),
    pytest.param(
        "N = 1\nX = [N + n for n in (1, 2)]\nclass A:\n    __slots__ = ('a',)\nONE = A()\n",
        "N = 2\nX = [N + n for n in (1, 2)]\nclass A:\n    __slots__ = ('a', 'b')\nONE = A()\n",
        "; not tried, as web:A",
        id="next to what takes a fresh interpreter anyway",
    ),
    pytest.param(
        MADE,
        MADE.replace("\nbuild()\n", "\ndef on_b(): return 2\nbuild()\n"),
        "seen: web.api.on_b",
        id="a module that is made",
    ),
    pytest.param(
        KIND, KIND.replace("    B = 2\n", "    B = 3\n"), "not known what makes this class", id="value of a member"
    ),
    pytest.param(
        AUTO,
        AUTO.replace("    B", "    M = auto()\n    B"),
        "Kind.B is 2, and would be 3",
        id="member that others follow",
    ),
    pytest.param(
        f"{LOGGER}log.setLevel(10)\n",
        f"{LOGGER}log.setLevel(10)\n".replace("'a'", "'b'"),
        "log.level",
        id="logger that is configured",
    ),
    pytest.param(
        f"{OWN_TEXT}HELD = [Source.END]\n",
        f"{OWN_TEXT}HELD = [Source.END]\n".replace("Text('x')", "'y'"),
        "seen: web.Source.END",
        id="text of its own class that another has",
    ),
    pytest.param(
        f"{TYPED}ONE = Table()\n",
        f"{TYPED}ONE = Table()\n".replace("Table(dict)", "Table(Row)"),
        "would lose the instances that web, line",
        id="another base of a class with an instance",
    ),
    pytest.param(
        f"{TYPED}KINDS = [Table]\n",
        f"{TYPED}KINDS = [Table]\n".replace("Table(dict)", "Table(Row)"),
        "seen: web.KINDS[0]",
        id="another base of a class that a list has",
    ),
    pytest.param(
        f"{PLACES}Y = tuple({{__file__, __file__ + '.lock', *'abcdefghij'}})\n",
        f"{PLACES}Y = tuple({{__file__, __file__ + '.lock', *'abcdefghij'}})\n".replace("return 1", "return 2"),
        "it was made with __file__",
        id="two places in an order by chance",
    ),
    pytest.param(COMPILED, COMPILED.replace("= 1", "= 2"), "seen: web.Count", id="schema that was compiled"),
    pytest.param(
        LIFESPAN, LIFESPAN.replace("return 1", "return 2"), "runs once, at the start; begin changes", id="lifespan"
    ),
    pytest.param(
        ASKED, ASKED.replace("NAME = 1", "NAME = 2"), "runs once, at the start; NAME changes", id="asked of it"
    ),
    pytest.param(
        KEEPING,
        KEEPING.replace("return x\n", "return x, x\n"),
        "it has a decorator of which it is not known",
        id="memo",
    ),
    pytest.param(
        "import signal\nN = 1\ndef on(n): return signal.SIG_DFL\nsignal.signal(signal.SIGUSR2, on(N))",
        "import signal\nN = 2\ndef on(n): return signal.SIG_IGN\nsignal.signal(signal.SIGUSR2, on(N))",
        "signal.signal leaves marks that are in no object",
        id="signal",
    ),
    pytest.param(
        "import urllib.parse\nurllib.parse.uses_netloc.append('a')",
        "import urllib.parse\nurllib.parse.uses_netloc.append('b')",
        "urllib.parse.uses_netloc.append leaves marks that are in no object",
        id="an object of Python's own",
    ),
    pytest.param(
        "class A: pass\nclass B: pass\nx = [A()]",
        "class A: pass\nclass B: pass\nx = [B()][:1]",
        "seen: web.x[0]",
        id="another type",
    ),
    pytest.param(
        "class A: pass\nN = 1\nx = {A() for _ in range(N)}",
        "class A: pass\nN = 2\nx = {A() for _ in range(N)}",
        "seen: web.x",
        id="set of objects",
    ),
    pytest.param(
        "N = 1\ndef f(n): yield n\nx = f(N)",
        "N = 2\ndef f(n): yield n\nx = f(N)",
        "seen: web.x",
        id="generator that waits",
    ),
    pytest.param(
        "N = 1\ndef f(n): return 1\nx = f(N)",
        "N = 2\ndef f(n): raise SystemExit\nx = f(N)",
        "can't be imported",
        id="import that fails",
    ),
]


@pytest.mark.in_place
def test_a_start_that_only_keeps_something_in_the_application_is_in_nobodys_way(make: MakeNode) -> None:
    """A lifespan that stores what it makes in the state of what it is given has asked that nothing: its constants change in place."""
    entry = planned(make(asgi(KEPT)), KEPT.replace("NAME = 1", "NAME = 2")).up[0]

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.sample(most=10)
@pytest.mark.parametrize(("old", "new", "reason"), RESTART)
@pytest.mark.in_place
def test_what_does_not_is_restart_and_says_what_was_seen(make: MakeNode, old: str, new: str, reason: str) -> None:
    """With the path, or what could not be looked at."""
    node = make(asgi(old), libraries=("pydantic",))
    entry = planned(node, new, back=False).up[0]

    assert entry.verdict == "RESTART"
    assert reason in "\n".join(row.reason for row in entry.changes)


@pytest.mark.parametrize(
    ("old", "new", "made"),
    [
        ("A(routes=[R(1), R(3)])", "A(routes=[R(1), R(2), R(3)])", ["R(2)"]),
        ("A(routes=[R(1)])", "A(routes=[R(1)], more=[M(1), M(2)])", ["M(1)", "M(2)"]),
        ("A([M('/', [R(1)])])", "A([M('/', [R(1), R(2)])])", ["R(2)"]),
        ("{'a': f}", "{'a': f, 'b': g}", ["g"]),
        ("A(1, [R(1), R(2)])", "A(2, [R(2)])", []),
        ("f(1)", "g(1, [x])", []),
    ],
)
def test_what_is_new_in_an_expression_is_what_has_to_be_made(old: str, new: str, made: list[str]) -> None:
    """Elements of lists and dicts, however deep, in their order; nothing of what is only written otherwise."""
    before, after = (ast.parse(textwrap.dedent(each), mode="eval").body for each in (old, new))
    assert [ast.unparse(each) for each in new_elements(before, after)] == made


@pytest.mark.in_place
def test_what_was_compiled_of_a_model_calls_a_function_that_stays(make: MakeNode) -> None:
    """A validator may have another body: pydantic has compiled its schema at import, and that shows the same function."""
    node = make(asgi(MODEL), libraries=("pydantic",))
    entry = planned(node, MODEL.replace("return n", "return -n"), back=False).up[0]

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.in_place
def test_a_project_that_has_not_got_its_next_version_is_looked_at_as_well(make: MakeNode) -> None:
    """Two builds of one version, which have the same names on disk, are each what and where they are."""
    text = "N = 1\nX = [N + each for each in (1, 2)]\ndef f(): return 1\n"
    text += "import os\nHERE = os.path.dirname(__file__)\nKEPT = {'at': HERE}\n"
    nodes = [make(asgi(each), at=at) for at, each in (("old", text), ("new", text.replace("1\n", "2\n")))]
    for node in nodes:
        compiled(node, "1")
        write_rel(node, "1")
        seal(node)
    with ExitStack() as cleanup:
        old, built = (open_release(node.root / "releases/1", cleanup) for node in nodes)
        new, _ = as_next(old, built)
        [entry] = plan(new, [old], []).up

    assert entry.verdict == "HOT", entry.changes


@pytest.mark.in_place
def test_what_no_process_can_import_is_in_nobodys_way(make: MakeNode) -> None:
    """A module that needs what is not installed, and a program: the process makes sure that it has none of what nobody could look at."""
    made = "from web import N\nX = [N + each for each in (1, 2)]\n"
    files = {
        "web.py": f"N = 1\n{ASGI}",
        "needing.py": f"import nowhere\n{made}",
        "tool/__main__.py": f"{made}raise SystemExit(X)\n",
    }
    node = make(replace(asgi(), files=files))
    entry = planned(
        node, replace(asgi(), files={**files, "web.py": files["web.py"].replace("N = 1", "N = 2")}), back=False
    ).up[0]

    assert entry.verdict == "HOT", entry.changes
    loads = {each.module: each for each in entry.instructions if isinstance(each, Load)}
    assert [loads[name].guards for name in ("needing", "tool.__main__")] == [(Guard("not_loaded", ""),)] * 2
    assert loads["web"].guards == ()
