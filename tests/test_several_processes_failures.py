"""Releases in several processes whose processes, or versions, fail at any point: the others go on, or all is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from handover_helpers import asgi, children, clients, start, status
from node_helpers import TIMEOUT, MakeNode, Node, eventually, finish, terminate
from test_several_processes import SECOND, TELLS_PID, all_there, answer, is_there, processes
from versions import add_sealed

GOES = """
import os, sys
from pathlib import Path
VAR = Path(os.environ["RELEASE_VAR"])
"""


def heart(node: Node, **what: float) -> None:
    """Give the release a heart."""
    (node.version / "heart").write_text(json.dumps(what))


def test_a_version_whose_second_process_fails_changes_nothing(make: MakeNode) -> None:
    """The old processes serve on, none of the new ones is left, and the reason is told."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    fails = (
        SECOND + GOES + 'if (VAR / "seen").exists():\n    raise RuntimeError("no second one")\n(VAR / "seen").touch()\n'
    )
    add_sealed(node, "2", asgi(fails, processes=2))
    keeper, port = start(node)
    before = all_there(node, 2)
    with clients(port, short=2, pauses=[0, 0.01]) as served:
        done = node.run("install", "2")
    assert done.returncode == 4, done.stderr + done.stdout
    assert "process 2" in done.stderr + done.stdout
    assert all_there(node, 2) == before
    assert served.failures == []
    assert {text.split()[0] for text in served.answers} == {"1"}
    eventually(lambda: len(node.running()) == 3, "the end of all others")  # the keeper and two nodes
    assert terminate(keeper)[0] == 0


def test_the_number_may_change_with_the_version(make: MakeNode) -> None:
    """From two to one, and from one to two; control sockets of those that are gone are gone."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    before = all_there(node, 2)
    with clients(port, short=2, pauses=[0, 0.01, 0.1]) as served:
        assert node.run("install", "2").returncode == 0
        assert "processes" not in status(node)
        assert not any(map(is_there, before))
        assert [path.name for path in (node.var / "run").glob("control*")] == ["control"]
        assert node.run("install", "1").returncode == 0
        all_there(node, 2)
    assert served.failures == []
    assert terminate(keeper)[0] == 0


def test_the_first_may_die_while_the_others_serve(make: MakeNode) -> None:
    """With a heart it is started again, and takes the others that there are."""
    node = make(asgi(TELLS_PID, processes=3), libraries=["uvicorn"])
    heart(node, restarts=5, within=60, delay=0.2, beat=0)
    keeper, _port = start(node)
    before = all_there(node, 3)
    first = status(node)["pid"]
    os.kill(first, signal.SIGKILL)
    after = eventually(lambda: (now := all_there(node, 3)) != before and now, "another first one")
    assert before - after == {first}
    assert terminate(keeper)[0] == 0


def test_the_limit_of_restarts_ends_all(make: MakeNode) -> None:
    """One that dies too often ends the release with status 1."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    heart(node, restarts=1, within=60, delay=0.1, beat=0)
    keeper, _ = start(node)
    before = all_there(node, 2)
    second = processes(node)[1]["pid"]
    os.kill(second, signal.SIGKILL)
    eventually(lambda: all_there(node, 2) != before, "another one")
    os.kill(processes(node)[1]["pid"], signal.SIGKILL)
    assert keeper.wait(TIMEOUT) == 1
    assert node.running() == []


