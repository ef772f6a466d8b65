"""Names that are imported when they are first used (`lazy import`, PEP 810), which Python has since 3.15."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import code_server_helpers as helpers
from code_server_helpers import Distribution, Interpreter, Make
from pictures import find_differences, imported
from plans import compare
from swap_helpers import PLANNED, Become, everywhere
from underway_runtime.observation import picture
from underway_runtime.release.relup import worst

interpreter = helpers.interpreter
make = helpers.make

LAZY = "lazy import wave\nlazy from colorsys import rgb_to_hsv as hsv\nX = 1\ndef f(): return wave.__name__\n"
reads_lazy = pytest.mark.skipif(sys.version_info < (3, 15), reason="Python reads `lazy import` from 3.15 on")


@reads_lazy
def test_a_picture_resolves_no_lazy_import() -> None:
    """What nobody has used is not imported by a look, and is told by what it would be."""
    names = vars(imported(LAZY))
    kinds = {name: type(value).__name__ for name, value in names.items()}
    picture.take(["seen_shop"])

    assert [kinds["wave"], kinds["hsv"]] == ["lazy_import"] * 2
    assert {name: type(value).__name__ for name, value in names.items()} == kinds
    assert not {"wave", "colorsys"} & sys.modules.keys()
    assert find_differences(LAZY, LAZY) == []
    assert find_differences(LAZY, LAZY.replace("rgb_to_hsv", "hsv_to_rgb")) == ["name .hsv"]


EDITS = {
    "another module": ("import wave", "import colorsys as wave", {"wave": "RESTART"}),
    "another name in it": ("rgb_to_hsv", "hsv_to_rgb", {"hsv": "RESTART"}),
    "one more": ("X = 1", "lazy import colorsys\nX = 1", {"colorsys": "RESTART"}),
    "at once from now on": ("lazy import", "import", {"wave": "RESTART"}),
    "what has nothing to do with it": ("X = 1", "X = 2", {"X": "HOT"}),
    "a body that uses it": ("wave.__name__", "wave.__doc__", {"f": "HOT"}),
    "by a list of modules": (
        "X = 1",
        "__lazy_modules__ = ['json']\nimport json\nX = 1",
        {"__lazy_modules__": "HOT", "json": "RESTART", "wave": "RESTART", "hsv": "RESTART"},
    ),
}


@reads_lazy
@pytest.mark.parametrize("edit", list(EDITS))
@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_lazy_import_that_changes_takes_a_fresh_interpreter(tmp_path: Path, edit: str, up: bool) -> None:
    """To bind another name in place would be to import it; all else in such a module is as in any."""
    before, after, expected = EDITS[edit]
    versions = [LAZY, LAZY.replace(before, after)]

    answer = compare(tmp_path, *({"m": text} for text in (versions if up else reversed(versions))))

    rows = [(row["definition"], row["verdict"]) for row in answer["changes"]]
    assert {name: worst(verdict for of, verdict in rows if of == name) for name, _ in rows} == expected


def test_the_code_server_finds_what_is_imported_when_it_is_first_used(make: Make, interpreter: Interpreter) -> None:
    """A module of the release, and one in a package that several distributions fill, stay out until then."""
    if interpreter.minor in ("3.11", "3.12", "3.13", "3.14"):
        pytest.skip("Python reads `lazy import` from 3.15 on")
    release = make(
        Distribution(
            "shop",
            files={"shop.py": "lazy import stock\nlazy from space import part\ndef f(): return stock.N + part.N\n"},
        ),
        Distribution("stock", files={"stock.py": "N = 1\n", "space/part.py": "N = 2\n"}),
        Distribution("other", files={"space/other.py": ""}),
    )

    told = release.evaluate("""
import shop, sys
def there(): return sorted({"stock", "space", "space.part"} & sys.modules.keys())
told = [there(), shop.f(), there()]
""")

    assert told == [[], 3, ["space", "space.part", "stock"]]


SHOP = """
lazy from shop.stock import N
lazy import shop.late as late
def f(): return N
"""
USED = {
    "nobody has used yet": ("", ["lazy_import", False, "lazy_import"]),
    "somebody has used": ("shop.f()", ["int", True, "int"]),
}


@everywhere
@pytest.mark.in_place
@pytest.mark.parametrize("used", list(USED))
@pytest.mark.parametrize("more", ["", "M = max(N, 0) + 1\n"], ids=["", "a value that is made of it"])
def test_an_upgrade_resolves_no_lazy_import(become: Become, interpreter: Interpreter, used: str, more: str) -> None:
    """A name stays as it is until somebody uses it, and is what the new version says then: also where it was used before."""
    if interpreter.minor in ("3.11", "3.12", "3.13", "3.14"):
        pytest.skip("Python reads `lazy import` from 3.15 on")
    call, expected = USED[used]
    files = {"shop/__init__.py": SHOP, "shop/stock.py": "N = 1\n", "shop/late.py": "raise SystemExit"}

    told = become(
        files,
        {**files, "shop/stock.py": "N = 2\n", "shop/__init__.py": SHOP + more},
        f"def kind(): return type(vars(shop)['N']).__name__\n{call}\nwas = kind()\n{PLANNED}\n"
        'told = [was, "shop.stock" in sys.modules, kind(), shop.f(), getattr(shop, "M", 3), "shop.late" in sys.modules]',
    )

    was, is_loaded, now = expected
    assert told == [was, is_loaded or bool(more), now, 2, 3, False]


@pytest.mark.in_place
def test_a_process_that_imports_everything_lazily_is_not_changed_in_place(
    become: Become, interpreter: Interpreter
) -> None:
    """By the switch, whoever has set it."""
    if interpreter.minor in ("3.11", "3.12", "3.13", "3.14"):
        pytest.skip("Python has the switch from 3.15 on")
    told = become(
        "def f(): return 1\n",
        "def f(): return 2\n",
        """
        import sys
        sys.set_lazy_imports("all")
        from underway_runtime.upgrade.hot import CannotSwap
        try: swap(shop={})
        except CannotSwap as error: told = [*error.problems, shop.f()]
        """,
    )

    switched = (
        "this process has lazy imports switched to 'all' (-X lazy_imports, PYTHON_LAZY_IMPORTS or sys.set_lazy_imports)"
    )
    assert told == [f"{switched}, so that its modules have not imported what their source says", 1]
