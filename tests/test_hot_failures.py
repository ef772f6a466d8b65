"""A node that can't become another version goes on as the one that it was: what OTP gets wrong in place, with ours right."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.sync.client import connect

from handover_helpers import asgi, clients, start, status
from hot_helpers import (
    BODY,
    GO_ON,
    PARKED,
    SECOND,
    changed,
    compiled,
    get,
    parked,
    planned,
    run,
    says,
    state,
    wait_longer,
    web,
)
from node_helpers import TIMEOUT, App, MakeNode, eventually, finish, terminate
from underway_runtime.release import relup
from underway_runtime.release.instructions import ApplicationStart, ApplicationStop
from underway_runtime.release.manifest import read
from versions import seal

pytestmark = pytest.mark.in_place


def test_a_migration_that_raises_changes_nothing(make: MakeNode) -> None:
    """The version that ran serves on over the same connection; 4, and the version is marked."""
    node = web(make)
    planned(node, changed(("return {**state", "raise ValueError('no topic')\n        return {**state"), source=SECOND))
    process, port = start(node)
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        assert says(client) == "1 lobby 1 10"

        assert "no topic" in run(node, "install", "2", status=4)

        assert says(client) == "1 lobby 2 10"
        assert status(node)["version"] == "1"
        assert "failed: " in run(node, "releases")
        assert run(node, "rpc", "import web; print(vars(web.rooms['lobby']), web.LIMIT)").startswith("{'name': 'lobby'")
    assert terminate(process)[0] == 0


def test_a_gate_that_fails_afterwards_goes_back_in_the_process(make: MakeNode) -> None:
    """By the relup's way down, with code_change again."""
    node = web(make)
    planned(node, SECOND, gates=[{"command": ["false"], "attempts": 1}])
    process, port = start(node)
    pid = status(node)["pid"]
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        assert says(client) == "1 lobby 1 10"
        assert "command false: status 1" in run(node, "install", "2", status=4)
        assert says(client) == "1 lobby 2 10"
    assert (status(node)["pid"], status(node)["version"]) == (pid, "1")
    assert run(node, "rpc", "import web; print('topic' in vars(web.rooms['lobby']))") == "False\n"
    assert terminate(process)[0] == 0


def test_where_there_is_no_way_back_a_fresh_interpreter_takes_over(make: MakeNode) -> None:
    """One-way: the version that ran serves again, from another process."""
    node = web(make)
    planned(node, SECOND, back=False, gates=[{"command": ["false"], "attempts": 1}])
    process, port = start(node)
    pid = status(node)["pid"]
    with clients(port) as served:
        assert "and 1 has taken over again: gates failed" in run(node, "install", "2", status=4)
        assert status(node)["version"] == "1"
        assert status(node)["pid"] != pid
    assert not served.failures
    assert terminate(process)[0] == 0


def test_a_relup_for_another_build_is_not_used(make: MakeNode) -> None:
    """It is named; nothing is swapped by a plan that was not made for these two."""
    node = web(make)
    planned(node, SECOND)
    place = node.root / "releases/1/sys.config"
    place.write_text(place.read_text() + "\n")
    seal(node, "1")
    process, _ = start(node)
    assert "made for a 1 of release id" in run(node, "install", "2", "--at-least", "hot", status=3)
    assert read(node.root / "releases/1/manifest.json").version == "1"
    assert status(node)["version"] == "1"
    assert terminate(process)[0] == 0


def test_a_request_inside_what_changes_is_waited_for_and_never_swapped_under(make: MakeNode) -> None:
    """Who has not left by the deadline is named, before new work is held; when it leaves, the install goes through."""
    node = web(make)
    planned(node, PARKED)
    process, port = start(node)
    with clients(port, count=1) as served, parked(node, port) as answers:
        said = run(node, "install", "2", "--at-least", "hot", status=3)

        assert "park, line" in said
        assert "coroutine of task" in said
        assert status(node)["version"] == "1"
        assert "failed" not in run(node, "releases")
        wait_longer(node)
        waiting = node.spawn("install", "2")
        eventually(lambda: "installing" in run(node, "status"), "it waits")
        run(node, "rpc", GO_ON)
        assert finish(waiting)[0] == 0
        assert get(port, "/park") == "2"
    assert answers == ["1"]
    assert not served.failures
    assert terminate(process)[0] == 0


