"""Handovers of `main` functions that handle SIGTERM as they like: whatever happens to either node, something serves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from handover_helpers import all_said, children, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, Process, eventually, finish, terminate
from ports import free_ports
from underway_runtime.apps.main_function import MainThread
from versions import add_sealed

MAIN = """
import asyncio, os, signal, socket, sys, threading

VERSION = "1"

def answer(connection):
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n" + VERSION.encode())

def accept(listening, go_on=lambda: True):
    while go_on():
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        threading.Thread(target=answer, args=(connection,), daemon=True).start()

def main():
    stopped = []
    HANDLER
    listening = socket.create_server(("127.0.0.1", PORT))
    MORE
    print("listening on", PORT, file=sys.stderr, flush=True)
    SERVE
"""

FLAG = "listening.settimeout(0.05); accept(listening, lambda: not stopped)"
LOOP = """
    async def serve():
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        listening.setblocking(False)
        async def hello(reader, writer):
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n" + VERSION.encode())
            writer.close()
        async with await asyncio.start_server(hello, sock=listening):
            await ended.wait()
    asyncio.run(serve())
"""
HANDLERS = {
    "exits": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))", "accept(listening)"),
    "exits with 143": ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))", "accept(listening)"),
    "raises": ("signal.signal(signal.SIGTERM, signal.default_int_handler)", "accept(listening)"),
    "returns": ("signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))", FLAG),
    "loop": ("", LOOP),
    "none": ("", "accept(listening)"),
    "ignores": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "accept(listening)"),
    "dies": ("signal.signal(signal.SIGTERM, lambda *_: os._exit(0))", "accept(listening)"),
}


def source(handler: str, port: int, *, more: str = "", version: str = "1") -> str:
    """A main function."""
    how, serve = HANDLERS[handler]
    text = MAIN.replace("HANDLER", how).replace("SERVE", serve.strip()).replace("MORE", more)
    return text.replace("PORT", str(port)).replace('VERSION = "1"', f'VERSION = "{version}"')


def served_by(port: int) -> str:
    """Which version answers; empty where nothing does now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def still_serves(node: Node, keeper: Process, port: int, version: str) -> None:
    """The version that is said to run runs, alone, and answers; a stop ends all of it."""
    assert keeper.poll() is None
    eventually(lambda: served_by(port) == version, f"{version} answers")
    eventually(lambda: len(children(keeper)) == 1, "one node is left")
    assert (status(node)["version"], status(node)["state"]) == (version, "running")
    assert terminate(keeper)[0] == 0


def begin(make: MakeNode, setup: str, handler: str, port: int, other: int) -> tuple[Node, Process]:
    """Two versions of a service; the first one runs."""
    more = f"extra = socket.create_server(('127.0.0.1', {other}))" if setup == "a port that is not declared" else ""
    how: dict[str, object] = {"main": "tool:main"}
    if setup != "no listen":
        how["listen"] = [f"tcp://127.0.0.1:{port}"]
    if setup == "overlap = false":
        how["overlap"] = False
    node = make(App("tool", source(handler, port, more=more), how))
    ends = 1 if handler == "ignores" else 20
    node.configure(underway_runtime={"drain_timeout": 1, "stop_timeout": ends})
    add_sealed(node, "2", App("tool", source(handler, port, more=more, version="2"), how))
    keeper, _ = start(node, r"listening on (\d+)")
    assert eventually(lambda: served_by(port), "it answers") == "1"
    return node, keeper


SETUPS = ["overlap = false", "no listen", "a port that is not declared", "declared"]


