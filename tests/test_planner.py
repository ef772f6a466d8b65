"""The planner: two versions of a module -> what each change takes, and why."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_server_helpers import REPOSITORY, installed
from plans import compare, load_of, run_fragment, verdicts
from underway_runtime.release import code_tree
from underway_runtime.upgrade.hot.statements import load

ROOM = """
class Room:
    def __init__(self, name):
        self.name = name
"""
CHANGE = """
    @staticmethod
    def code_change(old, state, extra):
        return state
"""
DATA = "from dataclasses import dataclass\n@dataclass\nclass Room:\n    name: str = ''\n"

FUNCTIONS = [
    ("a body", "def f(): return 1", "def f(): return 2", {"m:f": "HOT body"}),
    ("only lines", "def f(): return 1", "\n\n# moved\ndef f():\n    return 1", {}),
    ("a docstring", 'def f():\n    "a"', 'def f():\n    "b"', {"m:f": "HOT body"}),
    ("a default", "def f(a=1): return a", "def f(a=2): return a", {"m:f": "HOT default"}),
    ("a parameter", "def f(a): return a", "def f(a, b=2): return a", {"m:f": "HOT signature"}),
    ("an annotation", "def f(a: int): return a", "def f(a: str): return a", {"m:f": "HOT annotation"}),
    ("sync to async", "def f(): return 1", "async def f(): return 1", {"m:f": "RESTART kind"}),
    ("to a generator", "def f(): return 1", "def f(): yield 1", {"m:f": "RESTART kind"}),
    ("an async body", "async def f(): return 1", "async def f(): return 2", {"m:f": "HOT body"}),
    ("added", "", "def f(): return 1", {"m:f": "HOT added"}),
    ("removed", "def f(): return 1", "", {"m:f": "HOT removed"}),
    (
        "another decorator",
        "import functools\ndef f(): return 1",
        "import functools\n@functools.cache\ndef f(): return 1",
        {"m:f": "RESTART decorator"},
    ),
    (
        "an unknown decorator",
        "import x\n@x.y\ndef f(): return 1",
        "import x\n@x.y\ndef f(): return 2",
        {"m:f": "RESTART body"},
    ),
    (
        "a cached body",
        "import functools\n@functools.cache\ndef f(a): return 1",
        "import functools\n@functools.cache\ndef f(a): return 2",
        {"m:f": "HOT body"},
    ),
    (
        "a cached function that makes the one object there is",
        "import functools\n@functools.cache\ndef f(): return 1",
        "import functools\n@functools.cache\ndef f(): return 2",
        {"m:f": "RESTART body"},
    ),
    (
        "an annotation next to a default that holds something",
        "def f(a: int, seen={}): return a",
        "def f(a: str, seen={}): return a",
        {"m:f": "RESTART annotation"},
    ),
    (
        "an annotation that its wrapper has copied",
        "import functools\n@functools.cache\ndef f(a: int): return 1",
        "import functools\n@functools.cache\ndef f(a: str): return 1",
        {"m:f": "RESTART annotation"},
    ),
    (
        "an annotation that no wrapper copies",
        "class A:\n    @staticmethod\n    def f(a: int): return 1",
        "class A:\n    @staticmethod\n    def f(a: str): return 1",
        {"m:A.f": "HOT annotation"},
    ),
    (
        "what is called for an annotation",
        "def kind(): return int\ndef f(a: kind()): return 1\ndef g(a: 'kind()'): return 1",
        "def kind(): return str\ndef f(a: kind()): return 1\ndef g(a: 'kind()'): return 1",
        {"m:kind": "HOT body", "m:f": "RESTART reached"},
    ),
    (
        "a cached signature",
        "import functools\n@functools.cache\ndef f(a): return 1",
        "import functools\n@functools.cache\ndef f(a, b=1): return 1",
        {"m:f": "RESTART signature"},
    ),
    (
        "a route's body",
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def f(): return 1",
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def f(): return 2",
        {"m:f": "HOT body"},
    ),
    (
        "a route's signature",
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def f(): return 1",
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def f(a: int = 1): return 1",
        {"m:f": "RESTART signature"},
    ),
    (
        "a new route",
        "from fastapi import FastAPI\napp = FastAPI()",
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\nasync def f(): return 1",
        {"m:f": "RESTART added"},
    ),
    (
        "a method that comes to use super",
        "class A:\n    def f(self): return 1",
        "class A:\n    def f(self): return super()",
        {"m:A.f": "HOT body"},
    ),
    (
        "a nested body",
        "def f():\n    def g(): return 1\n    return g",
        "def f():\n    def g(): return 2\n    return g",
        {"m:f": "HOT body"},
    ),
    (
        "a nested class's attributes",
        "def f():\n    class A:\n        x = 1\n    return A",
        "def f():\n    class A:\n        x = 2\n    return A",
        {"m:f": "RESTART body"},
    ),
    ("to a class", "def f(): return 1", "class f: pass", {"m:f": "RESTART kind"}),
    ("bound twice", "def f(): return 1\nf = f", "def f(): return 2\nf = f", {"m:f": "RESTART value"}),
]

CLASSES = [
    (
        "a method's body",
        "class A:\n    def f(self): return 1",
        "class A:\n    def f(self): return 2",
        {"m:A.f": "HOT body"},
    ),
    ("a method added", "class A: pass", "class A:\n    def f(self): return 2", {"m:A.f": "HOT added"}),
    ("a method removed", "class A:\n    def f(self): return 1", "class A: pass", {"m:A.f": "HOT removed"}),
    ("an attribute", "class A:\n    x = 1", "class A:\n    x = 2", {"m:A.x": "HOT value"}),
    ("an attribute that is not a value", "class A:\n    x = g()", "class A:\n    x = h()", {"m:A.x": "RESTART value"}),
    ("bases", "class A: pass", "class A(Exception): pass", {"m:A": "RESTART made"}),
    (
        "slots",
        "class A:\n    __slots__ = ('a',)",
        "class A:\n    __slots__ = ('b',)",
        {"m:A": "RESTART made"},
    ),
    (
        "a keyword of another name",
        "class B:\n    def __init_subclass__(cls, **k): ...\nclass A(B, x=1): pass",
        "class B:\n    def __init_subclass__(cls, **k): ...\nclass A(B, y=1): pass",
        {"m:A": "RESTART made"},
    ),
    ("__eq__ added", "class A: pass", "class A:\n    def __eq__(self, o): return 1", {"m:A": "RESTART made"}),
    (
        "a property's setter",
        "class A:\n    @property\n    def x(self): return 1\n    @x.setter\n    def x(self, v): self.y = v",
        "class A:\n    @property\n    def x(self): return 1\n    @x.setter\n    def x(self, v): self.y = v + 1",
        {"m:A.x": "HOT body"},
    ),
    (
        "a cached_property's body",
        "from functools import cached_property\nclass A:\n    @cached_property\n    def x(self): return 1",
        "from functools import cached_property\nclass A:\n    @cached_property\n    def x(self): return 2",
        {"m:A.x": "HOT body"},
    ),
    (
        "a cached_property's body that makes what others may hold",
        "from functools import cached_property\nclass A:\n    @cached_property\n    def x(self): return [1]",
        "from functools import cached_property\nclass A:\n    @cached_property\n    def x(self): return [2]",
        {"m:A.x": "RESTART body"},
    ),
    ("a class added", "", "class A:\n    def f(self): return 1", {"m:A": "HOT added"}),
    ("a class removed", "class A:\n    def f(self): return 1", "", {"m:A": "HOT removed"}),
    (
        "another kind of value in a method",
        "class A:\n    x = None\n    def f(self):\n        self.x = []",
        "class A:\n    x = None\n    def f(self):\n        self.x = {}",
        {"m:A.f": "HOT body", "m:A": "HOT state"},
    ),
    (
        "another value of the same kind",
        "class A:\n    x = 0\n    def f(self):\n        self.x = 1",
        "class A:\n    x = 0\n    def f(self):\n        self.x = 2",
        {"m:A.f": "HOT body"},
    ),
    (
        "a class added to an unknown base",
        "import x",
        "import x\nclass A(x.Base): pass",
        {"m:A": "RESTART added"},
    ),
    (
        "an enum's member",
        "from enum import Enum\nclass E(Enum):\n    A = 1",
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 2",
        {"m:E": "RESTART member"},
    ),
    (
        "an enum's method",
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    def f(self): return 1",
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    def f(self): return 2",
        {"m:E.f": "HOT body"},
    ),
    (
        "a model's field",
        "from pydantic import BaseModel\nclass A(BaseModel):\n    x: int",
        "from pydantic import BaseModel\nclass A(BaseModel):\n    x: int\n    y: int = 0",
        {"m:A": "RESTART field"},
    ),
    (
        "a new attribute of instances",
        ROOM,
        ROOM + "        self.topic = ''\n",
        {"m:Room.__init__": "HOT body", "m:Room": "MIGRATE state"},
    ),
    (
        "a new attribute of instances, carried over",
        ROOM,
        ROOM + "        self.topic = ''\n" + CHANGE,
        {"m:Room.__init__": "HOT body", "m:Room.code_change": "HOT added", "m:Room": "MIGRATE state"},
    ),
    (
        "another kind of state",
        ROOM + "        self.said = []\n",
        ROOM + "        self.said = {}\n",
        {"m:Room.__init__": "HOT body", "m:Room": "HOT state"},
    ),
    (
        "a check in __init__",
        ROOM,
        ROOM + "        if not name:\n            raise ValueError(name)\n",
        {"m:Room.__init__": "HOT body"},
    ),
    ("a dataclass's field", DATA, DATA + "    size: int = 0\n", {"m:Room": "MIGRATE field"}),
    (
        "a dataclass's field, carried over",
        DATA,
        DATA + "    size: int = 0\n" + CHANGE,
        {"m:Room.code_change": "HOT added", "m:Room": "MIGRATE field, MIGRATE state"},
    ),
    (
        "a field of a dataclass that is frozen",
        DATA.replace("@dataclass", "@dataclass(frozen=True)"),
        DATA.replace("@dataclass", "@dataclass(frozen=True)") + "    size: int = 0\n" + CHANGE,
        {"m:Room.code_change": "HOT added", "m:Room": "RESTART field, MIGRATE state"},
    ),
    (
        "a dataclass's method",
        DATA + "    def f(self): return 1",
        DATA + "    def f(self): return 2",
        {"m:Room.f": "HOT body"},
    ),
]

DEPENDS = "from fastapi import Depends, FastAPI\napp = FastAPI()\ndef who({0}): return {1}\n@app.get('/')\nasync def f(a={2}): return a"
GLOBALS = [
    (
        "a string that is put together",
        "N = 1\nA = f'v{N!r:>3}'\nB = 'v%d' % N\nC = '%99999999d' % N",
        "N = 2\nA = f'v{N!r:>3}'\nB = 'v%d' % N\nC = '%99999999d' % N",
        {"m:N": "HOT value", "m:A": "HOT value", "m:B": "HOT value", "m:C": "RESTART reached"},
    ),
    (
        "a dependency's body",
        DEPENDS.format("", 1, "Depends(who)"),
        DEPENDS.format("", 2, "Depends(who)"),
        {"m:who": "HOT body"},
    ),
    (
        "a dependency's signature",
        DEPENDS.format("", 1, "Depends(who)"),
        DEPENDS.format("b=1", 1, "Depends(who)"),
        {"m:who": "RESTART signature"},
    ),
    (
        "another kind of value that a function binds",
        "x = None\ndef f():\n    global x\n    x = A()",
        "x = None\ndef f():\n    global x\n    x = B()",
        {"m:f": "HOT body", "m:x": "RESTART state"},
    ),
    (
        "an attribute of a class that was read at import",
        "class A:\n    x = 1\nY = A.x\ndef f(a=A.x): pass\nclass B:\n    y = A.x\nclass C(A):\n    z = {A.x: 1}",
        "class A:\n    x = 2\nY = A.x\ndef f(a=A.x): pass\nclass B:\n    y = A.x\nclass C(A):\n    z = {A.x: 1}",
        {
            "m:A.x": "HOT value",
            "m:Y": "RESTART reached",
            "m:f": "RESTART reached",
            "m:B.y": "RESTART reached",
            "m:C.z": "RESTART reached",
        },
    ),
    (
        "a member that was read in the same class",
        "class A:\n    x = 1\n    y = x",
        "class A:\n    x = 2\n    y = x",
        {"m:A.x": "HOT value", "m:A.y": "RESTART reached"},
    ),
    (
        "where the code is",
        "from pathlib import Path\nHERE = Path(__file__).parent",
        "from pathlib import Path\nHERE = Path(__file__).parent",
        {"m:HERE": "RESTART reached"},
    ),
    (
        "the version of the application, read with care",
        "from importlib.metadata import version\ntry:\n    V = version('app')\nexcept Exception:\n    V = ''",
        "from importlib.metadata import version\ntry:\n    V = version('app')\nexcept Exception:\n    V = ''",
        {"m:V": "RESTART reached"},
    ),
    (
        "two names of one object",
        "A = B = [1]",
        "A = B = [2]",
        {"m": "RESTART statement, RESTART statement", "m:A": "RESTART value", "m:B": "RESTART value"},
    ),
    (
        "a name within a value",
        "A = (B := 1)",
        "A = (B := 2)",
        {"m": "RESTART statement, RESTART statement", "m:A": "RESTART value", "m:B": "RESTART value"},
    ),
    (
        "a route that was made with a class's fields",
        "from fastapi import FastAPI\napp = FastAPI()\n"
        + DATA
        + "@app.get('/')\nasync def f() -> list[Room]: return []",
        "from fastapi import FastAPI\napp = FastAPI()\n"
        + DATA
        + "    size: int = 0\n"
        + CHANGE
        + "@app.get('/')\nasync def f() -> list[Room]: return []",
        {"m:Room": "MIGRATE field, MIGRATE state", "m:Room.code_change": "HOT added", "m:f": "RESTART reached"},
    ),
    (
        "a dataclass that takes over the fields of one that changes",
        DATA + "@dataclass\nclass Hall(Room):\n    pass",
        DATA + "    size: int = 0\n" + CHANGE + "@dataclass\nclass Hall(Room):\n    pass",
        {"m:Room": "MIGRATE field, MIGRATE state", "m:Room.code_change": "HOT added", "m:Hall": "RESTART reached"},
    ),
    ("a constant", "X = 1", "X = 2", {"m:X": "HOT value"}),
    ("the same in other words", "X = 60 * 60", "X = 3600", {}),
    ("a dependant", "X = 1\nY = (X, 2)", "X = 2\nY = (X, 2)", {"m:X": "HOT value", "m:Y": "HOT value"}),
    (
        "a default that captured it",
        "X = 1\ndef f(a=X): pass",
        "X = 2\ndef f(a=X): pass",
        {"m:X": "HOT value", "m:f": "HOT default"},
    ),
    (
        "an attribute that captured it",
        "X = 1\nclass A:\n    y = X",
        "X = 2\nclass A:\n    y = X",
        {"m:X": "HOT value", "m:A.y": "HOT value"},
    ),
    (
        "an object made with it",
        "import q\nX = 1\nY = q.Q(X)",
        "import q\nX = 2\nY = q.Q(X)",
        {"m:X": "HOT value", "m:Y": "RESTART reached"},
    ),
    (
        "a decorator that reads it",
        "import q\nX = 1\n@q.d(X)\ndef f(): pass",
        "import q\nX = 2\n@q.d(X)\ndef f(): pass",
        {"m:X": "HOT value", "m:f": "RESTART reached"},
    ),
    ("an object", "import q\nX = q.Q(1)", "import q\nX = q.Q(2)", {"m:X": "RESTART value"}),
    (
        "an object kept",
        "import q\nX = q.Q(1)\ndef f(): return 1",
        "import q\nX = q.Q(1)\ndef f(): return 2",
        {"m:f": "HOT body"},
    ),
    (
        "computed by what changes",
        "def f(): return 1\nX = f()",
        "def f(): return 2\nX = f()",
        {"m:f": "HOT body", "m:X": "RESTART reached"},
    ),
    (
        "computed by what uses what changes",
        "def f(): return 1\ndef g(): return f()\nX = g()",
        "def f(): return 2\ndef g(): return f()\nX = g()",
        {"m:f": "HOT body", "m:X": "RESTART reached"},
    ),
    (
        "an instance whose method changes",
        ROOM + "    def f(self): return 1\nroom = Room('a')",
        ROOM + "    def f(self): return 2\nroom = Room('a')",
        {"m:Room.f": "HOT body"},
    ),
    ("a table of functions", "def f(): return 1\nT = {'f': f}", "def f(): return 2\nT = {'f': f}", {"m:f": "HOT body"}),
    ("a value added", "", "X = [1]", {"m:X": "HOT added"}),
    ("an object added", "import logging", "import logging\nlog = logging.getLogger()", {"m:log": "HOT added"}),
    (
        "an object added by one that is there",
        "import q\na = q.Q()",
        "import q\na = q.Q()\nb = a.child()",
        {"m:b": "RESTART added"},
    ),
    ("a value removed", "X = 1", "", {"m:X": "HOT removed"}),
    ("a value bound twice", "X = 1\nX = 2", "X = 1\nX = 3", {"m:X": "RESTART value"}),
    ("an import added", "", "import json", {"m:json": "HOT import"}),
    ("an import removed", "import json", "", {"m:json": "HOT removed"}),
    ("an import of another thing", "from a import x", "from b import x", {"m:x": "HOT import"}),
    (
        "an import of another class, of which there are instances",
        "from a import X\ndef f(): return X()",
        "from b import X\ndef f(): return X()",
        {"m:X": "RESTART import"},
    ),
    (
        "an import of another thing that is used at import",
        "from a import x\nY = x()",
        "from b import x\nY = x()",
        {"m:x": "HOT import", "m:Y": "RESTART reached"},
    ),
    ("a call", "print(1)", "print(2)", {"m": "RESTART statement, RESTART statement"}),
    ("a call added", "", "print(2)", {"m": "RESTART statement"}),
    (
        "what only type checkers see",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import b",
        {},
    ),
    ("what only scripts do", "if __name__ == '__main__':\n    f()", "if __name__ == '__main__':\n    g()", {}),
    (
        "the version of the application",
        "from importlib.metadata import version\nV = version('app')",
        "from importlib.metadata import version\nV = version('app')",
        {"m:V": "HOT value"},
    ),
    ("from __future__", "X = 1", "from __future__ import annotations\nX = 1", {"m": "HOT future"}),
    (
        "a key of a typed dictionary",
        "from typing import TypedDict\nclass T(TypedDict):\n    a: int",
        "from typing import TypedDict\nclass T(TypedDict):\n    a: int\n    b: int",
        {"m:T": "HOT field"},
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [pytest.param(*case[1:], id=case[0]) for case in (*FUNCTIONS, *CLASSES, *GLOBALS)],
)
@pytest.mark.in_place
def test_each_change_has_its_verdict(tmp_path: Path, old: str, new: str, expected: dict[str, str]) -> None:
    """What no rule proves safe is RESTART; each change is named once, with the definition that it is in."""
    answer = compare(tmp_path, {"m": old}, {"m": new})

    assert verdicts(answer) == expected
    assert all(row["reason"] and row["file"] for row in answer["changes"])


PROGRAM = """
import json, pathlib, sys, tempfile
sys.path[:0] = json.loads(sys.argv[1])
import plans
print(json.dumps([plans.verdicts(plans.compare(pathlib.Path(tempfile.mkdtemp(dir=sys.argv[2])), {"m": old}, {"m": new}))
                  for old, new in json.load(sys.stdin)]))
