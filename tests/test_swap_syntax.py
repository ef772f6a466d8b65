"""Edits of code that not each supported Python can read, and of what newer ones compile in another way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packaging.version import Version

from code_server_helpers import Interpreter
from swap_helpers import Ask, asking, check_hot, everywhere

pytestmark = pytest.mark.in_place

HOT = {
    "template strings in a body and in a default": (
        "3.14",
        "def f(a=t'x{1}'): return a.strings, [i.value for i in t'a{3!r:>3}b'.interpolations]\n",
        "def f(a=t'y{2}'): return a.strings, [(i.value, i.expression) for i in t'{4!s:>5}c'.interpolations]\n",
    ),
    "several exceptions without brackets": (
        "3.14",
        "def f():\n    try: return 1 / 0\n    except ZeroDivisionError: return 'a'\n",
        "def f():\n    try: return 1 / 0\n    except ValueError, ZeroDivisionError: return 'b'\n",
    ),
    "what is done at last, where a loop is left": (
        "3.11",
        """
        def f():
            done = []
            for n in range(3):
                try:
                    if n == 1: return done
                finally:
                    done.append(n)
        """,
        """
        def f():
            done = []
            for n in range(3):
                try:
                    if n == 2: return done
                    continue
                finally:
                    try: done.append((n, 1 // n))
                    except ZeroDivisionError as error: done.append(str(error))
        """,
    ),
    "what a generator does at last": (
        "3.11",
        """
        def f():
            def g():
                try: yield 1
                finally: done.append(1)
            done = []
            for _ in g(): pass
            return done
        """,
        """
        def f():
            def g():
                try: yield 1
                finally:
                    done.append(2)
                    done.append(3)
            done = []
            for _ in g(): pass
            return done
        """,
    ),
    "an import of the interpreters' module in a function": (
        "3.14",
        "def f(): return 1\n",
        "def f():\n    from concurrent import interpreters\n    return interpreters.get_main().id\n",
    ),
    "keys of a typed dict, and what a protocol asks for": (
        "3.14",
        """
        import typing
        class D(typing.TypedDict):
            x: int
        class P(typing.Protocol):
            y: int
            def m(self, a: int = 1): return 1
        def f(): return D.__annotations__, sorted(D.__optional_keys__), P.__annotations__
        """,
        """
        import typing
        class D(typing.TypedDict):
            x: typing.NotRequired[int]
        class P(typing.Protocol):
            y: str
            def m(self, a: str = 1): return 1
        def f(): return D.__annotations__, sorted(D.__optional_keys__), P.__annotations__
        """,
    ),
    "comprehensions that unpack": (
        "3.15",
        "def f(): return [*row for row in ([1], [2])], {**one for one in ({'a': 1}, {'b': 2})}\n",
        "def f(): return {*row for row in ([1], [2])}, [*(*row, 3) for row in ([1], [2])], dict(**{'c': 4})\n",
    ),
    "a dict that can't be changed": (
        "3.15",
        "D = frozendict(a=1)\nE = frozendict({'b': (1, 2)})\ndef f(): return repr(D), repr(E)\n",
        "D = frozendict(a=2, b=True)\nE = frozendict({'b': (1, 2.0)})\ndef f(): return repr(D), repr(E)\n",
    ),
    "a sentinel that is a default": (
        "3.15",
        "NO = sentinel('NO')\ndef f(a=NO): return a is NO, repr(a)\n",
        "NO = sentinel('NO')\ndef g(b: str = NO): return b is NO\ndef f(a=NO, b=1): return a is NO, g(), repr(a)\n",
    ),
    "fields of a dataclass that has a sentinel": (
        "3.15",
        """
        import dataclasses
        NO = sentinel('NO')
        @dataclasses.dataclass
        class Point:
            x: int = 1
            y: object = NO
        def f(): return Point().y is NO
        """,
        """
        import dataclasses
        NO = sentinel('NO')
        @dataclasses.dataclass
        class Point:
            x: int = 1
            y: object = NO
            def m(self): return self.y is NO, self.x
        def f(): return Point().y is NO, Point(2).m()
        """,
    ),
}
"""First the Python that it begins with, then both versions of a module."""


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("syntax") / "hello", interpreter) as ask:
        yield ask


@everywhere
@pytest.mark.parametrize("case", list(HOT))
@pytest.mark.parametrize("way", ["up", "down"])
def test_what_newer_syntax_says_is_as_in_a_fresh_start(ask: Ask, interpreter: Interpreter, case: str, way: str) -> None:
    """On the way to it and on the way back; undone, it is what it was."""
    first, *versions = HOT[case]
    if Version(interpreter.minor) < Version(first):
        pytest.skip(f"Python has this from {first} on")
    old, new = versions if way == "up" else reversed(versions)

    check_hot(ask, old, new)
