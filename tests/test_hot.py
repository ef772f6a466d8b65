"""A node becomes a version of other code while it serves: real nodes of a release, their plan made by the planner."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.sync.client import connect

from handover_helpers import asgi, clients, start, status
from hot_helpers import SECOND, changed, get, planned, run, says, state, web
from node_helpers import App, MakeNode, eventually, terminate
from underway_runtime.release.relup import Row
from underway_runtime.upgrade.paths import reasons_of

pytestmark = pytest.mark.in_place


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
        assert (versions(before)["web"], versions(after)["web"]) == ("1.0", "2.0")
        assert "web" in run(node, "status")
        assert "2.0" in run(node, "status")
        place = run(node, "rpc", "import sys, web; print(sys.prefix, web.__file__)").split()
        assert place == [f"{node.root}/releases/2", f"{node.root}/lib/web-2.0/web.py"]
        run(node, "commit")

        assert run(node, "rollback").startswith("1 runs again, and is permanent; 2 is old")
        assert status(node)["pid"] == before["pid"]
        assert versions(status(node)) == versions(before)
        assert says(client) == "1 lobby 4 10"
    assert not served.failures
    assert {*served.answers} == {"1", "2"}
    assert terminate(process)[0] == 0


def versions(said: dict[str, Any]) -> dict[str, str]:
    """The versions of the applications, by what `status` says."""
    return {each["name"]: each["version"] for each in said["applications"]}


def test_a_reason_that_no_module_has_is_the_releases() -> None:
    """As where it could not be observed; of the others it is said in which module, and where in it."""
    places = ("web", "parked"), ("web", ""), ("", "")
    rows = [Row(module, definition, "changed", "RESTART", "because") for module, definition in places]

    assert reasons_of(rows) == "web:parked: because; web: because; the release: because"


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


KEPT = """
import gc, os, types
is_set_aside = gc.get_freeze_count() > 0
gc.unfreeze()
every = gc.get_objects()
gc.freeze()
names = [f"{type(each).__module__}.{type(each).__name__}" for each in every]
of_web = [each.__code__.co_filename for each in every if type(each) is types.FunctionType and each.__module__ == "web"]
large = ("release.manifest.ManifestEntry", "hot.targets.Target", "hot.undo_log.Acts", "observation.node.Node")
print(is_set_aside, [each for each in names if each.endswith(large)], {file.split("/")[-2] for file in of_web})
"""
"""Whether the collector's objects are set aside, what is left of the upgrades, and where the functions of the application are from."""


@pytest.mark.parametrize("times", [pytest.param(3), pytest.param(20, marks=pytest.mark.drill)])
def test_many_upgrades_up_and_down_drop_nothing(make: MakeNode, times: int) -> None:
    """Requests never fail, the connection stays, its room has all that was said, and nothing else of another version is kept."""
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
        assert run(node, "rpc", KEPT) == "True [] {'web-1.0'}\n"
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
    planned(node, second)
    process = node.spawn("start")
    pid = eventually(lambda: state(node), "it runs")["pid"]

    run(node, "install", "2", "--at-least", "hot")

    assert status(node)["pid"] == pid
    assert run(node, "rpc", "print(worker.seen, worker.version, worker.task.get_name())") == "[1, 2] 2.0 poll\n"
    assert terminate(process)[0] == 0


def test_an_endpoint_with_a_restart_hook_is_begun_anew(make: MakeNode) -> None:
    """It reads messages in a loop that may be: the connection stays, and the next one is read by the new code."""
    loop = """
    await looping(lambda: chat(receive, send, room))


async def chat(receive, send, room):
    while"""
    imports = ("import asyncio", "import asyncio\nfrom underway_runtime import looping")
    source = changed(imports, ("    while (message :=", loop[1:] + " (message :="))
    node = make(asgi(source), libraries=("uvicorn", "websockets"))
    planned(node, changed(("room.say(message", "'new ' + room.say(message"), source=source))
    process, port = start(node)
    with connect(f"ws://127.0.0.1:{port}/", proxy=None) as client:
        assert says(client) == "1 lobby 1 10"
        pid = status(node)["pid"]
        run(node, "install", "2", "--at-least", "hot")
        assert says(client) == "new 1 lobby 2 10"
        assert status(node)["pid"] == pid
    assert terminate(process)[0] == 0


def test_what_keeps_old_code_is_named(make: MakeNode) -> None:
    """A traceback that an error was stored with: it can't run any more, so it holds up nothing."""
    fails = (
        "    try:\n        1 / 0\n    except ZeroDivisionError as error:\n        rooms.setdefault('error', error)\n"
    )
    source = changed(("def answer():\n", f"def answer():\n{fails}"))
    node = make(asgi(source), libraries=("uvicorn", "websockets"))
    planned(node, source.replace('return "1"', 'return "2"'))
    process, port = start(node)
    assert get(port) == "1"

    said = run(node, "install", "2", "--at-least", "hot")

    assert "  note     of 1 there is still web:answer, line" in said
    assert get(port) == "2"
    assert terminate(process)[0] == 0