"""


@pytest.mark.parametrize("python", list(installed()))
@pytest.mark.in_place
def test_verdicts_are_the_same_with_each_python(tmp_path: Path, python: Path) -> None:
    """The table holds with the grammar and the byte code of every interpreter that is installed here."""
    cases = [*FUNCTIONS, *CLASSES, *GLOBALS]
    paths = [str(REPOSITORY / place) for place in ("src", "runtime/src", "tests/support")]
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", PROGRAM, json.dumps(paths), str(tmp_path)],
        input=json.dumps([case[1:3] for case in cases]),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = zip(cases, json.loads(done.stdout), strict=True)
    assert {case[0]: verdict for case, verdict in found if verdict != case[3]} == {}


def test_an_unchanged_module_takes_nothing_but_its_new_place(tmp_path: Path) -> None:
    """It is in the plan, so that its code objects get the new file names; there is nothing to run, and nothing to swap."""
    source = {"m": DATA + "X = [1]\ndef f(a=X): return lambda: a\n"}
    answer = compare(tmp_path, source, source)

    assert answer["changes"] == []
    load = load_of(answer)
    assert (load.fragment, load.changed, load.added, load.removed, load.guards) == (None, {}, (), (), ())


def test_a_fragment_runs_what_is_new_and_no_more(tmp_path: Path) -> None:
    """Run in the module of the old version, it makes what was added, and values by their new value wherever they are read."""
    old = "import q_never\nX = 1\nclass A:\n    pass\nclass B:\n    y = X\n".replace("import q_never\n", "")
    new = "X = 2\nclass A:\n    def f(self, n=X): return n + Y\nclass B:\n    y = X\nY = 3\nclass C(A):\n    z = [X]\n"
    answer = compare(tmp_path, {"m": old}, {"m": new})
    module: dict[str, Any] = {"__name__": "m"}
    exec(old, module)
    staged = run_fragment(load_of(answer), {**module})

    assert {"X", "A", "B", "Y", "C"} <= set(staged)
    assert (staged["X"], staged["A"].f.__defaults__, staged["B"].y, staged["C"].z) == (2, (2,), 2, [2])
    assert "f" not in vars(module["A"])
    assert load_of(answer).values == {"X": 1, "B.y": 1}
    assert load_of(answer).added == ("Y", "A.f", "C")


def test_who_imported_a_constant_is_bound_anew(tmp_path: Path) -> None:
    """Also through a module that passes it on; and what was computed from it there is computed again."""
    old = {"p": "from .a import X", "p.a": "X = 1", "p.b": "from p import X\nY = X + 1\nfrom . import a\nZ = a.X"}
    answer = compare(tmp_path, old, {**old, "p.a": "X = 2"})

    assert verdicts(answer) == {
        "p:X": "HOT import",
        "p.a:X": "HOT value",
        "p.b:X": "HOT import",
        "p.b:Y": "HOT value",
        "p.b:Z": "HOT value",
    }
    assert load_of(answer, "p.b").rebind == {"X": ("p.a", "X")}
    assert load_of(answer, "p.b").values == {"Y": 2, "Z": 1}


def test_modules_come_and_go(tmp_path: Path) -> None:
    """A new one is imported by the fragment of who asks for it; one that is gone is held by nobody, or it stays."""
    answer = compare(tmp_path, {"m": "", "gone": "def f(): pass"}, {"m": "import n", "n": "X = 1"})

    assert verdicts(answer) == {"m:n": "HOT import", "n": "HOT added", "gone": "HOT removed"}
    assert load_of(answer).imports == ("n",)
    package = compare(tmp_path, {"p": "", "p.m": ""}, {"p": "", "p.m": "from . import n", "p.n": ""})
    assert load_of(package, "p.m").imports == ("p.n",)
    assert answer["removes"]["gone"]["guards"] == [{"no_holders": "f"}]


def test_a_new_module_that_computes_with_what_changes_takes_a_restart(tmp_path: Path) -> None:
    """It would be imported before the swap, while the old value is in place; a plain import of the name is bound again."""
    computing = {"m": "X = 2\nimport n", "n": "import m, q\nY = q.Q(m.X)"}
    importing = {"m": "X = 2\nimport n", "n": "from m import X"}

    assert verdicts(compare(tmp_path, {"m": "X = 1"}, computing))["n:Y"] == "RESTART reached"
    assert load_of(compare(tmp_path, {"m": "X = 1"}, importing), "n").rebind == {"X": ("m", "X")}


def test_the_appup_decides_what_the_rules_do_not(tmp_path: Path) -> None:
    """An object with an identity is kept or made again by its say-so; a pinned module is never changed in place."""
    old, new = {"m": "import q\nX = q.Q(1)"}, {"m": "import q\nX = q.Q(2)"}

    assert verdicts(compare(tmp_path, old, new, kept=[["m", "X"]])) == {"m:X": "HOT value"}
    assert load_of(compare(tmp_path, old, new, kept=[["m", "X"]])).fragment is None
    assert load_of(compare(tmp_path, old, new, reset=[["m", "X"]])).replaced == ("X",)
    assert verdicts(compare(tmp_path, {"m": "X = 1"}, {"m": "X = 2"}, pinned=["m"]))["m"] == "RESTART pinned"


def test_the_way_down_asks_the_newer_code_change(tmp_path: Path) -> None:
    """Where the newer version has none, the way back for state that changed is one of a process without instances."""
    old, new = ROOM, ROOM + "        print(self)\n        self.name.append(1)\n"
    lobby = "LOBBY = Room('lobby')\n"

    assert verdicts(compare(tmp_path, {"m": new + CHANGE}, {"m": old}, up=False))["m:Room"] == "MIGRATE state"
    assert verdicts(compare(tmp_path, {"m": new}, {"m": old}, up=False))["m:Room"] == "HOT state"
    assert verdicts(compare(tmp_path, {"m": new + lobby}, {"m": old + lobby}, up=False))["m:Room"] == "RESTART state"


def test_live_closures_that_fit_no_new_definition_are_guarded(tmp_path: Path) -> None:
    """One nested function that is there in both is swapped; what can't be told apart, or is gone, must not be live."""
    old = "def f(a):\n    def g(): return a\n    def gone(): return 1\n    return [lambda: 1, lambda: 2, g, gone]\n"
    new = "def f(a):\n    def g(): return a + 1\n    return [lambda: 3, lambda: 4, g]\n"
    load = load_of(compare(tmp_path, {"m": old}, {"m": new}))

    assert set(load.changed) == {"f", "f.<locals>.g"}
    assert {guard.of for guard in load.guards if guard.kind == "no_closures"} == {
        "f.<locals>.gone",
        "f.<locals>.<lambda>",
        "f.<locals>.<lambda>#2",
    }


