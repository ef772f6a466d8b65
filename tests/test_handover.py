"""One version takes over from another that runs: real nodes of a release with two versions, and clients that go on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import Count
from handover_helpers import ASGI, LONGER, asgi, children, clients, may_raise_priority, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, finish, read_until, terminate
from ports import free_port
from underway_runtime.keeper.yielding import LOWER
from versions import add_sealed

SECOND = ASGI.replace('VERSION = "1"', 'VERSION = "2"')


def test_up_and_down_without_a_failed_request(make: MakeNode, count: Count) -> None:
    """The next version answers, the pid of the service stays, and no client meets an error."""
    node = make(asgi(), libraries=["uvicorn"])
    node.configure(web={"server": {"timeout_keep_alive": 60}})
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)

    with clients(port, pauses=LONGER) as served:
        for number in range(count(2, 20)):
            version = "21"[number % 2]
            done = node.run("install", version)
            assert done.returncode == 0, done.stderr + done.stdout
            assert done.stdout.startswith(f"{version} runs (pid ")
            assert status(node)["version"] == version
            told = [json.loads(line) for line in (node.var / "journal/upgrades.jsonl").read_text().splitlines()[-3:]]
            assert sorted(event["event"] for event in told) == ["boot", "drain", "install"]
            assert len({event["upgrade_id"] for event in told}) == 1

    assert served.failures == []
    assert {"1", "2"} <= set(served.answers)
    assert node.lock_contents()["pid"] == keeper.pid
    assert terminate(keeper)[0] == 0


ECHO = ASGI.replace(
    'if scope["type"] != "http":\n        return\n',
    """if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": VERSION + message["text"]})
        return
""",
)


def test_websockets_are_served_until_the_deadline_and_then_told_to_come_back(make: MakeNode, count: Count) -> None:
    """Each is closed with 1012 and by nothing else, however often the version changes, and is never refused."""
    node = make(asgi(ECHO), libraries=["uvicorn", "websockets"])
    node.configure(underway_runtime={"drain_timeout": 0.5})
    add_sealed(node, "2", asgi(ECHO.replace('VERSION = "1"', 'VERSION = "2"')))
    keeper, port = start(node)
    upgrades = count(2, 20)
    heard: list[list[str]] = [[] for _ in range(20)]
    closed: list[list[int | None]] = [[] for _ in heard]

    enough = threading.Event()

    def talk(number: int) -> None:
        while not enough.is_set():
            with connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=TIMEOUT) as websocket:
                try:
                    while not enough.wait(0.01):
                        websocket.send("!")
                        heard[number].append(str(websocket.recv(timeout=TIMEOUT)))
                except ConnectionClosed as end:
                    closed[number].append(end.rcvd.code if end.rcvd else None)

    with ThreadPoolExecutor(len(heard)) as talks:
        ends = [talks.submit(talk, number) for number in range(len(heard))]
        try:
            for number in range(upgrades + 1):
                if number:
                    install(node, "12"[number % 2])
                served = [f"{'12'[number % 2]}!"]
                eventually(lambda served=served: all(each[-1:] == served for each in heard), "all are served")
        finally:
            enough.set()
        for end in ends:
            end.result(TIMEOUT)

    assert closed == [[1012] * upgrades] * len(heard)
    assert terminate(keeper)[0] == 0


def served_by(port: int) -> str:
    """Which version answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/")
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


HANGS = SECOND.replace('while (await receive())["type"]', 'while not __import__("time").sleep(1000)')
CRASHES = SECOND + "\nos._exit(3)\n"
RAISES = SECOND + "\nraise RuntimeError('no database')\n"


@pytest.mark.sample(most=3)
@pytest.mark.parametrize(
    ("app", "gates", "reason"),
    [
        (asgi(CRASHES), [], "it ended with status 3"),
        (asgi(RAISES), [], "RuntimeError: no database"),
        (asgi(HANGS), [], "it was not ready in time"),
        (asgi(SECOND), [{"http": "/", "contains": "ok", "attempts": 1}], "http /: 'ok' is not in the answer"),
        (asgi(SECOND, listen=["tcp://127.0.0.1:0", "tcp://203.0.113.1:80"]), [], "can't listen"),
    ],
    ids=["crashes", "raises", "hangs", "gate", "bind"],
)
def test_a_version_that_fails_never_stops_the_one_before(
    make: MakeNode, app: App, gates: list[dict[str, object]], reason: str
) -> None:
    """It is killed and marked, the command says why and ends with 4, and the process that runs is the same."""
    node = make(asgi(), libraries=["uvicorn"])
    if reason == "it was not ready in time":
        node.configure(underway_runtime={"handover_timeout": 3})
    add_sealed(node, "2", app, gates=gates)
    keeper, port = start(node)
    before = status(node)

    with clients(port) as served:
        done = node.run("install", "2")
        assert (done.returncode, done.stdout) == (4, "")
        assert reason in done.stderr
        assert node.run("install", "2").returncode == 1
        assert node.run("install", "2", "--again").returncode == 4

    after = status(node)
    assert (after["pid"], after["state"], after["version"]) == (before["pid"], "running", "1")
    assert (served.failures, set(served.answers)) == ([], {"1"})
    assert "failed: " in node.run("releases").stdout
    assert len(node.running()) == 2
    assert terminate(keeper)[0] == 0


