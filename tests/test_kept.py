"""`check --keep`: a version that was tried stays booted, and is the successor of an install that follows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from handover_helpers import ASGI, all_said, asgi, children, start
from node_helpers import MakeNode, Node, Process, eventually, terminate
from underway_runtime.keeper.kept import Kept
from underway_runtime.keeper.shared_resources import SharedResources
from underway_runtime.release import channel
from versions import add_sealed

SECOND = ASGI.replace('VERSION = "1"', 'VERSION = "2"')


def two_versions(make: MakeNode, second: str = SECOND) -> tuple[Node, Process]:
    """A node that runs the first of two versions, and its keeper."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(second))
    return node, start(node)[0]


def check(node: Node, seconds: float = 300) -> dict[str, Any]:
    """What `check` of the second version says, which is to be kept."""
    done = node.run("check", "2", "--keep", str(seconds), "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def install(node: Node) -> None:
    done = node.run("install", "2")
    assert done.returncode == 0, done.stderr


def test_an_install_goes_on_with_what_is_kept(make: MakeNode) -> None:
    """The process that the check has left is the node then; meanwhile it has no socket, and what it costs is said."""
    node, keeper = two_versions(make)
    told = check(node)
    kept = told["kept"]["pid"]
    assert told["kept"]["seconds"] == 300
    assert told["kept"]["memory"] > 2**20
    assert str(kept) in children(keeper)
    assert sum(link.startswith("socket:") for link in _links(kept)) == 1  # the line to its keeper

    install(node)

    assert children(keeper) == [str(kept)]
    assert terminate(keeper)[0] == 0


def _links(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return found


def test_one_that_is_not_what_a_start_would_be_is_replaced(make: MakeNode) -> None:
    """Where a file of its version is another one by then, the install starts a fresh node."""
    node, keeper = two_versions(make)
    kept = check(node)["kept"]["pid"]
    os.utime(node.root / "releases/2/sys.config")

    install(node)

    assert children(keeper) != [str(kept)]
    assert terminate(keeper)[0] == 0
    assert any("is not used: the files of its version" in line for line in all_said(keeper))


@pytest.mark.parametrize("why", ["time", "check", "stop", "killed"])
def test_what_is_kept_ends(make: MakeNode, why: str) -> None:
    """When its time is over, when another is kept, and when all stops; one that has died is not missed."""
    node, keeper = two_versions(make)
    kept = check(node, 0.5 if why == "time" else 300)["kept"]["pid"]
    if why == "check":
        assert check(node)["kept"]["pid"] != kept
    elif why == "stop":
        assert terminate(keeper)[0] == 0
    elif why == "killed":
        os.kill(kept, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{kept}").exists(), "it has ended")
    if why != "stop":
        install(node)
        assert len(children(keeper)) == 1
        assert terminate(keeper)[0] == 0


def test_what_holds_a_socket_is_not_kept(make: MakeNode) -> None:
    """A module that connects or listens when it is imported: the check says so, and all else goes on."""
    node, keeper = two_versions(make, f"import socket\nlistening = socket.create_server(('127.0.0.1', 0))\n{SECOND}")
    told = check(node)
    assert told["kept"] is None
    assert any("a socket is open: ('127.0.0.1'," in note for note in told["notes"])
    assert len(children(keeper)) == 1
    assert terminate(keeper)[0] == 0


class FakeNode:
    """A node, as the keeper knows it: what it is told, and whether it was ended."""

    pid = -1
    ended = None
    failure = ""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.killed = False

    def send(self, message: Any, descriptors: Any = ()) -> None:
        self.told.append((type(message).__name__, *(getattr(message, field) for field in message.fields)))

    def kill(self, number: int) -> None:
        self.killed = True

    def close(self) -> None:
        """Nothing is open."""


class FakeNodes:
    """A keeper that runs a node and starts others."""

    name = "hello"
    beat = 0.0
    told = False

    def __init__(self) -> None:
        self.node = FakeNode()
        self.started: list[FakeNode] = []
        self.timers: dict[str, float] = {}

    def start_second(self, version: str) -> FakeNode:
        self.started.append(FakeNode())
        return self.started[-1]


@pytest.mark.parametrize(
    "sent", [channel.Prepared(()), channel.Prepared(("web",)), channel.Bind(("tcp4 127.0.0.1 80",))]
)
def test_a_version_whose_runtime_can_not_wait_is_ended(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    """One that goes on to start its applications, as those do that were built before, is no longer than until it says so."""
    monkeypatch.setattr("underway_runtime.keeper.yielding.Yielding", lambda pid: None)
    nodes: Any = FakeNodes()
    kept = Kept(nodes, SharedResources([], print), print)
    assert kept.begin("2", 60) == ""
    [started] = nodes.started

    kept.obey(started, sent)

    assert started.killed
    assert nodes.node.told == [("SuccessorFailed", "its runtime is of a version that can't wait")]
    assert kept.take("2") is None
    assert "kept" not in nodes.timers
