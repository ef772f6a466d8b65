"""A node becomes a version of other code while it serves: real nodes of a release, their plan made by the planner."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from handover_helpers import asgi, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, terminate
from underway.upgrade.plan import plan
from underway.upgrade.releases import open_release
from underway_runtime.release import relup
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.manifest import read
from versions import add, seal

WEB = """
import asyncio

LIMIT = 10
rooms = {}
parked = asyncio.Event()


class Room:
    def __init__(self, name):
        self.name = name
        self.said = []

    def say(self, text):
        self.said.append(text)
        return f"1 {self.name} {len(self.said)} {LIMIT}"


async def park():
    await parked.wait()
    return "1"


def answer():
    return "1"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await talk(receive, send)
    else:
        body = await park() if scope["path"] == "/park" else answer()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": body.encode()})


async def talk(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    room = rooms.setdefault("lobby", Room("lobby"))
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": room.say(message["text"])})
"""

ROOM_2 = """
    def __init__(self, name):
        self.name = name
        self.said = []
        self.topic = "none"

    @staticmethod
    def code_change(old_version, state, extra):
        if not isinstance(old_version, str):
            state.pop("topic")
            return state
        return {**state, "topic": f"was {old_version}"}

    def say(self, text):
        self.said.append(text)
        return self.shown()

    def shown(self):
        return f"2 {self.name} {len(self.said)} {LIMIT} {self.topic}"
"""


def changed(*edits: tuple[str, str], source: str = WEB) -> str:
    """The source, with each text replaced by another."""
    for before, after in edits:
        assert before in source, before
        source = source.replace(before, after)
    return source


ROOM_1 = WEB[WEB.index("    def __init__") : WEB.index("\n\nasync def park")]
BODY = ('def answer():\n    return "1"', 'def answer():\n    return "2"')
SECOND = changed(BODY, ("LIMIT = 10", "LIMIT = 20"), (ROOM_1, ROOM_2))


def planned(node: Node, source: str, version: str = "2", *, back: bool = True, **how: Any) -> relup.Relup:
    """Another version of the web application beside the first, with the plan that leads there and back."""
    app = asgi(textwrap.dedent(source))
    place = add(node, version, app, **how)
    for each in ("1", version):
        write_rel(node, each)
        seal(node, each)
    with ExitStack() as cleanup:
        old, new = (open_release(node.root / "releases" / each, cleanup) for each in ("1", version))
        made = plan(new, [old], [old] if back else [])
    (place / "relup").write_text(relup.dump(made))
    seal(node, version)
    return made


def write_rel(node: Node, version: str) -> None:
    place = ReleaseDirectory(node.root).version(version)
    place.rel(node.name).write_text(json.dumps(rel(node, version)))


def rel(node: Node, version: str) -> dict[str, Any]:
    from underway_runtime.release.bootscript import Load, Start
    from underway_runtime.release.bootscript import read as script

    instructions = script(ReleaseDirectory(node.root).version(version).boot_script("start")).instructions
    modes = {each.application: each.mode for each in instructions if isinstance(each, Start)}
    [python] = node.root.glob("python-*")
    applications = [
        {"name": each.application, "version": each.version, "mode": modes.get(each.application, "load")}
        for each in instructions
        if isinstance(each, Load)
    ]
    interpreter = python.name.removeprefix("python-")
    return {
        "format": 1,
        "name": node.name,
        "version": version,
        "interpreter": interpreter,
        "applications": applications,
    }


def web(make: MakeNode) -> Node:
    return make(asgi(WEB), libraries=("uvicorn", "websockets"))


def run(node: Node, *arguments: str, status: int = 0) -> str:
    """What a command says; it ends with this status."""
    done = node.run(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def says(client: ClientConnection, text: str = "hello") -> str:
    client.send(text)
    return str(client.recv(timeout=TIMEOUT))


def test_an_open_connection_meets_new_code_and_its_room_is_carried_over(make: MakeNode) -> None:
    """A changed body, a new method, a new field on a live object, a constant: up and down, in one process, and none fails."""
    node = web(make)
    made = planned(node, SECOND)
    assert [entry.verdict for entry in (*made.up, *made.down)] == ["MIGRATE", "MIGRATE"]
    process, port = start(node)
    before = status(node)

    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client, clients(port) as served:
        assert says(client) == "1 lobby 1 10"

        assert run(node, "check", "2").startswith("2 would become the code of the process that runs 1\n")
        assert says(client) == "1 lobby 2 10"
        said = run(node, "install", "2", "--at-least", "hot")

        assert said.startswith(f"2 runs (pid {before['pid']}) in the process that ran 1; new work waited for ")
        assert says(client) == "2 lobby 3 20 was 1.0"
        after = status(node)
        assert (after["version"], after["pid"]) == ("2", before["pid"])
        place = run(node, "rpc", "import sys, web; print(sys.prefix, web.__file__)").split()
        assert place == [f"{node.root}/releases/2", f"{node.root}/lib/web-2.0/web.py"]
        run(node, "commit")

        assert run(node, "rollback").startswith("1 is what boots, instead of 2")
        assert status(node)["pid"] == before["pid"]
        assert says(client) == "1 lobby 4 10"
    assert not served.failures
    assert {*served.answers} == {"1", "2"}
    assert terminate(process)[0] == 0


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
        assert "and 1 has taken over again: gates do not hold" in run(node, "install", "2", status=4)
        assert status(node)["version"] == "1"
        assert status(node)["pid"] != pid
    assert not served.failures
    assert terminate(process)[0] == 0


def test_a_request_inside_what_changes_is_waited_for_and_never_swapped_under(make: MakeNode) -> None:
    """At the deadline the install fails and names it; when it leaves, the install goes through."""
    node = web(make)
    source = changed(BODY, ('await parked.wait()\n    return "1"', 'await parked.wait()\n    return "2"'))
    planned(node, source)
    process, port = start(node)
    with clients(port, count=1) as served:
        answers: list[str] = []
        parked = threading.Thread(target=lambda: answers.append(get(port, "/park")), daemon=True)
        parked.start()
        eventually(lambda: "park" in run(node, "rpc", INSIDE), "it is inside")

        said = run(node, "install", "2", status=4)

        assert "park, line" in said
        assert "coroutine of task" in said
        assert status(node)["version"] == "1"
        assert "failed" not in run(node, "releases")
        waiting = node.spawn("install", "2")
        eventually(lambda: "installing" in run(node, "status"), "it waits")
        run(node, "rpc", "import web; web.parked.set()")
        out, err = waiting.communicate(timeout=TIMEOUT)
        assert waiting.returncode == 0, out + err
        parked.join(TIMEOUT)
        assert answers == ["1"]
        assert get(port, "/park") == "2"
    assert not served.failures
    assert terminate(process)[0] == 0


INSIDE = "import web; print('park' if web.parked._waiters else '')"


def get(port: int, path: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT) as answer:
        return str(answer.read().decode())


def test_what_takes_a_new_interpreter_is_handed_over_unless_that_is_refused(make: MakeNode) -> None:
    """An object with an identity is made otherwise: the plan says why; with --at-least hot nothing happens and the status is 3."""
    node = web(make)
    made = planned(node, changed(("parked = asyncio.Event()", "parked = asyncio.Barrier(2)")))
    assert made.up[0].verdict == "RESTART"
    process, port = start(node)
    pid = status(node)["pid"]

    checked = run(node, "check", "2")
    assert checked.startswith("2 would take over from 1 by handover")
    assert "a new interpreter is needed: the relup says RESTART: web:parked: " in checked
    said = run(node, "install", "2", "--at-least", "hot", status=3)
    assert "takes a new interpreter" in said
    assert "web:parked" in said
    assert status(node)["version"] == "1"

    with clients(port) as served:
        assert "and 1 has left" in run(node, "install", "2")
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
    assert "made for a 1 of release id" in run(node, "install", "2", "--at-least", "hot", status=4)
    assert read(node.root / "releases/1/manifest.json").version == "1"
    assert status(node)["version"] == "1"
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


def state(node: Node) -> dict[str, Any] | None:
    done = node.run("status", "--json")
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    return found if found.get("state") == "running" else None


@pytest.mark.parametrize("times", [pytest.param(3), pytest.param(20, marks=pytest.mark.drill)])
def test_many_upgrades_up_and_down_drop_nothing(make: MakeNode, times: int) -> None:
    """Requests never fail, the connection stays, and its room has all that was said."""
    node = web(make)
    planned(node, SECOND)
    process, port = start(node)
    pid = status(node)["pid"]
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client, clients(port) as served:
        count = 0
        for _ in range(times):
            for version in ("2", "1"):
                run(node, "install", version, "--at-least", "hot")
                count += 1
                assert says(client).startswith(f"{version} lobby {count} ")
    assert status(node)["pid"] == pid
    assert not served.failures
    assert terminate(process)[0] == 0


def test_an_application_that_must_be_told_is(make: MakeNode) -> None:
    """A class: its version is the new one, its loop with a restart hook runs the new code, its thread stays."""
    source = """
    import asyncio
    from underway_runtime import Application, looping

    class App(Application):
        async def start(self):
            self.seen = []
            self.task = looping(self.poll, name="poll")
            return self.task

        async def poll(self):
            while True:
                self.seen.append(1)
                await asyncio.Event().wait()
    """
    first = App("worker", source, {"class": "worker:App"})
    node = make(first)
    second = App("worker", source.replace("append(1)", "append(2)"), {"class": "worker:App"})
    place = add(node, "2", second)
    for each in ("1", "2"):
        write_rel(node, each)
        seal(node, each)
    with ExitStack() as cleanup:
        old, new = (open_release(node.root / "releases" / each, cleanup) for each in ("1", "2"))
        (place / "relup").write_text(relup.dump(plan(new, [old], [old])))
    seal(node, "2")
    process = node.spawn("start")
    pid = eventually(lambda: state(node), "it runs")["pid"]

    run(node, "install", "2", "--at-least", "hot")

    assert status(node)["pid"] == pid
    assert run(node, "rpc", "print(worker.seen, worker.version, worker.task.get_name())") == "[1, 2] 2.0 poll\n"
    assert terminate(process)[0] == 0