def test_one_that_dies_after_it_has_taken_over_is_replaced_by_the_permanent_version(make: MakeNode) -> None:
    """Uncommitted means temporary, with or without a heart; meanwhile connections wait. It is not chosen again."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    done = node.run("install", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert served_by(port) == "2"

    os.kill(json.loads(done.stdout)["pid"], signal.SIGKILL)

    assert served_by(port) == "1"
    assert status(node)["version"] == "1"
    why = "it was ended by signal 9 before it was committed"
    assert f"2  unpacked, failed: {why}, since" in node.run("releases").stdout
    assert f"2 has failed: {why}; --again" in node.run("install", "2").stderr
    assert node.run("install", "2", "--again").returncode == 0
    assert "failed" not in node.run("releases").stdout
    assert node.run("commit").returncode == 0
    assert terminate(keeper)[0] == 0


def test_what_is_not_committed_in_time_hands_back(make: MakeNode, tmp_path: Path) -> None:
    """Without a failed request; what was committed stays."""
    slow = tmp_path / "slow"  # the permanent version is back when the install has ended, however slow this machine is
    waits = f"import time\nwhile os.path.exists({str(slow)!r}):\n    time.sleep(0.01)\n"
    node = make(asgi(ASGI + waits), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    slow.touch()

    with clients(port) as served:
        assert node.run("install", "2", "--commit-within", "0.1").returncode == 0
        slow.unlink()
        eventually(
            lambda: node.lock_contents()["version"] == "1" and served_by(port) == "1", "back to the permanent version"
        )
        eventually(lambda: len(children(keeper)) == 1, "the other leaves")
        assert "2  unpacked, failed: it was not committed within 0.1 s" in node.run("releases").stdout
        assert node.run("install", "2", "--again", "--commit-within", "3600").returncode == 0
        assert node.run("commit").returncode == 0
        assert node.run("restart", "--graceful").returncode == 0
        assert status(node)["version"] == "2"
        before = status(node)["pid"]
        keeper.send_signal(signal.SIGHUP)
        eventually(lambda: node.lock_contents()["node"] != before, "a handover to the same version")
        eventually(lambda: len(children(keeper)) == 1, "the other leaves")
        done = node.run("rollback")
        assert (done.returncode, done.stdout) == (0, "1 runs again, and is permanent; 2 is old\n"), done.stderr
        assert status(node)["version"] == "1"
        again = node.run("upgrade", "2")
        assert again.returncode == 0, again.stderr
        assert node.run("releases").stdout.count("permanent") == 1

    assert served.failures == []
    assert terminate(keeper)[0] == 0


SLOW = ASGI.replace(
    'await send({"type": "http.response.start"',
    'await __import__("asyncio").sleep(float(scope["query_string"] or 0)); await send({"type": "http.response.start"',
)


def test_one_version_takes_over_at_a_time(make: MakeNode) -> None:
    """While one is running the next command ends with 75, and so does one that knows nothing of the first."""
    node = make(asgi(SLOW), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    add_sealed(node, "3", asgi(HANGS))
    keeper, port = start(node)
    first = node.spawn("install", "3")
    eventually(lambda: len(children(keeper)) == 2, "a successor")

    assert node.run("install", "2").returncode == 75
    assert node.run("restart", "--graceful").returncode == 75
    keeper.send_signal(signal.SIGHUP)
    eventually(lambda: any("can't hand over" in line for line in vars(keeper)["said"]), "SIGHUP is refused too")

    assert served_by(port) == "1"
    assert terminate(keeper)[0] == 0
    assert finish(first)[0] == 1
    assert node.running() == []


def test_the_old_one_may_be_killed_while_it_drains(make: MakeNode) -> None:
    """Only what was under way in it is lost."""
    node = make(asgi(SLOW), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    before = status(node)["pid"]
    slow = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    slow.request("GET", "/?1000")

    installing = node.spawn("install", "2")
    eventually(lambda: node.lock_contents()["version"] == "2", "the new one has accepted")
    os.kill(before, signal.SIGKILL)

    assert finish(installing)[0] == 0
    assert served_by(port) == "2"
    slow.close()
    assert terminate(keeper)[0] == 0


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_keeper_takes_both_with_it(make: MakeNode, when: str) -> None:
    """And the next start is of the permanent version."""
    node = make(asgi(SLOW), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(HANGS.replace("time", "asyncio") if when == "before" else SECOND))
    keeper, port = start(node)
    slow = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    slow.request("GET", "/?1000")
    installing = node.spawn("install", "2")
    if when == "before":
        eventually(lambda: len(children(keeper)) == 2, "a successor")
    else:
        eventually(lambda: node.lock_contents()["version"] == "2", "the new one has accepted")

    keeper.kill()

    assert finish(installing)[0] != 0
    slow.close()
    eventually(lambda: node.running() == [], "both have ended")
    keeper, port = start(node)
    assert served_by(port) == "1"
    assert terminate(keeper)[0] == 0


LINGERS = """
import atexit, os, time

