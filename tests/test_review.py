"""What is said of the way between two releases: rows put together by their cause, definitions side by side, one page."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reviews import opened, reviewed
from underway.planner.plan import plan
from underway.review import page, text
from underway.review.causes import changes
from underway.review.definitions import pair
from underway.review.review import as_json
from underway_runtime import Down
from underway_runtime.release.relup import Row

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, and its text; what is not closed, or closed by another, is an error."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def row(
    definition: str, verdict: str = "HOT", *, module: str = "m", cause: str = "", line: int = 1, file: str = ""
) -> Row:
    return Row(module, definition, "value", verdict, "why", file, line, cause)  # type: ignore[arg-type]


def test_what_follows_from_one_cause_is_one_change() -> None:
    """Its consequences are with it, through others, and it has the severest verdict of them."""
    rows = [
        row("LIMIT"),
        row("app", "RESTART", cause="m:LIMIT"),
        row("routes", "RESTART", module="n", cause="m:app"),
        row("other", "MIGRATE"),
    ]

    found = changes(rows)

    assert [(each.row.definition, each.verdict, len(each.consequences)) for each in found] == [
        ("LIMIT", "RESTART", 2),
        ("other", "MIGRATE", 0),
    ]


def test_a_cause_may_be_named_without_its_class() -> None:
    """And one that no row speaks of leaves its consequence on its own."""
    found = changes([row("Room.say"), row("app", "RESTART", cause="m:say"), row("x", "RESTART", cause="m:unknown")])

    assert [(each.row.definition, len(each.consequences)) for each in found] == [("Room.say", 1), ("x", 0)]


def test_files_of_which_the_same_is_said_are_one_change() -> None:
    """Seven hundred templates that may have been read are one line with a count; definitions stay one each."""
    files = [replace(row(f"t/{n}.html", "RESTART", line=0), file=f"lib/app/t/{n}.html") for n in range(700)]

    found = changes([*files, row("one"), row("other")])

    assert [(each.row.definition, len(each.consequences)) for each in found] == [
        ("t/0.html", 699),
        ("one", 0),
        ("other", 0),
    ]


def test_rows_that_follow_from_one_another_in_a_circle_are_all_there() -> None:
    """None is lost where two say that the other is their cause."""
    found = changes([row("a", cause="m:b"), row("b", cause="m:a")])

    assert {each.definition for change in found for each in (change.row, *change.consequences)} == {"a", "b"}


OLD = """\
import os

LIMIT = 10


class Room:
    def say(self, text):
        return text

    def size(self):
        return LIMIT


if os.environ.get("X"):
    def helper():
        return 1
