"""A version that is planned in place, and can't be: a way is chosen that works, as `check` has said, and it is not marked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from handover_helpers import clients, start, status
from hot_helpers import BODY, changed, get, planned, run, web
from node_helpers import App, MakeNode, Node, read_until, terminate
from underway_runtime.release import relup
from underway_runtime.release.instructions import Apply, PointOfNoReturn
from versions import seal

pytestmark = pytest.mark.in_place

SERVICE = """
import asyncio, queue, threading, time
from underway_runtime import Application, looping

jobs = queue.Queue()

async def wait_for_ever():
    await asyncio.Event().wait()

async def serve():
    print("begun", flush=True)
    await wait_for_ever()
    return 1

async def consume():
    print("begun", flush=True)
    while True:
        await asyncio.sleep(0.01)
        handle()

def poll():
    print("begun", flush=True)
    while jobs.get():
        handle()

def numbers():
    print("begun", flush=True)
    while True:
        yield 1

def handle():
    return 1

class App(Application):
    async def start(self):
        self.kept = []
        BEGIN
    def stop(self):
        jobs.put(None)
    def suspend(self, within):
        return None
"""
TASK = "self.kept.append(asyncio.create_task({}()))"
STAYING = [
    pytest.param(TASK.format("serve"), ("return 1\n\nasync def consume", "return 2\n\nasync def consume"), id="serve"),
    pytest.param(TASK.format("consume"), ("sleep(0.01)", "sleep(0.02)"), id="consume"),
    pytest.param(
        "threading.Thread(target=poll, daemon=True).start()",
        ("while jobs.get():", "while jobs.get() is not None:"),
        id="poll",
    ),
    pytest.param("self.kept.append(numbers()); next(self.kept[0])", ("yield 1", "yield 2"), id="generator"),
]


def service(begin: str, *, suspends: bool = False) -> App:
    """An application that begins this when it starts."""
    source = SERVICE.replace("BEGIN", begin)
    if not suspends:
        source = source[: source.index("    def suspend")]
    return App("service", source, {"class": "service:App"})


def two_versions(make: MakeNode, app: App, edit: tuple[str, str]) -> Node:
    node = make(app)
    second = App(
        app.name,
        changed(edit, ("def handle():\n    return 1", "def handle():\n    return 2"), source=app.source),
        app.start,
    )
    made = planned(node, second)
    assert made.up[0].verdict == "HOT", made.up[0].changes
    return node


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(("begin", "edit"), STAYING)
def test_what_never_leaves_is_handed_over(make: MakeNode, begin: str, edit: tuple[str, str]) -> None:
    """No work is held for it; `check` says which way, why, and the status, and install does that; refused with 3 where it may not."""
    node = two_versions(make, service(begin), edit)
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    checked = json.loads(run(node, "check", "2", "--json"))
    only_hot = json.loads(node.run("check", "2", "--at-least", "hot", "--json").stdout)
    refused = run(node, "install", "2", "--at-least", "hot", status=3)
    assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
    said = run(node, "install", "2")

    assert (checked["outcome"], checked["status"]) == ("handover", 0)
    assert (only_hot["outcome"], only_hot["status"]) == ("refused", 3)
    for text in (*checked["notes"], *only_hot["reasons"], refused, said):
        assert "not left within 5 s, though it changes" in text
    assert f"2 runs (pid {status(node)['pid']}), and 1 has left (" in said
    assert status(node)["pid"] != pid
    assert run(node, "rpc", "import service; print(service.handle())") == "2\n"
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


def test_what_may_leave_when_its_application_suspends_is_given_the_time_to(make: MakeNode) -> None:
    """Where it does not, a handover follows; where that may not be, 4, and the version is not marked."""
    node = two_versions(make, service(TASK.format("consume"), suspends=True), ("sleep(0.01)", "sleep(0.02)"))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    assert "service:consume, line" in run(node, "install", "2", "--at-least", "hot", status=4)
    assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
    assert "failed" not in run(node, "releases")
    said = run(node, "upgrade", "2")

    assert "and 1 has left (" in said
    assert "service:consume, line" in said
    assert (status(node)["version"], status(node)["pid"] == pid) == ("2", False)
    assert terminate(process)[0] == 0


def test_a_handover_can_be_asked_for(make: MakeNode) -> None:
    """`--how handover` takes a new interpreter where none is needed, and `--how in-place` never; check says the same."""
    node = web(make)
    planned(node, changed(BODY))
    process, port = start(node)
    pid = status(node)["pid"]

    assert run(node, "check", "2", "--how", "in-place").startswith("2 would become the code of the process")
    checked = json.loads(run(node, "check", "2", "--how", "handover", "--json"))
    said = run(node, "install", "2", "--how", "handover")

    assert (checked["outcome"], checked["status"], checked["notes"][0]) == (
        "handover",
        0,
        "a new interpreter is needed: a handover was asked for",
    )
    assert "and 1 has left (a handover was asked for)" in said
    assert (get(port), status(node)["pid"] == pid) == ("2", False)
    run(node, "install", "1", "--how", "in-place")
    assert get(port) == "1"
    assert terminate(process)[0] == 0


def test_the_ways_that_exclude_each_other_are_told(make: MakeNode) -> None:
    """2, and nothing is asked of the node."""
    node = web(make)

    assert "--how handover and --at-least hot exclude each other" in run(
        node, "install", "2", "--how", "handover", "--at-least", "hot", status=2
    )
    assert "--how is in-place or handover" in run(node, "install", "2", "--how", "hot", status=2)


def test_what_is_found_only_when_it_is_done_is_handed_over(make: MakeNode) -> None:
    """A new statement that raises, or exits, in the process that runs, and not in a fresh one, makes no version undeployable."""
    node = web(make)
    for version, only_fresh in {"2": "[once for once in [1] if not rooms][0]", "3": "exit(7) if rooms else 1"}.items():
        assert planned(node, f"{changed(BODY)}\nFIRST = {only_fresh}\n", version).up[0].verdict == "HOT"
    process, port = start(node)
    pid = status(node)["pid"]
    run(node, "rpc", "import web; web.rooms['lobby'] = web.Room('lobby')")

    assert "IndexError" in run(node, "install", "2", "--at-least", "hot", status=3)
    assert "SystemExit: 7" in run(node, "install", "3", "--at-least", "hot", status=3)
    assert (get(port), status(node)["pid"]) == ("1", pid)
    run(node, "install", "2")

    assert (get(port), status(node)["pid"] == pid) == ("2", False)
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


def test_what_a_copy_of_the_process_can_not_be_made_ready_for_is_foretold(make: MakeNode) -> None:
    """A new statement that raises after all that stands below it by then; so does a look at the process that raises itself."""
    node = web(make)
    raises_later = "rooms = {}\nONCE = 1 // (1 - hasattr(__import__(__name__), 'talk'))"
    assert planned(node, changed(("rooms = {}", raises_later), BODY)).up[0].verdict == "HOT"
    process, port = start(node)
    pid = status(node)["pid"]

    assert "a new interpreter is needed: in a trial on this host it could not be made ready: ZeroDivisionError" in run(
        node, "check", "2"
    )
    assert "ZeroDivisionError" in run(node, "install", "2", "--at-least", "hot", status=3)
    run(node, "rpc", "import sys; sys._current_frames = [].pop")
    for command in (("check", "2"), ("install", "2", "--at-least", "hot")):
        assert "this process could not be looked at: IndexError" in run(node, *command, status=3 * (len(command) > 2))
    assert (get(port), status(node)["pid"]) == ("1", pid)
    assert "could not be looked at" in run(node, "install", "2")

    assert (get(port), status(node)["pid"] == pid) == ("2", False)
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


def test_an_application_that_can_not_suspend_is_handed_over(make: MakeNode) -> None:
    """It is the one that runs which raises, so the version that comes is not marked."""
    node = two_versions(make, service("print('begun', flush=True)", suspends=True), ("yield 1", "yield 2"))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]
    run(node, "rpc", "import service; service.App.suspend = lambda self, within: [].pop()")

    refused = run(node, "install", "2", "--at-least", "hot", status=3)
    assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
    said = run(node, "install", "2")

    for text in (refused, said):
        assert "service could not suspend: IndexError: pop from empty list" in text
    assert (status(node)["version"], status(node)["pid"] == pid) == ("2", False)
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


def test_what_the_relup_calls_first_may_refuse(make: MakeNode) -> None:
    """A function that raises, or exits, before the point of no return: nothing has happened yet, so it is handed over, and no fault."""
    node = web(make)
    made = planned(node, changed(BODY))
    process, port = start(node)
    pid = status(node)["pid"]
    for kind in ("ValueError", "SystemExit"):
        first, [up] = Apply("builtins", "exec", (f"raise {kind}('not now')",)), made.up
        (node.root / "releases/2/relup").write_text(
            relup.dump(replace(made, up=(replace(up, instructions=(first, PointOfNoReturn(), *up.instructions)),)))
        )
        seal(node, "2")

        said = run(node, "install", "2", "--at-least", "hot", status=3)

        assert f"builtins.exec, which the relup calls first, raised {kind}: not now" in said
        assert (get(port), status(node)["pid"]) == ("1", pid)
    run(node, "install", "2")
    assert (get(port), status(node)["pid"] == pid) == ("2", False)
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


MAIN = """
import time

