"""A cluster of real nodes: who joins, what it does, and what follows when somebody is gone."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_helpers import CREW, WORDCOUNT, Nodes, answering
from node_helpers import MakeNode, eventually
from underway_runtime.cluster import addresses as place
from underway_runtime.cluster.members import BEAT, SILENT, Members
from underway_runtime.cluster.members import Member as Known
from underway_runtime.release.errors import ConfigError


def listening(pid: int) -> list[str]:
    """The TCP addresses that a process listens on, and its UDP ones."""
    own = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            own.add(link.readlink().name)
    found = []
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if f"socket:[{inode}]" in own and (kind.startswith("udp") or state == "0A"):
                host, port = local.split(":")
                found.append(f"{socket.inet_ntoa(bytes.fromhex(host)[::-1])}:{int(port, 16)}")
    return found


def test_a_node_alone_does_all_work_itself(make: MakeNode) -> None:
    """In local mode the one node has every tag, evaluates the deployment, and opens no port."""
    nodes = Nodes(make)
    node = nodes.start(nodes.section("solo", "127.0.0.1", "local", deploy="crew:deploy")).ready()

    assert node.rpc("print(await cluster.submit(crew.pid, tag='any'), crew.pid())").split() == [str(node.node)] * 2
    assert "deployed on {'solo'" in node.log.read_text()
    assert listening(node.node) == []


def test_what_an_application_asks_is_done_where_it_says(make: MakeNode) -> None:
    """Tasks go to a tag, functions to all, actors stay where they were made with their state; a worker asks as the master does."""
    nodes = Nodes(make)
    w1, w2 = nodes.worker(1, "left"), nodes.worker(2, "right", "edge")
    master = nodes.master(["w1", "w2"], deploy="[await crew.deploy(), 'some text']").ready()
    pids = {"w1": w1.node, "w2": w2.node}

    assert f"deployed on {pids}" in master.log.read_text()
    assert master.rpc("print([(m.name, m.tags) for m in cluster.members()])") == str(
        [("w1", ("left",)), ("w2", ("edge", "right"))]
    )
    for node in (master, w1):
        assert node.rpc("print(await cluster.submit(crew.pid, tag='right'))") == str(w2.node)
        assert node.rpc("print(await cluster.run(crew.pid))") == str(pids)
        assert node.rpc("print(await cluster.run(crew.pid, tag='left'))") == str({"w1": w1.node})
    counted = "counter = await cluster.actor(crew.Counter, 5, {})\nfor n in 1, 2: print(await counter.call(crew.Counter.add, n))"
    assert master.rpc(counted.format("tag='left'")).split() == ["6", "8"]
    assert w2.rpc(counted.format("member='w1'") + "\nprint(counter.member)").split() == ["6", "8", "w1"]


def test_what_can_not_be_done_is_an_error_at_once(make: MakeNode) -> None:
    """A tag or a member that nobody is, and what was raised elsewhere, are told to who asked."""
    nodes = Nodes(make)
    nodes.worker(1, "left")
    master = nodes.master(["w1"]).ready()

    for code, error in {
        "await cluster.submit(crew.pid, tag='rigth')": "NobodyThere: no member has the tag 'rigth'; there are left",
        "await cluster.run(crew.pid, tag='rigth')": "NobodyThere: no member has the tag 'rigth'",
        "await cluster.actor(crew.Counter, member='w9')": "NobodyThere: there is no member 'w9'; there is w1",
        "await cluster.submit(crew.fail)": "ValueError: on purpose",
        "await cluster.run(crew.fail)": "fail failed on w1",
    }.items():
        attempt = f"try:\n    {code}\nexcept Exception as error:\n    print(f'{{type(error).__name__}}: {{error}}')"
        assert error in master.rpc(attempt)


def test_a_stream_is_spread_over_the_cluster(make: MakeNode) -> None:
    """The word count: each operator is where its tag is, each word has one node, and nothing is counted twice or not at all."""
    nodes = Nodes(make, CREW, WORDCOUNT)
    workers = [nodes.worker(1, "cutters"), nodes.worker(2, "counters"), nodes.worker(3, "counters")]
    deploy = "wordcount.deploy(['a rose is a rose'] * 120, cut='cutters', count='counters')"
    master = nodes.master(["w1", "w2", "w3"], deploy=deploy).ready()

    feed = "import wordcount; print(await wordcount.feed(['one rose more']))"
    assert master.rpc(feed) == str({"rose": 241, "a": 240, "is": 120, "more": 1, "one": 1})
    where = "print([[s.member for s in each] for each in wordcount._running[0].stations])"
    assert master.rpc(f"import wordcount; {where}") == str([["w1"], ["w2", "w3"], ["w2", "w3"]])
    states = "for s in wordcount._running[0].stations[1]: print(len(await s.call(wordcount.flow.KeyedReduce.all)))"
    parts = [int(line) for line in master.rpc(f"import wordcount\n{states}").split()]
    assert sum(parts) == 5
    assert all(parts)
    shown = "".join(worker.log.read_text() for worker in workers[1:])
    assert "rose 241\n" in shown
    assert "rose" not in workers[0].log.read_text()


def test_no_port_is_open_but_the_one_that_was_asked_for(make: MakeNode) -> None:
    """Master and worker each listen on their one address, in TLS."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"]).ready()

    assert listening(master.node) == [nodes.address]
    [address] = listening(worker.node)
    assert address.startswith("127.0.0.2:")


