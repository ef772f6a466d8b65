"""Sets and dictionaries find what they hold by its hash, heaps by its order: these stay where there may be an instance in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from plans import compare, load_of
from underway_runtime.release.instructions import Guard

KEY = """
SALT = 'a'
def salted(n): return SALT, n
class Key:
    def __init__(self, n): self.n = n
    def __hash__(self): return hash(self.key())
    def __eq__(self, other): return self.key() == other.key()
    def key(self): return salted(self.n)
    def __lt__(self, other): return self.place() < other.place()
    def place(self): return self.n
    def shown(self): return 1
"""
HELPER = {"m": KEY.replace("SALT = 'a'\ndef salted(n): return SALT, n\n", "from h import salted\n")}
CHANGED = {
    "by the method itself": KEY.replace("hash(self.key())", "hash((1, self.key()))"),
    "by a method that it calls": KEY.replace("return salted(self.n)", "return salted(-self.n)"),
    "by a function next to it": KEY.replace("return SALT, n", "return n, SALT"),
    "by what the order is made with": KEY.replace("return self.n\n", "return -self.n\n"),
    "by a constant": KEY.replace("'a'", "'b'"),
}
DERIVED = f"""
{KEY}
class Own(Key):
    def key(self): return salted(-self.n)
"""


@pytest.mark.parametrize("new", CHANGED.values(), ids=CHANGED)
def test_another_hash_is_for_a_process_without_instances(tmp_path: Path, new: str) -> None:
    """Also where what it is made with changes, and not the method; the plan says what."""
    answer = compare(tmp_path, {"m": KEY}, {"m": new})

    assert {row["verdict"] for row in answer["changes"]} == {"HOT"}, answer["changes"]
    assert Guard("no_instances", "Key") in load_of(answer).guards
    assert any("would not find" in row["reason"] for row in answer["changes"])


def test_a_subclass_may_say_what_the_hash_is_made_with(tmp_path: Path) -> None:
    """The method that makes it stays, and the class it stands in has nothing to do with it."""
    answer = compare(tmp_path, {"m": DERIVED}, {"m": DERIVED.replace("-self.n", "2 * self.n")})

    rows = [row["definition"] for row in answer["changes"] if "would not find" in row["reason"]]
    assert rows == ["Own"]


def test_what_it_is_made_with_may_be_in_another_module(tmp_path: Path) -> None:
    """A function that is imported."""
    helpers = [f"def salted(n): return {salt!r}, n\n" for salt in "ab"]
    old, new = ({**HELPER, "h": helper} for helper in helpers)
    new["m"] = new["m"].replace("return 1", "return 2")

    answer = compare(tmp_path, old, new)

    assert any("made with h.salted" in row["reason"] for row in answer["changes"])


def test_what_has_nothing_to_do_with_the_hash_asks_for_nothing(tmp_path: Path) -> None:
    """The smallest edit next to it."""
    answer = compare(tmp_path, {"m": KEY}, {"m": KEY.replace("return 1", "return 2")})

    assert not load_of(answer).guards


@pytest.mark.parametrize("options", ["frozen=True", "unsafe_hash=True", "frozen=FROZEN"])
def test_a_field_that_is_hashed_is_given_to_nothing(tmp_path: Path, options: str) -> None:
    """The hash of a dataclass is made with all of its fields."""
    old = f"from dataclasses import dataclass\nFROZEN = True\n@dataclass({options})\nclass Point:\n    x: int\n"

    answer = compare(tmp_path, {"m": old}, {"m": f"{old}    z: int = 0\n"})

    verdicts = {row["verdict"] for row in answer["changes"]}
    assert "RESTART" in verdicts or Guard("no_instances", "Point") in load_of(answer).guards
