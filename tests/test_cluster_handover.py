"""Nodes of a cluster hand over to others, and the cluster goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cluster_helpers import CREW, LIBRARIES, Member, Nodes, start_cluster
from handover_helpers import ASGI, asgi, clients
from node_helpers import App, MakeNode, eventually
from underway_runtime.cluster.application import Cluster
from underway_runtime.cluster.members import Member as Known
from underway_runtime.cluster.members import Members
from underway_runtime.configuration.runtime_schema import Cluster as Section
from underway_runtime.release.errors import PeerLost
from versions import add_sealed

WORDS = App(
    "words",
    """
    def deploy():
        print("words are deployed", flush=True)
    """,
    requires=("underway_runtime",),
)
"""A project without a start of its own, as that of the stream template."""

MEMBERS = "print(sorted(each.name for each in cluster.members()))"
PIDS = "print(await cluster.run(crew.pid))"


def web(source: str = ASGI) -> App:
    """A web application on a node of a cluster, which it needs."""
    made = asgi(source)
    return App(made.name, made.source, made.start, ("underway_runtime",))


def versions(make: MakeNode, monkeypatch: pytest.MonkeyPatch, *second: App, first: Sequence[App] = ()) -> Nodes:
    """A cluster of which there is another version, of other code."""
    nodes = Nodes(make, *(first or (CREW, web())), libraries=(*LIBRARIES, "uvicorn", "waitress"))
    release = nodes.release
    write_script = release.write_script

    def write(apps: Sequence[App]) -> None:
        write_script(apps)
        start_cluster(release)

    monkeypatch.setattr(release, "write_script", write)
    add_sealed(release, "2", *(second or (CREW, web(ASGI.replace('"1"', '"2"')))))
    return nodes


def port_of(node: Member) -> int:
    """Where the web application of a node listens."""
    found = re.search(r"listening on tcp://127\.0\.0\.1:(\d+)", node.says("listening on"))
    assert found is not None
    return int(found[1])


# ------------------------------------------------------------------------------- a project without a start of its own


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("mode", ["local", "worker", "master"])
def test_a_project_without_a_start_of_its_own_is_handed_over(make: MakeNode, mode: str) -> None:
    """What it requires waits for the node before, and so does it: a graceful restart works in each mode, and again."""
    nodes = Nodes(make, WORDS)
    deploy = {} if mode == "worker" else {"deploy": "words:deploy"}
    node = nodes.start(nodes.section("node", "127.0.0.1", mode, **deploy))
    node.serving()
    first = node.node

    for _ in range(2):
        node.gracefully()

    assert node.node != first
    assert node.log.read_text().count("words are deployed") == (0 if mode == "worker" else 3)


# ---------------------------------------------------------------------------------------------- a master hands over


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("command", [["restart", "--graceful"], ["restart"]])
def test_workers_cross_over_to_the_next_master(make: MakeNode, command: list[str]) -> None:
    """Twice in a row: no worker ends, each is a member of the new one, and what is deployed is deployed there."""
    nodes = Nodes(make)
    workers = [nodes.worker(1, "left"), nodes.worker(2)]
    master = nodes.master(["w1", "w2"], deploy="crew:deploy").ready()
    pids = {worker.name: worker.node for worker in workers}
    before = master.node

    for _ in range(2):
        done = master.asked(*command)
        assert done.returncode == 0, done.stderr + master.log.read_text()
        assert master.rpc(PIDS) == str(pids)
        assert master.rpc("print(await cluster.submit(crew.pid, tag='left'))") == str(pids["w1"])

    assert master.node != before
    assert master.log.read_text().count(f"deployed on {pids}") == 3
    assert "is lost" not in "".join(worker.log.read_text() for worker in workers)


def test_a_worker_that_was_frozen_meanwhile_crosses_over_too(make: MakeNode) -> None:
    """It finds its connections closed and the master's last word unread, all at once: no loss, which would end it."""
    nodes = Nodes(make)
    workers = [nodes.worker(1), nodes.worker(2)]
    master = nodes.master(["w1", "w2"], deploy="crew:deploy").ready()
    pids = {worker.name: worker.node for worker in workers}
    workers[1].signal(signal.SIGSTOP)

    restart = master.release.spawn("restart")
    master.says("hello is started again")  # the master that knew it is gone
    workers[1].signal(signal.SIGCONT)
    out, err = restart.communicate(timeout=90)

    assert restart.returncode == 0, out + err + workers[1].log.read_text()
    assert master.rpc(PIDS) == str(pids)


