"""A deploy that ends before its time: what it has begun it takes back, on every host, or it names what it can't reach."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster_hosts import EVERYBODY, PLACE, TIMEOUT, Cluster, two_versions
from hosts import Network, Pretend, network
from node_helpers import eventually
from terminals import Terminal, open_terminal

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.needs_tool("setsid", "util-linux"),
    pytest.mark.timeout(300),
]

SLOW = "if [ -e /run/slow-$RELEASE_COMMAND ]; then touch /run/begun; sleep 5; fi"
"""In the env.sh of a version on a host: a command that takes long, before Python has begun."""


@pytest.fixture(scope="module")
def release() -> Path:
    """A release with the engine."""
    return two_versions()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("net"), 3) as made:
        yield made


@pytest.fixture
def cluster(release: Path, hosts: Network, tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "var").mkdir()
    made = Cluster(release, hosts, tmp_path / "var")
    try:
        yield made
    finally:
        made.close()


def slow(cluster: Cluster, host: Pretend, command: str = "daemon") -> None:
    """Have the next start there, or another command, take long."""
    cluster.net.ssh(
        host,
        "sh",
        "-c",
        f"grep -q /run/begun {PLACE}/releases/0.1.0/env.sh || echo '{SLOW}' >>{PLACE}/releases/0.1.0/env.sh",
    )
    cluster.net.ssh(host, "touch", f"/run/slow-{command}")


def begins(cluster: Cluster, host: Pretend) -> None:
    eventually(lambda: cluster.net.ssh(host, "ls", "/run/begun", check=False), "the start has begun")


def crew(cluster: Cluster, host: Pretend) -> list[str]:
    """All that runs of the release there, also what is about to start."""
    code = "for f in /proc/[0-9]*/environ; do grep -qs CLUSTER_MODE $f && tr '\\0' ' ' <${f%environ}cmdline && echo; done; :"
    return [line for line in cluster.net.ssh(host, "sh", "-c", code).splitlines() if line.strip()]


def nothing_runs(cluster: Cluster, hosts: list[Pretend]) -> None:
    assert [crew(cluster, host) for host in hosts] == [[] for _ in hosts]
    assert cluster.run("master", "pid").returncode == 1
    assert not [
        entry for process in cluster.started for entry in Path("/tmp").glob(f"uw-{process.pid}-*") if process.returncode
    ]


@contextlib.contextmanager
def at_a_terminal(cluster: Cluster, *words: str) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """A deploy with a terminal of its own, as an operator has it."""
    with open_terminal() as (terminal, theirs):
        command = [cluster.release / "bin/cluster", "deploy", *words, "--ssh-config", cluster.net.ssh_config]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cluster.net.base), "RELEASE_VSN": "0.1.0"}
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *map(str, command)],
            env={**environ, "RELEASE_VAR": str(cluster.var), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        try:
            yield terminal, process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(TIMEOUT)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.drill) for each in (signal.SIGHUP, signal.SIGINT))],
)
def test_workers_that_are_starting_are_stopped_again(cluster: Cluster, number: signal.Signals) -> None:
    """Those that run and those that are about to, whoever has answered."""
    assert cluster.deploy("--copy-only").returncode == 0
    late = cluster.net.hosts[1]
    slow(cluster, late)
    process = cluster.spawn("deploy", "-m", "daemon", "--ssh-config", str(cluster.net.ssh_config))
    begins(cluster, late)

    process.send_signal(number)
    process.send_signal(signal.SIGTERM)  # an impatient one does not stop what takes it back
    _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 4, err
    assert "the workers that were started are stopped again: it was interrupted by " in err
    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
def test_ctrl_c_at_a_terminal_takes_back_what_was_begun(cluster: Cluster) -> None:
    """Which goes to all processes of the terminal, those of SSH among them; also typed twice."""
    assert cluster.deploy("--copy-only").returncode == 0
    late = cluster.net.hosts[2]
    slow(cluster, late)
    with at_a_terminal(cluster, "-m", "daemon") as (terminal, process):
        begins(cluster, late)
        terminal.type("\x03\x03")
        terminal.expect("stopped again: it was interrupted by Ctrl-C")
        assert process.wait(TIMEOUT) == 4

    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
def test_a_terminal_that_is_closed_leaves_nothing_behind(cluster: Cluster) -> None:
    """Though nobody can read any more what is said."""
    assert cluster.deploy("--copy-only").returncode == 0
    late = cluster.net.hosts[0]
    slow(cluster, late)
    with at_a_terminal(cluster, "-m", "daemon") as (terminal, process):
        begins(cluster, late)
        spare = os.open("/dev/null", os.O_RDWR)
        os.dup2(spare, terminal.descriptor)  # the last descriptor of our end is gone: the terminal hangs up
        os.close(spare)
        assert process.wait(TIMEOUT) == 4

    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
def test_ctrl_c_in_the_foreground_before_the_master_is_ready_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """The master has had it too, and does not listen."""
    place = tmp_path / "deploying"
    expression = f"open({str(place)!r}, 'w') and __import__('time').sleep(100)"
    with at_a_terminal(cluster, "-d", expression) as (terminal, process):
        for _ in range(4):  # each worker, and the master, has the time of one wait
            with contextlib.suppress(AssertionError):
                eventually(place.exists, "the master evaluates it")
                break
        terminal.type("\x03")
        assert process.wait(TIMEOUT) == 4

    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
def test_ctrl_c_while_it_is_taken_back_stops_nothing_of_that(cluster: Cluster) -> None:
    """The master has failed, and its workers are being stopped: they are, and it says so."""
    assert cluster.deploy("--copy-only").returncode == 0
    slow(cluster, cluster.net.hosts[1], "stop")
    process = cluster.spawn("deploy", "-m", "daemon", "-d", "1 / 0", "--ssh-config", str(cluster.net.ssh_config))
    for _ in range(4):  # each worker, and the master, has the time of one wait
        with contextlib.suppress(AssertionError):
            begins(cluster, cluster.net.hosts[1])
            break

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 4, err
    assert "the workers that were started are stopped again: the master could not be started: " in err
    assert "division by zero" in err
    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
@pytest.mark.parametrize(
    "sleeps",
    [pytest.param("await __import__('asyncio').sleep(100)", marks=pytest.mark.drill), "__import__('time').sleep(100)"],
)
def test_a_master_that_is_starting_here_is_stopped_with_its_workers(
    cluster: Cluster, tmp_path: Path, sleeps: str
) -> None:
    """While it evaluates what takes for ever, also where that does not let it stop: here and on the hosts nothing is left."""
    place = tmp_path / "deploying"
    expression = f"open({str(place)!r}, 'w') and {sleeps}"
    process = cluster.spawn("deploy", "-m", "daemon", "-d", expression, "--ssh-config", str(cluster.net.ssh_config))
    for _ in range(4):  # each worker, and the master, has the time of one wait
        with contextlib.suppress(AssertionError):
            eventually(place.exists, "the master evaluates it")
            break

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 4, err
    nothing_runs(cluster, cluster.net.hosts)


def test_a_host_that_is_cut_off_while_its_worker_starts_is_named(cluster: Cluster) -> None:
    """With 5, for nobody knows whether it runs on; the others are stopped, and --stop stops it when it can be reached, and says so."""
    assert cluster.deploy("--copy-only").returncode == 0
    lost = cluster.net.hosts[2]
    slow(cluster, lost)
    process = cluster.spawn("deploy", "-m", "daemon", "--ssh-config", str(cluster.net.ssh_config))
    begins(cluster, lost)
    cluster.net.cut(lost)
    _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 5, err
    assert "these may run on, for they could not be stopped:\n  - host3: " in err
    assert "stopped again" not in err
    assert [crew(cluster, host) for host in cluster.net.hosts[:2]] == [[], []]

    cluster.net.heal(lost)
    eventually(lambda: any("keeper" in line for line in crew(cluster, lost)), "it runs on")
    stopped = cluster.deploy("--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert stopped.stdout == f"{EVERYBODY[2]} is stopped\n"
    nothing_runs(cluster, cluster.net.hosts)


@pytest.mark.drill
def test_of_two_deploys_the_second_does_not_stop_what_the_first_has_started(cluster: Cluster) -> None:
    """What was begun by another is left alone, also by one that is interrupted."""
    assert cluster.deploy("--copy-only").returncode == 0
    late = cluster.net.hosts[1]
    slow(cluster, late)
    second = cluster.spawn("deploy", "-m", "daemon", "--ssh-config", str(cluster.net.ssh_config))
    begins(cluster, late)
    host = cluster.net.hosts[0]
    eventually(lambda: any("keeper" in line for line in crew(cluster, host)), "its first worker runs")
    stop = [f"{PLACE}/bin/cluster", "worker", "stop", "--name", EVERYBODY[0]]
    cluster.net.ssh(host, *stop)
    cluster.net.ssh(
        host,
        f"{PLACE}/bin/cluster",
        "worker",
        "daemon",
        "control:8786",
        "--name",
        EVERYBODY[0],
        "--listen",
        f"{host.address}:0",
    )

    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=TIMEOUT)

    assert second.returncode == 4, err
    assert any("keeper" in line for line in crew(cluster, host))
    assert crew(cluster, late) == []
    cluster.net.ssh(host, *stop)


@pytest.mark.drill
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.drill)])
def test_an_interrupted_copy_says_how_far_it_has_come(cluster: Cluster, number: signal.Signals) -> None:
    """Who has it and who has not; what had arrived is cleared, and nothing is left in temporary directories."""
    for host in cluster.net.hosts:
        cluster.net.ssh(host, "rm", "-rf", PLACE)
    slow_one = cluster.net.hosts[1]
    cluster.net.rate(slow_one, 2)
    try:
        process = cluster.spawn("deploy", "--copy-only", "--ssh-config", str(cluster.net.ssh_config))
        assert process.stderr is not None
        first = {process.stderr.readline().partition(":")[0] for _ in range(2)}
        process.send_signal(number)
        _, err = process.communicate(timeout=TIMEOUT)
    finally:
        cluster.net.rate(slow_one, 0)

    assert first == {"host1", "host3"}
    assert process.returncode == 128 + number
    assert "the copy to host2 is not whole, and what has arrived of it is cleared there" in err
    assert "host1, host3 have it" in err
    eventually(lambda: cluster.net.ssh(slow_one, "find", "/srv", "-mindepth", "1") == "", "it is cleared there")
    assert not [*Path("/tmp").glob(f"uw-{process.pid}-*"), *Path("/tmp").glob(f"underway-deploy-{process.pid}-*")]
    assert cluster.deploy("--copy-only").returncode == 0


def test_what_a_killed_deploy_left_is_cleared_by_the_next(cluster: Cluster) -> None:
    """Its temporary directories; those of one that runs, or of others, stay."""
    gone = subprocess.Popen(["true"])
    gone.wait(TIMEOUT)
    left, theirs = Path(f"/tmp/uw-{gone.pid}-abc"), Path(f"/tmp/uw-{os.getpid()}-abc")
    others = Path(f"/tmp/uw-{gone.pid}-others")
    for place in (left, theirs, others):
        place.mkdir()
    os.chown(others, 65534, 65534)
    try:
        cluster.deploy("--copy-only")
        assert [place.exists() for place in (left, theirs, others)] == [False, True, True]
    finally:
        for place in (left, theirs, others):
            with contextlib.suppress(OSError):
                place.rmdir()