def test_a_restart_is_of_all(make: MakeNode) -> None:
    """`restart` ends all of them and starts as many; SIGHUP hands all over."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    keeper, _ = start(node)
    before = all_there(node, 2)
    assert node.run("restart").returncode == 0
    after = all_there(node, 2)
    assert not before & after
    keeper.send_signal(signal.SIGHUP)
    eventually(lambda: not after & {row["pid"] for row in processes(node)} and all_there(node, 2), "a handover of all")
    assert terminate(keeper)[0] == 0


def test_check_says_that_all_are_handed_over(make: MakeNode) -> None:
    """With the reason."""
    node = make(asgi(TELLS_PID, processes=2), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND, processes=2))
    keeper, _ = start(node)
    all_there(node, 2)
    done = node.run("check", "2")
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert "2 processes, which are handed over together" in done.stdout
    assert terminate(keeper)[0] == 0


def test_scaling_that_fails_leaves_as_many_as_before(make: MakeNode) -> None:
    """The reason is told, and so is that of a release in one process, or without any that may have more."""
    fails = TELLS_PID + GOES + 'if (VAR / "full").exists():\n    raise RuntimeError("no more")\n'
    node = make(asgi(fails, processes=2), libraries=["uvicorn"])
    keeper, _ = start(node)
    before = all_there(node, 2)
    (node.var / "full").touch()
    done = node.run("scale", "4")
    assert done.returncode == 4, done.stderr
    assert "no more" in done.stderr
    assert all_there(node, 2) == before
    eventually(lambda: len(node.running()) == 3, "the end of those that failed")
    assert terminate(keeper)[0] == 0


def test_a_release_in_one_process_says_that_it_can_not_be_scaled(make: MakeNode) -> None:
    """None of its applications says that it may run twice."""
    node = make(asgi(TELLS_PID), libraries=["uvicorn"])
    keeper, _ = start(node)
    done = node.run("scale", "4")
    assert done.returncode == 1
    assert "none of its applications says `processes`" in done.stderr
    assert terminate(keeper)[0] == 0


ECHO = SECOND.replace('VERSION = "2"', 'VERSION = "1"').replace(
    'if scope["type"] != "http":\n        return\n',
    """if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": VERSION + message["text"]})
        return
""",
)


@pytest.mark.drill
def test_one_that_is_killed_at_any_moment_of_an_upgrade(make: MakeNode) -> None:
    """When the command has returned all processes are of one version, and so are all answers; WebSockets are told, or were of the one
    that was killed."""
    processes_wanted, upgrades = 4, 20
    libraries = ["uvicorn", "websockets"]
    node = make(asgi(ECHO, processes=processes_wanted), libraries=libraries)
    node.configure(underway_runtime={"drain_timeout": 0.5})
    add_sealed(node, "2", asgi(ECHO.replace('VERSION = "1"', 'VERSION = "2"'), processes=processes_wanted))
    keeper, port = start(node)
    all_there(node, processes_wanted)
    chance = random.Random(16)
    closed: list[int | None] = []
    enough = threading.Event()

    def talk() -> None:
        while not enough.is_set():
            try:
                with connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=TIMEOUT) as websocket:
                    while not enough.wait(0.01):
                        websocket.send("!")
                        assert websocket.recv(TIMEOUT) in ("1!", "2!")
            except ConnectionClosed as error:
                closed.append(None if error.rcvd is None else error.rcvd.code)
            except OSError:
                closed.append(None)

    talking = [threading.Thread(target=talk, daemon=True) for _ in range(8)]
    for thread in talking:
        thread.start()
    killed = 0
    version = "1"
    for _ in range(upgrades):
        wanted = "2" if version == "1" else "1"
        before = set(children(keeper))
        command = node.spawn("install", wanted, "--again")
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(chance.random() * 4)
        if new := sorted(set(children(keeper)) - before):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(chance.choice(new)), signal.SIGKILL)
                killed += 1
        returned, _, said = finish(command)
        assert returned in (0, 4), said
        version = wanted if returned == 0 else version
        pids_now = all_there(node, processes_wanted)
        rows = processes(node)
        assert {row["version"] for row in rows} == {version}, said
        assert len({row["release_id"] for row in rows}) == 1
        assert {answer(port).split()[0] for _ in range(20)} == {version}
        assert set(children(keeper)) == {str(pid) for pid in pids_now}
    enough.set()
    for thread in talking:
        thread.join(TIMEOUT)
    assert killed
    assert 1012 in closed
    assert {*closed} <= {1012, None}
    assert closed.count(None) <= 8 * killed
    assert terminate(keeper)[0] == 0