@pytest.mark.parametrize(
    "first", ["", "import distributed\n", "import dask.config\n"], ids=["ours", "distributed", "dask"]
)
def test_what_the_user_has_configured_for_the_engine_does_not_count(make: MakeNode, tmp_path: Path, first: str) -> None:
    """Variables and files of Dask's, even broken ones, change no setting and no file, and open nothing, whoever imports it first."""
    nodes = Nodes(make, replace(CREW, source=first + CREW.source))
    home = tmp_path / "home/.config/dask"
    home.mkdir(parents=True)
    (home / "broken.yaml").write_text("distributed: [")
    environ = {
        "HOME": str(tmp_path / "home"),
        "DASK_CONFIG": str(home),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "1s",
        "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "crew",
        "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1",
        "DASK_LOGGING__DISTRIBUTED": "debug",
        "DASK_DISTRIBUTED__ADMIN__PDB_ON_ERR": "true",
    }
    one = nodes.start(nodes.section("one", "127.0.0.1", "local"))
    two = nodes.start(nodes.section("two", "127.0.0.1", "local"), environ)
    dump = "import dask, json; print(json.dumps(dask.config.config, sort_keys=True, default=str))"

    settings = [node.ready().rpc(dump) for node in (one, two)]

    assert settings[0] == settings[1]
    assert two.rpc("import distributed.core; print(distributed.core.LOG_PDB)") == "False"
    assert json.loads(settings[0])["distributed"]["comm"]["timeouts"]["tcp"] == "12s"
    assert two.rpc("print(crew.environment('DASK_SCHEDULER_ADDRESS'))") == "tcp://127.0.0.1:1"
    assert sorted(each.name for each in home.iterdir()) == ["broken.yaml"]
    assert "debug" not in two.log.read_text().lower()


# ------------------------------------------------------------------------------------------------ who may not join


def test_a_worker_of_another_release_is_refused_by_both(make: MakeNode) -> None:
    """Each side names what is different, and no worker joins."""
    nodes, others = Nodes(make), Nodes(make, at="others")
    for of, identity in ((nodes, "aaaa"), (others, "bbbb")):
        (of.release.version / "manifest.json").write_text(json.dumps({"release_id": identity}))
    worker = others.start(nodes.section("w1", "127.0.0.2", "worker"))
    master = nodes.master(["w1"])

    master.says("w1 is refused: its release is hello 1 (bbbb) and ours is hello 1 (aaaa)")
    worker.says("master is refused: its release is hello 1 (aaaa) and ours is hello 1 (bbbb)")


def test_a_certificate_of_another_authority_is_refused(make: MakeNode) -> None:
    nodes, others = Nodes(make), Nodes(make, at="others")
    section = nodes.section(
        "w1", "127.0.0.2", "worker", certificates=str(others.certificate("w1", "127.0.0.2", "worker"))
    )
    worker = nodes.start(section)
    master = nodes.master(["w1"])

    master.says("127.0.0.2 is refused: there is no TLS with it")
    worker.says("its certificate is not valid: self-signed certificate in certificate chain")


def test_a_certificate_of_another_host_is_refused(make: MakeNode) -> None:
    """Who has taken a key along can't use it elsewhere; no word of it is read."""
    nodes = Nodes(make)
    place = nodes.certificate("wrong", "127.0.0.9", "worker")
    worker = nodes.start(nodes.section("w1", "127.0.0.2", "worker", certificates=str(place)))
    master = nodes.master(["w1"])

    worker.says("it has closed the connection; where it has refused this node, its log says why")
    master.says("127.0.0.2 is refused: it calls from 127.0.0.2, and its certificate is for 127.0.0.9")


