"""A release in several processes: they share its sockets, start, stop and change their version together, and one alone may end."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.request
from typing import Any

import pytest

from conftest import Count
from handover_helpers import ASGI, asgi, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, finish, recorder, terminate
from versions import add_sealed

TELLS_PID = ASGI.replace(
    '[(b"content-length", b"1")]', '[(b"content-length", str(len(f"{VERSION} {os.getpid()}")).encode())]'
).replace("VERSION.encode()", 'f"{VERSION} {os.getpid()}".encode()')
SECOND = TELLS_PID.replace('VERSION = "1"', 'VERSION = "2"')


def processes(node: Node) -> list[dict[str, Any]]:
    """What each says of itself, as `status` has it."""
    rows: list[dict[str, Any]] = status(node)["processes"]
    return rows


def pids(node: Node) -> set[int]:
    """Those of all processes; None is among them where one is not there."""
    return {row["pid"] for row in processes(node)}


def all_there(node: Node, count: int) -> set[int]:
    """The pids, once there are so many that answer."""

    def those_that_answer() -> set[int] | None:
        seen = pids(node)
        return seen if len(seen) == count and None not in seen else None

    answering: set[int] = eventually(those_that_answer, f"{count} processes")
    return answering


def answer(port: int) -> str:
    """What one of them says at the address of all, on a connection of its own."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT) as answered:
        text: str = answered.read().decode()
    return text


