"""What runs of a new version before the swap: each statement where nobody sees it, and finding what it would find in a fresh start."""

from __future__ import annotations

import pytest

from swap_helpers import Become, everywhere

pytestmark = pytest.mark.in_place

STAGED = """
from relups import planned
rows, prepared = planned()
before = {name: id(value) for name, value in vars(shop).items()}
prepared.stage_and_migrate()
moved = {"__spec__", "__loader__", "__file__", "__cached__", "__path__"}
is_as_before = before.keys() == vars(shop).keys() and all(id(vars(shop)[name]) == before[name] for name in before.keys() - moved)
"""
"""All is made ready as it is planned, and the live module is looked at."""
SWAPPED = "prepared.swap(); assert not prepared.survivors(); prepared.forget()\n"


@everywhere
def test_nothing_is_bound_in_a_live_module_before_the_swap(become: Become) -> None:
    """New functions, classes and values read each other where they are made; old code finds none of them, nor what one hides."""
    told = become(
        """
        class Failure(Exception):
            status = 500
        def size(text): return len(text)
        def page(limit=1): return limit
        """,
        """
        LIMIT = 3
        NAMES = ["a", "b", "c"]
        class Failure(Exception):
            status = 500
            def short(self): return self.status
        class Missing(Failure):
            status = 404
            limits = [LIMIT * each for each in range(2)]
            def page(self, limit=LIMIT, key=lambda each: each + LIMIT): return key(limit)
            @property
            def later(self): return later()
            class Inner:
                limit = LIMIT
        def size(text): return len(text)
        def page(limit=LIMIT): return limit
        def later(names=NAMES): return names
        def len(text): return -1
        """,
        STAGED
        + "early = [is_as_before, hasattr(shop, 'later'), shop.size('abc'), shop.page()]\n"
        + SWAPPED
        + """
found = shop.Missing()
told = [early, isinstance(found, Exception) and found.short(), found.limits, found.page(), found.later, found.Inner.limit,
    shop.size("abc"), shop.page(), shop.later.__globals__ is vars(shop), shop.Missing.page.__globals__ is vars(shop),
    shop.later.__code__.co_filename == shop.__file__, shop.later.__code__.co_firstlineno]
""",
    )

    early = [True, False, 3, 1]
    assert told == [early, 404, [0, 3], 6, ["a", "b", "c"], 3, -1, 3, True, True, True, 17]


@everywhere
def test_what_captures_a_value_has_the_very_one_that_the_module_has(become: Become) -> None:
    """A sentinel or a list that changes is one object: in defaults of functions and methods, other modules and under other names."""
    told = become(
        {
            "shop/__init__.py": "from .marks import UNSET, KNOWN\ndef get(key=UNSET): return key\n",
            "shop/marks.py": """
                UNSET = ("unset", 1)
                KNOWN = {"a": 1}
                class A:
                    def get(self, key=UNSET): return key
            """,
            "shop/users.py": "from . import marks\ndef get(*, key=marks.UNSET): return key\nclass B:\n    unset = marks.UNSET\n",
        },
        {
            "shop/__init__.py": "from .marks import UNSET, KNOWN\ndef get(key=UNSET): return key\n",
            "shop/marks.py": """
                UNSET = ("unset", 2)
                KNOWN = {"a": 2}
                ALSO = KNOWN
                class A:
                    def get(self, key=UNSET): return key
            """,
            "shop/users.py": "from . import marks\ndef get(*, key=marks.UNSET): return key\nclass B:\n    unset = marks.UNSET\n",
        },
        "import shop.users, shop.marks\n"
        + STAGED
        + SWAPPED
        + """
marks = shop.marks
ones = [shop.UNSET, shop.get(), marks.A().get(), shop.users.get(), shop.users.B.unset]
told = [marks.UNSET, [each is marks.UNSET for each in ones], [each is marks.KNOWN for each in (shop.KNOWN, marks.ALSO)]]
""",
    )

    assert told == [["unset", 2], [True] * 5, [True] * 2]


CALLED = "def make(): return more(1)\ndef more(number): return number + 1\nMADE = make()\n"
"""What is new finds what is new by its module, before all is in place."""
SIZE = "def size(text): return len(text)\n"


@everywhere
def test_a_new_function_that_is_called_finds_what_is_new(become: Become) -> None:
    """Its names are bound before the swap; old code asks for none of them."""
    script = STAGED + "early = shop.size('abc')\n" + SWAPPED + "told = [early, shop.MADE]\n"

    assert become(SIZE, SIZE + CALLED, script) == [3, 2]


@everywhere
def test_what_must_be_found_early_hides_nothing_of_pythons(become: Become) -> None:
    """Where a new name is one of Python's own, which old code asks for, nothing is done."""
    script = """
        from relups import planned
        from underway_runtime.upgrade.hot import CannotSwap
        _, prepared = planned()
        try: prepared.stage_and_migrate()
        except CannotSwap as error: told = [*error.problems, shop.size("abc"), hasattr(shop, "more")]
    """

    told = become(SIZE, SIZE + CALLED + "def len(text): return -1\n", script)

    assert told == ["len would hide that of Python from old code, before all is in place", 3, False]


@everywhere
def test_what_the_standard_library_has_may_hide_what_python_has(become: Become) -> None:
    """An import of it asks for nothing of the module: old code has Python's own until all is in place."""
    opener = "def opener(): return open.__module__.strip('_')\n"
    script = STAGED + "early = [shop.opener(), is_as_before]\n" + SWAPPED + "told = [*early, shop.opener()]\n"

    assert become(opener, "from gzip import open\n" + opener, script) == ["io", True, "gzip"]
