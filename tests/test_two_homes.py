"""One ``var``, and a release directory that is not the one that runs, was moved, or is gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from node_helpers import MakeNode, Node, eventually, recorder

CHANGING = [
    ["restart"],
    ["restart", "--graceful"],
    ["install", "1"],
    ["check", "1"],
    ["upgrade", "1"],
    ["commit"],
    ["commit", "1"],
    ["rollback"],
    ["remove", "2"],
    ["unpack", "1"],
    ["releases"],
    ["create-releases"],
]
NOT_UTF_8 = pytest.param(
    "\udcff bytes",
    marks=pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 can't import asyncio from such a path"),
)

ASKING = [["status"], ["status", "--json"], ["metrics"], ["rpc", "1 + 1"], ["pid"]]


@pytest.fixture
def homes(make: MakeNode, tmp_path: Path) -> tuple[Node, Node]:
    """Two release directories with one var; the first one runs, and `current` leads to the second."""
    first, second = make(recorder("one"), at="first"), make(recorder("one"), at="second")
    for each in (first, second):
        each.environ["RELEASE_VAR"] = str(tmp_path / "var")
    assert first.run("daemon").returncode == 0
    (tmp_path / "current").symlink_to("second")
    return first, second


def runs(node: Node) -> dict[str, str]:
    done = node.run("status", "--json")
    found: dict[str, str] = json.loads(done.stdout)
    return {key: str(found[key]) for key in ("state", "directory", "keeper")}


@pytest.mark.sample(most=5)
@pytest.mark.parametrize("command", CHANGING, ids=" ".join)
@pytest.mark.parametrize("through", ["the directory", "a link"])
def test_what_changes_what_runs_is_refused_from_another_directory(
    homes: tuple[Node, Node], tmp_path: Path, command: list[str], through: str
) -> None:
    """One sentence names both directories and what to do; what runs and what is on the disk is as it was."""
    first, second = homes
    before = runs(first), sorted(os.listdir(tmp_path / "var"))
    if through == "a link":
        second.root = tmp_path / "current"

    done = second.run(*command)

    assert done.returncode == 1
    assert f"hello runs from {first.root}, and this command is of {tmp_path / 'second'}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (runs(first), sorted(os.listdir(tmp_path / "var"))) == before


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
def test_what_asks_follows_and_says_so(homes: tuple[Node, Node], command: list[str]) -> None:
    """The answer is that of the node, and a note on standard error says where it is from."""
    first, second = homes

    here, there = first.run(*command), second.run(*command)

    assert (here.returncode, there.returncode, here.stderr) == (0, 0, "")
    assert there.stderr == f"note: hello runs from {first.root}, and this command is of {second.root}\n"
    if command in (["rpc", "1 + 1"], ["pid"]):
        assert here.stdout == there.stdout


def test_stop_and_start_is_the_way_from_one_to_the_other(homes: tuple[Node, Node]) -> None:
    """A start next to it is refused by the lock, and names the directory; stop ends it from either; then the other starts."""
    first, second = homes

    refused = second.run("daemon")
    stopped = second.run("stop")
    started = second.run("daemon")

    assert refused.returncode == 1
    assert f"is running already, pid {runs(second)['keeper']}" not in refused.stderr
    assert f"hello runs from {first.root}, and this command is of {second.root}" in refused.stderr
    assert (stopped.returncode, started.returncode) == (0, 0)
    assert runs(second)["directory"] == str(second.root)
    assert second.run("restart").returncode == 0


def test_a_version_that_only_the_other_directory_has_is_named_with_its_cause(homes: tuple[Node, Node]) -> None:
    """start.data in the var that both have says what was committed in one of them."""
    first, second = homes
    shutil.copytree(first.version, first.root / "releases/2", symlinks=True)
    assert first.run("stop").returncode == 0
    data = Path(first.environ["RELEASE_VAR"], "start.data")
    data.write_text("3.11.7 2\n")

    done = second.run("daemon")

    assert done.returncode == 1
    assert done.stderr == (
        f"error: release '2' can't boot: there is no {second.root}/releases/2/launcher that can be executed; {data} names it\n"
    )


# ------------------------------------------------------------------------------------------------ moved and removed


def started(make: MakeNode, *, heart: bool = False) -> Node:
    node = make(recorder("one"), at="before")
    if heart:
        (node.version / "heart").write_text('{"delay": 0.1}')
    assert node.run("daemon").returncode == 0
    return node


def moved(node: Node, to: Path) -> Node:
    """The same where it is now; what runs is of where it was."""
    node.root.rename(to)
    return Node(to, environ=node.environ, processes=node.processes)


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("command", [["restart"], ["restart", "--graceful"]], ids=" ".join)
@pytest.mark.parametrize("fate", ["moved", "removed", "no command", "no version", "no start data", "bad start data"])
def test_restart_never_leaves_nothing_running(make: MakeNode, tmp_path: Path, command: list[str], fate: str) -> None:
    """Where nothing could be started from its directory the node is not stopped, and the cause is told, with status 1."""
    node = make(recorder("one"), at="before")
    node.environ["RELEASE_VAR"] = str(tmp_path / "var")
    asking = make(recorder("one"), at="asking")
    assert node.run("daemon").returncode == 0
    pid = int(node.run("pid").stdout)
    here, kept = node, {**node.environ}
    match fate:
        case "moved":
            here = moved(node, tmp_path / "after")
        case "removed":
            node.root.rename(tmp_path / "gone")
            here = asking
            here.environ = kept
        case "no command":
            shutil.copytree(node.root / "bin", tmp_path / "bin")
            (node.root / "bin/hello").unlink()
            here = asking
            here.environ = kept
        case "no version":
            (node.version / "launcher").unlink()
            shutil.copytree(asking.version, node.root / "releases/9", symlinks=True)
            here.environ = {**kept, "RELEASE_VSN": "9"}
        case "no start data":
            (node.root / "releases/start.data").unlink()
            here.environ = {**kept, "RELEASE_VSN": "1"}
        case "bad start data":
            (tmp_path / "var/start.data").write_text("3.11.7 ../../var/x\n")
            here.environ = {**kept, "RELEASE_VSN": "1"}

    done = here.run(*command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "Bad file descriptor" not in done.stderr
    assert str(node.root) in done.stderr or str(tmp_path / "var/start.data") in done.stderr
    os.kill(pid, 0)
    status = here.run("status", "--json")
    assert json.loads(status.stdout)["state"] == "running"
    assert here.run("stop").returncode == 0


def test_a_directory_that_was_moved_is_said_to_be_gone(make: MakeNode, tmp_path: Path) -> None:
    """From where it is now: what asks says so, what changes is refused, stop and daemon make it whole."""
    after = moved(started(make), tmp_path / "after")

    asked, refused = after.run("rpc", "1"), after.run("install", "1")

    assert (asked.returncode, asked.stdout) == (0, "1\n")
    where = f"hello runs from {tmp_path / 'before'}, which is not there any more, and this command is of {after.root}"
    assert asked.stderr == f"note: {where}\n"
    assert refused.stderr == (
        f"error: install is refused: {where}; use the bin/hello of that directory, or `stop` it and start it from this one\n"
    )
    assert [after.run(command).returncode for command in ("stop", "daemon", "restart", "stop")] == [0] * 4


def test_a_hangup_of_what_was_moved_changes_nothing(make: MakeNode, tmp_path: Path) -> None:
    """The log says why there is no handover."""
    after = moved(started(make), tmp_path / "after")
    log = after.var / "log/hello.log.1"

    os.kill(int(after.run("pid").stdout), signal.SIGHUP)

    eventually(lambda: "can't be executed: No such file or directory" in log.read_text(), "it is told")
    assert runs(after)["state"] == "running"
    assert after.run("stop").returncode == 0


def test_what_can_not_be_started_again_after_a_crash_has_its_cause_in_the_log(make: MakeNode, tmp_path: Path) -> None:
    """Not that of a descriptor that was closed meanwhile."""
    after = moved(started(make, heart=True), tmp_path / "after")
    log = after.var / "log/hello.log.1"

    os.kill(json.loads(after.run("status", "--json").stdout)["pid"], signal.SIGKILL)

    said = eventually(lambda: "can't be executed" in (text := log.read_text()) and text, "it is told")
    assert f"{tmp_path}/before/bin/hello can't be executed: No such file or directory" in said
    assert "Bad file descriptor" not in said


def test_a_new_directory_in_the_place_of_the_old_one_is_what_a_restart_starts(make: MakeNode, tmp_path: Path) -> None:
    """The rule goes by the path: who puts a new release there has replaced it."""
    node, new = make(recorder("one"), at="place"), make(recorder("one", start='print("NEW", flush=True)'), at="new")
    node.environ["RELEASE_VAR"] = new.environ["RELEASE_VAR"] = str(tmp_path / "var")
    assert node.run("daemon").returncode == 0
    node.root.rename(tmp_path / "old")
    new.root.rename(node.root)

    assert node.run("restart").returncode == 0

    log = tmp_path / "var/log/hello.log.1"
    eventually(lambda: "NEW" in log.read_text(), "the keeper has written what the new node said")
    assert node.run("stop").returncode == 0


def test_a_link_where_it_was_makes_one_directory_of_two_paths(make: MakeNode, tmp_path: Path) -> None:
    """What was moved and left a link goes on as before, under both paths."""
    after = moved(started(make), tmp_path / "after")
    (tmp_path / "before").symlink_to("after")

    done = [
        after.run(*command) for command in (["status"], ["restart"], ["restart", "--graceful"], ["releases"], ["stop"])
    ]

    assert [each.stderr for each in done if "manifest" not in each.stderr] == [""] * 4
    assert [each.returncode for each in done] == [0, 0, 0, 1, 0]  # what has no manifest is in no list


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("name", ["with\ttab", "two\nlines", "é ü", NOT_UTF_8, "\u202eback", "x" * 200])
def test_a_directory_is_itself_whatever_its_path(make: MakeNode, name: str) -> None:
    """What is compared is the path, not how it is shown."""
    node = make(recorder("one"), at=name)
    assert node.run("daemon").returncode == 0

    done = [node.run(*command) for command in (["status"], ["restart"], ["restart", "--graceful"], ["pid"], ["stop"])]

    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 5


def test_a_path_that_others_chose_is_shown_and_not_obeyed(make: MakeNode, tmp_path: Path) -> None:
    """The name of the other directory reaches the terminal as text."""
    first, second = make(recorder("one"), at="a\x1b[2J\nb"), make(recorder("one"), at="second")
    for each in (first, second):
        each.environ["RELEASE_VAR"] = str(tmp_path / "var")
    assert first.run("daemon").returncode == 0

    done = [second.run(*command) for command in (["status"], ["restart"], ["releases"], ["daemon"], ["stop"])]

    for said in (run.stderr for run in done):
        assert said.removesuffix("\n").isprintable()
        assert "runs from" in said
    assert [run.returncode for run in done] == [0, 1, 1, 1, 0]