names = st.sampled_from(["a", "b", "c"])
expressions = st.sampled_from(
    ["1", "2", "[1]", "a", "b()", "(a, b)", "{'k': c}", "q.Q(a)", "lambda: b", "[x for x in (1, 2)]"]
)
functions = st.builds(
    lambda kind, decorator, name, default, body: f"{decorator}{kind} {name}(p={default}):\n    {body}\n",
    st.sampled_from(["def", "async def"]),
    st.sampled_from(["", "@q.d\n", "@functools.cache\n", "@staticmethod\n"]),
    names,
    expressions,
    st.sampled_from(
        [
            "return p",
            "yield p",
            "return a",
            "def g(): return p\n    return g",
            "return lambda: p",
            "global a\n    a = 1",
        ]
    ),
)


def in_class(body: list[str], name: str, base: str) -> str:
    lines = "".join(f"    {line}\n" for each in body for line in each.splitlines())
    return f"class {name}{base}:\n{lines or '    pass'}\n"


assignments = st.builds("{} = {}".format, names, expressions)
classes = st.builds(
    in_class, st.lists(functions | assignments, max_size=3), names, st.sampled_from(["", "(a)", "(q.Q)", "(Exception)"])
)
statements = functions | assignments | classes | st.sampled_from(
    ["import a", "from q import b", "from . import c", "try:\n    a = 1\nexcept Exception:\n    a = 2", "b()", "a: int", "del a", "a += 1"]
)  # fmt: skip
programs = st.lists(statements, max_size=6).map(lambda parts: "import functools, q\n" + "\n".join(parts))