@pytest.mark.sample(most=4)
@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("handler", ["exits", "exits with 143", "raises", "returns", "loop", "none"])
def test_a_handler_of_its_own_ends_the_function_and_not_the_service(make: MakeNode, setup: str, handler: str) -> None:
    """The signal of a drain is not one from outside: install, and a restart to the same version, leave a node that serves."""
    port, other = free_ports(2)
    node, keeper = begin(make, setup, handler, port, other)

    done = node.run("install", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs (pid ")
    assert served_by(port) == "2"
    assert node.run("commit").returncode == 0
    again = node.run("restart", "--graceful")
    assert again.returncode == 0, again.stderr

    still_serves(node, keeper, port, "2")


TAKES = """
import signal, sys, threading

def main():
    print("takes jobs as VERSION", file=sys.stderr, flush=True)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
"""


def test_a_function_without_addresses_is_called_when_the_gates_are_passed(make: MakeNode, tmp_path: Path) -> None:
    """It would take jobs as soon as it is called: of a version that does not pass, none are taken."""
    passes = tmp_path / "passes"
    first, second = (App("tool", TAKES.replace("VERSION", version), {"main": "tool:main"}) for version in ("1", "2"))
    node = make(first)
    add_sealed(node, "2", second, gates=[{"command": ["test", "-e", str(passes)], "attempts": 1}])
    keeper, _ = start(node, r"takes jobs as (\d)")

    refused = node.run("install", "2")
    assert refused.returncode != 0
    assert status(node)["version"] == "1"
    passes.touch()
    done = node.run("install", "2", "--again")
    assert done.returncode == 0, done.stderr
    assert status(node)["version"] == "2"
    assert terminate(keeper)[0] == 0
    assert sum("takes jobs as 2" in line for line in all_said(keeper)) == 1


SLOWED = """
import select
from underway_runtime.apps.main_function import MainThread
from underway_runtime.node.node import Node

signalled, ask_to_stop = MainThread._signalled, Node.ask_to_stop

def late(thread):
    while select.select([thread._awake], [], [], 0)[0]:
        pass
    return signalled(thread)

MainThread._signalled = late
Node.ask_to_stop = lambda node: asyncio.get_running_loop().call_later(0.3, ask_to_stop, node)

def main():
"""
"""The main thread looks whether the function was signalled when the loop has read of it, and before that stops anything."""


def test_a_status_that_answers_a_signal_is_one_whichever_thread_is_late(make: MakeNode) -> None:
    """The function ends with 143 for a SIGTERM from outside, and the service with 0."""
    [port] = free_ports(1)
    slowed = source("exits with 143", port).replace("def main():\n", SLOWED.lstrip())
    node = make(App("tool", slowed, {"main": "tool:main"}))
    keeper, _ = start(node, r"listening on (\d+)")
    assert eventually(lambda: served_by(port), "it answers") == "1"

    os.kill(node.lock_contents()["node"], signal.SIGTERM)

    assert keeper.wait(TIMEOUT) == 0


def test_signals_that_came_as_one_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel merges them; else the next one from outside would be taken for the second of the node's own."""
    main_thread = MainThread()
    awake, wake = socket.socketpair()
    with awake, wake:
        awake.setblocking(False)
        monkeypatch.setattr(main_thread, "_awake", awake)
        monkeypatch.setattr(main_thread, "_sent", 2)
        wake.send(bytes([signal.SIGTERM]))
        main_thread._forget_what_was_merged()

    assert main_thread._sent == 1


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("setup", SETUPS[:2])
def test_who_does_not_end_goes_on(make: MakeNode, setup: str) -> None:
    """What must not run twice and ignores SIGTERM is not followed by another: 4, why, and the version is not blamed."""
    port, other = free_ports(2)
    node, keeper = begin(make, setup, "ignores", port, other)
    before = status(node)["pid"]

    done = node.run("install", "2")

    assert done.returncode == 4, done.stderr
    assert (
        "2 could not take over, and the version before runs on: tool must not run twice, and has not ended within 2 s"
        in done.stderr
    )
    assert "failed" not in node.run("releases").stdout
    assert (status(node)["pid"], served_by(port)) == (before, "1")
    keeper.terminate()
    finish(keeper)
    assert node.running() == []


def test_who_ignores_the_signal_and_may_overlap_is_followed(make: MakeNode) -> None:
    """It gets until its deadline, and then its process ends."""
    port, other = free_ports(2)
    node, keeper = begin(make, "declared", "ignores", port, other)

    assert node.run("install", "2").returncode == 0
    assert eventually(lambda: len(children(keeper)) == 1, "the old one has ended")
    assert (served_by(port), status(node)["version"]) == ("2", "2")
    keeper.terminate()
    finish(keeper)


FORKS = {
    "a child": "os.fork() or accept(listening)",
    "a child that ignores the signal": "os.fork() or (signal.signal(signal.SIGTERM, signal.SIG_IGN), accept(listening))",
    "a daemon": "os.fork() or (os.setsid(), os.fork() and os._exit(0), accept(listening))",
}


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("setup", SETUPS[:2])
@pytest.mark.parametrize("fork", FORKS)
def test_what_it_has_forked_ends_with_what_must_not_run_twice(make: MakeNode, setup: str, fork: str) -> None:
    """A child that outlives the function holds neither the port of the next version nor its clients."""
    port, other = free_ports(2)
    HANDLERS[fork] = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))",
        f"{FORKS[fork]}; threading.Event().wait()",
    )
    node, keeper = begin(make, setup, fork, port, other)

    done = node.run("install", "2")

    assert done.returncode == 0, done.stderr
    assert [served_by(port) for _ in range(5)] == ["2"] * 5
    eventually(lambda: any("is ended: tool must not run twice" in line for line in vars(keeper)["said"]), "it is told")
    keeper.terminate()


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("fork", FORKS)
def test_what_it_has_forked_does_not_answer_for_the_version_before(make: MakeNode, fork: str) -> None:
    """A child that listens is ended when the node has left, where both may run for a moment too."""
    port, other = free_ports(2)
    HANDLERS[fork] = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))",
        f"{FORKS[fork]}; threading.Event().wait()",
    )
    node, keeper = begin(make, "declared", fork, port, other)

    assert node.run("install", "2").returncode == 0

    eventually(lambda: len(children(keeper)) == 1, "the old one has ended")
    assert [served_by(port) for _ in range(20)] == ["2"] * 20
    eventually(lambda: any("is ended: it listened, and 1 has left" in x for x in vars(keeper)["said"]), "it is told")
    keeper.terminate()


