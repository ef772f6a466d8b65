"""`typing.Generic` that comes to a class which has it already, by another base: the class stays, with its instances."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_server_helpers import Interpreter
from plans import compare, load_of, verdicts
from swap_helpers import Become, becoming
from test_planner_replaced_classes import PREPARED

GENERIC = """
from typing import Generic, TypeVar
T, U = TypeVar("T"), TypeVar("U")
class Row(Generic[T]):
    def told(self): return "row"
class Plain: ...
class Item(Row[int]):
    def told(self): return "item", super().told()
"""
MORE = GENERIC.replace("Item(Row[int])", "Item(Row[int], Generic[U])")
BEYOND = {
    "a class that has none": GENERIC.replace("Item(Row[int])", "Item(Plain)"),
    "a class that comes from nothing": GENERIC.replace("Item(Row[int])", "Item"),
    "a base that is not known": GENERIC.replace("Item(Row[int])", "Item(other.Row[int])"),
}


@pytest.fixture
def become(tmp_path: Path, interpreter: Interpreter) -> Become:
    """Two versions of a module, and a process of the first."""
    return becoming(tmp_path, interpreter)


@pytest.mark.parametrize(("old", "new"), [(GENERIC, MORE), (MORE, GENERIC)], ids=["it comes", "it goes"])
def test_a_class_that_is_generic_already_says_so_itself(tmp_path: Path, old: str, new: str) -> None:
    """What it comes from is the same in the same order."""
    answer = compare(tmp_path, {"m": old}, {"m": new}, observed=True)

    assert "m:Item" not in verdicts(answer)
    assert "Item.__bases__" in load_of(answer).replaced


@pytest.mark.parametrize("kind", BEYOND)
def test_to_one_that_is_not_it_is_another_base(tmp_path: Path, kind: str) -> None:
    """Python would lay out, or look things up, in another way: another class takes the place of this one."""
    old = BEYOND[kind]
    head = next(line for line in old.splitlines() if line.startswith("class Item"))
    bases = f"{head[:-2]}, Generic[U]):" if "(" in head else "class Item(Generic[U]):"

    answer = compare(tmp_path, {"m": old}, {"m": old.replace(head, bases)}, observed=True)

    assert "Item.__bases__" not in load_of(answer).replaced
    assert verdicts(answer)["m:Item"] == "HOT made"


@pytest.mark.in_place
def test_instances_go_on_and_no_class_is_left_over(become: Become) -> None:
    """The class is the same one, its base knows of no other; undone, it is as before."""
    told = become(
        GENERIC,
        MORE,
        f"""{PREPARED}
item = shop.Item()
def seen(): return [item.told(), [base.__name__ for base in shop.Item.__bases__], len(shop.Row.__subclasses__())]
before = seen()
prepared = made_ready()
prepared.stage_and_migrate(); prepared.swap()
prepared.undo()
told = [seen()[:2] == before[:2]]
prepared = made_ready()
prepared.stage_and_migrate(); prepared.swap(); prepared.survivors(); prepared.forget()
told += [seen(), str(shop.Item[str]), type(item) is shop.Item]
""",
    )

    assert told == [True, [["item", "row"], ["Row", "Generic"], 1], "shop.Item[str]", True]