def is_program(source: str) -> bool:
    try:
        compile(source, "m.py", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(programs.filter(is_program), programs.filter(is_program))
def test_whatever_is_edited_gets_an_answer(tmp_path: Path, old: str, new: str) -> None:
    """Random programs never break the planner; a program that did not change has no changes, and digests come back on the way down."""
    up = compare(tmp_path, {"m": old}, {"m": new})
    down = compare(tmp_path, {"m": new}, {"m": old}, up=False)

    assert compare(tmp_path, {"m": old}, {"m": old})["changes"] == []
    if up["loads"] and down["loads"]:
        one, other = load_of(up), load_of(down)
        assert {path: (each.now, each.was) for path, each in other.changed.items()} == {
            path: (each.was, each.now) for path, each in one.changed.items()
        }
        assert sorted(one.added) == sorted(other.removed)
        made = load(one.fragment) if one.fragment else ()
        known = {
            code_tree.digest(code) for code in code_tree.tree(compile(new, "m.py", "exec", dont_inherit=True)).values()
        }
        for path, code in (each for statement in made for each in code_tree.tree(statement).items()):
            assert code_tree.digest(code) in known or "comp>" in path or "genexpr" in path
    assert ast.parse(new)


@pytest.mark.in_place
def test_a_dataclass_that_gets_a_field_keeps_what_is_done_after_its_init(tmp_path: Path) -> None:
    """Its `__init__` is made of a class that has `__post_init__`, up and down, so that it calls it."""
    change = "    @staticmethod\n    def code_change(old, state, extra): return state\n"
    one = "from dataclasses import dataclass\n@dataclass\nclass Order:\n    count: int = 1\n"
    rest = "    def __post_init__(self): self.total = 2 * self.count\n" + change
    old, new = one + rest, one + "    price: int = 2\n" + rest
    for number, (before, after, up) in enumerate([(old, new, True), (new, old, False)]):
        answer = compare(tmp_path / str(number), {"m": before}, {"m": after}, up=up)
        staged: dict[str, Any] = {"__name__": __name__}
        exec("from dataclasses import dataclass", staged)
        run_fragment(load_of(answer), staged)

        assert {row["verdict"] for row in answer["changes"]} == {"MIGRATE"}
        assert "Order.__init__" in load_of(answer).replaced
        assert "Order.__post_init__" not in load_of(answer).replaced
        live: dict[str, Any] = {"__name__": __name__}
        exec(before, live)
        order = live["Order"]()
        staged["Order"].__init__(order, 5)
        assert order.total == 10


PROCESSES = [
    ("import os\ndef f(): os.fork()\n", "os.fork"),
    ("from multiprocessing import Process as P\ndef f(): P(target=f).start()\n", "multiprocessing.Process"),
    ("def f():\n    import concurrent.futures\n    concurrent.futures.ProcessPoolExecutor()\n", "ProcessPoolExecutor"),
    ("import subprocess, sys\ndef f(): subprocess.Popen([sys.executable, '-m', 'x'])\n", "subprocess.Popen"),
    ("import subprocess\ndef f(): subprocess.run('python3 -m x', shell=True)\n", "subprocess.run"),
    (
        "import asyncio, sys\nasync def f(): await asyncio.create_subprocess_exec(sys.executable)\n",
        "create_subprocess_exec",
    ),
    ("import socketserver as s\nclass S(s.ForkingMixIn, s.TCPServer): pass\n", "socketserver.ForkingMixIn"),
    ("def main():\n    from gunicorn.app.base import BaseApplication\n    BaseApplication().run()\n", "gunicorn"),
]


@pytest.mark.parametrize(("source", "what"), PROCESSES)
def test_processes_that_a_module_makes_are_told_beforehand(tmp_path: Path, source: str, what: str) -> None:
    """The verdict stays: only the process knows whether there is one by then."""
    answer = compare(tmp_path, {"m": source + "def g(): return 1\n"}, {"m": source + "def g(): return 2\n"})

    [row] = [each for each in answer["changes"] if each["change"] == "processes"]
    assert (row["verdict"], what in row["reason"], "handed over" in row["reason"]) == ("HOT", True, True)


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\ndef f(): subprocess.run(['git', 'status'])\n",
        "import os\ndef f(): return os.path.exists('fork')\n",
        "def fork(): pass\ndef f(): fork()\n",
    ],
)
def test_other_programs_are_nothing_to_be_told(tmp_path: Path, source: str) -> None:
    """What starts nothing of the release has no row."""
    assert compare(tmp_path, {"m": source}, {"m": source})["changes"] == []


