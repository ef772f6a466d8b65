"""kill -9 in the middle of a hot install: of the node at each of its steps, of the command at each change of the disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from websockets.sync.client import connect

import dying
from handover_helpers import start, status
from hot_helpers import GO_ON, PARKED, SECOND, get, parked, planned, run, says, state, wait_longer, web
from node_helpers import MakeNode, eventually, finish, terminate
from underway_runtime.release import ledger
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory

pytestmark = pytest.mark.in_place

LIVE = "underway_runtime.upgrade.hot"
STEPS = {
    "prefetch": f"{LIVE}.change:read_version",
    "prepare": f"{LIVE}.change:prepare_swap",
    "suspend": "underway_runtime.apps.suspension:Suspension.hold",
    "stage": f"{LIVE}.fragments:Stage.run",
    "migrate": f"{LIVE}.migrate:acts",
    "swap": f"{LIVE}.swap:Prepared.swap",
    "scan": f"{LIVE}.swap:Prepared.survivors",
    "configure": "underway_runtime.configuration.config:install",
    "resume": "underway_runtime.apps.suspension:Suspension.release",
    "gates": "underway_runtime.node.gates:Gates.hold",
    "settle": "underway_runtime.node.keeper_client:KeeperClient.about_version",
    "answer": "underway_runtime.configuration.boot_config:write_down",
}
"""Where each begins."""

MORTAL = """
import os, pkgutil
owner, _, name = {place!r}.rpartition("." if "." in {place!r}.partition(":")[2] else ":")
setattr(pkgutil.resolve_name(owner), name, lambda *arguments, **named: os.kill(os.getpid(), 9))
"""
"""For rpc: the node dies where it would begin with a step."""


def test_a_node_that_is_killed_at_a_step_boots_the_permanent_version(make: MakeNode) -> None:
    """At each of them, in turn: the old code answers again, start.data is as it was, and in the end the same install succeeds."""
    node = web(make)
    (node.version / "heart").write_text('{"restarts": 1000, "delay": 0.01}')
    planned(node, SECOND)
    process, port = start(node)
    for step, place in STEPS.items():
        run(node, "rpc", MORTAL.format(place=place))
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
            assert says(client).startswith("1 lobby"), step
            done = node.run("install", "2", "--again", "--at-least", "hot")

        assert done.returncode == 4, f"{step}: {done.stdout}{done.stderr}"
        assert "2 ended the process, and 1 is started" in done.stderr, step
        assert eventually(lambda: state(node), "it runs")["version"] == "1", step
        assert get(port) == "1", step
        assert ledger.boots(ReleaseDirectory(node.root), VarDirectory(node.var)) == "1"
        assert "2  unpacked" in run(node, "releases"), step

    run(node, "install", "2", "--again", "--at-least", "hot")
    assert get(port) == "2"
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("count", [2, pytest.param(10_000, id="all", marks=pytest.mark.drill)])
def test_a_command_that_is_killed_can_be_repeated(make: MakeNode, tmp_path: Path, count: int) -> None:
    """At each change of the disk: one process serves on, what is told of it is true, and the same command succeeds then."""
    node = web(make)
    planned(node, SECOND)
    process, port = start(node)
    pid = status(node)["pid"]

    def install(dies_at: int = 0) -> dying.Run:
        arguments = ("install", "2", "--at-least", "hot")
        return dying.release(node.root, arguments, "1", tmp_path, dies_at=dies_at, runs=dying.ASKED)

    install()
    run(node, "install", "1", "--at-least", "hot")
    total, deaths = install().changes, 0  # as often as every time but the first
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        for at in sorted(random.Random(6).sample(range(1, total + 1), min(count, total))):
            run(node, "install", "1", "--at-least", "hot")
            died = install(at)
            deaths += died.killed
            eventually(lambda: "installing" not in run(node, "status"), "the node is done")
            runs = status(node)["version"]
            assert f"{runs}  {'permanent' if runs == '1' else 'current'}, runs" in run(node, "releases")
            assert says(client).startswith(f"{runs} lobby")
            again = install()
            assert again.status == 0, f"after a death at change {at} of {total}: {again.output}"
            assert says(client).startswith("2 lobby")
    assert deaths
    assert status(node)["pid"] == pid
    assert terminate(process)[0] == 0
    print(f"a hot install changes the disk {total} times, and was killed at {deaths} of them")


def test_a_command_that_is_killed_while_the_node_waits_changes_nothing_for_it(make: MakeNode) -> None:
    """The node comes to the end of its install without it, and the next command finds that."""
    node = web(make)
    planned(node, PARKED)
    wait_longer(node)
    process, port = start(node)
    with parked(node, port) as answers:
        installing = node.spawn("install", "2")
        eventually(lambda: "installing" in run(node, "status"), "it waits")
        installing.kill()
        finish(installing)
        assert "installing" in run(node, "install", "2", status=75)
        run(node, "rpc", GO_ON)
        eventually(lambda: status(node)["version"] == "2", "it is installed")
    assert answers == ["1"]
    assert run(node, "install", "2") == "2 runs already\n"
    assert "2  current, runs" in run(node, "releases")
    assert terminate(process)[0] == 0