def test_a_crash_afterwards_boots_the_permanent_version(make: MakeNode) -> None:
    """What is not committed is temporary, swapped or not."""
    node = web(make)
    planned(node, SECOND)
    process, _ = start(node)
    run(node, "install", "2", "--at-least", "hot")
    os.kill(status(node)["pid"], signal.SIGKILL)
    assert eventually(lambda: state(node), "it runs")["version"] == "1"
    assert terminate(process)[0] == 0


def test_an_endpoint_that_reads_messages_in_changed_code_takes_a_new_interpreter(make: MakeNode) -> None:
    """It can't leave while its connection is open: install hands over, at once, or ends with 3 where that is refused."""
    node = web(make)
    made = planned(node, changed(BODY, ("room.say(message", "'new ' + room.say(message")))
    assert made.up[0].verdict == "HOT"
    process, port = start(node)
    pid = status(node)["pid"]
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client, clients(port) as served:
        assert says(client) == "1 lobby 1 10"
        assert "WebSockets stay in what changes while they are open" in run(node, "check", "2")

        said = run(node, "install", "2", "--at-least", "hot", status=3)

        assert "WebSockets stay in what changes while they are open" in said
        assert "talk, line" in said
        assert says(client) == "1 lobby 2 10"
        assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
        assert "failed" not in run(node, "releases")
        installing = node.spawn("install", "2")
        eventually(lambda: get(port) == "2", "another accepts")
        assert says(client) == "1 lobby 3 10"
        client.close()  # which the old one waits for
        assert finish(installing)[0] == 0
        assert status(node)["pid"] != pid
        with connect(f"ws://127.0.0.1:{port}/", proxy=None) as other:
            assert says(other) == "new 1 lobby 1 10"
    assert not served.failures
    assert terminate(process)[0] == 0


def test_a_thread_that_does_not_leave_is_never_skipped(make: MakeNode) -> None:
    """It is named at the deadline; what it was at comes to its end in the code that it has begun with."""
    wait = "import threading\ngo_on = threading.Event()\n\n\ndef answer():\n    go_on.wait()\n    return '1'\n"
    source = changed(('def answer():\n    return "1"', wait), ("else answer()", "else await asyncio.to_thread(answer)"))
    node = make(asgi(source), libraries=("uvicorn", "websockets"))
    planned(node, source.replace("return '1'", "return '2'"))
    process, port = start(node)
    answers: list[str] = []
    asks = threading.Thread(target=lambda: answers.append(get(port)), daemon=True)
    asks.start()
    eventually(lambda: run(node, "rpc", "import web; print(*web.go_on._cond._waiters)").strip(), "it is inside")

    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert "answer, line" in said
    assert "frame of thread 'asyncio_0'" in said
    run(node, "rpc", "import web; web.go_on.set()")
    asks.join(TIMEOUT)
    assert answers == ["1"]
    run(node, "install", "2", "--at-least", "hot")
    assert get(port) == "2"
    assert terminate(process)[0] == 0