LATE = "signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))"


def test_who_ends_after_its_deadline_is_started_again(make: MakeNode, tmp_path: Path) -> None:
    """The handover that told it to end has failed, so that end is not the end of the service."""
    port, _ = free_ports(2)
    may_end = tmp_path / "may end"
    serve = f"listening.settimeout(0.05); accept(listening, lambda: not (stopped and os.path.exists({str(may_end)!r})))"
    text = MAIN.replace("HANDLER", LATE).replace("MORE", "").replace("SERVE", serve).replace("PORT", str(port))
    how = {"main": "tool:main", "overlap": False, "listen": [f"tcp://127.0.0.1:{port}"]}
    node = make(App("tool", text, how))
    node.configure(underway_runtime={"drain_timeout": 0.2, "stop_timeout": 4})
    add_sealed(node, "2", App("tool", text.replace('VERSION = "1"', 'VERSION = "2"'), how))
    keeper, _ = start(node, r"listening on (\d+)")
    assert node.run("install", "2").returncode == 4

    may_end.touch()

    eventually(lambda: any("is started again" in line for line in vars(keeper)["said"]), "it has ended")
    assert node.run("install", "2", "--again").returncode == 0
    still_serves(node, keeper, port, "2")


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("setup", SETUPS)
def test_a_handler_that_ends_the_process_is_followed_by_something(make: MakeNode, setup: str) -> None:
    """By the version that comes, where the old one has let it accept; else by the permanent one, 4, and why."""
    port, other = free_ports(2)
    node, keeper = begin(make, setup, "dies", port, other)

    done = node.run("install", "2")

    if setup == "declared":
        assert done.returncode == 0, done.stderr
        assert eventually(lambda: served_by(port), "it answers") == "2"
    else:
        assert done.returncode == 4, done.stderr
        assert "2 has not taken over, and 1 is started" in done.stderr
        assert eventually(lambda: served_by(port), "it answers") == "1"
        assert "failed" not in node.run("releases").stdout
    assert keeper.poll() is None
    eventually(lambda: len(children(keeper)) == 1, "one node is left")
    keeper.terminate()
    finish(keeper)


