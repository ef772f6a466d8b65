"""A deploy that ends before its time, in each step before and after nodes are started, and a host that hangs meanwhile."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster_hosts import EVERYBODY, PLACE, TIMEOUT, Cluster
from hosts import Pretend
from node_helpers import eventually, read_until
from test_cluster_interrupted import begins, cluster, crew, hosts, nothing_runs, pytestmark, release

__all__ = ["cluster", "hosts", "pytestmark", "release"]

pytestmark = [*pytestmark, pytest.mark.drill]

HOOK = 'if [ -e "/run/slow-$RELEASE_COMMAND${2:+-$2}" ]; then touch /run/begun; sleep 5; fi'
"""In the launcher of a version on a host: a command that takes long, before anything of it has begun."""
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def bare(cluster: Cluster) -> None:
    """Hosts without a release: what a test changes in one is damage for the next."""
    for host in cluster.net.hosts:
        cluster.net.ssh(host, "rm", "-rf", PLACE)


def slow(cluster: Cluster, host: Pretend, command: str, version: str = "0.1.0") -> None:
    """Have a command take long there, for as long as its file is in /run."""
    launcher = f"{PLACE}/releases/{version}/launcher"
    line = shlex.quote(f"/^export RELEASE_ROOT RELEASE_NAME/a {HOOK}")
    cluster.net.ssh(
        host,
        "sh",
        "-c",
        f"grep -q /run/begun {launcher} || sed -i {line} {launcher}; rm -f /run/begun /run/slow-*; touch /run/slow-{command}",
    )


def interrupted(
    cluster: Cluster, words: list[str], do: Callable[[int], object], version: str = "0.1.0"
) -> tuple[int, str]:
    """Deploy, and do something to that process when the second host has begun what is slow there: its status, and what it said."""
    cluster.net.ssh(cluster.net.hosts[1], "rm", "-f", "/run/begun")
    process = cluster.spawn("deploy", *words, "--ssh-config", str(cluster.net.ssh_config), version=version)
    begins(cluster, cluster.net.hosts[1])
    do(process.pid)
    _, err = process.communicate(timeout=TIMEOUT)
    left = [*Path("/tmp").glob(f"uw-{process.pid}-*"), *Path("/tmp").glob(f"underway-deploy-{process.pid}-*")]
    assert process.returncode == -signal.SIGKILL or left == []
    return process.returncode, err


def by(number: signal.Signals) -> Callable[[int], None]:
    """Send a signal to it."""
    return lambda pid: os.kill(pid, number)


def hang(host: Pretend) -> list[int]:
    """Stop all that listens or answers for SSH there, which stays connected: the pids, of this machine."""
    pids = [int(file.parent.name) for file in Path("/proc").glob("[0-9]*/cmdline") if _is_sshd(file, host)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def _is_sshd(file: Path, host: Pretend) -> bool:
    try:
        where = os.stat(file.with_name("ns") / "net")
        return file.read_bytes().startswith((b"sshd", b"/usr/sbin/sshd")) and os.path.samestat(
            where, os.stat(f"/run/netns/{host.netns}")
        )
    except OSError:
        return False


def go_on(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_certificates_are_given_or_not_and_nothing_is_started(cluster: Cluster) -> None:
    """Whichever signal comes while hosts get theirs, SIGKILL too: it says so, and the next deploy is whole."""
    assert cluster.deploy("--copy-only").returncode == 0
    slow(cluster, cluster.net.hosts[1], "cluster-certificate")
    for number in SIGNALS:
        status, err = interrupted(cluster, ["-m", "daemon"], by(number))
        assert (status, err.rpartition(": ")[2]) == (128 + number, "nothing was started\n")
    assert interrupted(cluster, ["-m", "daemon"], by(signal.SIGKILL))[0] == -signal.SIGKILL
    assert [crew(cluster, host) for host in cluster.net.hosts] == [[], [], []]

    cluster.net.ssh(cluster.net.hosts[1], "rm", "/run/slow-cluster-certificate")
    done = cluster.deploy("-m", "daemon")
    assert done.returncode == 0, done.stderr
    assert cluster.members() == EVERYBODY


def test_what_a_killed_deploy_has_begun_is_stopped_by_the_next(cluster: Cluster) -> None:
    """While workers start: `--stop` finds them, wherever they have got to, and lists them."""
    assert cluster.deploy("--copy-only").returncode == 0
    slow(cluster, cluster.net.hosts[1], "cluster-worker")
    interrupted(cluster, ["-m", "daemon"], by(signal.SIGKILL))
    eventually(lambda: all("keeper" in " ".join(crew(cluster, host)) for host in cluster.net.hosts), "all have started")

    stopped = cluster.deploy("--stop")
    assert stopped.stdout.splitlines() == [f"{node} is stopped" for node in EVERYBODY], stopped.stderr
    nothing_runs(cluster, cluster.net.hosts)


def test_a_commit_that_is_interrupted_is_done_to_the_end(cluster: Cluster) -> None:
    """Of a whole cluster, and of workers that join a master that runs: nothing that runs is stopped for that, and all of it boots."""
    for version in ("0.1.0", "0.1.1"):
        assert cluster.deploy("--copy-only", version=version).returncode == 0
    begin = ["-m", "daemon", "--directory", PLACE, "--no-shutdown-with-master"]
    assert cluster.deploy("host1:a", *begin, version="0.1.1").returncode == 0
    slow(cluster, cluster.net.hosts[1], "commit", "0.1.1")

    words = ["host2:a,b", "second@host3:c", *begin]
    status, err = interrupted(cluster, words, by(signal.SIGINT), version="0.1.1")
    assert (status, "all of it runs, and is made to boot on every host first" in err) == (0, True), err
    assert cluster.members() == EVERYBODY
    boots = [cluster.net.ssh(host, f"{PLACE}/bin/crew", "version") for host in cluster.net.hosts]
    assert boots == ["crew 0.1.1\n"] * 3


def test_a_commit_that_fails_leaves_no_master_that_nobody_waits_for(cluster: Cluster) -> None:
    """In the foreground: the host is named at once, the master runs on, and the status is said when that ends."""
    for version in ("0.1.0", "0.1.1"):
        assert cluster.deploy("--copy-only", version=version).returncode == 0
    fails = 'if [ "$RELEASE_COMMAND" = commit ]; then echo on purpose >\\&2; exit 9; fi'
    launcher = f"{PLACE}/releases/0.1.1/launcher"
    cluster.net.ssh(cluster.net.hosts[1], "sed", "-i", f"/^export RELEASE_ROOT RELEASE_NAME/a {fails}", launcher)
    process = cluster.spawn("deploy", "--ssh-config", str(cluster.net.ssh_config), version="0.1.1")
    read_until(process.stderr, "is not what boots on every host")
    read_until(process.stderr, "the master is ready")
    assert cluster.members() == EVERYBODY

    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 5, err
    assert "  - host2: on purpose" in err
    assert cluster.run("master", "pid").returncode == 1


def test_a_stop_says_what_it_has_stopped_whatever_ends_it(cluster: Cluster) -> None:
    """A signal, or a host that hangs: what could not be stopped is stopped by the next."""
    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode == 0
    slow(cluster, cluster.net.hosts[1], "stop")
    master = f"crew_master@{os.uname().nodename}"
    status, err = interrupted(cluster, ["--stop"], by(signal.SIGINT))
    assert status == 130
    assert f"`deploy --stop` goes on where this ended\nstopped: {master}" in err

    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode in {0, 1}
    hung: list[int] = []
    status, err = interrupted(cluster, ["--stop"], lambda _: hung.extend(hang(cluster.net.hosts[1])))
    go_on(hung)
    assert status == 5
    assert "  - host2: " in err
    cluster.net.ssh(cluster.net.hosts[1], "rm", "-f", "/run/slow-stop")
    assert cluster.deploy("--stop").returncode == 0
    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.parametrize(
    ("step", "said"), [("cluster-certificate", "nothing was started"), ("cluster-worker", "these may run on")]
)
def test_a_host_that_hangs_is_named(cluster: Cluster, step: str, said: str) -> None:
    """One that stays connected and does not answer any more: within the limits, with 5, and the others are as they were."""
    assert cluster.deploy("--copy-only").returncode == 0
    slow(cluster, cluster.net.hosts[1], step)
    hung: list[int] = []
    status, err = interrupted(cluster, ["-m", "daemon"], lambda _: hung.extend(hang(cluster.net.hosts[1])))
    go_on(hung)

    assert (status, said in err, "  - host2: " in err) == (5, True, True), err
    assert [crew(cluster, host) for host in (cluster.net.hosts[0], cluster.net.hosts[2])] == [[], []]
