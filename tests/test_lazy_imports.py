"""Names that are imported when they are first used (`lazy import`, PEP 810), which Python has since 3.15."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import code_server_helpers as helpers
from code_server_helpers import Distribution, Interpreter, Make
from pictures import find_differences, imported
from plans import compare
from underway_runtime.observation import picture
from underway_runtime.release.relup import worst

interpreter = helpers.interpreter
make = helpers.make

LAZY = "lazy import wave\nlazy from colorsys import rgb_to_hsv as hsv\nX = 1\ndef f(): return wave.__name__\n"
reads_lazy = pytest.mark.skipif(sys.version_info < (3, 15), reason="Python reads `lazy import` from 3.15 on")


@reads_lazy
def test_a_picture_resolves_no_lazy_import() -> None:
    """What nobody has used is not imported by a look, and is told as what can't be seen into."""
    names = vars(imported(LAZY))
    kinds = {name: type(value).__name__ for name, value in names.items()}
    picture.take(["seen_shop"])

    assert [kinds["wave"], kinds["hsv"]] == ["lazy_import"] * 2
    assert {name: type(value).__name__ for name, value in names.items()} == kinds
    assert not {"wave", "colorsys"} & sys.modules.keys()
    assert find_differences(LAZY, LAZY) == ["opaque .wave", "opaque .hsv"]


EDITS = {
    "another module": ("import wave", "import colorsys as wave", {"wave": "RESTART"}),
    "another name in it": ("rgb_to_hsv", "hsv_to_rgb", {"hsv": "RESTART"}),
    "one more": ("X = 1", "lazy import colorsys\nX = 1", {"colorsys": "RESTART"}),
    "at once from now on": ("lazy import", "import", {"wave": "RESTART"}),
    "what has nothing to do with it": ("X = 1", "X = 2", {"X": "HOT"}),
    "a body that uses it": ("wave.__name__", "wave.__doc__", {"f": "HOT"}),
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
