"""Functions of which a decorator has read more than the body: they are made once more, and registered, in a process that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import Interpreter
from plans import compare, verdicts
from swap_helpers import Become, becoming

REGISTRY = """
ROUTES, KEPT = [], []
def route(f):
    ROUTES.append(f)
    return f
@route
def numbers(first):
    yield first
"""

PREPARED = """
import sys
from dataclasses import replace
from pathlib import Path
from underway.planner.worker import compare
from underway_runtime.release.instruction_json import from_json
from underway_runtime.release.parts import Part
from underway_runtime.upgrade.hot import CannotSwap
from underway_runtime.upgrade.hot.swap import prepare
root = Path(sys.prefix).parents[1]
sides = [{"root": str(root), "versions": {}, "modules": {"shop": ("shop", f"lib/shop-{n}.0/shop.py")}} for n in (1, 2)]
asked = {"compared": ["shop"], "up": True, "kept": [], "reset": [], "pinned": [], "observed": True}
plan = compare({"old": sides[0], "new": sides[1], **asked})
moved = Part("order", (("attribute", "ROUTES"),), 2, [1])
load = replace(from_json(plan["loads"]["shop"]), parts=(moved,), touches=(("shop", "ROUTES"),))
def refusals(act):
    try:
        act()
    except CannotSwap as error:
        return error.problems
    return []
def made_ready(): return prepare([load], relups.version("1"), relups.version("2"))
"""


@pytest.fixture
def become(tmp_path: Path, interpreter: Interpreter) -> Become:
    """Two versions of a module, and a process of the first."""
    return becoming(tmp_path, interpreter)


@pytest.mark.in_place
def test_who_is_inside_of_a_function_that_is_made_again_may_leave_it(become: Become) -> None:
    """It is ready while the one before runs, is put in place when nobody does, and then all have the new one."""
    told = become(
        REGISTRY,
        REGISTRY.replace("numbers(first)", "numbers(first, second=2)").replace("yield first", "yield first, second"),
        f"""{PREPARED}
running = shop.numbers(1)
next(running)
prepared = made_ready()
told = [len(refusals(prepared.stage_and_migrate))]
running.close()
del running
prepared.stage_and_migrate()
prepared.swap()
told += [list(map(str, prepared.survivors())), shop.ROUTES == [shop.numbers], list(shop.numbers(1))]
""",
    )
    assert told == [1, [], True, [[1, 2]]]


@pytest.mark.in_place
def test_nobody_else_may_have_a_function_that_is_made_again(become: Become) -> None:
    """Whoever has put it somewhere since would go on with the one before."""
    told = become(
        REGISTRY,
        REGISTRY.replace("numbers(first)", "numbers(first, second=2)"),
        f"{PREPARED}\nshop.KEPT.append(shop.numbers)\ntold = refusals(made_ready)\n",
    )
    assert told == ["shop.numbers goes away, and list in shop.KEPT refers to it"]


ROUTES = """
from fastapi import Depends, FastAPI, Query
from functools import cache
app = FastAPI()
def page(size=1): return size
class Limiter: pass
def counted(f):
    calls = []
    def inner(*args):
        calls.append((1, 2))
        return f(*args)
    return inner
"""
ALLOWED = {
    "a parameter that is described": ("@app.get('/')\ndef f(): ...", "@app.get('/')\ndef f(n: int = Query(1)): ..."),
    "a dependency": ("@app.get('/')\ndef f(): ...", "@app.get('/')\ndef f(n=Depends(page)): ..."),
    "what it answers": ("@app.get('/')\ndef f() -> int: ...", "@app.get('/')\ndef f() -> str: ..."),
    "a handler that becomes a coroutine": ("@app.get('/')\ndef f(): ...", "@app.get('/')\nasync def f(): ..."),
    "a decorator with it": ("@app.get('/')\ndef f(): ...", "@app.get('/a')\ndef f(a=1): ..."),
    "a cache of numbers": ("@cache\ndef f(a): return str(a)", "@cache\ndef f(a, b=1): return str(a)"),
}
BEYOND = {
    "a dependency that is an object": (
        "@app.get('/')\ndef f(): ...",
        "@app.get('/')\ndef f(n=Depends(Limiter())): ...",
    ),
    "a table as a default": ("@app.get('/')\ndef f(): ...", "@app.get('/')\ndef f(n={}): ..."),
    "a class within": (
        "@app.get('/')\ndef f():\n    class A: x = 1\n    return A()",
        "@app.get('/')\ndef f(n=1):\n    class A: x = 2\n    return A()",
    ),
    "a cache of objects": ("@cache\ndef f(a): return Limiter()", "@cache\ndef f(a, b=1): return Limiter()"),
    "a decorator that counts": ("@counted\ndef f(a): ...", "@counted\ndef f(a, b=1): ..."),
    "a method": (
        "class A:\n    @app.get('/')\n    def f(self): ...",
        "class A:\n    @app.get('/')\n    def f(self, n=1): ...",
    ),
}


def _verdicts(root: Path, old: str, new: str, **said: Any) -> set[str]:
    found = verdicts(compare(root, {"m": ROUTES + old}, {"m": ROUTES + new}, **said))
    return {text.partition(" ")[0] for name, text in found.items() if name.startswith(("m:f", "m:A"))}


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_function_is_made_again_where_a_look_tells_what_becomes_of_it(tmp_path: Path, kind: str) -> None:
    """Never without that: what has read it may be anywhere."""
    assert _verdicts(tmp_path / "1", *ALLOWED[kind]) == {"RESTART"}
    assert _verdicts(tmp_path / "2", *ALLOWED[kind], observed=True) == {"HOT"}


@pytest.mark.parametrize("kind", BEYOND)
def test_what_would_be_lost_with_the_one_before_takes_a_fresh_interpreter(tmp_path: Path, kind: str) -> None:
    """A count, a cache, an object with a state: a fresh start has not got it either, but the process has."""
    assert _verdicts(tmp_path, *BEYOND[kind], observed=True) == {"RESTART"}
