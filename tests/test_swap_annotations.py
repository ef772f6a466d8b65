"""Annotations that change: those who ask for them get what a fresh start gives, whether they had asked before or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from swap_helpers import Ask, Become, asking, becoming, check_hot, everywhere

pytestmark = pytest.mark.in_place

BEFORE_LAZY = ("3.11", "3.12", "3.13")
"""Minor versions of Python in which annotations are values."""
HOT = {
    "of a function": (
        "def f(a: int = 1) -> str: return f.__annotations__\n",
        "def f(a: str = 1) -> bytes: return f.__annotations__\n",
    ),
    "of several functions that say the same": (
        """
        def f(a: int = 1): return 1
        def g(a: int = 1): return 2
        def h(a: int = 1): return 3
        """,
        """
        def f(a: int = 1): return 1
        def added(a: int = 1): return added.__annotations__
        def g(a: str = 1): return g.__annotations__
        def h(a: int = 1): return h.__annotations__
        """,
    ),
    "the first of a function, and the last of another": (
        "def f(a=1): return 1\ndef g(a: int = 1): return 1\n",
        "def f(a: int = 1): return f.__annotations__\ndef g(a=1): return g.__annotations__\n",
    ),
    "of methods, which look names up in their class": (
        """
        class A:
            X = 1
            def m(self, a: int = 1) -> "str": return 1
            def m1(self, a: "text" = 1): return 1
            def m2(self): return 1
            def m3(self, a: int = 1): return 1
            @staticmethod
            def m4(a: int = 1): return 1
            @classmethod
            def m5(cls, a: int = 1): return 1
        """,
        """
        class A:
            X = 1
            def m(self, a: X = 1) -> "str": return A.m.__annotations__
            def m1(self, a: X = 1): return A.m1.__annotations__
            def m2(self, a: X = 1): return A.m2.__annotations__
            def m3(self, a: "X" = 1): return A.m3.__annotations__
            @staticmethod
            def m4(a: str = 1): return A.m4.__annotations__, A.__dict__["m4"].__annotations__
            @classmethod
            def m5(cls, a: str = 1): return A.m5.__annotations__
            def m6(self, a: X = 1): return A.m6.__annotations__
        """,
    ),
    "of a class and of a module": (
        """
        import sys
        x: int = 1
        class A:
            y: int = 1
            z: str
            def m(self): return 1
        """,
        """
        import sys
        x: int = 1
        w: str = "1"
        class A:
            y: str = "1"
            u: bytes
            def m(self): return A.__annotations__, sys.modules[__name__].__annotations__
        """,
    ),
    "the first of a class, and the last of another": (
        """
        class A:
            def m(self): return 1
        class B:
            x: int = 1
            def m(self): return 1
        """,
        """
        class A:
            x: int = 1
            def m(self): return A.__annotations__
        class B:
            def m(self): return B.__dict__.get("__annotations__", {})
        """,
    ),
    "of a class that comes": (
        "class A: pass\n",
        """
        class A: pass
        class B:
            x: A
            class Inner:
                y: A
            def m(self): return B.__annotations__ == {"x": A}, B.Inner.__annotations__ == {"y": A}
        """,
    ),
    "made with a type that is imported under the same name from elsewhere": (
        "from decimal import Decimal as N\ndef f(a: N = 1): return 1\nclass A:\n    x: N\n    def m(self, a: N = 1): return 1\n",
        """
        from fractions import Fraction as N
        def f(a: N = 1): return f.__annotations__
        class A:
            x: N
            def m(self, a: N = 1): return A.m.__annotations__, A.__annotations__
        """,
    ),
    "of fields of a dataclass": (
        """
        from dataclasses import dataclass, fields
        @dataclass
        class A:
            x: int = 1
            y: str = ""
            def m(self): return 1
        """,
        """
        from dataclasses import dataclass, fields
        @dataclass
        class A:
            x: str = "1"
            y: bytes = b""
            def m(self): return [each.type for each in fields(A)], A.__annotations__, A.__init__.__annotations__
        """,
    ),
    "of a dataclass that goes": (
        """
        from dataclasses import dataclass
        @dataclass
        class A:
            x: int = 1
            def m(self): return A.__init__.__annotations__
        def f(): return 1
        """,
        "from dataclasses import dataclass\ndef f(): return 1\n",
    ),
    "of a function, where names are annotated in one branch": (
        """
        import sys
        if sys.argv:
            x: int = 1
        else:
            y: int = 1
        def f(a: int = 1): return sorted(sys.modules[__name__].__annotations__)
        """,
        """
        import sys
        if sys.argv:
            x: int = 1
        else:
            y: int = 1
        def f(a: str = 1): return sorted(sys.modules[__name__].__annotations__), f.__annotations__
        """,
    ),
    "the first of a module, after somebody has asked": (
        "import sys\nx = 1\ndef f(): return getattr(sys.modules[__name__], '__annotations__', {})\n",
        "import sys\nx: int = 1\ndef f(): return getattr(sys.modules[__name__], '__annotations__', {})\n",
    ),
    "of a module, where a name stays and is annotated no more": (
        "import sys\nx: int = 1\ny: str = ''\nz: int\ndef f(): return 1\n",
        "import sys\nx: int = 1\ny = ''\ndef f(): return sys.modules[__name__].__annotations__\n",
    ),
    "of a module, all of which go": (
        "import sys\nx: int = 1\ny: str\ndef f(): return 1\n",
        "import sys\nx = 1\ndef f(): return getattr(sys.modules[__name__], '__annotations__', {})\n",
    ),
    "that nobody can compute": (
        "class A:\n    def m(self, a: 'missing' = 1): return 1\n",
        "class A:\n    def m(self, a: 'missing' = 1): return 2\n    def m1(self, b: 'missing' = 1): return 3\n",
    ),
    "of functions that become texts": (
        "def f(a: int = 1): return 1\nclass A:\n    def m(self, a: int = 1) -> str: return 1\n",
        """
        from __future__ import annotations
        def f(a: int = 1): return f.__annotations__
        class A:
            def m(self, a: int = 1) -> str: return A.m.__annotations__
        """,
    ),
    "under texts": (
        "from __future__ import annotations\nx: int = 1\nclass A:\n    y: int = 1\ndef f(a: int = 1): return 1\n",
        """
        from __future__ import annotations
        x: str = 1
        class A:
            y: str = 1
            z: str
            def m(self): return A.__annotations__
        def f(a: str = 1): return f.__annotations__
        """,
    ),
}


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("annotations") / "hello", interpreter) as ask:
        yield ask


@pytest.mark.sample(most=14)
@everywhere
@pytest.mark.parametrize("case", list(HOT))
def test_annotations_are_those_of_a_fresh_start(ask: Ask, case: str) -> None:
    """Also of functions that came to it after somebody had asked; undone, they are what they were."""
    check_hot(ask, *HOT[case])


AFRESH = {
    "its fields name a class that comes after it": ("x: int = 1", "x: Later = 1"),
    "a field says its own class": ("x: int = 1", "x: int = 1\n    y: list[A] = ()"),
}


@everywhere
@pytest.mark.parametrize("case", list(AFRESH))
def test_a_dataclass_that_names_what_is_bound_later_starts_afresh(
    ask: Ask, interpreter: Interpreter, case: str
) -> None:
    """It has a reference by name, where a process in which the name is bound would give it what that stands for."""
    if interpreter.minor in BEFORE_LAZY:
        pytest.skip("no module has such annotations before Python 3.14: it could not be imported")
    module = "from dataclasses import dataclass\n@dataclass\nclass A:\n    {}\nclass Later: pass\n"

    swapped, _ = ask(*map(module.format, AFRESH[case]))

    assert "RESTART" in swapped["verdicts"]


READS = """
import functools
VERSION = {}
SEEN = []
def reads(function):
    item = function.__annotations__["item"]
    SEEN[:] = [item, item.__annotations__["inner"]]
    @functools.wraps(function)
    def wrapper(item): return item
    return wrapper