def is_there(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_all_serve_are_shown_and_stop(make: MakeNode) -> None:
    """Three processes serve as soon as the start is ready; `status`, `metrics` and `rpc --all` know each; all end with it."""
    node = make(asgi(TELLS_PID, processes=3), libraries=["uvicorn"])
    daemon = node.run("daemon")
    assert daemon.returncode == 0, daemon.stderr
    rows = processes(node)
    assert [(row["number"], row["state"]) for row in rows] == [(1, "running"), (2, "running"), (3, "running")]
    assert len({row["pid"] for row in rows}) == 3
    assert status(node)["memory_of_all"] == 0 or status(node)["memory_of_all"] > max(row["memory"] for row in rows)
    text = node.run("status").stdout
    assert "processes    3 of 3" in text
    assert all(f"pid {row['pid']}" in text for row in rows)
    metrics = node.run("metrics").stdout
    assert 'underway_processes{release="hello"} 3' in metrics
    assert all(f'process="{number}",state="running",pid="' in metrics for number in (1, 2, 3))
    assert 'underway_process_memory_bytes{release="hello",process="3"}' in metrics
    done = node.run("rpc", "--all", "__import__('os').getpid()")
    assert done.returncode == 0, done.stderr
    assert [int(line) for line in done.stdout.split("\n") if line.isdigit()] == [row["pid"] for row in rows]
    assert node.run("stop").returncode == 0
    assert not any(is_there(row["pid"]) for row in rows)
    assert node.running() == []
    assert list((node.var / "run").glob("control*")) == []


def test_one_that_is_killed_comes_back_and_the_others_go_on(make: MakeNode) -> None:
    """No other process ends, and who asks meanwhile has an answer."""
    node = make(asgi(TELLS_PID, processes=3), libraries=["uvicorn"])
    keeper, port = start(node)
    before = all_there(node, 3)
    second = processes(node)[1]["pid"]
    with clients(port, short=2, pauses=[0, 0.01]) as served:
        os.kill(second, signal.SIGKILL)
        after = eventually(lambda: (now := all_there(node, 3)) != before and now, "another one")
    assert before - after == {second}
    assert len(served.failures) <= 6  # the connections of the one that was killed
    assert terminate(keeper)[0] == 0


@pytest.mark.drill
def test_a_killed_keeper_takes_all_with_it(make: MakeNode) -> None:
    """Each stops in order, and the next start finds nobody in its way."""
    node = make(asgi(TELLS_PID, processes=3), libraries=["uvicorn"])
    keeper, _ = start(node)
    before = all_there(node, 3)
    keeper.kill()
    eventually(lambda: not any(map(is_there, before)), "the end of all")
    keeper, _ = start(node)
    assert not all_there(node, 3) & before
    assert terminate(keeper)[0] == 0


def test_a_handover_replaces_all_without_a_failed_request(make: MakeNode, count: Count) -> None:
    """After `install` has returned, all answers are of the version, and all processes report its release id."""
    node = make(asgi(TELLS_PID, processes=3), libraries=["uvicorn"])
    node.configure(web={"server": {"timeout_keep_alive": 60}}, underway_runtime={"drain_timeout": 2})
    add_sealed(node, "2", asgi(SECOND, processes=3))
    keeper, port = start(node)
    all_there(node, 3)
    with clients(port, short=4, pauses=[0, 0.01, 0.1]) as served:
        for number in range(count(2, 20)):
            version = "21"[number % 2]
            done = node.run("install", version)
            assert done.returncode == 0, done.stderr + done.stdout
            assert {answer(port).split()[0] for _ in range(20)} == {version}
            rows = processes(node)
            assert len({row["release_id"] for row in rows}) == 1
            assert {row["version"] for row in rows} == {version}
            assert len({row["pid"] for row in rows} - {None}) == 3
    assert served.failures == []
    assert terminate(keeper)[0] == 0


@pytest.mark.drill
def test_others_run_in_the_first_only(make: MakeNode) -> None:
    """An application without `processes` starts once, whatever else there is."""
    node = make(recorder("alone"), asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    assert node.run("daemon").returncode == 0
    all_there(node, 2)
    assert node.run("stop").returncode == 0
    assert node.run("logs", "--lines", "1000").stdout.count("start alone") == 1


def test_a_process_that_can_not_start_fails_the_start(make: MakeNode) -> None:
    """Where the second process fails the release is not ready, and nothing of it is left."""
    source = TELLS_PID + "\nimport os, sys\nfrom pathlib import Path\n"
    source += 'if (Path(os.environ["RELEASE_VAR"]) / "seen").exists():\n    raise RuntimeError("no second one")\n'
    source += '(Path(os.environ["RELEASE_VAR"]) / "seen").touch()\n'
    node = make(asgi(source, processes=2), libraries=["uvicorn"])
    done = node.run("daemon")
    assert done.returncode == 1
    assert "process 2" in done.stderr
    assert "no second one" in done.stderr
    assert node.running() == []


def test_what_can_not_be_is_refused_with_all_reasons(make: MakeNode) -> None:
    """A number that is none, what must not run twice, and what requires an application that runs once."""
    node = make(
        recorder("store"),
        App("web", TELLS_PID, {**(asgi().start or {}), "processes": 2, "overlap": False}, ("store",)),
        libraries=["uvicorn"],
    )
    keeper = node.spawn("start")
    code, _, said = finish(keeper)
    assert code == 1
    assert "must not run twice" in said
    assert "requires store" in said
    node.configure(web={"processes": "many"})
    code, _, said = finish(node.spawn("start"))
    assert code == 1
    assert "is a number from 1 to 512 or \"auto\", not 'many'" in said


def test_the_number_changes_while_it_serves(make: MakeNode) -> None:
    """`scale` and SIGTTIN, SIGTTOU change it under load without a failed request; a later version has as many."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    node.configure(web={"server": {"timeout_keep_alive": 60}}, underway_runtime={"drain_timeout": 2})
    add_sealed(node, "2", asgi(SECOND, processes=2))
    keeper, port = start(node)
    all_there(node, 2)
    with clients(port, short=4, pauses=[0, 0.01, 0.1]) as served:
        for wanted in (1, 4, 2):
            done = node.run("scale", str(wanted))
            assert done.returncode == 0, done.stderr
            assert f"runs in {wanted} processes" in done.stdout
            all_there(node, wanted)
        keeper.send_signal(signal.SIGTTIN)
        all_there(node, 3)
        assert node.run("install", "2").returncode == 0
        assert {row["version"] for row in processes(node)} == {"2"}
        all_there(node, 3)
        keeper.send_signal(signal.SIGTTOU)
        all_there(node, 2)
        eventually(lambda: not (node.var / "run/control.3").exists(), "the end of the third")
    assert served.failures == []
    wrong = node.run("scale", "0")
    assert wrong.returncode == 2
    assert "a number of processes from 1 to 512" in wrong.stderr
    assert terminate(keeper)[0] == 0
