"""What a function makes when it is first asked for, and keeps: it is made of what changes in a process that has not asked yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, load_of
from swap_helpers import PLANNED, Become
from underway_runtime.release.instructions import Guard

POOL = """
LIMIT = 1
class Pool:
    def __init__(self): self.n = LIMIT
_pool = None
def pool():
    global _pool
    if _pool is None: _pool = Pool()
    return _pool
def leave():
    global _pool
    _pool = None
"""
WIDER = POOL.replace("LIMIT = 1", "LIMIT = 2")
TABLE = POOL.replace("_pool = None\n", "_pool = {}\n", 1).replace("if _pool is None", "if not _pool")
MADE = {
    "at import": f"{POOL}FIRST = pool()\n",
    "by another function": POOL.replace("_pool = None\n", "_pool = Pool()\n", 1),
}
SHORTER = POOL.replace("if _pool is None: _pool = Pool()", "_pool = _pool or Pool()")
TOLD = {
    "None": (POOL, ""),
    "an empty dictionary": (TABLE, ""),
    "by an or": (SHORTER, ""),
    "let go of again": (POOL, "shop.pool(); shop.leave()\n"),
}


@pytest.mark.parametrize("source", [POOL, TABLE, SHORTER])
def test_what_is_made_when_it_is_first_asked_for_must_not_be_made_yet(tmp_path: Path, source: str) -> None:
    """The plan asks the process for that, and for nobody being about to make it."""
    answer = compare(tmp_path, {"m": source}, {"m": source.replace("= 1", "= 2", 1)})
    load = load_of(answer)

    assert {row["verdict"] for row in answer["changes"]} == {"HOT"}
    assert Guard("not_made", "_pool") in load.guards
    assert {"pool", "leave"} <= {*load.changed}


@pytest.mark.parametrize("source", MADE.values(), ids=MADE)
def test_what_import_makes_is_made_of_what_the_old_version_had(tmp_path: Path, source: str) -> None:
    """A fresh interpreter takes over, and no node has to be asked."""
    answer = compare(tmp_path, {"m": source}, {"m": source.replace("LIMIT = 1", "LIMIT = 2")})

    assert "RESTART" in [row["verdict"] for row in answer["changes"] if row["change"] == "reached"]


@pytest.mark.parametrize(("source", "before"), TOLD.values(), ids=TOLD)
@pytest.mark.in_place
def test_what_is_not_made_yet_is_made_of_what_the_new_version_has(become: Become, source: str, before: str) -> None:
    """Who asks first after the swap gets what a fresh start makes."""
    assert become(source, source.replace("= 1", "= 2", 1), f"{before}{PLANNED}\ntold = shop.pool().n\n") == 2


@pytest.mark.in_place
def test_what_is_made_already_is_in_the_way(become: Become) -> None:
    """The process names it before anything is changed."""
    planned, _, _ = PLANNED.partition("prepared = ")
    problems = become(
        POOL,
        WIDER,
        f"{planned}\nshop.pool()\nfrom underway_runtime.upgrade.hot import CannotSwap\ntold = []\n"
        "loads = [from_json(each) for each in plan['loads'].values()]\n"
        "try: prepare(loads, relups.version('1'), relups.version('2'))\nexcept CannotSwap as error: told = error.problems\n",
    )

    assert any("shop._pool is made, of what the old version had" in problem for problem in problems), problems


@pytest.mark.in_place
def test_what_is_made_at_the_last_moment_undoes_the_swap(become: Become) -> None:
    """Threads may have asked for it since the look, or be about to make it."""
    script = PLANNED.replace(
        "prepared.swap(); assert not prepared.survivors()\ntold =",
        "first = shop.pool()\n"
        "from underway_runtime.upgrade.hot import MadeMeanwhile\n"
        "try: prepared.swap()\n"
        "except MadeMeanwhile as error: told = [error.problems, shop.LIMIT]\n#",
    )

    assert become(POOL, WIDER, script) == [["shop._pool is made meanwhile, by who asked for it first"], 1]


@pytest.mark.in_place
def test_who_is_about_to_make_it_is_inside(become: Become) -> None:
    """A swap waits until it has left, although the function that makes it is the same."""
    source = POOL.replace("self.n = LIMIT", "self.n = LIMIT; GATE[0](); ").replace(
        "LIMIT = 1", "GATE = [lambda: None]\nLIMIT = 1"
    )
    script = PLANNED.partition("prepared.stage_and_migrate()")[0]
    script += "told = []\nshop.GATE[0] = lambda: told.extend(map(str, prepared.inside()))\nshop.pool()\n"

    assert any("shop:pool" in who for who in become(source, source.replace("LIMIT = 1", "LIMIT = 2"), script))