def flip(file: Path) -> None:
    """Another byte in the middle, as a disk may have it."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("which", ["code", "relup"])
def test_a_byte_that_was_changed_on_the_disk_is_found_before_anything_is_done(make: MakeNode, which: str) -> None:
    """In the compiled code of the version that comes, or in the plan: 4 with the name of the file; nothing is handed over either."""
    node = web(make)
    planned(node, SECOND)
    file = compiled(node, "2") if which == "code" else node.root / "releases/2/relup"
    good = file.read_bytes()
    process, port = start(node)
    pid = status(node)["pid"]
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        assert says(client) == "1 lobby 1 10"
        flip(file)

        said = run(node, "install", "2", status=4)

        assert f"{file.relative_to(node.root)} has been changed: its sha256 differs" in said
        assert says(client) == "1 lobby 2 10"
        assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
        file.write_bytes(good)
        run(node, "install", "2", "--again", "--at-least", "hot")
        assert says(client) == "2 lobby 3 20 was 1.0"
        flip(file)  # in this process the way down begins at what is damaged
        assert "1 takes a new interpreter: " in run(node, "install", "1", "--at-least", "hot", status=3)
        assert says(client) == "2 lobby 4 20 was 1.0"
    run(node, "install", "1")
    assert get(port) == "1"
    assert terminate(process)[0] == 0


def test_without_a_relup_a_new_interpreter_takes_over(make: MakeNode) -> None:
    """Where that is refused the status is 3, with the reason; nothing has changed."""
    node = web(make)
    planned(node, SECOND)
    (node.root / "releases/2/relup").unlink()
    seal(node, "2")
    process, port = start(node)
    pid = status(node)["pid"]
    with clients(port) as served:
        said = run(node, "install", "2", "--at-least", "hot", status=3)
        assert "2 takes a new interpreter: there is no relup; nothing has changed" in said
        assert status(node)["pid"] == pid
        run(node, "install", "2")
        assert (status(node)["version"], status(node)["pid"] != pid) == ("2", True)
    assert not served.failures
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("other", ["2", "3"])
def test_of_two_installs_at_once_the_second_is_told_of_the_first(make: MakeNode, other: str) -> None:
    """Of the same version or of another: 75, with who is doing it. The first one is done, and the second then goes through."""
    node = web(make)
    planned(node, PARKED)
    wait_longer(node)
    planned(node, SECOND, "3")
    process, port = start(node)
    with clients(port, count=1) as served, parked(node, port):
        first = node.spawn("install", "2")
        eventually(lambda: "installing" in run(node, "status"), "it waits")

        assert f" (pid {first.pid}) has been running for " in run(node, "install", other, status=75)
        run(node, "rpc", GO_ON)
        assert finish(first)[0] == 0
        assert status(node)["version"] == "2"
        run(node, "install", other)
        assert status(node)["version"] == other
    assert not served.failures
    assert terminate(process)[0] == 0


def test_where_the_first_of_two_fails_the_second_goes_through(make: MakeNode) -> None:
    """In the process that runs all the time; the first is marked."""
    node = web(make)
    planned(node, changed(("return {**state", "raise ValueError('no topic')\n        return {**state"), source=SECOND))
    planned(node, changed(BODY), "3")
    process, port = start(node)
    pid = status(node)["pid"]
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        assert says(client) == "1 lobby 1 10"
        assert "no topic" in run(node, "install", "2", status=4)
        run(node, "install", "3", "--at-least", "hot")
        assert (status(node)["version"], status(node)["pid"]) == ("3", pid)
        assert says(client) == "1 lobby 2 10"
        assert run(node, "install", "3") == "3 runs already\n"
    assert terminate(process)[0] == 0


STAYS = {
    "a function": App(
        "tool",
        """
        import signal, sys, threading
        started = []

        def answer():
            return "1"

        def main():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            started.append(answer())
            print("started 1", file=sys.stderr, flush=True)
            threading.Event().wait()
        """,
        {"main": "tool:main"},
    ),
    "an application": App(
        "tool",
        """
        import asyncio, sys
        from underway_runtime import Application
        started = []

        def answer():
            return "1"

        class Tool(Application):
            async def start(self):
                started.append(answer())
                print("started 1", file=sys.stderr, flush=True)

            async def stop(self):
                if answer() == "1":
                    await asyncio.Event().wait()
        """,
        {"class": "tool:Tool"},
    ),
}


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(("kind", "started"), [("a function", "1"), ("an application", "1 1")])
def test_what_does_not_stop_where_the_relup_stops_it_is_not_started_next_to_itself(
    make: MakeNode, kind: str, started: str
) -> None:
    """Nothing is swapped: 3, or a handover. A function that still runs is not begun again; an application that was cut off is."""
    app = STAYS[kind]
    node = make(app)
    node.configure(underway_runtime={"drain_timeout": 1, "stop_timeout": 1})
    made = planned(node, replace(app, source=changed(('return "1"', 'return "2"'), source=app.source)))
    ways = [
        replace(way, instructions=(ApplicationStop("tool"), *way.instructions, ApplicationStart("tool", "permanent")))
        for way in made.up
    ]
    (node.root / "releases/2/relup").write_text(relup.dump(replace(made, up=tuple(ways))))
    seal(node, "2")
    process, _ = start(node, r"started (\d+)")

    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert "tool has not ended within 1 s of being told to, and must not run twice" in said
    assert run(node, "rpc", "import tool; print(*tool.started, tool.answer())") == f"{started} 1\n"
    run(node, "install", "2")
    assert run(node, "rpc", "import tool; print(*tool.started)") == "2\n"
    assert terminate(process)[0] in (0, 1)