"""
NEW = (
    OLD.replace("return text", 'return f"<script>alert({text})</script>"')
    .replace("LIMIT = 10", "LIMIT = 20")
    .replace("return 1", "return 2")
)


@pytest.mark.parametrize(
    ("definition", "old", "new"),
    [
        ("Room.say", ["        return text"], ['        return f"<script>alert({text})</script>"']),
        ("LIMIT", ["LIMIT = 10"], ["LIMIT = 20"]),
        ("LIMIT.real[6]", ["LIMIT = 10"], ["LIMIT = 20"]),
        ("helper", ["        return 1"], ["        return 2"]),
        ("Room.size", [], []),
        ("nothing", [], []),
    ],
)
def test_a_definition_is_found_in_both_releases(
    tmp_path: Path, definition: str, old: list[str], new: list[str]
) -> None:
    """A function, a member, a name, what is within a condition, and the nearest thing to a path of an object."""
    one, other = opened(tmp_path / "1", "1", {"shop": OLD}), opened(tmp_path / "2", "2", {"shop": NEW})

    runs = [run for stretch in pair(one, other, "shop", definition) for run in stretch if run.kind != "equal"]

    assert [line for run in runs for line in run.old.lines] == old
    assert [line for run in runs for line in run.new.lines] == new


@pytest.mark.in_place
def test_the_page_stands_alone_and_escapes_what_it_quotes(tmp_path: Path) -> None:
    """No script, nothing from elsewhere, every element closed; the source of both releases is in it as text."""
    found = reviewed(tmp_path, {"shop": OLD}, {"shop": NEW})

    made = page.text(found)

    read = Page(made)
    assert {tag for tag, _ in read.elements} & {"script", "link", "img", "iframe", "object", "form"} == set()
    assert [
        value for _, attributes in read.elements for name, value in attributes.items() if name in ("src", "href")
    ] == []
    assert not re.search(r"url\(|@import|https?:", made)
    assert 'return f"<script>alert({text})</script>"' in read.text
    assert "shop:Room.say" in read.text
    assert "prefers-color-scheme: dark" in made
    assert page.text(found) == made


@pytest.mark.in_place
def test_a_review_says_it_all_as_json_and_as_text(tmp_path: Path) -> None:
    """Verdict, both releases, each change with its place, state, pause and the way back."""
    old, new = (source.partition("if os")[0] for source in (OLD, NEW))
    found = reviewed(tmp_path, {"shop": old}, {"shop": new})

    document = as_json(found)

    assert (document["verdict"], document["back"]["verdict"]) == ("HOT", "HOT")
    assert document["applications"] == [{"name": "shop", "from": "1", "to": "2"}]
    [limit] = [each for each in document["changes"] if each["definition"] == "LIMIT"]
    assert (limit["application"], limit["file"], limit["line"], limit["verdict"]) == (
        "shop",
        "lib/shop-2/shop.py",
        3,
        "HOT",
    )
    assert {"what": "shop:LIMIT", "how": "takes the new value, if it still has the one of the old version"} in document[
        "state"
    ]
    assert document["pause"]["kind"] == "held"
    assert document["pause"]["seconds"] < 0.1
    said = "\n".join(text.lines(found))
    assert "hello 1 -> 2: HOT, in place" in said
    assert "HOT      shop:Room.say  body  shop.py:7" in said


@pytest.mark.in_place
def test_a_consequence_is_told_by_the_planner(tmp_path: Path) -> None:
    """What was made with a value that changes has that value for its cause, also in another module."""
    old = {"shop": "LIMIT = 1\nclass Box:\n    def __init__(self, n): self.n = n\nbox = Box(LIMIT)\n"}
    new = {"shop": old["shop"].replace("LIMIT = 1", "LIMIT = 2")}
    one, other = opened(tmp_path / "1", "1", old), opened(tmp_path / "2", "2", new)

    [entry] = plan(other, [one], []).up

    [change] = changes(entry.changes)
    assert (change.row.definition, [each.definition for each in change.consequences]) == ("LIMIT", ["box"])
    assert change.verdict == "RESTART"


OWN = "class Room:\n    def __init__(self, name):\n        self.name = name\n"
TOLD = (
    OWN
    + "        self.topic = name\n    @staticmethod\n    def code_change(old_version, state, extra):\n        return state\n"
)
WAITER = (
    "class Room:\n    def __init__(self, name):\n        self.name = name\n        self.waiting = []\n"
    "def new(name): return Room(name)\nROOM = Room('all')\n"
)


@pytest.mark.in_place
def test_a_code_change_to_begin_with_is_told_for_a_class_that_needs_one(tmp_path: Path) -> None:
    """It names what instances get and lose, with the words of the new version, and where the old one makes them; it can be run."""
    listening = WAITER.replace("self.waiting = []", "self.topic = name.upper()\n        self.guests = {}")
    found = reviewed(tmp_path, {"shop": WAITER}, {"shop": listening})

    assert found.verdict == "RESTART"
    [stub] = found.stubs
    assert (stub.what, stub.line, stub.made) == ("shop:Room", 1, ("shop.py:5", "shop.py:6"))
    said = "\n".join(text.lines(found))
    assert "shop:Room, made in 2 places: shop.py:5, shop.py:6" in said
    assert "'topic': ...,  # name.upper()" in said
    assert as_json(found)["stubs"][0]["text"] in unescape(page.text(found))
    names: dict[str, Any] = {"Down": Down}
    exec(stub.text, names)
    change = names["code_change"].__func__
    assert change("1", {"name": "a", "waiting": [1]}, None) == {"name": "a", "topic": ..., "guests": {}}
    assert change(Down("1"), {"name": "a", "topic": "A", "guests": {}}, None) == {"name": "a", "waiting": []}


@pytest.mark.in_place
def test_what_the_plan_carries_over_itself_needs_no_code_change(tmp_path: Path) -> None:
    """Nor does what has one, or a class that does not change."""
    carried = reviewed(
        tmp_path / "1", {"shop": OWN}, {"shop": OWN.replace("= name\n", "= name\n        self.topic = 'none'\n")}
    )
    told = reviewed(tmp_path / "2", {"shop": OWN}, {"shop": TOLD})

    assert (carried.verdict, carried.stubs) == ("MIGRATE", ())
    assert (told.verdict, told.stubs) == ("MIGRATE", ())
