"""Edits that were planned in place and went wrong, or were refused: each becomes what a fresh start is, or takes one by plan."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from swap_helpers import PLANNED, Ask, Become, asking, check_hot, everywhere, unlike_fresh

pytestmark = pytest.mark.in_place

HOT = {
    "a class that derives from one that gets a method": (
        "class Error(Exception):\n    status = 500\ndef f(): return Error.status\n",
        """
        class Error(Exception):
            status = 500
            def mshort(self): return 'short'
        class NotFound(Error):
            status = 404
        def f(): return NotFound.status, issubclass(NotFound, Exception), NotFound.__mro__[1] is Error, NotFound('x').mshort()
        """,
    ),
    "an instance, a table and a default with a class that gets a method": (
        "class A:\n    def m(self): return 1\ndef f(): return 1\n",
        """
        class A:
            def m(self): return 1
            def m2(self): return 2
        TABLE = {"a": A}
        PAIR = (A, [A])
        def g(a=A): return a is A
        def f(): return TABLE["a"] is A, PAIR[0] is A, PAIR[1][0] is A, g(), isinstance(A(), A)
        """,
    ),
    "a table with a function whose signature changes": (
        "def f(a=1): return a\n",
        "def f(a=1, b=2): return a, b\nTABLE = {'f': f}\ndef g(): return TABLE['f'] is f, TABLE['f']()\n",
    ),
    "a table made by a comprehension": (
        "class A:\n    def m(self): return 1\n",
        """
        class A:
            def m(self): return 1
            def m2(self): return 2
        TABLE = {k: A for k in "ab"}
        def g(): return TABLE["a"] is A, TABLE["b"] is A
        """,
    ),
    "a new constant of a comprehension over a changed name": (
        "x = 1\ndef f(): return x\n",
        "x = 2\nSQUARES = [x * x for x in range(4)]\nFIRST = [x for _ in range(2)]\ndef f(): return SQUARES, FIRST\n",
    ),
    "a new class with a name of a changed constant": (
        "LIMIT = 10\ndef f(): return LIMIT\n",
        """
        LIMIT = 20
        class A:
            LIMIT = 5
            DOUBLE = LIMIT * 2
            def m(self, n=LIMIT): return n, LIMIT
        def f(): return A.DOUBLE, LIMIT
        """,
    ),
    "new functions that call what the module imports": (
        "import json, os.path as path\nfrom datetime import datetime\nimport logging\nlog = logging.getLogger()\ndef f(): return 1\n",
        """
        import json, os.path as path
        from datetime import datetime
        import logging
        log = logging.getLogger()
        def f(): return g([1]), path.join('a', 'b'), datetime.fromisoformat('2020-01-01').year
        def g(value=2, now=json.dumps([])): logging.debug('x'); return json.dumps(value) + now
        class A:
            def m(self): return json.loads('[1]')
        """,
    ),
    "a new signature in a module with imports in branches": (
        "try:\n    import json as codec\nexcept ImportError:\n    codec = None\ndef f(): return 1\n",
        "try:\n    import json as codec\nexcept ImportError:\n    codec = None\ndef f(a=1): return codec.dumps([a])\n",
    ),
    "new functions with names that type checkers import": (
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import json
            from decimal import Decimal as D
        with open("/dev/null") as file:
            import string
        def f(): return 1
        """,
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import json
            from decimal import Decimal as D
        with open("/dev/null") as file:
            import string
        def f(): return 1
        def g(n: D = 1):
            import json
            from decimal import Decimal as D
            return json.dumps([n]), str(D.from_float(0.5)), string.capwords("a b")
        """,
    ),
    "features that have no flag any more": (
        "from __future__ import print_function, annotations\ndef f(): return 1\n",
        "from __future__ import print_function, annotations\ndef f(): return 1\ndef g(x: int = 2): return x\n",
    ),
    "a comprehension before another one": (
        "def f(): return [x for x in 'ab']\n",
        "def f(): return [y.upper() for y in 'ab'], [x for x in 'ab']\n",
    ),
    "the second of two lambdas": (
        "def f():\n    a = (lambda: 1)()\n    return a, (lambda: 2)()\n",
        "def f():\n    a = (lambda: 1)()\n    return a, (lambda: 3)()\n",
    ),
    "a generator that comes to use another variable": (
        "def f():\n    n, m = 1, 2\n    return list(x + n for x in (1, 2))\n",
        "def f():\n    n, m = 1, 2\n    return list(x + n + m for x in (1, 2))\n",
    ),
    "inner functions in another order": (
        "def f():\n    def g(): return 1\n    a = g()\n    def g(): return 2\n    return a, g()\n",
        "def f():\n    def g(): return 2\n    a = g()\n    def g(): return 1\n    return a, g()\n",
    ),
    "static methods and properties with a cache": (
        """
        import functools
        class A:
            @staticmethod
            @functools.lru_cache
            def m(n=1): return n
            @property
            @functools.lru_cache
            def m2(self): return 1
        """,
        """
        import functools
        class A:
            @staticmethod
            @functools.lru_cache
            def m(n=1): return n, 2
            @property
            @functools.lru_cache
            def m2(self): return 2
        """,
    ),
    "private names of a class": (
        """
        class A:
            __n = 1
            def __g(self): return 1
            def __gone(self): return 0
            def m(self): return self.__g(), self.__n
        """,
        """
        class A:
            __n = 2
            def __g(self, x=3): return x
            def __new(self): return 4
            def m(self): return self.__g(), self.__n, self.__new(), hasattr(self, '_A__gone')
        """,
    ),
    "a name that a function of the fragment declares global": (
        "COUNT = 1\ndef f(): return COUNT\n",
        "COUNT = 2\ndef f(): return COUNT\ndef up(by=1):\n    global COUNT\n    COUNT = COUNT + by\n    return 'up'\n",
    ),
    "a private default of the class": (
        "class A:\n    __n = 5\n    class B:\n        n = 6\n        def m(self): return 1\n",
        "class A:\n    __n = 5\n    class B:\n        n = 6\n        def m(self, x=n): return x\n    def m2(self, x=__n): return x\n",
    ),
    "a default with a name of the class": (
        "LIMIT = 100\nclass A:\n    LIMIT = 5\n    def m(self, n=1): return n\n",
        "LIMIT = 100\nclass A:\n    LIMIT = 5\n    def m(self, n=LIMIT): return n\n",
    ),
    "a new method with a default of the class": (
        "class A:\n    SIZE = 5\n    def m(self): return 1\n",
        "class A:\n    SIZE = 5\n    def m(self): return 1\n    def m2(self, n=SIZE): return n\n",
    ),
    "an annotation with a class of the class": (
        "class A:\n    class Item: pass\n    def m(self): return 1\n",
        """
        class A:
            class Item: pass
            def m(self): return 1
            def m2(self) -> Item: return self.m2.__annotations__['return'] is self.Item
        """,
    ),
}
"""Planned HOT, done, and equal to a fresh start."""

GENERIC = {
    "the body of a generic function": ("def f[T](x: T = 1) -> T: return x\n", "def f[T](x: T = 1) -> T: return [x]\n"),
    "a method of a generic class": (
        "class C[T]:\n    def m(self): return 1, T.__name__\n",
        "class C[T]:\n    def m(self): return 2, T.__name__\n",
    ),
    "a new function before one with a bound": (
        "def f[T: int](x: T = 1): return x\n",
        "def e[T: str](x: T = 'a'): return x\ndef f[T: int](x: T = 1): return x, 2\n",
    ),
    "a generic method and one next to it": (
        "class C[T: (int, str)]:\n    def m[U: int](self, x: U = 1): return x\n    def m2(self): return 1\n",
        "class C[T: (int, str)]:\n    def m[U: int](self, x: U = 1): return [x]\n    def m2(self): return 2\n    def m3(self): return 3\n",
    ),
    "a generic function with a bound that goes": (
        "def e[T: (int, str)](x: T = 1): return x\ndef f[T: (int, str)](x: T = 1): return x\n",
        "def f[T: (int, str)](x: T = 1): return x, 2\n",
    ),
    "a generic class that derives from another": (
        "class C[T]:\n    def m(self): return 1\nclass D[T: int, *Ts, **P](C[T]):\n    def m(self): return super().m(), 1\n",
        "class C[T]:\n    def m(self): return 2\nclass D[T: int, *Ts, **P](C[T]):\n    def m(self): return super().m(), 2\n",
    ),
    "a signature of a function next to generic ones": (
        "def e[T: int](x: T = 1): return [x for x in (1,)]\ndef f(x=1): return x\n",
        "def e[T: int](x: T = 1): return [x for x in (1, 2)]\ndef f(x=1, y=2): return x, y\n",
    ),
    "a new class that derives from a generic one that gets a method": (
        "class C[T]:\n    def m(self): return 1\n",
        "class C[T]:\n    def m(self): return 1\n    def m2(self): return 2\nclass D(C):\n    def m3(self): return D.__mro__[1] is C\n",
    ),
    "a private method of a generic class": (
        "class C[T]:\n    def __g(self): return 1\n    def m(self): return self.__g()\n",
        "class C[T]:\n    def __g(self, n=2): return n\n    def m(self): return self.__g(), self.__h()\n    def __h(self): return 3\n",
    ),
    "inner generics": (
        "def f():\n    def g[T](x: T): return x\n    return g(1)\n",
        "def f():\n    def g[T](x: T): return [x]\n    return g(1)\n",
    ),
    "a new generic class, and one that goes": (
        "class B[T]:\n    def m(self): return 1\ndef f(): return 1\n",
        "class C[T]:\n    def m(self): return 1\ndef f(): return C().m(), C.__parameters__\n",
    ),
    "a type alias that stays": (
        "type Pair[T] = tuple[T, T]\ntype Name = str\ndef f(): return str(Pair[int]), Name.__value__\n",
        "type Pair[T] = tuple[T, T]\ntype Name = str\ndef f(): return str(Pair[int]), Name.__value__, 2\n",
    ),
}

GENERIC_RESTART = {
    "type parameters of a function": ("def f[T](x=1): return x\n", "def f[T, U](x=1): return x\n"),
    "a bound": ("def f[T: int](x=1): return x\n", "def f[T: str](x=1): return x\n"),
    "a new method that uses a type parameter of its class": (
        "class C[T]:\n    def m(self): return 1\n",
        "class C[T]:\n    def m(self): return 1\n    def m2(self, x: T = 1): return T.__name__\n",
    ),
    "a type alias": ("type Name = str\ndef f(): return 1\n", "type Name = int\ndef f(): return 1\n"),
}


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("pairs") / "hello", interpreter) as ask:
        yield ask


@everywhere
@pytest.mark.parametrize("case", list(HOT))
def test_an_edit_is_done_in_place_and_equals_a_fresh_start(ask: Ask, case: str) -> None:
    """Every module, function, member and plain global is equal and does the same; undone, everything is the very same."""
    check_hot(ask, *HOT[case])


@everywhere
@pytest.mark.parametrize("case", list(GENERIC))
def test_definitions_with_type_parameters_are_changed_in_place(ask: Ask, interpreter: Interpreter, case: str) -> None:
    """Plan and process agree on what has type parameters by the syntax of Python 3.12."""
    if interpreter.minor == "3.11":
        pytest.skip("has no such syntax")
    check_hot(ask, *GENERIC[case])


@everywhere
@pytest.mark.parametrize("case", list(GENERIC_RESTART))
def test_type_parameters_that_change_take_a_new_interpreter(ask: Ask, interpreter: Interpreter, case: str) -> None:
    """They are made with what they belong to, once."""
    if interpreter.minor == "3.11":
        pytest.skip("has no such syntax")
    swapped, _ = ask(*GENERIC_RESTART[case])

    assert "RESTART" in swapped["verdicts"]


@everywhere
def test_a_version_whose_import_is_tried_is_bound_anew_wherever_it_is_used(
    become: Become, interpreter: Interpreter, tmp_path: Path
) -> None:
    """As hatch-vcs writes it, in each release: what is made of it is as in a fresh start."""
    package = "try:\n    from ._version import __version__\nexcept ImportError:\n    __version__ = '0'\nAGENT = f'shop/{__version__}'\n"
    files = {
        "shop/__init__.py": package,
        "shop/_version.py": "__version__ = '1.0'\n",
        "shop/user.py": "from shop import __version__, AGENT\ndef about(version=__version__): return version, AGENT\n",
    }
    told = become(files, {**files, "shop/_version.py": "__version__ = '2.0'\n"}, "import shop.user\n" + PLANNED)

    assert unlike_fresh(interpreter, tmp_path / "hello", "2", told) == []
    assert "shop/2.0" in told["shop"]["AGENT"]


@everywhere
def test_a_live_closure_keeps_to_its_own_definition_where_others_come_before_it(become: Become) -> None:
    """It is told by what it does, not by its place."""
    old = "def make():\n    one = lambda: 1\n    def inner(): return 2\n    return one, inner\n"
    new = (
        "def make():\n    none = lambda: 0\n    one = lambda: 1\n    def inner(): return -2\n    first = inner\n"
        "    def inner(): return 2\n    return one, inner, none, first\n"
    )
    told = become(
        {"shop/__init__.py": old},
        {"shop/__init__.py": new},
        "held = shop.make()\n" + PLANNED + "told = [[each() for each in held], [each() for each in shop.make()],"
        " [each.__code__.co_filename[-22:] for each in held]]\n",
    )
    assert told == [[1, 2], [1, 2, 0, -2], ["shop-2.0/shop/__init__.py"[-22:]] * 2]


@everywhere
def test_a_live_closure_that_changes_and_can_t_be_told_from_others_is_named(become: Become) -> None:
    """It must not be alive; nothing is changed then."""
    refused = become(
        {"shop/__init__.py": "def make(): return [lambda: 1, lambda: 2]\n"},
        {"shop/__init__.py": "def make(): return [lambda: 1, lambda: 3]\n"},
        "held = shop.make()\nfrom underway_runtime.upgrade.hot import CannotSwap\ntry:\n"
        + textwrap.indent(PLANNED.strip(), "    ")
        + "\nexcept CannotSwap as error: told = [list(error.problems), [each() for each in held]]\n",
    )

    [[problem], still] = refused
    assert problem.startswith("shop:make.<locals>.<lambda>#2 is alive, and can't become another: ")
    assert still == [1, 2]
