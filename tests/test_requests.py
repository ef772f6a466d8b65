"""What the control socket takes: each request has a form, and a list says who may send it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import pytest

from control_helpers import Stand, StandIn, known, receive, stand
from underway_runtime.control import frames, requests
from underway_runtime.control.requests import HandOver, Install

HAND_OVER = {"do": "hand over", "version": "1", "id": "x", "to_commit": 0}
INSTALL = {**HAND_OVER, "do": "install"}

WRONG: list[dict[str, Any]] = [
    *(
        {**HAND_OVER, "version": version}
        for version in ("../../evil", "1/../../evil", "/tmp/evil", "9.9", " 1", "1\n", "\uff11")
    ),
    *({**HAND_OVER, "version": version} for version in (1, None, ["1"], {"version": "1"}, True, "1" * 101)),
    *({**INSTALL, "version": version} for version in ("../../evil", "", "9.9", None, ["1"])),
    *({"do": "consider", "version": version} for version in ("../../evil", "", "9.9", {"1": "1"})),
    *({**HAND_OVER, "id": identity} for identity in ("", "a b", "a/b", "x\n1 2", "../x", 7, None, "x" * 101)),
    *({**HAND_OVER, "to_commit": within} for within in (-1, -0.001, 1e300, 10**400, 86401, "0", None, True, [0])),
    *({**HAND_OVER, key: "x"} for key in ("environ", "RELEASE_VM_ARGS", "path", "gates", "config", "", "VERSION")),
    *({**INSTALL, "gates": [{"command": ["id"]}]}, {"do": "gates", "gates": [{"function": "os:abort"}]}),
    *({"do": "gates", "within": 1e9}, {"do": "restart", "command": "/tmp/evil"}, {"do": "committed", "version": "1"}),
    *({"do": "status", "file": "/etc/shadow"}, {"do": "metrics", "address": "x"}, {"do": "ready", "timeout": -1}),
    *({"do": "hand over"}, {"do": "install", "version": "1"}, {"do": "consider"}, {"do": "rpc"}),
    *({"do": "hand over", "version": "1", "id": "x"}, {"do": "rpc", "code": 1}, {"do": "rpc", "code": "1", "loop": 1}),
    *(
        {"do": name}
        for name in ("", "Status", "status ", "eval", "stop", "exec", "successor", "hand_over", 1, None, ["rpc"])
    ),
    *({}, {"version": "1"}, {"push": "1"}, {"complete": "os."}, {"interrupt": 1}, {"interrupt": True, "do": "status"}),
]

RAW = [
    b'{"do": "hand over", "version": "1", "id": "x", "to_commit": NaN}',
    b'{"do": "hand over", "version": "1", "id": "x", "to_commit": Infinity}',
    b'{"do": "hand over", "version": "1", "id": "x", "to_commit": -Infinity}',
    b'{"do": "status", "do": "rpc", "code": "1"}',
    b'{"do": "consider", "version": "1", "version": "../../evil"}',
    b'{"do": "hand over", "version": "1", "id": "x", "to_commit": ' + b"9" * 5000 + b"}",
]


class Noting(StandIn):
    """A node that notes what it is asked to do, and then fails to."""

    def __init__(self, done: list[str]) -> None:
        super().__init__()
        self._done = done

    def is_unpacked(self, version: str) -> bool:
        return version == "1"

    def restart(self) -> NoReturn:
        self._note("restart")

    def hand_over(self, request: HandOver) -> NoReturn:
        self._note("hand over")

    def install(self, request: Install) -> NoReturn:
        self._note("install")

    def can_install_in_place(self, version: str) -> NoReturn:
        self._note("can install in place")

    def try_gates(self) -> NoReturn:
        self._note("try gates")

    def committed(self) -> NoReturn:
        self._note("committed")

    def _note(self, what: str) -> NoReturn:
        self._done.append(what)
        raise AssertionError(what)


@pytest.fixture
def served() -> Iterator[tuple[Stand, list[str]]]:
    """A control socket whose node notes what it is asked to do."""
    with tempfile.TemporaryDirectory() as short, stand(Path(short, "var")) as made:
        done: list[str] = []
        made.node = Noting(done)
        made.serve()
        yield made, done


@pytest.mark.parametrize("request_", WRONG, ids=range(len(WRONG)))
def test_what_has_another_form_is_refused_with_one_error(
    served: tuple[Stand, list[str]], request_: dict[str, Any]
) -> None:
    """Nothing is begun for it, the error is one printable line, and the same client may ask again."""
    made, done = served
    client = known(made.path)
    with client:
        client.sendall(frames.encode(request_))
        answer = receive(client)
        assert list(answer) == ["error"]
        assert answer["error"].isprintable()
        assert len(answer["error"]) < 1000
        client.sendall(frames.encode({"do": "status"}))
        assert receive(client)["status"]["name"] == "hello"
    assert done == []


@pytest.mark.parametrize("body", RAW)
def test_what_is_no_json_of_ours_ends_the_connection(served: tuple[Stand, list[str]], body: bytes) -> None:
    """Numbers that are none, and names that stand twice, of which others might see the other one."""
    made, done = served
    with known(made.path) as client:
        client.sendall(len(body).to_bytes(4, "big") + body)
        assert list(receive(client)) == ["error"]
        assert client.recv(1) == b""
    assert done == []


NOTHING: tuple[str, ...] = ()
UPGRADE = ("id", "to_commit", "version")
ROWS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "status": ("members", "", NOTHING),
    "metrics": ("members", "", NOTHING),
    "ready": ("members", "", NOTHING),
    "restart": ("members", "", NOTHING),
    "hand over": ("members", "", UPGRADE),
    "install": ("members", "", UPGRADE),
    "consider": ("members", "", ("version",)),
    "keep": ("members", "", ("seconds", "version")),
    "scale": ("members", "", ("processes",)),
    "gates": ("members", "", NOTHING),
    "committed": ("members", "", NOTHING),
    "rpc": ("owner", "rpc", ("code",)),
    "shell": ("owner", "remote", NOTHING),
}
"""By request, who may send it, the switch that has to be on, and its fields."""
ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    1e400,
    -0.0,
    "",
    "\ud800",
    "\0",
    "..",
    "1" * 101,
    [],
    {},
    [["1"]],
    {"do": "rpc"},
    1 << 5000,
]


def test_the_list_of_requests_is_complete() -> None:
    """One that is new has to be thought of here: who may send it, with what; and each has a class of its own with these fields."""
    rows = {name: (form.who, form.enabled_by, tuple(sorted(form.fields))) for name, form in requests.REQUESTS.items()}
    assert rows == ROWS
    classes = {form.request: set(form.fields) for form in requests.REQUESTS.values()}
    assert len(classes) == len(rows)
    assert classes == {kind: {field.name for field in fields(kind)} for kind in requests.Request.__subclasses__()}


@pytest.mark.parametrize("name", ROWS)
def test_no_field_of_a_member_is_another_s(name: str) -> None:
    """Whichever request: with any odd value in a field, or a field of another request, it is refused, with one line."""
    right = {"version": "1", "id": "x", "to_commit": 0, "seconds": 0, "code": "1", "processes": 2}
    form = requests.REQUESTS[name]
    whole = {"do": name, **{key: right[key] for key in form.fields}}
    others = {key: value for key, value in right.items() if key not in form.fields}
    wrong = [{**whole, key: value} for key, value in others.items()]
    wrong += [
        {**whole, key: odd} for key in form.fields for odd in ODD if not form.fields[key].holds(odd) or odd == "2"
    ]
    wrong += [{key: value for key, value in whole.items() if key != left_out} for left_out in form.fields]
    wrong += [{**whole, key: 1} for key in ("interrupt", "push", "complete", "do ", "\ud800", "\x1b[2J")]
    for message in wrong:
        for member in (True, False):
            with pytest.raises(requests.Refused) as refused:
                requests.read(message, member=member, is_unpacked=lambda version: version == "1")
            assert str(refused.value).isprintable()
            assert len(str(refused.value)) < 1000


def test_requests_that_come_together_or_in_pieces_are_answered_one_by_one(served: tuple[Stand, list[str]]) -> None:
    """Several in one piece are answered in order; one that comes byte by byte is one; one that is cut off is none."""
    made, done = served
    status, wrong, restart = (frames.encode({"do": name}) for name in ("status", "no such", "restart"))
    with known(made.path) as client:
        client.sendall(status + wrong + status)
        assert [[*receive(client)] for _ in range(3)] == [["status"], ["error"], ["status"]]
        for byte in status:
            client.send(bytes([byte]))
        assert [*receive(client)] == ["status"]
        client.sendall(restart[:-1])
    with known(made.path) as client:
        client.sendall(status)
        assert [*receive(client)] == ["status"]
    assert done == []


def test_everything_that_is_wrong_is_in_the_error(served: tuple[Stand, list[str]]) -> None:
    """All of it, at once."""
    made, _ = served
    with known(made.path) as client:
        client.sendall(frames.encode({"do": "hand over", "version": "../x", "to_commit": -1, "environ": {}}))
        error = receive(client)["error"]

    assert error == (
        "'hand over' is refused: it needs `id`; `version` is not a version of the release, or empty: '../x'; `to_commit` is not"
        " a number of seconds from 0 to 86400: -1; it does not take 'environ'"
    )


def test_every_request_is_in_the_reference() -> None:
    """The page names each, and who may send it."""
    page = (Path(__file__).parents[1] / "docs/reference/control.md").read_text()
    for name in requests.REQUESTS:
        assert f'`{{"do": "{name}"' in page


def test_fields_that_are_right_reach_the_node(served: tuple[Stand, list[str]]) -> None:
    """At the limits too; an empty version is the permanent one."""
    made, done = served
    for right in (
        {**HAND_OVER, "to_commit": 86400},
        {**HAND_OVER, "version": "", "to_commit": 0.5},
        {**HAND_OVER, "id": "x" * 100},
        INSTALL,
        {"do": "consider", "version": "1"},
        {"do": "gates"},
        {"do": "restart"},
        {"do": "committed"},
    ):
        with known(made.path) as client:
            client.sendall(frames.encode(right))
            assert client.recv(1) == b""  # where the stand-in raises

    asked = ["install", "can install in place", "try gates", "restart", "committed"]
    assert done == ["hand over", "hand over", "hand over", *asked]