def test_a_worker_that_leaves_while_its_master_is_frozen_is_not_lost(make: MakeNode) -> None:
    """The master finds that it is gone before it reads that it hands over: it goes on, and the successor joins it."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"], shutdown_with_workers=True).ready()
    before = worker.node
    master.signal(signal.SIGSTOP)

    restart = worker.release.spawn("restart")
    worker.says("hello is started again")
    master.signal(signal.SIGCONT)
    out, err = restart.communicate(timeout=90)

    assert restart.returncode == 0, out + err + master.log.read_text()
    eventually(lambda: master.rpc(MEMBERS) == "['w1']", "it is a member again")
    assert worker.node != before


def test_a_web_service_on_the_master_answers_all_through(make: MakeNode) -> None:
    """Clients that keep their connections, and clients that do not, meet no error while masters follow each other."""
    nodes = Nodes(make, CREW, web(), libraries=(*LIBRARIES, "uvicorn"))
    nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    master.serving()

    with clients(port_of(master), short=2) as served:
        for _ in range(2):
            master.gracefully()
            assert master.rpc(MEMBERS) == "['w1']"

    assert served.failures == []
    assert served.answers


@pytest.mark.drill
def test_members_that_nobody_has_asked_for_cross_over_too(make: MakeNode) -> None:
    """A master that waits for nobody by name has its members again before it is deployed."""
    nodes = Nodes(make)
    master = nodes.master().ready()
    nodes.worker(1)
    master.says("w1 has joined")

    master.gracefully()

    assert master.rpc(MEMBERS) == "['w1']"


@pytest.mark.drill
def test_who_joins_meanwhile_is_a_member_afterwards(make: MakeNode) -> None:
    """A worker that is started while one master follows another, and one that was lost before."""
    nodes = Nodes(make)
    lost = nodes.worker(1)
    nodes.worker(2)
    master = nodes.master(["w1", "w2"]).ready()
    kill(lost)
    master.says("w1 is gone")

    restart = master.release.spawn("restart", "--graceful")
    nodes.worker(3)
    out, err = restart.communicate(timeout=90)

    assert restart.returncode == 0, out + err
    eventually(lambda: master.rpc(MEMBERS) == "['w2', 'w3']", "both are members")


def test_a_member_that_does_not_answer_is_not_waited_for(make: MakeNode) -> None:
    """A worker that is frozen, or cut off, while its master hands over: the others cross over, and it is lost as ever."""
    nodes = Nodes(make)
    worker, frozen = nodes.worker(1), nodes.worker(2)
    master = nodes.master().ready()
    for name in ("w1", "w2"):
        master.says(f"{name} has joined")
    frozen.signal(signal.SIGSTOP)

    master.gracefully()
    assert master.rpc(PIDS) == str({"w1": worker.node})

    frozen.signal(signal.SIGCONT)
    eventually(lambda: frozen.process.poll() == 4 or master.rpc(MEMBERS) == "['w1', 'w2']", "it is lost, or comes back")


def test_a_version_that_members_could_not_join_is_not_even_started(
    make: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says who would be lost and what to do first; the node, its members and their actors are what they were."""
    nodes = versions(make, monkeypatch)
    workers = [nodes.worker(1), nodes.worker(2)]
    master = nodes.master(["w1", "w2"]).ready()
    master.rpc("crew.counter = await cluster.actor(crew.Counter, 5)")
    pids = [each.node for each in (master, *workers)]

    done = master.asked("install", "2")

    assert done.returncode == 1
    assert "w1, w2 would be lost to a master of 2; install 2 on them first" in done.stderr
    assert "nothing has changed" in done.stderr
    assert [each.node for each in (master, *workers)] == pids
    assert master.rpc("print(await crew.counter.call(crew.Counter.add, 1))") == "6"
    assert "(failed" not in master.asked("releases").stdout


