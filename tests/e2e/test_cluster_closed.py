"""bin/cluster for callers that are not at a terminal: one that has closed descriptors 0 to 2, as a job of cron may have, and systemd."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from cluster_hosts import EVERYBODY, TIMEOUT, Cluster
from test_cluster_start import cluster, hosts, pytestmark, release

__all__ = ["cluster", "hosts", "pytestmark", "release"]


def run(cluster: Cluster, closed: tuple[int, ...], *words: str) -> int:
    """The status of a command of bin/cluster, called with these descriptors closed; the others are the null device."""
    redirect = " ".join(f"{number}>&-" for number in closed)
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", str(cluster.release / "bin/cluster"), *words],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(cluster.net.base),
            "RELEASE_VAR": str(cluster.var),
            "RELEASE_VSN": "0.1.0",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=cluster.var.parent,
        timeout=TIMEOUT,
    ).returncode


@pytest.mark.drill
@pytest.mark.parametrize("closed", [(0, 1, 2), (0,), (1,), (2,), (1, 2)], ids=str)
def test_a_cluster_is_deployed_and_stopped_whatever_is_closed(cluster: Cluster, closed: tuple[int, ...]) -> None:
    """Copied, started, asked and stopped, with true statuses: no line to a host lands on a descriptor that is written to."""
    ssh = ("--ssh-config", str(cluster.net.ssh_config))
    assert run(cluster, closed, "deploy", "--copy-only", *ssh) == 0
    assert run(cluster, closed, "deploy", "-m", "daemon", *ssh) == 0
    assert cluster.members() == EVERYBODY
    assert run(cluster, closed, "master", "status") == 0
    assert run(cluster, closed, "master", "run", "rpc", "1/0") == 7
    assert run(cluster, closed, "deploy", "-m", "daemon", *ssh) == 1
    assert run(cluster, closed, "deploy", "--stop", *ssh) == 0
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]
    assert run(cluster, closed, "master", "pid") == 1


@pytest.mark.parametrize("closed", [(0, 1, 2), pytest.param((1, 2), marks=pytest.mark.drill)], ids=str)
def test_a_cluster_of_this_machine_too(cluster: Cluster, closed: tuple[int, ...]) -> None:
    """In local mode, where nothing goes through SSH."""
    assert run(cluster, closed, "local", "daemon") == 0
    assert run(cluster, closed, "local", "run", "rpc", "1") == 0
    assert run(cluster, closed, "local", "stop") == 0
    assert run(cluster, closed, "local", "pid") == 1


@pytest.mark.drill
def test_a_unit_starts_a_node_with_bin_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """The process that systemd has started is the one that says that it is ready, also after a reload, and that stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(TIMEOUT)
        words = ["worker", "start", "127.0.0.1:8799", "--listen", "127.0.0.1:0", "--tag", "a"]
        with subprocess.Popen(
            [str(cluster.release / "bin/cluster"), *words],
            env={"PATH": "/usr/bin:/bin", "RELEASE_VAR": str(cluster.var), "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            for after in (None, signal.SIGHUP):
                if after is not None:
                    process.send_signal(after)
                while f"READY=1\nMAINPID={process.pid}\n" not in listening.recv(4096).decode():
                    pass
            assert cluster.run("worker", "pid").stdout.strip() == str(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 0
