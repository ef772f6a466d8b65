"""A version that only is configured otherwise is installed in the process that runs: real nodes of a release."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from handover_helpers import ASGI, asgi, children, clients, start, status
from hot_helpers import planned
from node_helpers import App, MakeNode, Node, eventually, finish, read_until, recorder, terminate
from versions import add_sealed, seal

SOURCE = """
import os
from underway_runtime import Application, config

class App(Application):
    HOW
    def config_change(self, changed, new, removed):
        print(self.name, "changed", changed, new, removed, config.application(self.name), flush=True)
        FAILS
"""


def reporting(name: str, how: str = "", fails: str = "pass") -> App:
    """An application that says what it is told."""
    return App(name, SOURCE.replace("HOW", how).replace("FAILS", fails), {"class": f"{name}:App"})


def run(node: Node, *arguments: str, status: int = 0) -> str:
    """What a command says; it ends with this status."""
    done = node.run(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def runs(node: Node) -> dict[str, Any]:
    """What the node says of itself, once it runs."""

    def running() -> dict[str, Any] | None:
        done = node.run("status", "--json")
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        return found if found.get("state") == "running" else None

    found: dict[str, Any] = eventually(running, "it runs")
    return found


def journal(node: Node) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (node.var / "journal/upgrades.jsonl").read_text().splitlines()]


def test_only_configuration_changes_in_the_process(make: MakeNode) -> None:
    """Those that it concerns are told in start order; the process is the same, and every command sees the version."""
    node = make(reporting("one"), reporting("two"), reporting("three"))
    node.configure(one={"a": 1, "b": 2, "c": 3}, two={"same": 1}, three={})
    add_sealed(node, "2", one={"a": 1, "b": 5, "d": [4]}, two={"same": 1}, three={"new": 1})
    process = node.spawn("start")
    before = runs(node)

    assert run(node, "check", "2").startswith("2 would be configured in the process that runs 1\n")
    said = run(node, "install", "2")

    assert said == (
        f"2 runs (pid {before['pid']}) in the process that ran 1, configured otherwise; `commit` makes it the one that boots\n"
    )
    assert (
        read_until(process.stdout, "changed").string
        == "one changed {'b': 5} {'d': [4]} ['c'] {'a': 1, 'b': 5, 'd': [4]}\n"
    )
    assert read_until(process.stdout, "changed").string == "three changed {} {'new': 1} [] {'new': 1}\n"
    after = status(node)
    assert (after["version"], after["pid"], after["state"]) == ("2", before["pid"], "running")
    assert after["release_id"] not in (None, before["release_id"])
    assert 'version="2"' in run(node, "metrics")
    assert "b = 5" in run(node, "config")
    variables = run(node, "rpc", "import os; print(os.environ['RELEASE_VSN'], os.environ['RELEASE_SYS_CONFIG'])")
    assert variables == f"2 {node.root / 'releases/2/sys.config'}\n"
    assert [(event["event"], event["outcome"], event["how"]) for event in journal(node)] == [
        ("install", "done", "configuration")
    ]
    assert "2  current, runs" in run(node, "releases")
    assert run(node, "commit") == "2 is permanent; 1 is old\n"
    assert "remove 1 is refused: the node was started from it; restart it first" in run(node, "remove", "1", status=1)

    assert run(node, "rollback") == "1 runs again, and is permanent; 2 is old\n"
    assert read_until(process.stdout, "changed").string.startswith("one changed {'b': 2} {'c': 3} ['d']")
    assert read_until(process.stdout, "changed").string == "three changed {} {} ['new'] {}\n"
    assert [(event["event"], event["how"]) for event in journal(node)][1:] == [("rollback", "configuration")]
    assert (status(node)["version"], status(node)["pid"]) == ("1", before["pid"])
    assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"one": {"a": 2}}, None),
        ({"one": {"a": 1, "drain_timeout": 3}}, "drain_timeout of one is read when it starts"),
        ({"one": {"a": 1}, "underway_runtime": {"stop_timeout": 3}}, "stop_timeout"),
    ],
    ids=["of a class that is told", "read at the start", "of underway itself"],
)
def test_the_plan_says_of_a_setting_what_check_and_install_do(
    make: MakeNode, config: dict[str, Any], why: str | None
) -> None:
    """HOT where the application can be told of it in the process that runs, else RESTART and a handover."""
    node = make(reporting("one"))
    node.configure(one={"a": 1})
    [up] = planned(node, reporting("one"), **config).up
    assert up.verdict == ("RESTART" if why else "HOT")
    process = node.spawn("start")
    before = runs(node)
    checked = run(node, "check", "2")
    assert (why is None) == checked.startswith("2 would become the code of the process that runs 1\n")
    assert (why is None) == (json.loads(run(node, "install", "2", "--json"))["how"] == "hot")
    assert (why is None) == (runs(node)["pid"] == before["pid"])
    if why:
        assert why in " ".join(row.reason for row in up.changes)
        assert checked.startswith("2 would take over from 1 by handover\n")
    assert terminate(process)[0] == 0


def test_without_a_commit_a_restart_boots_the_permanent_version(make: MakeNode) -> None:
    """After a crash too; and where it is not committed in time, that takes over. Both are marked."""
    node = make(reporting("one"))
    node.configure(one={"a": 1})
    add_sealed(node, "2", one={"a": 2})
    process = node.spawn("start")
    runs(node)

    run(node, "install", "2")
    os.kill(status(node)["pid"], signal.SIGKILL)
    assert runs(node)["version"] == "1"

    assert "it was ended by signal 9 before it was committed" in run(node, "install", "2", status=1)
    run(node, "install", "2", "--again", "--commit-within", "0.1")
    eventually(lambda: node.lock_contents()["version"] == "1", "the permanent version takes over")
    eventually(lambda: len(children(process)) == 1, "the other leaves")
    assert "it was not committed within 0.1 s" in run(node, "install", "2", status=1)
    run(node, "install", "2", "--again")
    run(node, "commit")
    run(node, "restart")
    assert status(node)["version"] == "2"
    assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    ("fails", "gates", "reason"),
    [
        (
            "if config.get('two', 'a') == 2: raise ValueError('no such room')",
            [],
            "two could not take its configuration",
        ),
        ("", [{"command": ["false"], "attempts": 1}], "command false: status 1"),
    ],
    ids=["raises", "gate"],
)
def test_it_is_all_or_nothing(make: MakeNode, fails: str, gates: list[Any], reason: str) -> None:
    """What was told is told back, the last one first; the version is marked, and 1 runs on as configured."""
    node = make(reporting("one"), reporting("two", fails=fails))
    node.configure(one={"a": 1}, two={"a": 1})
    add_sealed(node, "2", one={"a": 2}, two={"a": 2}, gates=gates)
    process = node.spawn("start")
    before = runs(node)

    assert reason in run(node, "install", "2", status=4)

    assert [read_until(process.stdout, "changed").string[:22] for _ in range(4)] == [
        "one changed {'a': 2} {",
        "two changed {'a': 2} {",
        "two changed {'a': 1} {",
        "one changed {'a': 1} {",
    ]
    assert (status(node)["version"], status(node)["pid"]) == ("1", before["pid"])
    assert run(node, "rpc", "print(config.get('one', 'a'), config.get('two', 'a'))") == "1 1\n"
    assert "failed: " in run(node, "releases")
    assert journal(node)[-1]["outcome"] == "undone"
    run(node, "install", "2", status=1)
    assert terminate(process)[0] == 0


def test_one_that_ends_the_process_is_undone_by_the_keeper(make: MakeNode) -> None:
    """As what fails after it has taken over is, with or without a heart."""
    node = make(reporting("one", fails="os._exit(3)"))
    node.configure(one={"a": 1})
    add_sealed(node, "2", one={"a": 2})
    process = node.spawn("start")
    runs(node)

    assert "2 ended the process, and 1 is started" in run(node, "install", "2", status=4)
    assert runs(node)["version"] == "1"
    assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    ("app", "before", "after", "gates", "reason"),
    [
        (recorder("one"), {"a": 1}, {"a": 2}, [], "one has no config_change, and a is changed"),
        (
            reporting("one"),
            {"drain_timeout": 1},
            {"drain_timeout": 2},
            [],
            "drain_timeout of one is read when it starts",
        ),
        (asgi(), {}, {}, [{"http": "/"}], "http / asks for a path, for which the node that runs has no socket"),
    ],
    ids=["no config_change", "read by the node", "a gate"],
)
def test_what_nobody_could_be_told_takes_a_new_interpreter(
    make: MakeNode, app: App, before: dict[str, Any], after: dict[str, Any], gates: list[Any], reason: str
) -> None:
    """And check says so."""
    node = make(app, libraries=["uvicorn"])
    node.configure(one=before)
    add_sealed(node, "2", gates=gates, one=after)
    process = node.spawn("start")
    pid = runs(node)["pid"]

    said = run(node, "check", "2")
    assert said.startswith("2 would take over from 1 by handover\n")
    assert f"note     a new interpreter is needed: {reason}" in said
    assert ", and 1 has left (" in run(node, "install", "2")
    assert status(node)["pid"] != pid
    assert journal(node)[-1]["how"] == "handover"
    assert terminate(process)[0] == 0


def test_a_provider_of_the_version_that_comes_sees_that_version(make: MakeNode) -> None:
    """It runs in an interpreter of its own, with the variables that the node was started with."""
    node = make(reporting("one"))
    node.environ["PORT"] = "7"
    add_sealed(node, "2")
    place = node.root / "releases/2"
    provider = ["underway_runtime.providers:PythonFile", {"path": "runtime.py"}]
    (place / "sys.config").write_text(json.dumps({"format": 1, "config": {"one": {}}, "providers": [provider]}))
    text = "from underway_runtime import config, env\nconfig('one', port=int(env('PORT')), version=env('RELEASE_VSN'))"
    (place / "runtime.py").write_text(text)
    seal(node, "2")
    process = node.spawn("start")
    runs(node)

    run(node, "install", "2")

    assert "{'port': 7, 'version': '2'}" in read_until(process.stdout, "changed").string
    assert terminate(process)[0] == 0


def test_connections_stay(make: MakeNode) -> None:
    """Clients of a web application next to it notice nothing."""
    node = make(asgi(), reporting("one"), libraries=["uvicorn"])
    node.configure(one={"a": 1})
    add_sealed(node, "2", one={"a": 2})
    keeper, port = start(node)
    pid = status(node)["pid"]

    with clients(port) as served:
        for version in "2121":
            run(node, "install", version)

    assert (served.failures, status(node)["pid"]) == ([], pid)
    assert terminate(keeper)[0] == 0


def test_one_that_could_not_be_configured_is_not_touched(make: MakeNode) -> None:
    """Its provider fails in a process of its own; nobody is told anything."""
    node = make(reporting("one"))
    place = add_sealed(node, "2")
    provider = ["underway_runtime.providers:PythonFile", {"path": "runtime.py"}]
    (place / "sys.config").write_text(json.dumps({"format": 1, "config": {}, "providers": [provider]}))
    (place / "runtime.py").write_text("raise ValueError('no such region')")
    seal(node, "2")
    process = node.spawn("start")
    runs(node)

    assert "no such region" in run(node, "install", "2", status=4)
    assert terminate(process)[:2] == (0, "")


def test_a_gate_that_fails_after_the_takeover_brings_the_version_before_back(make: MakeNode, tmp_path: Path) -> None:
    """It held before the new version accepted and does not while that serves: 4, marked, and no request has failed."""
    node = make(asgi(ASGI), libraries=["uvicorn"])
    once = f"import pathlib\ndef holds():\n    p = pathlib.Path({str(tmp_path / 'asked')!r})\n"
    once += "    known = p.exists()\n    p.touch()\n    return not known\n"
    second = asgi(ASGI.replace('VERSION = "1"', 'VERSION = "2"') + once)
    add_sealed(node, "2", second, gates=[{"http": "/"}, {"function": "web:holds", "attempts": 1}])
    keeper, port = start(node)

    with clients(port) as served:
        said = run(node, "upgrade", "2", status=4)

    assert "2 has failed, and 1 has taken over again: function web:holds: it returned False" in said
    assert (served.failures, status(node)["version"]) == ([], "1")
    assert "failed: function web:holds" in run(node, "releases")
    events = {event["upgrade_id"] for event in journal(node)}
    assert len(events) == 1
    assert ("soak", "failed") in [(event["event"], event["outcome"]) for event in journal(node)]
    assert terminate(keeper)[0] == 0


def test_gates_soak_over_the_version_that_serves(make: MakeNode, tmp_path: Path) -> None:
    """As often as they say, before and after it accepts; only then it is committed."""
    asked = tmp_path / "asked"
    node = make(asgi(ASGI), libraries=["uvicorn"])
    notes = f"def holds():\n    with open({str(asked)!r}, 'a') as file:\n        file.write('x')\n"
    gates = [
        {"http": "/", "attempts": 4, "successes": 3, "soak": 0.1},
        {"function": "web:holds", "attempts": 2, "soak": 0.1},
    ]
    add_sealed(node, "2", asgi(ASGI + notes), gates=gates)
    keeper, _ = start(node)

    assert run(node, "upgrade", "2").endswith(", and 1 has left; it is permanent\n")

    assert asked.read_text() == "xxxx"
    assert terminate(keeper)[0] == 0


def held(file: Path, where: str) -> App:
    """An application that starts, or takes its configuration, when a file has gone."""
    wait = f"while os.path.exists({str(file)!r}): await asyncio.sleep(0.01)"
    source = f"""
    import asyncio, os
    from underway_runtime import Application

    class App(Application):
        async def start(self):
            {wait if where == "start" else "pass"}

        async def config_change(self, changed, new, removed):
            {wait if where == "config_change" else "pass"}
    """
    return App("one", source, {"class": "one:App"})


def test_it_does_not_meet_a_handover(make: MakeNode, tmp_path: Path) -> None:
    """While another node is about to take over nothing is put in place: 75."""
    file = tmp_path / "file"
    node = make(held(file, "start"))
    node.configure(one={"a": 1})
    add_sealed(node, "2", one={"a": 2})
    process = node.spawn("start")
    runs(node)
    file.touch()
    restarting = node.spawn("restart", "--graceful")
    eventually(lambda: len(children(process)) == 2, "a successor")

    assert "another version is about to take over" in run(node, "install", "2", status=75)
    file.unlink()
    assert finish(restarting)[0] == 0
    run(node, "install", "2")
    assert terminate(process)[0] == 0


def test_a_handover_waits_for_it(make: MakeNode, tmp_path: Path) -> None:
    """One that is asked for ends with 75; one that SIGHUP has begun takes over when the version is in place."""
    file = tmp_path / "file"
    node = make(held(file, "config_change"))
    node.configure(one={"a": 1})
    add_sealed(node, "2", one={"a": 2})
    process = node.spawn("start")
    before = runs(node)["pid"]
    file.touch()
    installing = node.spawn("install", "2")
    eventually(lambda: node.run("rpc", "print(config.get('one', 'a'))").stdout == "2\n", "it is configured")

    assert "another version is being installed" in run(node, "restart", "--graceful", status=75)
    process.send_signal(signal.SIGHUP)
    eventually(lambda: len(children(process)) == 2, "a successor")
    assert node.lock_contents()["node"] == before
    file.unlink()

    assert finish(installing)[0] == 0
    eventually(lambda: node.lock_contents()["node"] != before, "it takes over")
    assert runs(node)["version"] == "1"
    assert terminate(process)[0] == 0
