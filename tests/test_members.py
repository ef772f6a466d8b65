"""Who may use the control socket and not the code: a member of `control_group`, and code in a node that speaks to its keeper."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from node_helpers import TIMEOUT, MakeNode, Node, read_until, recorder, terminate
from underway_runtime.control.client.client import Place, connect
from underway_runtime.release.errors import UnderwayError

GROUP = 1
MEMBER = 65534

HAND_OVER = {"do": "hand over", "version": "1", "id": "x", "to_commit": 0}
INSTALL = {**HAND_OVER, "do": "install"}


@pytest.fixture
def operated(make_for_all: MakeNode) -> Node:
    """A node whose control_group is there for operators: rpc, remote and eval are off."""
    node = make_for_all(recorder("one"))
    off = {"rpc": False, "remote": False, "eval": False}
    node.configure(underway_runtime={"control_group": "daemon", **off})
    return node


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
        {"do": "keep", "version": "../../evil", "seconds": 1},
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


TOLD = """
import threading

[keeper] = [each._target.__self__ for each in threading.enumerate() if each.name == "keeper"]
keeper.{word}(*{fields})
"""
"""What code in a node does that says something of its own to the keeper."""


@pytest.mark.sample(most=4)
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
