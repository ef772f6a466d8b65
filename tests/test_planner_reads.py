"""What import has read, and what lives on: edits that leave no trace in the names which they mention."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plans import compare, load_of, verdicts

Modules = Mapping[str, str]
Case = tuple[Modules, Modules, dict[str, str]]

SETTINGS = "class Settings:\n    @property\n    def url(self): return {!r}\nsettings = Settings()\n"

READ: dict[str, Case] = {
    "a property that is read without a call": (
        {"m": SETTINGS.format("a") + "URL = f'{settings.url}/x' if settings.url else ''\n"},
        {"m": SETTINGS.format("b") + "URL = f'{settings.url}/x' if settings.url else ''\n"},
        {"m:URL": "RESTART reached"},
    ),
    "a property by its name as text": (
        {"m": SETTINGS.format("a") + "URL = getattr(settings, 'url')\n"},
        {"m": SETTINGS.format("b") + "URL = getattr(settings, 'url')\n"},
        {"m:URL": "RESTART reached"},
    ),
    "a function under another name, in a function": (
        {"m": "def load():\n    from p import work as w\n    return w()\nX = load()\n", "p": "def work(): return 1\n"},
        {"m": "def load():\n    from p import work as w\n    return w()\nX = load()\n", "p": "def work(): return 2\n"},
        {"m:X": "RESTART reached"},
    ),
    "a function in a table": (
        {"m": "def f(): return 1\nSTEPS = {'f': f}\nX = [STEPS['f']() for _ in 'ab']\n"},
        {"m": "def f(): return 2\nSTEPS = {'f': f}\nX = [STEPS['f']() for _ in 'ab']\n"},
        {"m:X": "RESTART reached"},
    ),
    "the docstring of the module": (
        {"m": "'one'\nUSAGE = __doc__.upper()\n"},
        {"m": "'two'\nUSAGE = __doc__.upper()\n"},
        {"m:USAGE": "RESTART reached"},
    ),
    "the docstring of a class": (
        {"m": "class A:\n    'one'\nHELP = [A.__doc__]\n"},
        {"m": "class A:\n    'two'\nHELP = [A.__doc__]\n"},
        {"m:HELP": "RESTART reached"},
    ),
    "the code of a function": (
        {"m": "def f(): return 1\nCODE = f.__code__\n"},
        {"m": "def f(): return 2\nCODE = f.__code__\n"},
        {"m:CODE": "RESTART reached"},
    ),
    "a factory of a field": (
        {
            "m": "import dataclasses as d\ndef f(): return 1\n@d.dataclass\nclass A:\n    x: int = d.field(default_factory=f)\nX = A()\n"
        },
        {
            "m": "import dataclasses as d\ndef f(): return 2\n@d.dataclass\nclass A:\n    x: int = d.field(default_factory=f)\nX = A()\n"
        },
        {"m:X": "RESTART reached"},
    ),
    "where the environment is": (
        {"m": "import sys\nHOME = [sys.prefix]\n"},
        {"m": "import sys\nHOME = [sys.prefix]\ndef f(): return 1\n"},
        {"m:HOME": "RESTART reached"},
    ),
    "where the code is, by a function": (
        {"m": "import os\ndef here(): return os.path.dirname(__file__)\nHERE = here()\n"},
        {"m": "import os\ndef here(): return os.path.dirname(__file__)\nHERE = here()\ndef f(): return 1\n"},
        {"m:HERE": "RESTART reached"},
    ),
    "the version, by a function": (
        {"m": "from importlib.metadata import version\ndef get(): return version('app')\nV = get()\n"},
        {
            "m": "from importlib.metadata import version\ndef get(): return version('app')\nV = get()\ndef f(): return 1\n"
        },
        {"m:V": "RESTART reached"},
    ),
    "an annotation of what reads it though it is a text": (
        {
            "m": "from __future__ import annotations\nfrom lib import Model, Field\nN = 1\nclass A(Model):\n    x: Field(N)\n"
        },
        {
            "m": "from __future__ import annotations\nfrom lib import Model, Field\nN = 2\nclass A(Model):\n    x: Field(N)\n"
        },
        {"m:A": "RESTART reached"},
    ),
    "a constant that another module sets too": (
        {"m": "N = 1\n", "p": "import m\nm.N = 1\n"},
        {"m": "N = 2\n", "p": "import m\nm.N = 1\n"},
        {"p": "RESTART reached"},
    ),
    "settings in a class that a framework has read": (
        {"m": "from lib import Schema\nclass A(Schema):\n    class Meta:\n        exclude = ('a',)\n"},
        {"m": "from lib import Schema\nclass A(Schema):\n    class Meta:\n        exclude = ('b',)\n"},
        {"m:A.Meta": "RESTART value"},
    ),
}
"""The old modules, the new ones, and rows that the plan must have."""

LIVES: dict[str, Case] = {
    "what containers hold is of another kind": (
        {"m": "rooms = {}\ndef join(n): rooms.setdefault(n, []).append(1)\n"},
        {"m": "rooms = {}\ndef join(n): rooms.setdefault(n, set()).add(1)\n"},
        {"m": "RESTART state"},
    ),
    "what a queue holds is longer": (
        {"m": "class A:\n    def put(self, x): self.queue.append((x, 1))\n"},
        {"m": "class A:\n    def put(self, x): self.queue.append((x, 1, 2))\n"},
        {"m": "RESTART state"},
    ),
    "what containers hold has another key": (
        {"m": "rooms = {}\ndef join(n): rooms[n] = {'a': 1}\n"},
        {"m": "rooms = {}\ndef join(n): rooms[n] = {'a': 1, 'b': 2}\n"},
        {"m": "RESTART state"},
    ),
    "what containers hold has a key less": (
        {"m": "rooms = {}\ndef join(n): rooms[n] = {'a': 1, 'b': 2}\n"},
        {"m": "rooms = {}\ndef join(n): rooms[n] = {'a': 1}\n"},
        {"m:join": "HOT body"},
    ),
    "instances are given another kind of argument": (
        {"m": "class A:\n    def __init__(self, x): self.x = x\ndef make(): return A([])\n"},
        {"m": "class A:\n    def __init__(self, x): self.x = x\ndef make(): return A(set())\n"},
        {"m": "RESTART state"},
    ),
    "a function sets another attribute on what it makes": (
        {"m": "class A:\n    def show(self): return 1\ndef make():\n    a = A()\n    a.x = 1\n    return a\n"},
        {
            "m": "class A:\n    def show(self): return self.y\ndef make():\n    a = A()\n    a.x, a.y = 1, 2\n    return a\n"
        },
        {"m:A": "RESTART state"},
    ),
    "a class method sets another attribute": (
        {"m": "class A:\n    @classmethod\n    def load(cls):\n        a = cls()\n        return a\n"},
        {"m": "class A:\n    @classmethod\n    def load(cls):\n        a = cls()\n        a.x = 1\n        return a\n"},
        {"m:A": "RESTART state"},
    ),
    "a value that functions change": (
        {"m": "conf = {'a': 1}\ndef use(): conf['b'] = 1\n"},
        {"m": "conf = {'a': 2}\ndef use(): conf['b'] = 1\n"},
        {"m:conf": "RESTART value"},
    ),
    "a counter of a class": (
        {"m": "class A:\n    n = 0\n    def __init__(self): type(self).n += 1\n"},
        {"m": "class A:\n    n = 9\n    def __init__(self): type(self).n += 1\n"},
        {"m:A.n": "RESTART value"},
    ),
    "a text of a set, whose order differs from process to process": (
        {"m": "HELP = f'one of {frozenset({1, 2})}'\n"},
        {"m": "HELP = f'one of {frozenset({1, 3})}'\n"},
        {"m:HELP": "RESTART value"},
    ),
    "a pending call without the new argument": (
        {"m": "import functools\ndef tick(a): pass\ndef later(q): q.append(functools.partial(tick, 1))\n"},
        {"m": "import functools\ndef tick(a, b): pass\ndef later(q): q.append(functools.partial(tick, 1, 2))\n"},
        {"m:tick": "HOT signature", "m:later": "HOT body"},
    ),
    "a table of import without the new argument": (
        {"m": "def tick(a): pass\nTABLE = {'tick': tick}\n"},
        {"m": "def tick(a, b): pass\nTABLE = {'tick': tick}\n"},
        {"m:tick": "HOT signature, RESTART signature"},
    ),
    "a call with the new argument, of nobody who holds it": (
        {"m": "def tick(a): pass\ndef f(): tick(1)\n"},
        {"m": "def tick(a, b): pass\ndef f(): tick(1, 2)\n"},
        {"m:tick": "HOT signature", "m:f": "HOT body"},
    ),
    "what a returned closure holds": (
        {"m": "def make():\n    n = 1\n    def inner(): return n\n    return inner\n"},
        {"m": "def make():\n    n = 2\n    def inner(): return n\n    return inner\n"},
        {"m:make": "HOT body", "m:make.<locals>.inner": "HOT closure"},
    ),
    "the default of a returned closure": (
        {"m": "def make():\n    def inner(n=1): return n\n    return inner\n"},
        {"m": "def make():\n    def inner(n=2): return n\n    return inner\n"},
        {"m:make": "HOT body", "m:make.<locals>.inner": "HOT closure"},
    ),
    "a cache of what others may hold": (
        {"m": "import functools\n@functools.lru_cache\ndef room(n): return Room(n)\n"},
        {"m": "import functools\n@functools.lru_cache\ndef room(n): return Room(n, 1)\n"},
        {"m:room": "RESTART body"},
    ),
    "a singleton that is made when it is asked for": (
        {
            "m": "N = 1\nclass A:\n    def __init__(self): self.n = N\na = None\ndef get():\n    global a\n    a = a or A()\n    a = A()\n"
        },
        {
            "m": "N = 2\nclass A:\n    def __init__(self): self.n = N\na = None\ndef get():\n    global a\n    a = a or A()\n    a = A()\n"
        },
        {"m:a": "HOT made, HOT made"},
    ),
    "the cache of a function that uses what changes": (
        {
            "m": "import functools\nN = 1\n@functools.lru_cache\ndef f(x): return x + N\n@functools.cache\ndef g(): return N\n"
        },
        {
            "m": "import functools\nN = 2\n@functools.lru_cache\ndef f(x): return x + N\n@functools.cache\ndef g(): return N\n"
        },
        {"m:f": "HOT cache", "m:g": "RESTART reached"},
    ),
    "a start that has run": (
        {"m": "from underway_runtime import Application\nclass A(Application):\n    async def start(self): print(1)\n"},
        {"m": "from underway_runtime import Application\nclass A(Application):\n    async def start(self): print(2)\n"},
        {"m:A.start": "HOT body, HOT ran"},
    ),
    "a cache of plain values": (
        {"m": "import functools\n@functools.lru_cache\ndef f(n):\n    a = n + 1\n    return a, str(n)\n"},
        {"m": "import functools\n@functools.lru_cache\ndef f(n):\n    a = n + 2\n    return a, str(n)\n"},
        {"m:f": "HOT body"},
    ),
    "what goes, and has left something elsewhere": (
        {"m": "ALL = []\ndef add(x):\n    ALL.append(x)\n    return x\nA = add(1)\nB = add(2)\n"},
        {"m": "ALL = []\ndef add(x):\n    ALL.append(x)\n    return x\nA = add(1)\n"},
        {"m:B": "RESTART removed"},
    ),
    "a function that makes an application": (
        {"m": "from flask import Flask\ndef make():\n    app = Flask('x')\n    return app\n"},
        {
            "m": "from flask import Flask\ndef make():\n    app = Flask('x')\n    app.add_url_rule('/', view_func=print)\n    return app\n"
        },
        {"m:make": "RESTART body"},
    ),
}

_HOLDS = "import functools\ndef deco(f):\n    {}\n@deco\ndef g(): return {}\n"
_WRAPS = "@functools.wraps(f)\n    def inner(*args):\n        return f(*args)\n    return inner"
_FACTORY = (
    "import functools\ndef deco(n):\n    def made(f):\n        {}\n    return made\n@deco(3)\ndef g(): return {}\n"
)
_DISPATCHED = (
    "import functools\n@functools.singledispatch\ndef show(x): pass\n@show.register\ndef _(x: {}): return {!r}\n"
)

WITHIN: dict[str, Case] = {
    "a decorator that wraps": (
        {"m": _HOLDS.format(_WRAPS, 1)},
        {"m": _HOLDS.format(_WRAPS, 2)},
        {"m:g": "HOT body"},
    ),
    "a decorator that registers": (
        {"m": "ALL = {}\n" + _HOLDS.format("ALL[f.__name__] = f; f.known = True; return f", 1)},
        {"m": "ALL = {}\n" + _HOLDS.format("ALL[f.__name__] = f; f.known = True; return f", 2)},
        {"m:g": "HOT body"},
    ),
    "a decorator that remembers what it has returned": (
        {"m": _HOLDS.format("known = {}; return lambda: known.setdefault(1, f())", 1)},
        {"m": _HOLDS.format("known = {}; return lambda: known.setdefault(1, f())", 2)},
        {"m:g": "RESTART body"},
    ),
    "a decorator that registers, and what is made of all that is registered": (
        {"m": "ALL = {}\n" + _HOLDS.format("ALL[f.__name__] = f; return f", 1) + "X = [f() for f in ALL.values()]\n"},
        {"m": "ALL = {}\n" + _HOLDS.format("ALL[f.__name__] = f; return f", 2) + "X = [f() for f in ALL.values()]\n"},
        {"m:g": "HOT body", "m:X": "RESTART reached"},
    ),
    "a decorator that calls": (
        {"m": _HOLDS.format("return f()", 1)},
        {"m": _HOLDS.format("return f()", 2)},
        {"m:g": "RESTART body"},
    ),
    "a decorator that looks into it": (
        {"m": _HOLDS.format("f.size = len(f.__code__.co_code); return f", 1)},
        {"m": _HOLDS.format("f.size = len(f.__code__.co_code); return f", 2)},
        {"m:g": "RESTART body"},
    ),
    "a decorator that is made, and wraps": (
        {"m": _FACTORY.format("return lambda: f() * n", 1)},
        {"m": _FACTORY.format("return lambda: f() * n", 2)},
        {"m:g": "HOT body"},
    ),
    "a decorator that is made, and stores": (
        {"m": "ALL = []\n" + _FACTORY.format("ALL.append((n, f)); return f", 1)},
        {"m": "ALL = []\n" + _FACTORY.format("ALL.append((n, f)); return f", 2)},
        {"m:g": "HOT body"},
    ),
    "a body, with the annotation by which it is found": (
        {"m": _DISPATCHED.format("int", "a")},
        {"m": _DISPATCHED.format("str", "b")},
        {"m:_": "RESTART annotation"},
    ),
    "a body, with an annotation, and what a default holds": (
        {"m": "def f(x, known={}): return known.setdefault(x, 1)\n"},
        {"m": "def f(x: int, known={}): return known.setdefault(x, 2)\n"},
        {"m:f": "RESTART annotation"},
    ),
    "a class that decorates": (
        {"m": "class deco:\n    def __init__(self, f): self.f = f\n@deco\ndef g(): return 1\n"},
        {"m": "class deco:\n    def __init__(self, f): self.f = f\n@deco\ndef g(): return 2\n"},
        {"m:g": "HOT body"},
    ),
    "a task of a queue": (
        {
            "m": "from celery import Celery, shared_task\na = Celery('m')\n@a.task\ndef g(): return 1\n@shared_task\ndef h(): return 1\n"
        },
        {
            "m": "from celery import Celery, shared_task\na = Celery('m')\n@a.task\ndef g(): return 2\n@shared_task\ndef h(): return 2\n"
        },
        {"m:g": "HOT body", "m:h": "HOT body"},
    ),
    "a hook of pytest": (
        {
            "m": "import pytest\n@pytest.hookimpl(trylast=True)\ndef g(a): return 1\n@pytest.hookimpl\ndef h(a): return 1\n"
        },
        {
            "m": "import pytest\n@pytest.hookimpl(trylast=True)\ndef g(a): return 2\n@pytest.hookimpl\ndef h(b): return 1\n"
        },
        {"m:g": "HOT body", "m:h": "RESTART signature"},
    ),
    "a command that has read its docstring": (
        {"m": "import click\n@click.command()\ndef g():\n    'a'\n    return 1\n@click.command()\ndef h(): return 1\n"},
        {"m": "import click\n@click.command()\ndef g():\n    'b'\n    return 1\n@click.command()\ndef h(): return 2\n"},
        {"m:g": "RESTART body", "m:h": "HOT body"},
    ),
    "what a dispatcher calls": (
        {
            "m": "import functools\n@functools.singledispatch\ndef f(x): return 1\n@f.register\ndef g(x: int): return 1\n"
        },
        {
            "m": "import functools\n@functools.singledispatch\ndef f(x): return 2\n@f.register\ndef g(x: int): return 2\n"
        },
        {"m:f": "HOT body", "m:g": "HOT body"},
    ),
    "a function under a condition": (
        {"m": "import sys\nif sys.platform == 'x':\n    def f(): return 1\nelse:\n    def f(): return 2\n"},
        {"m": "import sys\nif sys.platform == 'x':\n    def f(): return 1\nelse:\n    def f(): return 3\n"},
        {"m:f": "HOT body"},
    ),
    "the condition of a function": (
        {"m": "import sys\nif sys.flags == 'x':\n    def f(): return 1\n"},
        {"m": "import sys\nif sys.flags == 'y':\n    def f(): return 1\n"},
        {"m": "RESTART statement, RESTART statement"},
    ),
    "lambdas in values": (
        {"m": "KEYS = {'a': lambda x: 1, 'b': lambda x: 2}\nclass A:\n    p = property(lambda self: 1)\n"},
        {"m": "KEYS = {'a': lambda x: 1, 'b': lambda x: 3}\nclass A:\n    p = property(lambda self: 2)\n"},
        {"m:KEYS": "HOT body", "m:A.p": "HOT body"},
    ),
    "a lambda with another parameter": (
        {"m": "key = lambda x: 1\n"},
        {"m": "key = lambda x, y=1: 1\n"},
        {"m:key": "RESTART value"},
    ),
    "a function that moves to another module": (
        {"m": "def f(): return 1\n", "p": "", "q": "from m import f\ndef g(): return f()\n"},
        {"m": "from p import f\n", "p": "def f(): return 2\n", "q": "from m import f\ndef g(): return f()\n"},
        {"m:f": "HOT moved", "p:f": "HOT added", "q:f": "HOT import"},
    ),
    "a function that moves, and stands in a table": (
        {"m": "def f(): return 1\nTABLE = {'f': f}\n", "p": ""},
        {"m": "from p import f\nTABLE = {'f': f}\n", "p": "def f(): return 2\n"},
        {"m:f": "HOT moved", "p:f": "HOT added", "m:TABLE": "RESTART reached"},
    ),
    "a function that a module defines itself by now, and has in a table": (
        {"m": "from p import f\nTABLE = {'f': f}\n", "p": "def f(): return 2\n"},
        {"m": "def f(): return 1\nTABLE = {'f': f}\n", "p": "def f(): return 2\n"},
        {"m:f": "HOT moved", "m:TABLE": "RESTART reached"},
    ),
    "a function that moves, and made a value": (
        {"m": "def f(): return 1\n", "p": "", "q": "from m import f\nX = f()\n"},
        {"m": "from p import f\n", "p": "def f(): return 2\n", "q": "from m import f\nX = f()\n"},
        {"m:f": "HOT moved", "p:f": "HOT added", "q:f": "HOT import", "q:X": "RESTART reached"},
    ),
}


NOTED = "LINES = {}\ndef noted(f):\n    LINES[f.__name__] = f.__code__.co_firstlineno\n    return f\n"
ZONE = "import os, time\nZONE = 'Asia/Tokyo'\n"
LEVEL = "import logging\nLEVEL = 'INFO'\nlog = logging.getLogger('m')\n"

PLACED: dict[str, Case] = {
    "the line of a function": (
        {"m": "def f(): pass\nLINE = f.__code__.co_firstlineno\n"},
        {"m": "# more\ndef f(): pass\nLINE = f.__code__.co_firstlineno\n"},
        {"m:LINE": "RESTART reached"},
    ),
    "the line of a function, which what decorates it has read": (
        {"m": f"{NOTED}@noted\ndef g(): pass\n"},
        {"m": f"{NOTED}# more\n@noted\ndef g(): pass\n"},
        {"m:g": "RESTART reached"},
    ),
    "the line of a function of another module": (
        {"m": "def f(): pass\n", "n": "import inspect, m\nLINE = inspect.getsourcelines(m.f)[1]\n"},
        {"m": "# more\ndef f(): pass\n", "n": "import inspect, m\nLINE = inspect.getsourcelines(m.f)[1]\n"},
        {"n:LINE": "RESTART reached"},
    ),
    "a line that a function says when it is asked": (
        {"m": "def f(): return f.__code__.co_firstlineno\n"},
        {"m": "# more\ndef f(): return f.__code__.co_firstlineno\n"},
        {},
    ),
    "a variable of the environment, of a constant": (
        {"m": f"{ZONE}os.environ['TZ'] = ZONE\ntime.tzset()\n"},
        {"m": f"{ZONE}os.environ['TZ'] = ZONE\ntime.tzset()\n".replace("Tokyo", "Seoul")},
        {"m:ZONE": "HOT value", "m": "RESTART reached, RESTART reached"},
    ),
    "a variable of the environment": (
        {"m": "import os\nos.environ['TZ'] = 'a'\n"},
        {"m": "import os\nos.environ['TZ'] = 'b'\n"},
        {"m": "RESTART statement, RESTART statement"},
    ),
    "a variable of the environment that a function sets, and another constant": (
        {"m": f"{ZONE}OTHER = 1\ndef zone(): os.environ['TZ'] = ZONE\nzone()\n"},
        {"m": f"{ZONE}OTHER = 2\ndef zone(): os.environ['TZ'] = ZONE\nzone()\n"},
        {"m:OTHER": "HOT value"},
    ),
    "the level of a logger that no module has": (
        {"m": f"{LEVEL}logging.getLogger('other').setLevel(LEVEL)\n"},
        {"m": f"{LEVEL}logging.getLogger('other').setLevel(LEVEL)\n".replace("INFO", "DEBUG")},
        {"m:LEVEL": "HOT value", "m": "RESTART reached, RESTART reached"},
    ),
    "the same, in a function": (
        {"m": f"{LEVEL}def quiet(): logging.getLogger('other').setLevel(LEVEL)\nquiet()\n"},
        {"m": f"{LEVEL}def quiet(): logging.getLogger('other').setLevel(LEVEL)\nquiet()\n".replace("INFO", "DEBUG")},
        {"m:LEVEL": "HOT value", "m": "RESTART reached, RESTART reached"},
    ),
    "the same, as it is called": (
        {"m": "import logging\ndef quiet(): logging.getLogger('other').setLevel(10)\nquiet()\n"},
        {"m": "import logging\ndef quiet(): logging.getLogger('other').setLevel(20)\nquiet()\n"},
        {"m:quiet": "HOT body", "m": "RESTART reached, RESTART reached"},
    ),
}


@pytest.mark.parametrize("case", [*READ, *LIVES, *WITHIN, *PLACED])
def test_what_import_has_read_and_what_lives_on_is_seen(tmp_path: Path, case: str) -> None:
    """The plan says RESTART of what would stay as the old version has made it, and of nothing that would not."""
    old, new, wanted = {**READ, **LIVES, **WITHIN, **PLACED}[case]

    found: dict[str, Any] = verdicts(compare(tmp_path, old, new))

    assert {name: found.get(name) for name in wanted} == wanted, found
    if not any("RESTART" in verdict for verdict in wanted.values()):
        assert not any("RESTART" in verdict for verdict in found.values())


def test_a_value_that_functions_change_is_up_to_code_change(tmp_path: Path) -> None:
    """With one, the module says itself what becomes of it; whatever it is by then, the process does not refuse it."""
    module = "n = {}\ndef up():\n    global n\n    n += 1\ndef code_change(old, state, extra): return state\n"
    found = compare(tmp_path, {"m": module.format(1)}, {"m": module.format(2)})

    assert verdicts(found) == {"m:n": "MIGRATE value", "m": "MIGRATE state"}
    assert load_of(found).values == {}