# ------------------------------------------------------------------------------------- either ends, at any moment

CLASS = """
import os, signal, time
from pathlib import Path
from underway_runtime import Application

HERE = Path(DIRECTORY)

def meet(what):
    # says that this point is reached, waits to be told what to do there
    (HERE / f"{VERSION} {what}").write_text(str(os.getpid()))
    while (HERE / f"wait {VERSION} {what}").exists():
        time.sleep(0.01)
    if (HERE / f"exit {VERSION} {what}").exists():
        os._exit(int((HERE / f"exit {VERSION} {what}").read_text()))

class App(Application):
    overlap = OVERLAP
    def start(self):
        meet("start")
    def accept(self):
        meet("accept")
    def drain(self, within):
        meet("drain")
    def stop(self):
        meet("stop")
"""


def meeting(directory: Path, version: str, *, overlap: bool) -> App:
    """An application that can be held, or ended, wherever a handover passes."""
    text = CLASS.replace("DIRECTORY", repr(str(directory))).replace("VERSION", repr(version))
    return App("app", text.replace("OVERLAP", str(overlap)), {"class": "app:App"})


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "here").mkdir()
    yield tmp_path / "here"
    for each in (tmp_path / "here").glob("wait *"):
        each.unlink()


@pytest.mark.sample
@pytest.mark.parametrize("overlap", [True, False], ids=["overlaps", "alone"])
@pytest.mark.parametrize("end", ["9", "0", "3"], ids=["killed", "exits 0", "exits 3"])
@pytest.mark.parametrize("where", ["1 drain", "1 stop", "2 start", "2 accept"])
def test_whoever_ends_wherever_something_runs(make: MakeNode, here: Path, overlap: bool, end: str, where: str) -> None:
    """The keeper is never alone after a handover, whichever node ends at whichever point, and what the command says holds."""
    node = make(meeting(here, "1", overlap=overlap))
    add_sealed(node, "2", meeting(here, "2", overlap=overlap))
    keeper = node.spawn("start")
    eventually((here / "1 accept").exists, "it runs")
    eventually(lambda: node.run("status").returncode == 0, "it says so")
    if end == "9":
        (here / f"wait {where}").touch()
    else:
        (here / f"exit {where}").write_text(end)

    installing = node.spawn("install", "2")
    eventually((here / where).exists, "it has come there")
    if end == "9":
        os.kill(int((here / where).read_text()), signal.SIGKILL)
        (here / f"wait {where}").unlink()
    code, said, error = finish(installing)

    assert code in (0, 4), (said, error)
    assert keeper.poll() is None, finish(keeper)
    version = "2" if code == 0 else "1"
    if code == 0:
        assert said.startswith("2 runs (pid ")
    found = eventually(lambda: running(node), "a node that runs")
    assert found["version"] == version
    eventually(lambda: len(children(keeper)) == 1, "one node is left")
    if end != "9":
        (here / f"exit {where}").unlink()
    assert terminate(keeper)[0] == 0


def running(node: Node) -> dict[str, object] | None:
    """What a node that runs says of itself."""
    done = node.run("status", "--json")
    if done.returncode:
        return None
    found: dict[str, object] = json.loads(done.stdout)
    return found if found["state"] == "running" else None


