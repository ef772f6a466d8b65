"""A web service on the master of a cluster on hosts of its own, which answers while its nodes follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_hosts import Cluster
from handover_helpers import ASGI, clients
from hosts import Pretend, network
from ports import free_port
from projects import build, write_project

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.timeout(400),
]

PLACE = "/srv/crew"
TOOL = """\
[tool.underway]
asgi = "crew:app"
listen = ["tcp://127.0.0.1:{port}"]
steps = [
    "underway.steps:pre_assemble",
    "underway.steps.cluster:step",
    "underway.steps:assemble",
    "underway.steps:post_assemble",
    "underway.steps:tar",
]

[tool.underway.cluster]
directory = "/srv/crew"
hosts = ["host1:a", "host2:b"]
limits = {{ connect = 10 }}
"""
WORKERS = ["crew_worker@host1", "crew_worker@host2"]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, port: int) -> Path:
    """Two versions, of which each answers with its number."""
    root, needs = tmp_path_factory.mktemp("project") / "crew", ["distributed>=2026.3", "cryptography>=45", "uvicorn"]
    for version, number in (("0.1.0", "1"), ("0.1.1", "2")):
        source = {"src/crew/__init__.py": ASGI.replace('VERSION = "1"', f'VERSION = "{number}"')}
        write_project(root, TOOL.format(port=port), source, name="crew", version=version, dependencies=needs)
        built = build(root)
    return built


@pytest.fixture
def cluster(release: Path, tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "var").mkdir()
    with network(tmp_path / "net", 2) as net:
        made = Cluster(release, net, tmp_path / "var")
        try:
            yield made
        finally:
            made.close()


def pids(cluster: Cluster) -> list[str]:
    """Of the keepers on the hosts, each of which has one node."""
    return [cluster.net.ssh(host, "sh", "-c", f"cat {PLACE}/var/cluster/*/run/lock") for host in cluster.net.hosts]


def on(cluster: Cluster, host: Pretend, *words: str) -> str:
    return cluster.net.ssh(host, f"{PLACE}/bin/cluster", "worker", "run", "--name", f"crew_worker@{host.name}", *words)


@pytest.mark.drill
def test_the_service_answers_while_master_and_workers_follow_each_other(cluster: Cluster, port: int) -> None:
    """A graceful restart, a version that the workers could not join, then the workers first: no request fails, nobody is lost."""
    assert cluster.deploy("-m", "daemon").returncode == 0
    assert cluster.deploy("--copy-only", version="0.1.1").returncode == 0
    assert cluster.run("master", "run", "commit").returncode == 0  # what was built last boots here otherwise
    before = pids(cluster)

    with clients(port, short=2) as served:
        for _ in range(2):
            done = cluster.run("master", "restart", "--graceful")
            assert done.returncode == 0, done.stderr
            assert cluster.members() == WORKERS
        assert pids(cluster) == before

        refused = cluster.run("master", "run", "install", "0.1.1", "--how", "handover")
        assert refused.returncode == 1
        assert "crew_worker@host1, crew_worker@host2 would be lost to a master of 0.1.1" in refused.stderr
        assert cluster.members() == WORKERS
        assert pids(cluster) == before

        for host in cluster.net.hosts:
            assert "0.1.1 runs" in on(cluster, host, "install", "0.1.1", "--how", "handover")
        done = cluster.run("master", "run", "install", "0.1.1", "--how", "handover")
        assert done.returncode == 0, done.stderr
        assert cluster.members() == WORKERS

    assert served.failures == []
    assert {"1", "2"} <= set(served.answers)
    stopped = cluster.deploy("--stop")
    assert len(stopped.stdout.splitlines()) == 3, stopped.stderr


@pytest.mark.drill
def test_a_worker_by_hand_says_why_it_can_not_join(cluster: Cluster) -> None:
    """On a host that is not its master's, without an address: it does not start, be it in the background or in the foreground."""
    assert cluster.deploy("-m", "daemon").returncode == 0
    assert cluster.deploy("--stop").returncode == 0
    host = cluster.net.hosts[0]
    for how in ("daemon", "start"):
        words = [f"{PLACE}/bin/cluster", "worker", how, f"{cluster.net.control}:8786", "--name", "crew_worker@host1"]
        said = cluster.net.ssh(host, "sh", "-c", f"{' '.join(words)} 2>&1; echo status $?")
        assert f"can't reach it; say an address of this host: --listen {host.address}:0" in said
        assert said.endswith("status 1\n")
    assert cluster.nodes(host) == []