def test_a_worker_s_certificate_can_not_be_a_master_s(make: MakeNode) -> None:
    """Who holds one and listens where the master should be learns nothing of a worker; a node does not even start with it."""
    nodes = Nodes(make)
    place = nodes.certificate("wrong", "127.0.0.1", "worker")
    impostor = nodes.start(nodes.section("m", "127.0.0.1", "master", certificates=str(place)))
    assert impostor.ends() == 1
    assert f"the certificate in {place} is for a worker, and this is a master" in impostor.log.read_text()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place / "node.pem", place / "node.key")
    heard: list[bytes] = []
    with (
        socket.create_server(("127.0.0.1", nodes.port)) as server,
        context.wrap_socket(server, server_side=True) as tls,
        answering(tls, lambda caller: heard.append(caller.recv(1))),
    ):
        nodes.worker(1).says("127.0.0.1 is refused: its certificate is for worker where a master has to be")
    assert not any(heard)


def test_nobody_speaks_to_a_node_without_a_certificate(make: MakeNode) -> None:
    """A client that has none gets no word out of a port of the cluster, be it in TLS or not."""
    nodes = Nodes(make)
    master = nodes.master().ready()
    context = ssl.create_default_context(cafile=str(nodes.secrets / "authority/ca.pem"))

    with socket.create_connection(("127.0.0.1", nodes.port), timeout=30) as plain:
        plain.sendall(b"\0" * 100)
        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(100) == b""
    with (
        socket.create_connection(("127.0.0.1", nodes.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
        pytest.raises(ssl.SSLError, match="certificate required"),
    ):
        tls.recv(100)
    master.says("there is no TLS with it")


def test_without_certificates_nothing_leaves_the_machine(make: MakeNode) -> None:
    """A node that could be reached from elsewhere does not start; on the loopback it may."""
    nodes = Nodes(make)
    section = nodes.section("master", "127.0.0.1", "master", certificates=None)
    away = nodes.start(section | {"name": "away", "listen": "192.0.2.1:8786"})
    cookie = {"RELEASE_COOKIE": "both-have-it"}
    worker = nodes.start(nodes.section("w1", "127.0.0.1", "worker", certificates=None), cookie)

    nodes.start(section | {"workers": ["w1"]}, cookie).ready()
    assert away.ends() == 1
    assert "there are no certificates, and 192.0.2.1 can be reached from elsewhere" in away.log.read_text()
    worker.says("w1 has joined")


def test_a_new_certificate_is_taken_up_by_a_node_that_runs(make: MakeNode) -> None:
    """What is put in place of the old one is shown to who connects from then on."""
    nodes = Nodes(make)
    nodes.master().ready()
    before = (nodes.secrets / "master/node.pem").read_text()
    nodes.certificate("master", "127.0.0.1", "master")
    after = (nodes.secrets / "master/node.pem").read_text()

    def shown() -> str:
        with socket.create_connection(("127.0.0.1", nodes.port), timeout=30) as plain:
            context = ssl._create_unverified_context()
            with context.wrap_socket(plain) as tls:
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")

    assert before != after
    eventually(lambda: shown() == after, "the new certificate")


# ---------------------------------------------------------------------------------------------------- who is gone


def test_a_lost_node_is_seen_within_ten_seconds() -> None:
    """The last sign of life may be missed by one beat, and the look for it by another."""
    assert SILENT + 2 * BEAT < 10


def test_a_worker_that_is_killed_is_gone_and_comes_back(make: MakeNode) -> None:
    """Its master goes on without it, what only it could do is lost with an error, and a new one of its name joins."""
    nodes = Nodes(make)
    worker = nodes.worker(1, "left")
    master = nodes.master(["w1"]).ready()
    wait = "import asyncio, time; crew.task = asyncio.ensure_future(cluster.submit(time.sleep, 60, tag='left'))"
    master.rpc(wait)
    master.rpc("crew.counter = await cluster.actor(crew.Counter)\nprint(await crew.counter.call(crew.Counter.add, 1))")
    worker.signal(signal.SIGKILL)
    master.says("w1 is gone")
    attempt = "try:\n    await crew.counter.call(crew.Counter.add, 1)\nexcept Exception as error:\n    print(type(error).__name__)"

    assert master.rpc(attempt) == "MemberLost"
    assert worker.ends() == 128 + signal.SIGKILL
    again = nodes.worker(1).ready()
    eventually(lambda: master.log.read_text().count("w1 has joined") == 2, "w1 is back")
    assert master.rpc("print(await cluster.submit(crew.pid))") == str(again.node)
    waited = "try:\n    await crew.task\nexcept cluster.MemberLost as error:\n    print(error)"
    assert "nobody is left to do it" in master.rpc(waited)


def test_a_frozen_worker_is_gone_for_its_master(make: MakeNode) -> None:
    """What waits for an actor on it is told, and when it thaws it notices that it was left."""
    nodes = Nodes(make)
    worker = nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    pending = (
        "import asyncio\ncounter = await cluster.actor(crew.Counter)\n"
        "async def wait():\n    try:\n        await counter.call(crew.Counter.slowly, 60)\n"
        "    except Exception as error:\n        print(type(error).__name__, flush=True)\n"
        "crew.task = asyncio.ensure_future(wait())"
    )
    master.rpc(pending)
    worker.signal(signal.SIGSTOP)
    master.says("w1 is gone")
    master.rpc("await crew.task")
    worker.signal(signal.SIGCONT)

    assert worker.ends() == 4


def test_a_worker_that_loses_its_master_stops_with_4_and_stays_so(make: MakeNode) -> None:
    """Its keeper does not start it again, though the release has a heart."""
    nodes = Nodes(make)
    (nodes.release.version / "heart").write_text(json.dumps({"restarts": 5, "within": 60.0, "delay": 0.1}))
    worker = nodes.worker(1)
    master = nodes.master(["w1"], shutdown_with_workers=False).ready()
    master.process.terminate()

    assert master.ends() == 0
    assert worker.ends() == 4
    assert "w1 has lost its master" in worker.log.read_text()
    assert "is started again" not in worker.log.read_text()


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_may_outlive_its_master_joins_the_next(make: MakeNode, number: signal.Signals) -> None:
    """Whether the master was killed or only silent."""
    nodes = Nodes(make)
    worker = nodes.worker(1, "left", shutdown_with_master=False)
    master = nodes.master(["w1"]).ready()
    worker.says("w1 has joined")
    master.signal(number)
    worker.says("is lost")
    if number == signal.SIGSTOP:
        master.signal(signal.SIGKILL)
    master.ends()
    second = nodes.master(["w1"]).ready()

    assert second.rpc("print(await cluster.submit(crew.pid, tag='left'))") == str(worker.node)


def test_a_master_that_may_not_outlive_its_workers_stops_with_4(make: MakeNode) -> None:
    nodes = Nodes(make)
    workers = [nodes.worker(1), nodes.worker(2)]
    master = nodes.master(["w1", "w2"], shutdown_with_workers=True).ready()
    workers[1].process.terminate()

    assert master.ends() == 4
    assert "master has lost its worker w2" in master.log.read_text()
    assert [worker.ends() for worker in workers] == [4, 0]


def test_what_happens_is_told_as_events(make: MakeNode) -> None:
    """Up and down, on the master and on the workers."""
    nodes = Nodes(make)
    stays = nodes.worker(1)
    master = nodes.master(["w1"]).ready()
    listen = (
        "import asyncio\nasync def listen():\n    async for event in cluster.events():\n"
        "        print('event', event.kind, event.member, flush=True)\ncrew.task = asyncio.ensure_future(listen())"
    )
    for node in (master, stays):
        replaced = listen.replace("print(", "print(file=__import__('sys').__stdout__, *(").replace(
            "flush=True)", "), flush=True)"
        )
        node.rpc(replaced)
    goes = nodes.worker(2)
    for node in (master, stays):
        node.says("event up w2")
    goes.process.terminate()
    for node in (master, stays):
        node.says("event down w2")


# --------------------------------------------------------------------------------------------- what does not start


def test_a_boot_names_who_is_missing_and_who_was_refused() -> None:
    """Each worker that has not joined with the reason, and others that have tried."""
    members = Members(lambda line: None)
    members.update([Known("w1", (), 0.0, "underway://127.0.0.2:1")])
    members.refuse("w2", "its release differs")
    members.refuse("127.0.0.9", "there is no TLS with it")

    assert members.missing(["w1", "w2", "w3"]) == [
        "w2: its release differs",
        "w3: it has not called",
        "127.0.0.9 is refused: there is no TLS with it",
    ]


@pytest.mark.sample(most=3)
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"workers": ["w1", "w2"], "join_timeout": 2}, "w2: it has not called"),
        (
            {"workers": ["w@beta"], "join_timeout": 2},
            "within 2 s; it listens on 127.0.0.1, where no other host reaches it",
        ),
        ({"deploy": "crew.fail()"}, "the deployment 'crew.fail()' failed: ValueError: on purpose"),
        ({"deploy": "crew.fail_together()"}, "'crew.fail_together()' failed: ValueError: on purpose"),
        ({"deploy": "nothing.at_all()"}, "NameError: name 'nothing' is not defined"),
        ({"listen": "0.0.0.0:8786"}, "0.0.0.0 is all"),
        ({"listen": "127.0.0.1:1x"}, "`listen` is address:port"),
        ({"certificates": "/nowhere"}, "/nowhere/ca.pem is missing"),
    ],
)
def test_a_master_that_can_not_boot_says_why(make: MakeNode, more: dict[str, object], said: str) -> None:
    nodes = Nodes(make)
    if "workers" in more:
        nodes.worker(1)
    master = nodes.start(nodes.section("master", "127.0.0.1", "master", **more))

    assert master.ends() == 1
    assert said in master.log.read_text()
    assert "Traceback" not in master.log.read_text() or "deploy" in more


