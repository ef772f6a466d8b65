"""Modules of tests that a distribution carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, load_of, verdicts
from swap_helpers import Become
from underway_runtime.release.instructions import Guard

OLD = {
    "shop": "def f(): return 1\n",
    "shop.tests": "",
    "shop.tests.test_f": "import sys\nsys.setrecursionlimit(1000)\nfrom shop import f\nONE = f()\n",
    "shop.tests.test_same": "from shop import f\nONE = f()\n",
    "shop.conftest": "import os\nos.environ['A'] = '1'\n",
}
NEW = {
    **OLD,
    "shop": "def f(): return 2\n",
    "shop.tests.test_f": "import sys\nsys.setrecursionlimit(2000)\nfrom shop import f\nONE = f()\n",
    "shop.tests.test_more": "raise SystemExit\n",
    "shop.conftest": "import os\nos.environ['A'] = '2'\n",
}


def test_modules_of_tests_are_in_nobody_s_way(tmp_path: Path) -> None:
    """Whatever they do when they are imported: the process makes sure that it has none of them, of those that stay too."""
    answer = compare(tmp_path, OLD, NEW)

    assert verdicts(answer) == {
        "shop:f": "HOT body",
        "shop.conftest": "HOT tests",
        "shop.tests.test_f": "HOT tests",
        "shop.tests.test_more": "HOT added",
    }
    guarded = ["shop.conftest", "shop.tests.test_f", "shop.tests.test_same"]
    assert sorted(answer["loads"]) == sorted(["shop", "shop.tests", *guarded])
    assert all(load_of(answer, each).guards == (Guard("not_loaded", ""),) for each in guarded)


def test_a_module_that_is_called_like_one_of_tests_is_compared(tmp_path: Path) -> None:
    """Only those in a package of them are known to be: a web framework's client for tests is a module like any other."""
    old = {
        "shop": "",
        "shop.test": "import sys\nsys.setrecursionlimit(1000)\n",
        "shop.tests": "X = f()\n",
        "tests": "X = f()\n",
    }
    new = {each: text.replace("1000", "2000").replace("f()", "g()") for each, text in old.items()}

    assert all("RESTART" in said for said in verdicts(compare(tmp_path, old, new)).values())


@pytest.mark.in_place
def test_a_process_that_has_imported_a_module_of_tests_is_not_changed(become: Become) -> None:
    """It says which."""
    files = {"shop/__init__.py": "def f(): return 1\n", "shop/tests/__init__.py": "", "shop/tests/test_f.py": "X = 1\n"}
    script = """
    import shop.tests.test_f
    from underway_runtime.release.instructions import Guard, Load
    from underway_runtime.upgrade.hot import CannotSwap
    from underway_runtime.upgrade.hot.swap import prepare
    load = Load(module="shop.tests.test_f", application="shop", guards=(Guard("not_loaded", ""),))
    try:
        prepare([load], relups.version("1"), relups.version("2"))
    except CannotSwap as error:
        told = list(error.problems)
    """
    [problem] = become(files, files, script)

    assert problem.startswith("shop.tests.test_f has been imported")
