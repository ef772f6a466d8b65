"""What runs of a module, and no more, is compared: conditions that are known before, signatures for type checkers, star imports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from plans import compare, verdicts
from swap_helpers import PLANNED, Ask, Become, asking, check_hot, everywhere, unlike_fresh

pytestmark = pytest.mark.in_place

BRANCHES = """
import sys
if sys.version_info < (3,):
    def f(): return 1
else:
    def f(): return 2
"""

CLASSES = """
import sys
if sys.version_info < (3,):
    class A:
        def m(self): return 1
else:
    class A:
        def m(self): return 2
"""

HOT = {
    "what only type checkers import, by another name of typing": (
        "import typing as t\ndef f(): return 1\n",
        "import typing as t\nif t.TYPE_CHECKING:\n    import nowhere as n\ndef f(x: 'n.X' = 1): return x\n",
    ),
    "an import under a condition on the interpreter": (
        "def f(): return 1\n",
        """
        import sys
        if sys.version_info >= (3, 0) and not sys.platform.startswith("win"):
            from json import dumps
        else:
            from nowhere import dumps
        def f(): return dumps([1])
        """,
    ),
    "an import that is tried and can't fail": (
        "try:\n    from json import dumps\nexcept ImportError:\n    dumps = None\ndef f(): return dumps([1])\n",
        "try:\n    from json import loads\nexcept ImportError:\n    from nowhere import loads\ndef f(): return loads('[2]')\n",
    ),
    "a class that an abstract one of the standard library is told of": (
        "from collections import abc\n@abc.Mapping.register\nclass A:\n    def m(self): return 1\n",
        "from collections import abc\n@abc.Mapping.register\nclass A:\n    def m(self): return 2\n",
    ),
    "a body in the branch that runs": (BRANCHES, BRANCHES.replace("return 2", "return 3")),
    "a signature in the branch that runs": (BRANCHES, BRANCHES.replace("f(): return 2", "f(x=3): return x")),
    "a body in the branch that never runs": (BRANCHES, BRANCHES.replace("return 1", "return 4")),
    "an overloaded function": (
        """
        from typing import overload
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x=1): return x
        """,
        """
        from typing import overload
        @overload
        def f(x: int, y: int = ...) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x=1, y=2): return x, y
        """,
    ),
    "an overloaded method": (
        """
        import typing as t
        class A:
            @t.overload
            def m(self) -> int: ...
            @t.overload
            def m(self, x: str) -> str: ...
            def m(self, x=1): return x
        """,
        """
        import typing as t
        class A:
            @t.overload
            def m(self) -> None: ...
            @t.overload
            def m(self, x: bytes) -> str: ...
            def m(self, x=2): return [x]
        """,
    ),
    "a method that becomes overloaded": (
        "class A:\n    def m(self, x=1): return x\n    def n(self): return self.m()\n",
        """
        import typing as t
        class A:
            @t.overload
            def m(self) -> None: ...
            @t.overload
            def m(self, x: bytes) -> str: ...
            def m(self, x=2): return x
            def n(self): return self.m(), 3
        """,
    ),
    "members that only type checkers see": (
        "from typing import TYPE_CHECKING\nclass A:\n    def m(self): return 1\n",
        """
        from typing import TYPE_CHECKING
        class A:
            '''An A.'''
            if TYPE_CHECKING:
                def n(self, x): ...
            else:
                def n(self): return 3
            def m(self): return 2
        """,
    ),
    "the annotation of an attribute": (
        "class A:\n    def __init__(self): self.x = [1]\n    def m(self): return self.x\n",
        "class A:\n    def __init__(self): self.x: list[int] = [1]\n    def m(self): return self.x, 2\n",
    ),
}
NOT_TOLD = {
    "a condition on what only a start tells": (
        "import os\nif os.environ.get('X'):\n    from json import dumps as f\nelse:\n    from json import loads as f\n",
        "import os\nif os.environ.get('Y'):\n    from json import dumps as f\nelse:\n    from json import loads as f\n",
    ),
    "a name of the interpreter's that the module binds itself": (
        "import sys\nsys = None\nif sys.platform:\n    x = 1\nelse:\n    x = 2\n",
        "import sys\nsys = None\nif sys.platform:\n    x = 3\nelse:\n    x = 4\n",
    ),
    "a function that becomes one of several": (
        "def f(x=1): return x\n",
        "from typing import overload\n@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ...\ndef f(x=1): return [x]\n",
    ),
    "a class in two branches": (CLASSES, CLASSES.replace("return 2", "return 3")),
}
STARS = {
    "shop/__init__.py": "from shop.names import *\nfrom shop.more import *\ndef f(): return 1\n",
    "shop/names.py": "__all__ = ['one', 'LIMIT']\nLIMIT = 1\ndef one(): return 1\ndef hidden(): return 0\n",
    "shop/more.py": "import json\ndef two(): return json.dumps(2)\n_own = 3\n",
}
UNKNOWN_STARS = {
    "__all__ is added to": "__all__ = ['X']\n__all__ += ['Y']\nX = 1\nY = 2\n",
    "__all__ is extended": "__all__ = ['X']\n__all__.extend(['Y'])\nX = 1\nY = 2\n",
    "names are bound without a statement": "X = 1\nglobals()['Z'] = 3\n",
    "a name may be bound": "try:\n    X = undefined\nexcept NameError:\n    X = 1\n",
}


@pytest.fixture(scope="module")
def ask(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a process that is swapped and undone, and one that imports afresh."""
    with asking(tmp_path_factory.mktemp("runs") / "hello", interpreter) as ask:
        yield ask


