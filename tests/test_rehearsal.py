"""What a rehearsal is made of: files of traffic, and answers that are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from underway.errors import ProjectError
from underway.rehearsal.comparison import differences, nearest
from underway.rehearsal.traffic import Conversation, Exchange, Receive, Request, Send, line, read, write

EXCHANGES: list[Exchange] = [
    Request("GET", "/health?all=1"),
    Request("POST", "/rooms", {"content-type": "application/json"}, b'{"a": "\xc3\xa4"}'),
    Request("PUT", "/file", {}, b"\xff\x00"),
    Conversation("/ws", {"x-name": "ann"}, (Receive(2), Send("hello"), Send(b"\x00\x01"), Receive(1))),
]


def test_traffic_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Requests and conversations, with text and with bytes; blank lines and comments are nothing."""
    write(tmp_path / "traffic", EXCHANGES)
    with (tmp_path / "traffic").open("a") as file:
        file.write("\n# the end\n")

    assert read(tmp_path / "traffic") == EXCHANGES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", 'an exchange is an object with "method" and "path", or with "websocket"'),
        ('{"method": "GET"}', "a GET has a path"),
        ('{"method": "get", "path": "/"}', "'get' is not a method, such as GET"),
        ('{"method": "GET", "path": "http://elsewhere/"}', "is not a path, such as /health?all=1"),
        ('{"method": "GET", "path": "/a b"}', "is not a path"),
        (
            '{"method": "GET", "path": "/", "boddy": ""}',
            "'boddy' is unknown; there is body, body_base64, headers, method, path",
        ),
        ('{"method": "GET", "path": "/", "headers": {"a": 1}}', "headers is an object of strings"),
        ('{"method": "GET", "path": "/", "body_base64": "?"}', "body_base64 is not base64"),
        ('{"websocket": "/ws", "messages": [{"receive": 0}]}', "is not a message"),
        ("{", "line 1: "),
        ("", "it holds no exchange, such as"),
    ],
)
def test_what_is_not_traffic_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Each line that is wrong, with what was found."""
    (tmp_path / "traffic").write_text(f"{text}\n{text}\n")

    with pytest.raises(ProjectError) as raised:
        read(tmp_path / "traffic")

    assert said in str(raised.value)
    assert ("line 2: " in str(raised.value)) == bool(text)


def answers(**body: object) -> list[object]:
    return [{"exchange": "GET /", "status": 200, "body": body}]


def test_what_differs_between_two_fresh_starts_is_noise() -> None:
    """A pid says nothing; a value that all fresh starts agree on, and this answer does not, is a difference with its place."""
    fresh = [answers(pid=1, rooms=[{"n": 1}]), answers(pid=2, rooms=[{"n": 1}])]

    found = differences(answers(pid=3, rooms=[{"n": 2}]), fresh)

    assert [(each.exchange, each.place, each.found, each.wanted) for each in found] == [
        ("GET /", "body.rooms[0].n", "2", "1")
    ]
    assert differences(answers(pid=3, rooms=[{"n": 1}]), fresh) == []


def test_a_place_may_be_ignored_and_the_nearest_reference_counts() -> None:
    """By a pattern; and where a fresh interpreter took over, what it has behind it is not known beforehand."""
    fresh = [answers(n=1, m=1), answers(n=1, m=1)]
    later = [answers(n=2, m=1), answers(n=2, m=1)]

    assert differences(answers(n=2, m=1), fresh, ["GET / body.n"]) == []
    assert nearest(answers(n=2, m=1), [fresh, later]) == []
    assert [each.place for each in nearest(answers(n=2, m=2), [fresh, later])] == ["body.m"]


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {}, ["a"]),
        ([1, 2], [1, 2, 3], [""]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["a[1].b"]),
        ("x", "x", []),
    ],
)
def test_values_are_compared_place_by_place(one: object, other: object, places: list[str]) -> None:
    """Kinds count, lists of another length differ as a whole, and what is only on one side differs."""
    assert [each.place for each in differences([one], [[other]])] == places


def test_a_line_is_as_short_as_it_can_be() -> None:
    """What one writes by hand."""
    assert line(EXCHANGES[0]) == '{"method": "GET", "path": "/health?all=1"}'
