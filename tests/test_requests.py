"""What the control socket takes: each request has a form, and a list says who may send it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from code_server_helpers import Interpreter
from control_helpers import Stand, StandIn, known, receive, stand
from node_helpers import TIMEOUT, MakeNode, Node, nodes, read_until, recorder, terminate
from underway_runtime.control import frames, requests
from underway_runtime.control.client.client import Place, connect
from underway_runtime.control.requests import HandOver, Install
from underway_runtime.release.errors import UnderwayError
from underway_runtime.upgrade.remove import remove
from upgrade_helpers import make_host, release_files, with_file

GROUP = 1
MEMBER = 65534

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
    assert classes == {
        kind: {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type] # all of them are dataclasses
        for kind in requests.Request.__subclasses__()
    }


@pytest.mark.parametrize("name", ROWS)
def test_no_field_of_a_member_is_another_s(name: str) -> None:
    """Whichever request: with any odd value in a field, or a field of another request, it is refused, with one line."""
    right = {"version": "1", "id": "x", "to_commit": 0, "code": "1"}
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


# ------------------------------------------------------------------------------------------- a member of the group


@pytest.fixture
def operated(interpreter: Interpreter) -> Iterator[Node]:
    """A node whose control_group is there for operators: rpc, remote and eval are off."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    with nodes(directory, interpreter) as make:
        node = make(recorder("one"))
        off = {"rpc": False, "remote": False, "eval": False}
        node.configure(underway_runtime={"control_group": "daemon", **off})
        yield node
    shutil.rmtree(directory)


def as_member(act: Callable[[], Any]) -> Any:
    """What this returns in a process of a member of the group."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([GROUP])
            os.setresgid(MEMBER, MEMBER, MEMBER)
            os.setresuid(MEMBER, MEMBER, MEMBER)
            os.write(writing, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(child, 0)
    return json.loads(said)


def answers(node: Node, asked: list[dict[str, Any]]) -> list[Any]:
    """What the node says to each, or the error."""
    place = Place(
        {
            f"RELEASE_{name}": str(value)
            for name, value in (("ROOT", node.root), ("NAME", "hello"), ("VSN", "1"), ("VAR", node.var))
        }
    )
    found: list[Any] = []
    for each in asked:
        connection = connect(place, TIMEOUT)
        try:
            found.append(connection.ask(each))
        except UnderwayError as error:
            found.append(str(error))
        finally:
            connection.close()
    return found


def test_a_member_operates_and_runs_nothing_of_his(operated: Node) -> None:
    """With rpc, remote and eval off: no request of a wrong form, and no version that root has not unpacked, starts or runs anything."""
    evil = operated.root.parent / "evil"
    evil.mkdir()
    (evil / "launcher").write_text(f"#!/bin/sh\nid >{evil}/pwned\n")
    (evil / "launcher").chmod(0o755)
    os.chown(evil, MEMBER, MEMBER)
    (operated.root / "releases/evil").symlink_to(
        "../../evil"
    )  # as unpacked by nobody: it has no manifest, the others do
    (operated.version / "manifest.json").write_text('{"release_id": "1"}')
    process = operated.spawn("start")
    read_until(process.stdout, "start one")
    attacks: list[dict[str, Any]] = [
        *({**HAND_OVER, "version": version} for version in ("../../evil", "../evil", str(evil), "evil")),
        *({**INSTALL, "version": version} for version in ("../../evil", "evil")),
        {"do": "consider", "version": "../../evil"},
        {"do": "rpc", "code": "1"},
        {"do": "shell"},
    ]

    said = as_member(lambda: answers(operated, attacks))
    status = as_member(
        lambda: answers(operated, [{"do": "status"}, {"do": "metrics"}, {"do": "gates"}, {"do": "ready"}])
    )

    assert [type(each) for each in said] == [str] * len(attacks)
    assert [*map(list, status)] == [["status"], ["metrics"], ["gates"], ["ready"]]
    assert not (evil / "pwned").exists()
    assert terminate(process)[0] == 0


def test_a_member_may_not_say_what_boots(operated: Node) -> None:
    """`committed` is believed where start.data says so: else the keeper would keep what nobody has committed."""
    shutil.copytree(operated.version, operated.root / "releases/2", symlinks=True)
    process = operated.spawn("start")
    read_until(process.stdout, "start one")
    (operated.var / "start.data").write_text("3.11.7 2\n")

    [refused] = as_member(lambda: answers(operated, [{"do": "committed"}]))
    (operated.var / "start.data").write_text("3.11.7 1\n")
    [noted] = as_member(lambda: answers(operated, [{"do": "committed"}]))

    assert refused == "2 boots, and 1 runs; commit that first"
    assert noted == {"noted": True}
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_a_member_reaches_the_socket_whatever_the_umask(operated: Node, umask: int) -> None:
    """Directories that others may not enter let the group pass, and no more."""
    process = operated.spawn("start", umask=umask)
    read_until(process.stdout, "start one")

    [status] = as_member(lambda: answers(operated, [{"do": "status"}]))

    assert status["status"]["state"] in ("starting", "running")
    for place in (operated.var, operated.var / "run"):
        assert (place.stat().st_mode & 0o077, place.stat().st_gid) == (0o010, GROUP)
    assert terminate(process)[0] == 0


# -------------------------------------------------------------------------------------------------------- umask


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o000, 0o750), (0o002, 0o750), (0o022, 0o755), (0o027, 0o750), (0o077, 0o700)]
)
def test_nobody_else_writes_in_var_whatever_the_umask(make: MakeNode, umask: int, mode: int) -> None:
    """Of all that a daemon and a command make there; var, run and log are for the owner, and for others at most to look at."""
    node = make(recorder("one"))
    assert node.run("daemon", umask=umask).returncode == 0
    assert node.run("rpc", "1", umask=umask).returncode == 0

    found = {
        place: place.lstat().st_mode & 0o777 for place in (node.var, *node.var.rglob("*")) if not place.is_symlink()
    }

    assert {place for place, bits in found.items() if bits & 0o022} == set()
    assert [found[node.var / name] for name in ("", "run", "log")] == [mode] * 3
    assert node.run("stop").returncode == 0


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_directories_of_the_tree_are_for_others_to_read(tmp_path: Path, umask: int) -> None:
    """Those that unpack and remove make too: nobody but the owner puts code there."""
    host = make_host(tmp_path)
    host.var.incoming.mkdir()
    before = os.umask(umask)
    try:
        host.archive("1.1", with_file(release_files("1.1"), "etc/hello/more/file", b"1"))
        host.unpack("1.1")
        remove(host.handler, "1.1")
        host.archive("1.2", with_file(release_files("1.2"), "etc/hello/more/file", b"1"))
        host.unpack("1.2")
    finally:
        os.umask(before)

    modes = {place: place.stat().st_mode & 0o777 for place in host.root.rglob("*") if place.is_dir()}
    assert {place for place, mode in modes.items() if mode & 0o022} == set()
    assert [modes[host.root / name] for name in ("etc", "etc/hello", "etc/hello/more")] == [0o755] * 3


TOLD = """
import threading

