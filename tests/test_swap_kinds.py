"""Members of classes that something else than `type` makes, names that go with what they were used for, and cycles of imports."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from swap_helpers import PLANNED, Ask, Become, asking, check_hot, everywhere, unlike_fresh

pytestmark = pytest.mark.in_place

HOT = {
    "a helper in a class from an abstract one": (
        "import abc\nclass P(abc.ABC):\n    @abc.abstractmethod\n    def m(self): ...\nclass A(P):\n    def m(self): return 1\n",
        """
        import abc
        class P(abc.ABC):
            @abc.abstractmethod
            def m(self): ...
            @abc.abstractmethod
            def m2(self): ...
        class A(P):
            def m(self): return self._help()
            def m2(self): return 3
            def _help(self): return 2
        """,
    ),
    "a helper in a class from the standard library": (
        "import ast, threading\nclass V(ast.NodeVisitor):\n    def m(self): pass\nclass L(threading.local):\n    def m(self): pass\n",
        """
        import ast, threading
        class V(ast.NodeVisitor):
            def m(self): return self.help()
            def help(self): return 2
        class L(threading.local):
            def m(self): return self.size
            @property
            def size(self): return 2
        """,
    ),
    "a helper in a class whose base registers it": (
        "ALL = []\nclass P:\n    def __init_subclass__(cls): ALL.append(cls)\nclass A(P):\n    def m(self): return 1\n",
        """
        ALL = []
        class P:
            def __init_subclass__(cls): ALL.append(cls)
        class A(P):
            def m(self): return self.help()
            def help(self): return len(ALL)
        """,
    ),
    "a method of a dataclass that this does not make": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n    def m(self): return 1\n",
        """
        from dataclasses import dataclass
        @dataclass
        class A:
            x: int = 1
            def m(self): return str(self)
            def __str__(self): return 'A'
        """,
    ),
    "a variable of __init__ by another name": (
        "class A:\n    def __init__(self):\n        y = 1 + 1\n        self.x = y\n    def m(self): return 1\n",
        "class A:\n    def __init__(self):\n        value = 1 + 1\n        self.x = value\n    def m(self): return self.x\n",
    ),
    "a value that a new function makes": (
        "def f(): return 1\n",
        "def make(): return [1]\nX = make()\ndef f(): return X\n",
    ),
    "a class that says it is of another module": (
        "class A:\n    X = 1\n    def m(self): return self.X\nA.__module__ = 'elsewhere'\ndef f(): return A().m()\n",
        """
        class A:
            X = 2
            def m(self): return self.m2()
            def m2(self): return self.X
        A.__module__ = 'elsewhere'
        def f(): return A().m()
        """,
    ),
    "classes that go, of which one derives from the other": (
        "import abc\nclass A(abc.ABC):\n    def m(self): return 1\nclass B(A): pass\nclass C(B): pass\n",
        "import abc\nclass A(abc.ABC):\n    def m(self): return 2\n",
    ),
    "keys of a typed dictionary": (
        """
        from typing import TypedDict
        class T(TypedDict, total=False):
            a: int
        def f(): return T(a=1)
        """,
        """
        from typing import TypedDict
        class T(TypedDict, total=False):
            a: int
            b: int
        def f(): return T(b=1), sorted(T.__optional_keys__)
        """,
    ),
}
"""Planned HOT, done, and equal to a fresh start."""

TEXTS = (
    """
        KEY = lambda x=1: x
        class A:
            y: int = 1
            def m(self, z: int = 1): return self.y
        def f(x: int = 1) -> str: return KEY(x)
        """,
    """
        from __future__ import annotations
        KEY = lambda x=1: x
        class A:
            y: int = 1
            def m(self, z: int = 1): return self.y, A.__annotations__, A.m.__annotations__
        def f(x: int = 1) -> str: return KEY(x), f.__annotations__
        """,
)


@everywhere
def test_annotations_that_become_texts_are_in_place_where_they_are_values(ask: Ask, interpreter: Interpreter) -> None:
    """Until 3.13 they are made again; since 3.14 there is something else that computes them, which takes a fresh interpreter."""
    if tuple(map(int, interpreter.minor.split("."))) < (3, 14):
        check_hot(ask, *TEXTS)
    else:
        assert ask(*map(textwrap.dedent, TEXTS))[0] == {"verdicts": ["RESTART"]}


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("kinds") / "hello", interpreter) as ask:
        yield ask


@everywhere
@pytest.mark.parametrize("case", list(HOT))
def test_an_edit_of_what_makes_nothing_of_it_equals_a_fresh_start(ask: Ask, case: str) -> None:
    """A function that comes to a class is nothing to what has made that, and what is new is made of what is new."""
    check_hot(ask, *HOT[case])


@everywhere
def test_modules_that_take_new_names_of_each_other_get_them(
    become: Become, interpreter: Interpreter, tmp_path: Path
) -> None:
    """In whichever order they come."""
    old = {
        "shop/__init__.py": "from . import a, b\n",
        "shop/a.py": "def f(): return 1\n",
        "shop/b.py": "def g(): return 1\n",
    }
    new = {
        **old,
        "shop/a.py": "def fa(): return 'a'\nfrom .b import gb\ndef f(): return gb()\n",
        "shop/b.py": "def gb(): return 'b'\nfrom .a import fa\ndef g(): return fa()\n",
    }

    told = become(old, new, PLANNED + "assert (shop.a.f(), shop.b.g()) == ('b', 'a')\n")

    assert unlike_fresh(interpreter, tmp_path / "hello", "2", told) == []


@everywhere
def test_a_module_becomes_a_package_and_a_package_a_module(become: Become) -> None:
    """Each finds its submodules, and what it imports with a dot, where they are then."""
    old = {
        "shop/__init__.py": "",
        "shop/one.py": "def f(): return 1\n",
        "shop/two/__init__.py": "def f():\n    from . import deep\n    return deep.N\n",
        "shop/two/deep.py": "N = 1\n",
    }
    new = {
        "shop/__init__.py": "",
        "shop/one/__init__.py": "def f():\n    from . import deep\n    return deep.N\n",
        "shop/one/deep.py": "N = 2\n",
        "shop/two.py": "def f():\n    from . import one\n    return one.__package__\n",
    }

    told = become(
        old,
        new,
        f"import shop.one, shop.two\n{PLANNED}\n"
        "told = [shop.one.f(), shop.two.f(), shop.two.__package__, hasattr(shop.two, '__path__')]\n",
    )

    assert told == [2, "shop.one", "shop", False]


@everywhere
def test_enumerations_and_named_tuples_get_helpers_and_come(become: Become) -> None:
    """Their members and fields stay the very same."""
    told = become(
        """
        import enum, typing
        class E(enum.Enum):
            A = 1
        class N(typing.NamedTuple):
            x: int = 1
        """,
        """
        import enum, typing
        class E(enum.Enum):
            A = 1
            def title(self): return self.name.title()
        class N(typing.NamedTuple):
            x: int = 1
            def twice(self): return self.x * 2
        class C(str, enum.Enum):
            B = 'b'
        """,
        "a, n = shop.E.A, shop.N(2)\n" + PLANNED + "told = [a is shop.E.A, a.title(), n.twice(), shop.C('b').name]\n",
    )

    assert told == [True, "A", 4, "B"]


@everywhere
def test_what_goes_with_what_was_made_of_it_is_in_nobodys_way(become: Become) -> None:
    """A class with what belongs to it alone, such as an enumeration's members; a function with the table that it was in."""
    told = become(
        {
            "shop/__init__.py": "import enum\nfrom .u import f\nclass C(str, enum.Enum):\n    A = 'a'\nTABLE = {'f': [f]}\n",
            "shop/u.py": "def f(): return 1\n",
        },
        {"shop/__init__.py": "X = 1\n", "shop/u.py": "Y = 1\n"},
        "import shop.u\n" + PLANNED + "told = [hasattr(shop, 'C'), hasattr(shop.u, 'f'), shop.X]\n",
    )

    assert told == [False, False, 1]


@everywhere
def test_what_an_abstract_class_remembers_of_others_is_asked_again(become: Become) -> None:
    """What had a method, and was an instance by that, is none without it."""
    told = become(
        "class A:\n    def __iter__(self): return iter(())\n",
        "class A:\n    def items(self): return 1\n",
        "import collections.abc as c\na = shop.A()\nbefore = isinstance(a, c.Iterable)\n"
        + PLANNED
        + "told = [before, isinstance(a, c.Iterable)]\n",
    )

    assert told == [True, False]


@everywhere
def test_a_class_that_goes_is_none_of_its_bases_any_more(become: Become) -> None:
    """Who asks a class for its subclasses finds those of this version."""
    base = "class B: pass\nclass X(B): pass\ndef names(): return [each.__name__ for each in B.__subclasses__()]\n"
    told = become(
        {"shop/__init__.py": base + "class Y(B): pass\n"},
        {"shop/__init__.py": base},
        PLANNED + "prepared.forget(); told = shop.names()\n",
    )

    assert told == ["X"]