@pytest.mark.parametrize(
    ("host", "master", "out_of_reach"),
    [
        ("127.0.0.1", "192.0.2.7:8786", True),
        ("127.0.0.3", "198.51.100.1:1", True),
        ("::1", "192.0.2.7:8786", True),
        ("127.0.0.1", "127.0.0.2:8786", False),
        ("127.0.0.1", "localhost:8786", False),
        ("127.0.0.1", "no-such-host.invalid:8786", False),
        ("192.0.2.9", "192.0.2.7:8786", False),
    ],
)
def test_a_worker_on_the_loopback_has_its_master_here(host: str, master: str, out_of_reach: bool) -> None:
    """One whose master is another host is refused, with the address to listen on; what can't be known yet is waited for."""
    if not out_of_reach:
        place.refuse_out_of_reach(host, master)
        return
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((master.partition(":")[0], 1))
            own = probe.getsockname()[0]
    except OSError:
        pytest.skip("this machine has no way to other hosts")
    with pytest.raises(ConfigError, match=f"can't reach it; say an address of this host: --listen {own}:0"):
        place.refuse_out_of_reach(host, master)


def test_an_own_address_of_this_host_may_be_its_masters() -> None:
    """A worker on the loopback, and a master at another address of the same host."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.7", 1))
            own = probe.getsockname()[0]
    except OSError:
        pytest.skip("this machine has no way to other hosts")
    place.refuse_out_of_reach("127.0.0.1", f"{own}:8786")


@pytest.mark.parametrize("mode", ["master", "worker"])
def test_a_port_that_is_taken_is_named(make: MakeNode, mode: str) -> None:
    nodes = Nodes(make)
    section = nodes.section("node", "127.0.0.1", mode, listen=nodes.address)
    with socket.create_server(("127.0.0.1", nodes.port)):
        node = nodes.start(section)

        assert node.ends() == 1
    assert f"can't listen on {nodes.address}" in node.log.read_text()


def test_without_the_extra_the_node_says_what_to_install(make: MakeNode) -> None:
    """A release whose project did not ask for the engine runs, until it is to be in a cluster."""
    nodes = Nodes(make, CREW, libraries=())
    node = nodes.start(nodes.section("solo", "127.0.0.1", "local"))

    assert node.ends() == 1
    assert "uv add 'underway-runtime[cluster]'" in node.log.read_text()


def test_who_may_operate_a_node_is_no_member_of_its_cluster(make: MakeNode) -> None:
    """Without certificates the cookie makes a member, whose code runs: it is not shared with a group that may run none."""
    nodes = Nodes(make)
    section = nodes.section("master", "127.0.0.1", "master", certificates=None)
    place = nodes.release.version / "sys.config"
    document = json.loads(place.read_text())
    operated = {"control_group": "root", "rpc": False, "remote": False, "eval": False}
    document["config"].setdefault("underway_runtime", {}).update(operated)
    place.write_text(json.dumps(document))
    refused = nodes.start(section)

    assert refused.ends() == 1
    assert "the members of `control_group`, root, may read the cookie" in refused.log.read_text()
