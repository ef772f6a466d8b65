"""Names that are looked up as text, or found by the order and the identity of what is there: no name of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plans import compare, load_of, verdicts

Modules = Mapping[str, str]
Case = tuple[Modules, Modules, dict[str, str | None]]

LAZY = """
import importlib
PLACES = {}
def __getattr__(name):
    found = getattr(importlib.import_module(PLACES[name]), name)
    globals()[name] = found
    return found
"""

LISTING = "import n\nclass Names:\n    def __init__(self): self.all = dir(n)\n"
REGISTRY = "ALL = []\ndef on(f):\n    ALL.append(f)\n    return f\n"
BY_TEXT = "def on(name): return globals()['on_' + name]()\n"

LOOKED_UP: dict[str, Case] = {
    "a list of all names of a module": (
        {"m": "def a(): pass\nNAMES = sorted(dir())\n"},
        {"m": "def a(): pass\ndef b(): pass\nNAMES = sorted(dir())\n"},
        {"m:b": "HOT added", "m:NAMES": "RESTART reached"},
    ),
    "a list of the members of a class": (
        {"m": "class A:\n    def a(self): pass\n", "n": "from m import A\nNAMES = [each for each in vars(A)]\n"},
        {"m": "class A:\n    def b(self): pass\n", "n": "from m import A\nNAMES = [each for each in vars(A)]\n"},
        {"m:A.a": "HOT removed", "m:A.b": "HOT added", "n:NAMES": "RESTART reached"},
    ),
    "a list of all names of a module, in another order": (
        {"m": "def a(): pass\ndef b(): pass\nNAMES = list(globals())\n"},
        {"m": "def b(): pass\ndef a(): pass\nNAMES = list(globals())\n"},
        {"m:NAMES": "RESTART reached"},
    ),
    "a list of the names that a module has so far": (
        {"m": "def a(): pass\nNAMES = list(globals())\ndef b(): pass\n"},
        {"m": "def a(): pass\ndef b(): pass\nNAMES = list(globals())\n"},
        {"m:NAMES": "RESTART reached"},
    ),
    "a list of the members of a class, in another order": (
        {"m": "class A:\n    def a(self): pass\n    def b(self): pass\n", "n": "from m import A\nX = [*vars(A)]\n"},
        {"m": "class A:\n    def b(self): pass\n    def a(self): pass\n", "n": "from m import A\nX = [*vars(A)]\n"},
        {"n:X": "RESTART reached"},
    ),
    "the same order, with another body": (
        {"m": "def a(): pass\ndef b(): pass\nNAMES = list(globals())\n"},
        {"m": "def a(): return 1\ndef b(): pass\nNAMES = list(globals())\n"},
        {"m:a": "HOT body", "m:NAMES": None},
    ),
    "a list that a function has made": (
        {"m": "import n\nNAMES = n.names()\n", "n": "def names(): return [*vars(n)]\ndef a(): pass\n"},
        {"m": "import n\nNAMES = n.names()\n", "n": "def names(): return [*vars(n)]\ndef a(): pass\ndef b(): pass\n"},
        {"n:b": "HOT added", "m:NAMES": "RESTART reached"},
    ),
    "a list that an instance has made of a module": (
        {"m": f"{LISTING}NAMES = Names()\n", "n": "def a(): pass\n"},
        {"m": f"{LISTING}NAMES = Names()\n", "n": "def b(): pass\n"},
        {"n:a": "HOT removed", "n:b": "HOT added", "m:NAMES": "RESTART reached"},
    ),
    "what an instance lists of itself": (
        {"m": "class A:\n    def __init__(self): self.text = str(vars(self))\nX = A()\n"},
        {"m": "class A:\n    def __init__(self): self.text = str(vars(self))\nX = A()\ndef b(): pass\n"},
        {"m:b": "HOT added", "m:X": None},
    ),
    "a new list of all names of a module": (
        {"m": "def a(): pass\n"},
        {"m": "def a(): pass\nNAMES = [each for each in dir()]\n"},
        {"m:NAMES": "HOT added, RESTART added"},
    ),
    "a new default with such a list, by calls": (
        {
            "m": "import n\n",
            "n": "import sys\ndef names(): return every()\ndef every(): return [*vars(sys.modules[__name__])]\n",
        },
        {
            "m": "import n\ndef a(names=n.names()): pass\n",
            "n": "import sys\ndef names(): return every()\ndef every(): return [*vars(sys.modules[__name__])]\n",
        },
        {"m:a": "HOT added, RESTART added"},
    ),
    "a new function that lists its own variables": (
        {"m": "def names(): return dir()\n"},
        {"m": "def names(): return dir()\nNAMES = names()\ndef b(x=dir(1)): return locals()\n"},
        {"m:NAMES": "HOT added", "m:b": "HOT added"},
    ),
    "names by text, while more than one comes": (
        {"m": BY_TEXT},
        {"m": BY_TEXT + "def on_a(): return helper()\ndef helper(): return 1\n"},
        {"m:helper": "HOT added", "m:on_a": "RESTART added, HOT added"},
    ),
    "one name by text": (
        {"m": BY_TEXT},
        {"m": BY_TEXT + "def on_a(): return 1\n"},
        {"m:on_a": "HOT added"},
    ),
    "what __getattr__ of a module has found, and another imports": (
        {"m": "def __getattr__(name): return 1\n", "n": "from m import LIMIT\n"},
        {"m": "def __getattr__(name): return 2\n", "n": "from m import LIMIT\n"},
        {"m:__getattr__": "HOT body", "n": "RESTART import"},
    ),
    "what __getattr__ of a module has found, and another names": (
        {"m": "def __getattr__(name): return 1\n", "n": "import m\nX = [m.LIMIT]\n"},
        {"m": "def __getattr__(name): return 2\n", "n": "import m\nX = [m.LIMIT]\n"},
        {"m:__getattr__": "HOT body", "n": "RESTART import"},
    ),
    "what __getattr__ of a module only looks up": (
        {"m": "def _a(): return 1\ndef __getattr__(name): return globals()['_' + name]\n"},
        {"m": "def _a(): return 2\ndef __getattr__(name): return globals()['_' + name]\n"},
        {"m:_a": "HOT body"},
    ),
    "what __getattr__ of a module puts there": (
        {"m": "def _a(): return 1\ndef __getattr__(name): return globals().setdefault(name, _a)\n"},
        {"m": "def _a(): return 2\ndef __getattr__(name): return globals().setdefault(name, _a)\n"},
        {"m:__getattr__": "RESTART names", "m:_a": "HOT body"},
    ),
    "what __getattr__ of a module has found, and keeps": (
        {"m": LAZY.replace("{}", "{'A': 'm.a'}"), "m.a": "A = 1\n"},
        {"m": LAZY.replace("{}", "{'A': 'm.a'}"), "m.a": "A = 2\n"},
        {"m.a:A": "HOT value", "m:__getattr__": "RESTART names"},
    ),
    "a value that is told from others like it": (
        {"m": "EMPTY = ('x', 1)\ndef f(x=EMPTY): return x is EMPTY\n"},
        {"m": "EMPTY = ('x', 2)\ndef f(x=EMPTY): return x is EMPTY\n"},
        {"m:EMPTY": "HOT value", "m:f": "HOT default, RESTART reached"},
    ),
    "the modules that a package had, in a cache": (
        {
            "m": "import functools, pkgutil\n@functools.cache\ndef every(): return [*pkgutil.iter_modules(__path__)]\n",
            "m.a": "",
        },
        {
            "m": "import functools, pkgutil\n@functools.cache\ndef every(): return [*pkgutil.iter_modules(__path__)]\n",
            "m.a": "",
            "m.b": "",
        },
        {"m.b": "HOT added", "m:every": "RESTART reached"},
    ),
    "what registers itself, and may come before others": (
        {"m": REGISTRY + "@on\ndef b(): pass\n"},
        {"m": REGISTRY + "@on\ndef a(): pass\n@on\ndef b(): pass\n"},
        {"m:a": "RESTART added"},
    ),
    "what another module has made of all that is registered": (
        {"m": REGISTRY + "@on\ndef b(): pass\n", "n": "from m import ALL\nFOUND = [each.__name__ for each in ALL]\n"},
        {
            "m": REGISTRY + "@on\ndef b(): pass\n@on\ndef c(): pass\n",
            "n": "from m import ALL\nFOUND = [each.__name__ for each in ALL]\n",
        },
        {"m:c": "RESTART added", "n:FOUND": "RESTART reached"},
    ),
}


@pytest.mark.parametrize("case", list(LOOKED_UP))
def test_what_is_looked_up_as_text_is_not_taken_for_what_nobody_asks_for(tmp_path: Path, case: str) -> None:
    """The plan says RESTART where a look-up has found, or would find, what a fresh start would not."""
    old, new, wanted = LOOKED_UP[case]

    found: dict[str, Any] = verdicts(compare(tmp_path, old, new))

    assert {name: found.get(name) for name in wanted} == wanted


def test_a_function_that_is_made_once_more_must_not_be_held_as_it_was(tmp_path: Path) -> None:
    """What its decorator has put around it stays as the old version made it: who holds that would go on with it."""
    source = (
        "import functools\ndef retry(n):\n    def made(f):\n        @functools.wraps(f)\n"
        "        def inner(): return n, f()\n        return inner\n    return made\n@retry({})\ndef g(): return 1\n"
    )
    answer = compare(tmp_path, {"m": source.format(2)}, {"m": source.format(3)}, observed=True)

    assert verdicts(answer) == {"m:g": "HOT decorator"}
    assert [(each.kind, each.of) for each in load_of(answer).guards] == [("no_holders", "g")]