def test_a_restart_whose_new_node_ends_at_once_is_followed_by_another(make: MakeNode, here: Path) -> None:
    """Also where it is of the permanent version, has accepted, and the old one has not left yet; without a heart."""
    node = make(meeting(here, "1", overlap=True))
    keeper = node.spawn("start")
    eventually((here / "1 accept").exists, "it runs")
    before = eventually(lambda: running(node), "it says so")["pid"]
    (here / "wait 1 drain").touch()
    restarting = node.spawn("restart", "--graceful")
    eventually((here / "1 drain").exists, "the new one has accepted")

    new = [int(pid) for pid in children(keeper) if int(pid) != before]
    os.kill(new[0], signal.SIGKILL)
    (here / "wait 1 drain").unlink()

    finish(restarting)
    assert eventually(lambda: running(node), "another runs")["pid"] not in (before, new[0])
    eventually(lambda: len(children(keeper)) == 1, "one node is left")
    assert terminate(keeper)[0] == 0


def test_a_stop_during_a_handover_is_a_stop(make: MakeNode, here: Path) -> None:
    """Nothing is started after it."""
    node = make(meeting(here, "1", overlap=False))
    add_sealed(node, "2", meeting(here, "2", overlap=False))
    keeper = node.spawn("start")
    eventually((here / "1 accept").exists, "it runs")
    eventually(lambda: running(node), "it says so")
    (here / "wait 1 drain").touch()
    installing = node.spawn("install", "2")
    eventually((here / "1 drain").exists, "it lets go")

    keeper.terminate()
    (here / "wait 1 drain").unlink()

    assert finish(keeper)[0] == 0
    assert finish(installing)[0] != 0
    assert node.running() == []


HANGING = "\nimport time\ntime.sleep(1000)\n"


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_the_node_that_hands_over_is_not_the_end(
    make: MakeNode, here: Path, number: signal.Signals
) -> None:
    """Who means the service tells its keeper; the permanent version is started, and the command says so."""
    node = make(meeting(here, "1", overlap=True))
    second = meeting(here, "2", overlap=True)
    add_sealed(node, "2", App("app", second.source + HANGING, second.start))
    keeper = node.spawn("start")
    before = eventually(lambda: running(node), "it runs")["pid"]
    installing = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "a successor")

    os.kill(before, number)

    code, _, error = finish(installing)
    assert (code, "2 has not taken over, and 1 is started" in error) == (4, True), error
    assert eventually(lambda: running(node), "it runs")["pid"] != before
    assert terminate(keeper)[0] == 0


ENDS_WELL = """
import asyncio
from pathlib import Path
from underway_runtime import Application

class App(Application):
    async def start(self):
        return asyncio.ensure_future(self.work())

    async def work(self):
        while VERSION == "1" or not (Path(HERE) / "end").exists():
            await asyncio.sleep(0.01)
"""


def test_what_ends_well_before_its_commit_is_followed_by_the_permanent_version(make: MakeNode, here: Path) -> None:
    """With status 0 too, and it is marked: nobody had asked it to."""

    def version(number: str) -> App:
        text = ENDS_WELL.replace("VERSION", repr(number)).replace("HERE", repr(str(here)))
        return App("app", text, {"class": "app:App"})

    node = make(version("1"))
    add_sealed(node, "2", version("2"))
    keeper = node.spawn("start")
    eventually(lambda: running(node), "it runs")
    assert node.run("install", "2").returncode == 0

    (here / "end").touch()

    eventually(lambda: (running(node) or {}).get("version") == "1", "the permanent version")
    assert "it ended with status 0 before it was committed" in node.run("releases").stdout
    assert terminate(keeper)[0] == 0


def test_who_asks_as_soon_as_it_answers_is_not_sent_away(make: MakeNode) -> None:
    """A main that declares nothing counts as ready a moment later, for which the command waits."""
    port, other = free_ports(2)
    node, keeper = begin(make, "no listen", "exits", port, other)
    assert node.run("install", "2").returncode == 0
    still_serves(node, keeper, port, "2")