class Inner: pass
class Item:
    inner: Inner
@reads
def take(item: Item): return item
"""
NAMES = ("Inner", "Item", "take")
"""What is made once more."""


@pytest.fixture
def become(tmp_path: Path, interpreter: Interpreter) -> Become:
    """Versions of a module, and a process of the first."""
    return becoming(tmp_path, interpreter)


@everywhere
def test_a_decorator_reads_the_annotations_that_a_fresh_start_would_give_it(become: Become) -> None:
    """What is made once more is annotated with what else is, before that is in place; nothing of it is left at the next upgrade."""
    told = become(
        READS.format(1),
        READS.format(2),
        f"""
        def told_of(number):
            made = dict(run={("VERSION", *NAMES)}, replaced={NAMES}, values=dict(VERSION=shop.VERSION))
            done(shop=made, to=number).forget()
            computing = [getattr(each, "__annotate__", None) for each in (shop.take, shop.take.__wrapped__, shop.Item)]
            return [shop.VERSION, shop.SEEN == [shop.Item, shop.Inner], shop.take.__annotations__ == {{"item": shop.Item}},
                    shop.Item.__annotations__ == {{"inner": shop.Inner}},
                    all(each.__globals__ is vars(shop) for each in computing if each is not None)]
        told = [told_of("2"), told_of("3")]
        """,
        READS.format(3),
    )
    assert told == [[number, True, True, True, True] for number in (2, 3)]


@everywhere
def test_nobody_else_may_keep_what_computes_annotations_that_are_new(become: Become, interpreter: Interpreter) -> None:
    """It would go on seeing names that no other upgrade changes: the swap is refused, and says who has it."""
    keeps = "KEPT = []\ndef keeps(function):\n    KEPT.append(getattr(function, '__annotate__', None))\n    return function\n"
    module = keeps + "class Item: pass\n@keeps\ndef take(item: Item, size={}): return item\n"
    told = become(
        module.format(1),
        module.format(2),
        """
        from underway_runtime.upgrade.hot import CannotSwap
        prepared = swap(shop=dict(run=["take"], replaced=["take"]))
        told = []
        try:
            prepared.stage_and_migrate()
        except CannotSwap as error:
            told = error.problems
        """,
    )
    refused = ["shop.KEPT has a list of what computes annotations"]
    assert told == ([] if interpreter.minor in BEFORE_LAZY else refused)