AGAIN = """
from underway_runtime import looping
class A:
    def start(self): looping(self.f)
    async def f(self):
        while True: await self.get({})
"""
LOOPS = [
    ("async def f(q):\n    while True:\n        await q.get({})\n", True),
    ("def f(q):\n    while 1:\n        q.get({})\n", True),
    ("class A:\n    async def f(self):\n        while True:\n            async for each in self.q({}): print(each)\n", True),
    ("def f(q):\n    while True:\n        for each in q({}):\n            break\n", True),
    ("def f(q):\n    while True:\n        yield {}\n", True),
    ("def f(stop):\n    while not stop.is_set():\n        print({})\n", True),
    ("def f(stop):\n    while not stop.wait({}):\n        print(1)\n", True),
    ("class A:\n    def f(self):\n        while self.runs:\n            print({})\n", True),
    ("async def f(event):\n    print({})\n    await event.wait()\n", True),
    ("async def f(event):\n    print({})\n    await event.wait(1)\n", False),
    ("def f(n):\n    while not n.sub({}):\n        print(1)\n", False),
    ("async def f(server):\n    print({})\n    await server.wait_for_termination()\n", True),
    ("def f(q):\n    while True:\n        if q.get({}): break\n", False),
    ("def f(q):\n    while True:\n        try:\n            return q({})\n        except ValueError:\n            q(0)\n", False),
    ("def f(q):\n    while q.get({}):\n        q.put(1)\n", False),
    (AGAIN, False),
]  # fmt: skip