@atexit.register
def linger():
    while not os.path.exists("MAY_END"):
        time.sleep(0.01)
"""


def test_a_successor_that_is_left_alone_is_known_until_it_has_ended(make: MakeNode, tmp_path: Path) -> None:
    """Where keeper and node are killed at once a start waits for its end, as it does for that of a node without its keeper."""
    node = make(asgi(), libraries=["uvicorn"])
    reached, may_end = tmp_path / "reached", tmp_path / "may end"
    gates = [{"command": ["/bin/sh", "-c", f"touch {reached}; exec sleep 60"], "timeout": 100}]
    add_sealed(node, "2", asgi(SECOND + LINGERS.replace("MAY_END", str(may_end))), gates=gates)
    keeper, _ = start(node)
    installing = node.spawn("install", "2")
    eventually(reached.exists, "the successor is at its gates")
    first = node.lock_contents()["node"]
    [successor] = {int(pid) for pid in children(keeper)} - {first}

    for pid in (keeper.pid, first):
        os.kill(pid, signal.SIGKILL)
    finish(installing)
    asked = node.run("pid")
    again = node.spawn("start", stderr=subprocess.STDOUT)
    refused = node.run("restart")
    may_end.touch()

    assert (asked.returncode, asked.stdout) == (0, f"{successor}\n")
    assert "not where this command can see it" not in refused.stderr, refused.stderr
    read_until(again.stdout, "listening on")
    assert node.lock_contents()["pid"] == again.pid
    assert terminate(again)[0] == 0


def test_the_old_one_may_be_killed_before_the_new_one_accepts(make: MakeNode) -> None:
    """Then the permanent version is started, with or without a heart; the new one is dropped, and not marked."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(HANGS))
    keeper, port = start(node)
    before = status(node)["pid"]
    installing = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "a successor")

    os.kill(before, signal.SIGKILL)

    status_, _, error = finish(installing)
    assert (status_, "2 has not taken over, and 1 is started (pid " in error) == (4, True), error
    assert served_by(port) == "1"
    assert "failed" not in node.run("releases").stdout
    assert len(node.running()) == 2
    assert terminate(keeper)[0] == 0


NOTES = """
import os
from underway_runtime import Application

class App(Application):
    overlap = OVERLAP
    known = ()

    def note(self, what):
        with open(self.config("notes"), "a") as file:
            file.write(f"{self.version} {what}\\n")

    def start(self):
        FAILS
        self.note("starts")

    def accept(self):
        self.note(f"accepts, knowing {list(self.known)}")

    def drain(self, within):
        self.note("drains")

    def export_state(self):
        return [*self.known, self.version]

    def import_state(self, state, version):
        self.known = state
        self.note(f"takes {state} from {version}")

    def stop(self):
        self.note("stops")
"""


def noting(notes: Path, *, overlap: bool, fails: str = "pass") -> App:
    """An application that writes down what it is told to do."""
    source = NOTES.replace("OVERLAP", str(overlap)).replace("FAILS", fails)
    return App("noting", source.replace('self.config("notes")', repr(str(notes))), {"class": "noting:App"})


def install(node: Node, version: str, status: int = 0) -> None:
    """Install a version; the command ends with this status."""
    done = node.run("install", version)
    assert done.returncode == status, done.stderr


def test_state_is_carried_from_version_to_version(make: MakeNode, tmp_path: Path) -> None:
    """What may overlap drains after the other has begun, and its last state follows."""
    notes = tmp_path / "notes"
    notes.touch()
    node = make(asgi(), noting(notes, overlap=True), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND), noting(notes, overlap=True))
    keeper, _ = start(node)
    eventually(lambda: len(notes.read_text().splitlines()) == 2, "it accepts")
    notes.unlink()

    install(node, "2")
    told = notes.read_text().splitlines()
    assert told[:3] == ["2.0 starts", "2.0 accepts, knowing []", "1.0 drains"]
    assert sorted(told[3:]) == ["1.0 stops", "2.0 takes ['1.0'] from 1.0"]
    notes.unlink()
    install(node, "1")
    assert "1.0 takes ['1.0', '2.0'] from 2.0" in notes.read_text()
    assert terminate(keeper)[0] == 0


