"""A `main` whose processes answer: after an upgrade none of them has the old code, shown by asking each, and no request has failed."""

from __future__ import annotations

import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Count
from handover_helpers import clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, Process, eventually
from ports import free_port
from sources import package
from underway_runtime.process import facts
from underway_runtime.process.process_table import family, processes
from versions import add_sealed

GUNICORN = {
    "gunicorn sync": ("in_gunicorn:main", {"KIND": "sync"}),
    "gunicorn sync, preloaded": ("in_gunicorn:main", {"KIND": "sync", "PRELOAD": "True"}),
    "gunicorn gthread": ("in_gunicorn:main", {"KIND": "gthread"}),
    "gunicorn uvicorn": ("in_gunicorn:main", {"KIND": "uvicorn.workers.UvicornWorker"}),
}
POOLS = {
    f"{kind} {method}{', no handler' * (main != 'main')}": (f"pools:{main}", {"KIND": kind, "METHOD": method})
    for kind in ("multiprocessing", "futures")
    for method in ("fork", "spawn", "forkserver")
    for main in ("main", "without_a_handler")
}
SERVERS = GUNICORN | POOLS
WORKERS = 4


def service(make: MakeNode, server: str) -> tuple[Node, int]:
    """Two versions of a service that a function of tests/projects/forking runs, and the port where it listens."""
    main, environ = SERVERS[server]
    port = free_port()
    how = {"main": f"tool.{main}", "listen": [f"tcp://127.0.0.1:{port}"]}
    first, second = (
        App("tool", files=package("tool", "forking", *versions), start=how) for versions in (["v1"], ["v1", "v2"])
    )
    node = make(first, libraries=("gunicorn", "uvicorn") if server in GUNICORN else ())
    node.environ |= {"PORT": str(port), **environ}
    node.configure(underway_runtime={"drain_timeout": 10})
    add_sealed(node, "2", second)
    return node, port


def asked(port: int, *, most: int = 400) -> set[str]:
    """What the processes of a service answer, version and pid, asked by new connections until as many as it has have answered."""

    def ask(_: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Connection": "close"})
            return connection.getresponse().read().decode()

    found: set[str] = set()
    with ThreadPoolExecutor(8) as pool:
        while len(found) < WORKERS and most > 0:
            found |= {*pool.map(ask, range(8))}
            most -= 8
    return found


def left_over(node: Node, keeper: Process) -> list[int]:
    """The processes that run something of the release, and are none of the keeper's."""
    others = processes().keys() - {*family(keeper.pid)}
    return sorted(pid for pid in others if str(node.root) in " ".join(facts.command_line(pid)))


@pytest.mark.sample("kind")
@pytest.mark.parametrize(("kind", "server"), [(server.split()[0], server) for server in SERVERS], ids=[*SERVERS])
def test_no_process_has_the_old_code_after_an_upgrade(make: MakeNode, count: Count, kind: str, server: str) -> None:
    """Each process that serves is asked and answers with the new version, none of the old node's is left, and nobody got an error."""
    node, port = service(make, server)
    keeper, _ = start(node, r"listening on (\d+)")
    with clients(port, 6, short=2) as served:
        assert len(asked(port)) == WORKERS
        for number in range(count(1, 5)):
            new = "21"[number % 2]
            before = family(status(node)["pid"])
            assert status(node)["not_handed_over"] == []

            done = node.run("upgrade", new)

            assert done.returncode == 0, done.stderr
            found = asked(port)
            assert {answer.split()[0] for answer in found} == {new}
            pids = {int(answer.split()[1]) for answer in found}
            assert (len(pids), pids <= {*family(status(node)["pid"])}) == (WORKERS, True)
            assert not pids & {*before}
            eventually(lambda: left_over(node, keeper) == [], "what the version before had started has ended")
    assert served.failures == []
    keeper.terminate()
    assert keeper.wait(TIMEOUT) == 0
    eventually(lambda: left_over(node, keeper) == [], "all has ended")