def test_workers_first_and_then_the_master_is_another_version(make: MakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker waits at the door of the master until that is of its version; and all the way back."""
    nodes = versions(make, monkeypatch)
    workers = [nodes.worker(1), nodes.worker(2)]
    master = nodes.master(["w1", "w2"], deploy="crew:deploy").ready()

    for version in ("2", "1"):
        for node in (*workers, master):
            done = node.asked("install", version)
            assert done.returncode == 0, done.stderr + node.log.read_text()
        assert master.rpc(PIDS) == str({worker.name: worker.node for worker in workers})
        assert json.loads(master.asked("status", "--json").stdout)["version"] == version


FRAIL = """
import asyncio, os
from underway_runtime import Application

class Frail(Application):
    async def start(self):
        if os.path.exists(os.environ["FRAIL"]) and open(os.environ["FRAIL"]).read() != str(os.getpid()):
            HOW
"""


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(
    "how",
    [
        "raise RuntimeError('on purpose')",
        "os._exit(9)",
        "await asyncio.sleep(60)",
        "os.kill(os.getpid(), 9)",
        "__import__('time').sleep(600)",
    ],
)
def test_a_successor_that_fails_when_it_has_the_workers_gives_them_back(make: MakeNode, how: str) -> None:
    """The old master is the master again, with its members; what is deployed is deployed again; and it says so."""
    frail = App("frail", FRAIL.replace("HOW", how), {"class": "frail:Frail"}, ("underway_runtime",))
    nodes = Nodes(make, CREW, frail)
    flag = nodes.release.root.parent / "flag"
    environ = {"FRAIL": str(flag), "UW__START_TIMEOUT": "20", "UW__HANDOVER_TIMEOUT": "45"}
    workers = [nodes.start(nodes.section(f"w{n}", f"127.0.0.{n + 1}", "worker"), environ) for n in (1, 2)]
    section = nodes.section("master", "127.0.0.1", "master", workers=["w1", "w2"], deploy="crew:deploy")
    master = nodes.start(section, environ).ready()
    pids = [each.node for each in (master, *workers)]
    flag.write_text(str(pids[0]))  # who may start it again

    done = master.asked("restart", "--graceful")

    assert done.returncode == 4, done.stderr + done.stdout
    assert "has failed, and the version before runs on" in done.stderr
    assert [each.node for each in (master, *workers)] == pids
    members = str({"w1": pids[1], "w2": pids[2]})
    eventually(lambda: master.rpc(PIDS) == members, "all are back: it waits ten seconds for them, and serves then")
    eventually(lambda: master.log.read_text().count("deployed on") == 2, "it is deployed again")


def test_a_gate_that_does_not_hold_leaves_the_cluster_alone(make: MakeNode) -> None:
    """No worker leaves its master, or waits for another, when that is over."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    gates = [{"command": ["/bin/false"], "attempts": 1}]
    (nodes.release.version / "gates.json").write_text(json.dumps(gates))
    before = worker.says("w1 has joined")

    done = master.asked("restart", "--graceful")
    assert done.returncode == 4, done.stderr
    assert "the version before runs on" in done.stderr
    assert worker.log.read_text() == before
    assert master.rpc(MEMBERS) == "['w1']"

    master.process.terminate()
    assert worker.ends() == 4
    assert "w1 has lost its master" in worker.log.read_text()


def test_a_master_that_is_killed_while_it_hands_over_is_waited_for(make: MakeNode) -> None:
    """Its worker does not take that for a loss until nobody has come in its place for the time that it was told."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    reached = at_its_gates(nodes)
    restart = master.release.spawn("restart", "--graceful")
    eventually(reached.exists, "the successor is at its gates")
    (nodes.release.version / "gates.json").unlink()

    kill(master)
    restart.communicate(timeout=90)
    worker.says("waits for the next")
    again = nodes.master(["w1"]).ready()
    assert again.rpc(PIDS) == str({"w1": worker.node})

    again.process.terminate()
    assert worker.ends() == 4


def test_the_node_of_a_master_that_dies_while_it_hands_over_is_followed(make: MakeNode) -> None:
    """Whoever serves next, its successor or the permanent version, has the workers."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    reached = at_its_gates(nodes)
    restart = master.release.spawn("restart", "--graceful")
    eventually(reached.exists, "the successor is at its gates")
    (nodes.release.version / "gates.json").unlink()

    master.signal(signal.SIGKILL)
    restart.communicate(timeout=90)
    assert restart.returncode != 0

    master.serving()
    assert master.rpc(PIDS) == str({"w1": worker.node})


@pytest.mark.drill
def test_a_worker_whose_master_hands_over_to_nobody_stops_in_the_end(make: MakeNode) -> None:
    """After the time that it was told, with the status for a master that is lost, and what it has waited for."""
    nodes = Nodes(make)
    environ = {"UW__HANDOVER_TIMEOUT": "10", "UW__STOP_TIMEOUT": "0.5"}
    worker = nodes.worker(1)
    master = nodes.start(nodes.section("master", "127.0.0.1", "master", workers=["w1"]), environ).ready()
    reached = at_its_gates(nodes)
    restart = master.release.spawn("restart", "--graceful")
    eventually(reached.exists, "the successor is at its gates")

    kill(master)
    restart.communicate(timeout=90)

    assert worker.ends() == 4
    assert "it was to hand over, and no other node has started" in worker.log.read_text()


# ---------------------------------------------------------------------------------------------- a worker hands over


def test_one_that_is_refused_at_the_door_is_still_there() -> None:
    """A worker of another version, which its master waits for, may knock for as long as it takes; one that is silent is lost."""

    async def scenario() -> None:
        members = Members(lambda line: None)
        members.expect("w1", 0)
        members.expect("w2", 0)
        members.refuse("w1", "its release differs")
        waiting = asyncio.ensure_future(members.comes_back("w1"))
        assert await members.comes_back("w2") is False
        assert await members.comes_back("w3") is False
        assert not waiting.done()
        members.update([Known("w1", (), 0.0, "underway://127.0.0.2:1")])
        assert await waiting is True

    asyncio.run(scenario())


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("command", [["restart", "--graceful"], ["restart"]])
def test_a_worker_that_hands_over_is_not_lost(make: MakeNode, command: list[str]) -> None:
    """Also for a master that stops when it loses one; when it is lost afterwards, it is."""
    nodes = Nodes(make)
    worker, other = nodes.worker(1), nodes.worker(2)
    master = nodes.master(["w1", "w2"], shutdown_with_workers=True).ready()
    before = worker.node

    for _ in range(2):
        done = worker.asked(*command)
        assert done.returncode == 0, done.stderr + worker.log.read_text()
        eventually(lambda: master.rpc(MEMBERS) == "['w1', 'w2']", "it is a member again")
    assert worker.node != before
    assert "w1 hands over to its successor" in master.log.read_text()

    kill(worker)
    assert master.ends() == 4
    assert "master has lost its worker w1" in master.log.read_text()
    assert other.ends() == 4


class Door:
    """An engine whose master lets a worker join, and is gone when that has said something."""

    SCHEME = "underway"
    worker = patience = None

    def __init__(self, on_join: Callable[[], None]) -> None:
        self.on_join = on_join
        self.said: list[str] = []
        self.master = "127.0.0.1:1"

    def open(self) -> None:
        pass

    async def call(self, *_: Any) -> None:
        self.said.append("calls")

    def Joined(self, *_: Any) -> Door:  # noqa: N802  # as the engine calls it
        return self

    async def start(self, *_: Any, **__: Any) -> None:
        self.on_join()

    def leaves(self, timeout: float) -> None:
        self.said.append("leaves")

    async def beat(self) -> None:
        raise TimeoutError

    async def last_word(self, timeout: float) -> None:
        pass

    async def close(self) -> None:
        pass

    def reason(self, error: BaseException) -> str:
        return str(error)


class Lonely(Cluster):
    """A node whose engine does no work."""

    async def _open_work(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("when", "said"), [("before it calls", []), ("while it joins", ["calls", "leaves"])])
def test_a_worker_that_hands_over_while_its_master_does_is_not_lost_to_the_next(
    tmp_path: Path, when: str, said: list[str]
) -> None:
    """It does not join that any more, which is for its successor; where it is about to, it says at once that it leaves."""

    async def scenario() -> list[str]:
        node = Lonely(Section(name="w1", mode="worker", master="127.0.0.1:1", log=False), str(tmp_path))

        def leave() -> None:
            node._leaving = True

        if when == "before it calls":
            leave()
        node._engine = door = Door(leave)
        async with asyncio.timeout(60):
            with contextlib.suppress(PeerLost):
                await node._join(cast(Any, door), "127.0.0.1", 0)
        return door.said

    assert asyncio.run(scenario()) == said


@pytest.mark.drill
def test_all_nodes_hand_over_at_once(make: MakeNode) -> None:
    """Also where the master stops when it loses a worker: nobody is lost, and each is a member of the next master."""
    nodes = Nodes(make)
    workers = [nodes.worker(1), nodes.worker(2)]
    master = nodes.master(["w1", "w2"], shutdown_with_workers=True).ready()
    for _ in range(3):
        restarts = [node.release.spawn("restart", "--graceful") for node in (master, *workers)]
        for restart in restarts:
            out, err = restart.communicate(timeout=150)
            assert restart.returncode == 0, out + err + master.log.read_text()
        eventually(lambda: master.rpc(MEMBERS) == "['w1', 'w2']", "both are members")


def at_its_gates(nodes: Nodes) -> Path:
    """A file that is there when a successor has come to its gates, which take long."""
    reached = nodes.release.root.parent / "reached"
    gates = [{"command": ["/bin/sh", "-c", f"touch {reached}; exec sleep 60"], "timeout": 100}]
    (nodes.release.version / "gates.json").write_text(json.dumps(gates))
    return reached


def kill(member: Member) -> None:
    """End its keeper and its node at once."""
    node = member.node
    for pid in (member.process.pid, node):
        os.kill(pid, signal.SIGKILL)