@pytest.mark.parametrize(("source", "told"), LOOPS)
def test_loops_that_change_and_never_end_are_told_beforehand(tmp_path: Path, source: str, *, told: bool) -> None:
    """But those that `looping` begins again; and not those that stay as they are."""
    answer = compare(tmp_path, {"m": source.format(1)}, {"m": source.format(2)})
    same = compare(tmp_path / "same", {"m": source.format(1)}, {"m": source.format(1)})

    rows = [each for each in answer["changes"] if each["change"] == "loop"]
    assert [each["verdict"] for each in rows] == (["HOT"] if told else [])
    assert same["changes"] == []


CONDITIONS = [
    ("def f(q):\n    yield {}\n", {"m:f": "HOT body, HOT begun"}),
    ("async def f(q):\n    yield {}\n", {"m:f": "HOT body, HOT begun"}),
    ("def f(q):\n    return [n + {} for n in q]\n", {"m:f": "HOT body"}),
    ("def f():\n    n{0} = 1\n    def inner(): return n{0}\n    return inner\n", {"m:f": "HOT body", "m:f.<locals>.inner": "HOT closure"}),
    ("def f():\n    def inner(): return {}\n    return inner\n", {"m:f": "HOT body"}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), CONDITIONS)
def test_what_lives_and_can_t_become_another_is_told_beforehand(
    tmp_path: Path, source: str, expected: dict[str, str]
) -> None:
    """Generators that are begun, and closures of other names: where there is one when it is installed, the node is handed over."""
    assert verdicts(compare(tmp_path, {"m": source.format(1)}, {"m": source.format(2)})) == expected