@everywhere
@pytest.mark.parametrize("case", list(HOT))
def test_what_never_runs_stands_in_nobody_s_way(ask: Ask, case: str) -> None:
    """What runs is as in a fresh start; undone, everything is the very same."""
    check_hot(ask, *HOT[case])


@pytest.mark.parametrize("case", list(NOT_TOLD))
def test_what_may_run_or_not_takes_a_fresh_start(tmp_path: Path, case: str) -> None:
    """Which of several is alive is told for certain, or not at all."""
    old, new = NOT_TOLD[case]

    assert "RESTART" in "".join(verdicts(compare(tmp_path, {"m": old}, {"m": new})).values())


@everywhere
def test_names_of_a_star_import_are_bound_again(become: Become, interpreter: Interpreter, tmp_path: Path) -> None:
    """Where both modules tell which they are: those that come, go and change."""
    new = {
        "shop/__init__.py": "from shop.names import *\nfrom shop.more import *\ndef f(): return one(), LIMIT, three()\n",
        "shop/names.py": "__all__ = ['one', 'LIMIT', 'three']\nLIMIT = 2\ndef one(): return 11\ndef three(): return 3\n",
        "shop/more.py": "import json\ndef two(): return json.dumps(22)\n",
    }
    told = become(STARS, new, "import shop\n" + PLANNED)

    assert unlike_fresh(interpreter, tmp_path / "hello", "2", told) == []


@pytest.mark.parametrize("case", list(UNKNOWN_STARS))
def test_a_star_import_of_nobody_knows_what_takes_a_restart(tmp_path: Path, case: str) -> None:
    """Names that come or change have copies under names that no source tells."""
    old = {"a": UNKNOWN_STARS[case], "b": "from a import *"}
    new = {**old, "a": f"{old['a']}W = 4\n"}

    assert verdicts(compare(tmp_path, old, new))["b"] == "RESTART import"


ASKED = {
    "client": "from m import agent\nclass Client:\n    def open(self): return agent()\n",
    "m": """
    class Error(Exception):
        def __init__(self, text):
            super().__init__(text)
            self.request: Request = None
    class Request:
        def __init__(self): self.agent = agent()
    def agent(): return 1
    def _make():
        agent = open(__file__).read()
        return {agent: Error}
    TABLE = None
    def table():
        global TABLE
        if TABLE is None:
            TABLE = _make()
        return TABLE
    """,
}


def test_names_of_python_of_variables_and_in_annotations_are_nothing_of_the_release(tmp_path: Path) -> None:
    """What is made when it is first asked for depends on what is called by then, and on nothing that is called like it."""
    assert verdicts(compare(tmp_path, ASKED, _another_agent(ASKED))) == {"m:agent": "HOT body"}


@pytest.mark.parametrize("called", [("open(__file__)", "files.open()"), ("Request = None", "Request = Request()")])
def test_what_is_called_by_a_name_is_followed(tmp_path: Path, called: tuple[str, str]) -> None:
    """A method of whatever object, and a class."""
    old = {**ASKED, "m": ASKED["m"].replace(*called)}

    assert verdicts(compare(tmp_path, old, _another_agent(old)))["m:TABLE"] == "HOT made"


USING = {"a": "def f(): return 1\n", "b": "def helper(): return 1\nX = helper()\n"}


def test_a_name_that_comes_by_an_import_is_another_only_for_who_has_said_it(tmp_path: Path) -> None:
    """What has the same name elsewhere is what it was; what stays and has looked for it finds it now."""
    imports = "from b import helper\ndef f(): return helper()\n"
    looks = "def g():\n    try: return helper()\n    except NameError: return 0\nY = g()\n"
    new = compare(tmp_path / "new", USING, {**USING, "a": imports})
    stays = compare(tmp_path / "stays", {**USING, "a": USING["a"] + looks}, {**USING, "a": imports + looks})

    assert verdicts(new) == {"a:helper": "HOT import", "a:f": "HOT body"}
    assert verdicts(stays)["a:Y"] == "RESTART reached"


CALLED = "def agent(): return 1\nclass Agents:\n    def add(self, n): return agent()\n    def __getitem__(self, n): return agent()\n"


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        ("{1}\nKNOWN.add(2)", None),
        ("{'a': 1}\nKNOWN['b'] = KNOWN['a']", None),
        ("Agents()\nKNOWN.add(2)", "RESTART reached"),
        ("{'a': 1}\ndef turn():\n    global KNOWN\n    KNOWN = Agents()\nturn()\nKNOWN['a']", "RESTART reached"),
    ],
)
def test_a_method_of_a_list_or_a_set_is_none_of_the_release(tmp_path: Path, made: str, verdict: str | None) -> None:
    """Whatever else in the release is called so; unless a function may bind the name to something else."""
    found = verdicts(
        compare(
            tmp_path,
            {"m": f"{CALLED}KNOWN = {made}\n"},
            {"m": f"{CALLED}KNOWN = {made}\n".replace("return 1", "return 2")},
        )
    )

    assert {row for row in found.values() if "reached" in row} == ({verdict} if verdict else set())


def _another_agent(modules: dict[str, str]) -> dict[str, str]:
    return {**modules, "m": modules["m"].replace("return 1", "return 2")}


@pytest.mark.parametrize(("asks", "seen"), [("sys.stdout.isatty()", True), ("sys.setrecursionlimit(1000)", False)])
def test_what_only_asks_the_interpreter_leaves_no_marks(tmp_path: Path, asks: str, seen: bool) -> None:
    """What it was made with is in a picture; what sets something is not."""
    old = f"import sys\ndef f(x): return [x]\nX = f({asks})\n"
    answer = compare(tmp_path, {"m": old}, {"m": old.replace("[x]", "[x, 1]")})

    assert (["m", "X", "reached"] in answer["asked"]) == seen