def test_what_must_not_run_twice_never_does(make: MakeNode, tmp_path: Path) -> None:
    """The old one drains and stops before the new one starts, which has its state before it accepts."""
    notes = tmp_path / "notes"
    notes.touch()
    node = make(asgi(), noting(notes, overlap=False), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND), noting(notes, overlap=False))
    keeper, _ = start(node)
    eventually(lambda: len(notes.read_text().splitlines()) == 2, "it accepts")
    notes.unlink()

    install(node, "2")

    assert notes.read_text().splitlines() == [
        "1.0 drains",
        "1.0 stops",
        "2.0 starts",
        "2.0 takes ['1.0'] from 1.0",
        "2.0 accepts, knowing ['1.0']",
    ]
    assert terminate(keeper)[0] == 0


def test_what_was_let_go_starts_again_when_the_next_one_fails(make: MakeNode, tmp_path: Path) -> None:
    """The old version goes on as a whole."""
    notes = tmp_path / "notes"
    notes.touch()
    node = make(asgi(), noting(notes, overlap=False), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND), noting(notes, overlap=False, fails="raise RuntimeError('no lease')"))
    keeper, port = start(node)
    eventually(lambda: len(notes.read_text().splitlines()) == 2, "it accepts")
    notes.unlink()

    with clients(port) as served:
        install(node, "2", 4)

    assert notes.read_text().splitlines() == [
        "1.0 drains",
        "1.0 stops",
        "1.0 starts",
        "1.0 takes ['1.0'] from 1.0",
        "1.0 accepts, knowing ['1.0']",
    ]
    assert served.failures == []
    assert [app["state"] for app in status(node)["applications"]] == ["running", "running"]
    assert served_by(port) == "1"
    assert terminate(keeper)[0] == 0


MAIN = """
import http.server, signal, sys, threading

VERSION = "1"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *what):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

def main():
    server = Server(("127.0.0.1", PORT), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("listening on", PORT, file=sys.stderr, flush=True)
    server.serve_forever(0.05)
    server.server_close()
"""


def test_a_service_that_binds_by_itself_hands_over(make: MakeNode, count: Count) -> None:
    """http.server, which knows nothing of us, without a failed request."""
    port = free_port()
    first = MAIN.replace("PORT", str(port))
    begins = {"main": "web:main", "listen": [f"tcp://127.0.0.1:{port}"]}
    node = make(App("web", first, begins))
    add_sealed(node, "2", App("web", first.replace('VERSION = "1"', 'VERSION = "2"'), begins))
    keeper, _ = start(node, r"listening on (\d+)")

    with clients(port, pauses=LONGER) as served:
        for number in range(count(2, 20)):
            install(node, "21"[number % 2])
            eventually(lambda version="21"[number % 2]: served.answers[-1:] == [version], "the other version")

    assert served.failures == []
    assert terminate(keeper)[0] == 0


def test_an_upgrade_is_one_command(make: MakeNode, tmp_path: Path) -> None:
    """What is here is checked, takes over, is watched while its gates soak, and is what boots."""
    notes = tmp_path / "notes"
    node = make(noting(notes, overlap=True))
    add_sealed(node, "2", noting(notes, overlap=True), gates=[{"function": "noting:App", "soak": 0.2, "attempts": 2}])
    keeper = node.spawn("start", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: notes.exists() and len(notes.read_text().splitlines()) == 2, "it accepts")

    done = node.run("upgrade", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(", and 1 has left; it is permanent\n")
    assert terminate(keeper)[0] == 0
    assert (node.var / "start.data").read_text().split()[1] == "2"


def test_a_version_that_boots_yields_to_the_one_that_serves(make: MakeNode) -> None:
    """Its priority is lower where that can be taken back, and the same again when it serves, in all of its threads."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    before, mine = children(keeper), os.getpriority(os.PRIO_PROCESS, keeper.pid)
    installing = node.spawn("install", "2")
    seen = {0}
    while installing.poll() is None:
        for pid in {*children(keeper)} - {*before}:
            with contextlib.suppress(ProcessLookupError):
                seen.add(os.getpriority(os.PRIO_PROCESS, int(pid)) - mine)
        time.sleep(0.005)

    assert finish(installing)[0] == 0
    assert seen == ({0, LOWER} if may_raise_priority() else {0})
    assert served_by(port) == "2"
    [successor] = children(keeper)
    threads = [int(thread) for thread in os.listdir(f"/proc/{successor}/task")]
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {mine}
    assert terminate(keeper)[0] == 0