VERSION = "try:\n    from p.v import VERSION\nexcept ImportError:\n    VERSION = '0+unknown'\n"
IMPORTS: list[tuple[str, dict[str, str], dict[str, str], dict[str, str]]] = [
    ("tried, and bound again", {"p.v": "VERSION = '1'\n", "p.m": VERSION}, {"p.v": "VERSION = '2'\n", "p.m": VERSION},
     {"p.v:VERSION": "HOT value", "p.m:VERSION": "HOT import"}),
    ("tried, and what is made of it", {"p.v": "VERSION = '1'\n", "p.m": VERSION + "NAME = f'a {VERSION}'\n"},
     {"p.v": "VERSION = '2'\n", "p.m": VERSION + "NAME = f'a {VERSION}'\n"},
     {"p.v:VERSION": "HOT value", "p.m:VERSION": "HOT import", "p.m:NAME": "HOT value"}),
    ("within an if", {"p.v": "A = 1\n", "p.m": "import sys\nif sys.flags:\n    from p.v import A\n"},
     {"p.v": "A = 2\n", "p.m": "import sys\nif sys.flags:\n    from p.v import A\n"},
     {"p.v:A": "HOT value", "p.m:A": "RESTART import"}),
    ("with something else in the handler", {"p.v": "A = 1\n", "p.m": "try:\n    from p.v import A\nfinally:\n    pass\n"},
     {"p.v": "A = 2\n", "p.m": "try:\n    from p.v import A\nfinally:\n    pass\n"},
     {"p.v:A": "HOT value", "p.m:A": "RESTART import"}),
    ("in a class", {"p.v": "A = 1\n", "p.m": "class C:\n    from p.v import A\n"},
     {"p.v": "A = 2\n", "p.m": "class C:\n    from p.v import A\n"}, {"p.v:A": "HOT value", "p.m:A": "RESTART import"}),
    ("twice", {"p.v": "A = 1\n", "p.m": "from p.v import A\nfrom p.v import A\n"},
     {"p.v": "A = 2\n", "p.m": "from p.v import A\nfrom p.v import A\n"},
     {"p.v:A": "HOT value", "p.m:A": "RESTART import"}),
    ("a module that comes", {"p.m": "try:\n    import p.c as c\nexcept ImportError:\n    c = None\n"},
     {"p.m": "try:\n    import p.c as c\nexcept ImportError:\n    c = None\n", "p.c": ""},
     {"p.c": "HOT added", "p.m:c": "RESTART value"}),
    ("a name that comes", {"p.v": "", "p.m": "try:\n    from p.v import A\nexcept ImportError:\n    A = 0\n"},
     {"p.v": "A = 1\n", "p.m": "try:\n    from p.v import A\nexcept ImportError:\n    A = 0\n"},
     {"p.v:A": "HOT added", "p.m:A": "RESTART value"}),
    ("what stays", {"p.v": "A = 1\n", "p.m": "try:\n    from p.v import A\nexcept ImportError:\n    A = 0\n"},
     {"p.v": "A = 1\nB = 2\n", "p.m": "try:\n    from p.v import A\nexcept ImportError:\n    A = 0\n"}, {"p.v:B": "HOT added"}),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), [pytest.param(*case[1:], id=case[0]) for case in IMPORTS])
def test_imports_that_may_not_run_are_looked_at(
    tmp_path: Path, old: dict[str, str], new: dict[str, str], expected: dict[str, str]
) -> None:
    """One that is tried and goes well in both releases is bound again; all others are RESTART where what they bind changes."""
    answer = compare(tmp_path, {"p": "", **old}, {"p": "", **new})

    assert verdicts(answer) == expected