def handle():
    return 1

def main():
    print("begun", flush=True)
    while True:
        time.sleep(0.01)
        handle()
"""


def test_a_main_that_loops_in_what_changes_is_handed_over(make: MakeNode) -> None:
    """It never leaves its own body, which changes; what it calls may change in place."""
    app = App("tool", MAIN, {"main": "tool:main", "args": []})
    node = make(app)
    planned(node, App("tool", MAIN.replace("0.01", "0.02"), app.start))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    checked = run(node, "check", "2")
    said = run(node, "install", "2")

    for text in (checked, said):
        assert "tool:main, line" in text
        assert "frame of thread 'MainThread'" in text
    assert (status(node)["version"], status(node)["pid"] == pid) == ("2", False)
    assert terminate(process)[0] == 0


def test_a_lifespan_that_changes_is_handed_over(make: MakeNode) -> None:
    """It is suspended for as long as the application runs; no request fails."""
    node = web(make)
    planned(
        node,
        changed(
            BODY,
            (
                'while (await receive())["type"] == "lifespan.startup"',
                'while "lifespan.startup" == (await receive())["type"]',
            ),
        ),
    )
    process, port = start(node)

    with clients(port) as served:
        assert "new interpreter is needed: not left within 5 s" in run(node, "check", "2")
        said = run(node, "install", "2")

    assert "web:app, line" in said
    assert get(port) == "2"
    assert not served.failures
    assert terminate(process)[0] == 0
