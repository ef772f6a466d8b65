"""Functions and constants stand wherever they like in a module; what else changes its place is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from handover_helpers import asgi
from hot_helpers import planned
from node_helpers import MakeNode
from plans import compare, verdicts
from underway.planner.order import ORDER

REGISTRY = """
HANDLERS = []
def handles(f):
    HANDLERS.append(f)
    return f
@handles
def a(): return 1
@handles
def b(): return 2
"""
SWAPPED = f"{REGISTRY.partition('@')[0]}@handles\ndef b(): return 2\n@handles\ndef a(): return 1\n"
PLAIN = "import os\nLIMIT = 1\nNAMES = ['a']\ndef f(n=2, *, m=None): return n\nclass Room:\n    size = 1\n    def g(self): return 1\n"
MOVED = {
    "a function that is registered": (REGISTRY, SWAPPED),
    "an import": ("import json\nfrom n import a\nfrom n import b\n", "import json\nfrom n import b\nfrom n import a\n"),
    "a name of an import": ("from n import a, b\n", "from n import b, a\n"),
    "a call": ("L = []\nL.append(1)\nL.append(2)\n", "L = []\nL.append(2)\nL.append(1)\n"),
    "a value between two of a name": ("N = 1\nM = N + 1\nN = 5\n", "N = 1\nN = 5\nM = N + 1\n"),
    "a class with a base": (
        "class A: pass\nclass B(A): pass\nclass C(A): pass\n",
        "class A: pass\nclass C(A): pass\nclass B(A): pass\n",
    ),
    "a default that is made": ("X = g()\ndef f(n=h()): return n\n", "def f(n=h()): return n\nX = g()\n"),
}
MEMBERS = {
    "members of an enumeration": ("(Enum)", "A = 1", "B = 2"),
    "methods that are registered": ("", "@handles\n    def a(self): return 1", "@handles\n    def b(self): return 2"),
    "what is made": ("", "a = field()", "b = field()"),
    "what is read": ("", "a = 1\n    b = a + 1", "a = 5"),
}
STAYING = {
    "functions and constants": (
        PLAIN,
        "import os\nclass Room:\n    size = 1\n    def g(self): return 1\ndef f(n=2, *, m=None): return n\nNAMES = ['a']\nLIMIT = 1\n",
    ),
    "imports of Python's own": ("import os\nimport json\nX = os.name\n", "import json\nimport os\nX = os.name\n"),
    "a function past a call": ("X = print()\ndef f(): return 1\n", "def f(): return 1\nX = print()\n"),
    "what comes between": ("X = print()\nY = print(1)\n", "X = print()\nZ = 2\nY = print(1)\n"),
}


@pytest.mark.parametrize(("old", "new"), MOVED.values(), ids=MOVED)
def test_what_may_be_seen_of_an_order_is_looked_at(tmp_path: Path, old: str, new: str) -> None:
    """Until somebody has looked it takes a fresh interpreter; the row says what has moved."""
    modules = {"n": "a = b = 1\n"}

    answer = compare(tmp_path, {**modules, "m": old}, {**modules, "m": new})

    assert ["m", "", ORDER] in answer["asked"]
    assert any("runs in another place" in row["reason"] for row in answer["changes"])


@pytest.mark.parametrize(("old", "new"), STAYING.values(), ids=STAYING)
def test_what_nobody_can_see_of_an_order_is_not(tmp_path: Path, old: str, new: str) -> None:
    """Nothing has to be done, or tried."""
    answer = compare(tmp_path, {"m": old}, {"m": new})

    assert not answer["asked"]
    assert "RESTART" not in verdicts(answer).values()


@pytest.mark.parametrize(("bases", "one", "other"), MEMBERS.values(), ids=MEMBERS)
def test_members_that_may_be_told_by_their_order_are_looked_at(
    tmp_path: Path, bases: str, one: str, other: str
) -> None:
    """By what makes the class, or by what their making has done."""
    source = "from enum import Enum\nfrom n import handles, field\nclass Kind{}:\n    {}\n    {}\n"
    modules = {"n": "def handles(f): return f\ndef field(): return 1\n"}
    old, new = source.format(bases, one, other), source.format(bases, other, one)

    answer = compare(tmp_path, {**modules, "m": old}, {**modules, "m": new})

    assert ["m", "Kind", ORDER] in answer["asked"]


def test_methods_and_constants_of_a_plain_class_stand_wherever_they_like(tmp_path: Path) -> None:
    """Also properties, with what sets them."""
    prop = "    @property\n    def p(self): return 1\n    @p.setter\n    def p(self, v): pass\n"
    old = f"class A:\n    a = 1\n    b = 2\n    def f(self): pass\n{prop}"

    answer = compare(tmp_path, {"m": old}, {"m": f"class A:\n    b = 2\n{prop}    def f(self): pass\n    a = 1\n"})

    assert not answer["asked"]


def test_who_is_imported_back_sees_where_a_constant_stands(tmp_path: Path) -> None:
    """A module that is half made has what stands before its import, and not what stands behind it."""
    back = "from m import N\n"

    answer = compare(tmp_path, {"m": "N = 1\nimport n\n", "n": back}, {"m": "import n\nN = 1\n", "n": back})

    assert ["m", "", ORDER] in answer["asked"]


@pytest.mark.in_place
def test_a_table_gets_the_order_of_a_fresh_start(make: MakeNode) -> None:
    """The look finds that the list differs, and how it becomes what it has to be."""
    entry = planned(make(asgi(REGISTRY)), SWAPPED, back=False).up[0]

    assert entry.verdict == "HOT", entry.changes
    assert any(row.definition == "HANDLERS" for row in entry.changes)