[keeper] = [each._target.__self__ for each in threading.enumerate() if each.name == "keeper"]
keeper.{word}(*{fields})
"""
"""What code in a node does that says something of its own to the keeper."""


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("successor", ("../../evil", "x", 5.0, 0.0)),
        ("successor", ("evil", "x", 5.0, 0.0)),
        ("successor", ("", "x y\nz", 5.0, 0.0)),
        ("successor", ("", "x", float("nan"), 0.0)),
        ("successor", ("", "x", 1e300, float("inf"))),
        ("successor", ("", "x", -1.0, -1.0)),
        ("installing", ("../../evil", "x")),
        ("installing", ("1", "x\n2 1 y")),
    ],
)
def test_the_keeper_starts_what_is_unpacked_and_nothing_else(
    make: MakeNode, word: str, fields: tuple[Any, ...]
) -> None:
    """Whatever a node says: no version that is none, no id that is more than a word, and no time without end. It goes on."""
    node = make(recorder("one"))
    evil = node.root.parent / "evil"
    evil.mkdir()
    (evil / "launcher").write_text(f"#!/bin/sh\nid >{evil}/pwned\n")
    (evil / "launcher").chmod(0o755)
    assert node.run("daemon").returncode == 0
    values = repr(fields).replace("nan", "float('nan')").replace("inf", "float('inf')")

    assert node.run("rpc", TOLD.format(word=word, fields=values)).returncode == 0

    assert node.run("restart", "--graceful").returncode == 0
    assert not (evil / "pwned").exists()
    assert not (node.var / "journal/replaced").exists()
    assert node.run("stop").returncode == 0
