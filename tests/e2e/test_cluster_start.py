"""A cluster on hosts of its own: deployed, asked, stopped; and what is left when that fails."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_hosts import EVERYBODY, PLACE, TIMEOUT, Cluster, two_versions
from hosts import Network, network
from node_helpers import eventually, read_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs_tool("ssh", "openssh-client"),
    pytest.mark.needs_tool("sshd", "openssh-server"),
    pytest.mark.needs_tool("ip", "iproute2"),
    pytest.mark.needs_tool("unshare", "util-linux"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def release() -> Path:
    """A release with the engine, in two versions."""
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


def test_a_cluster_is_deployed_asked_and_stopped(cluster: Cluster, tmp_path: Path) -> None:
    """Workers with their tags, a master that has waited for all, an expression with spaces; then nothing runs any more."""
    place = Path(f"/tmp/deployed-{os.getpid()}")
    expression = f"crew.deployed('it works, all of it', {place.name!r})"
    done = cluster.deploy("-m", "daemon", "-d", expression, "--working-dir", "/tmp", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["started"] is True
    where = {"a": ["host1", "host2"], "b": ["host2"], "c": ["host3"]}
    written = place.read_text()
    place.unlink()
    assert written == f"it works, all of it: {where}"
    assert cluster.members() == EVERYBODY
    assert cluster.run("master", "pid").stdout.strip().isdigit()
    for host in cluster.net.hosts:
        keys = cluster.net.ssh(
            host, "sh", "-c", f"stat -c %a {PLACE}/var/cluster/*/certificates/node.key; ls {PLACE}/var/cluster"
        )
        assert keys.split()[0] == "600"
        assert "authority" not in keys
        assert "crew is running" not in cluster.net.ssh(host, f"{PLACE}/bin/crew", "status", check=False)

    again = cluster.deploy("-m", "daemon")
    assert again.returncode == 1
    for node in EVERYBODY:
        assert f"{node} runs there already" in again.stderr
    assert "crew_master@" in again.stderr

    stopped = cluster.deploy("--stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    master, *workers = stopped.stdout.splitlines()
    assert master == f"crew_master@{os.uname().nodename} is stopped"
    assert workers == [f"{node} is stopped" for node in EVERYBODY]
    assert cluster.deploy("--stop").stdout == "nothing runs\n"
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]
    assert cluster.run("master", "pid").returncode == 1


@pytest.mark.drill
def test_the_master_may_be_a_host_too_and_a_cookie_that_of_all(cluster: Cluster, tmp_path: Path) -> None:
    """Where the table says so; the cookie goes there without being in any list of words, and nothing runs here."""
    table, cookie = tmp_path / "cluster.toml", tmp_path / "cookie"
    table.write_text(
        f'directory = "{PLACE}"\nhosts = ["host1:a", "host2:b", {{ host = "host3", role = "master" }}]\n[limits]\nconnect = 10\n'
    )
    cookie.write_text("a secret of this test\n")
    cookie.chmod(0o600)
    host = cluster.net.hosts[2]
    done = cluster.deploy("-f", str(table), "-m", "daemon", "--cookie-file", str(cookie))
    assert done.returncode == 0, done.stderr

    asked = f"{PLACE}/bin/cluster master run --name crew_master@host3"
    code = "'from underway_runtime import cluster; len(cluster.members())'"
    assert cluster.net.ssh(host, "sh", "-c", f"RELEASE_COOKIE='a secret of this test' {asked} rpc {code}") == "2\n"
    assert cluster.net.ssh(host, "sh", "-c", f"RELEASE_COOKIE='another' {asked} rpc {code}", check=False) == ""
    assert cluster.run("master", "pid").returncode == 1
    for each in cluster.net.hosts:
        lines = cluster.net.ssh(each, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "secret" not in lines

    stopped = cluster.deploy("-f", str(table), "--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert [cluster.nodes(each) for each in cluster.net.hosts] == [[], [], []]


def test_when_one_worker_does_not_start_the_others_are_stopped(cluster: Cluster) -> None:
    """With the host that failed by name, what it said, and the status of what was undone."""
    assert cluster.deploy("--copy-only").returncode == 0
    broken = cluster.net.hosts[1]
    cluster.net.ssh(broken, "sh", "-c", f"echo 'echo on purpose >&2; exit 9' >>{PLACE}/releases/0.1.0/env.sh")
    try:
        done = cluster.deploy("-m", "daemon")
    finally:
        cluster.net.ssh(broken, "rm", "-r", PLACE)

    assert done.returncode == 4
    assert "the workers that were started are stopped again: workers could not be started:\n  - host2: " in done.stderr
    assert "on purpose" in done.stderr
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]


@pytest.mark.drill
def test_when_the_master_does_not_start_the_workers_are_stopped(cluster: Cluster) -> None:
    """Also when only what it was to evaluate failed; the original left them behind."""
    done = cluster.deploy("-m", "daemon", "-d", "1 / 0")

    assert done.returncode == 4
    assert "ZeroDivisionError" in done.stderr
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]
    assert cluster.run("master", "pid").returncode == 1


def test_a_port_that_is_taken_is_seen_before_anything_is_started(cluster: Cluster, tmp_path: Path) -> None:
    """On a host, and here."""
    table = tmp_path / "cluster.toml"
    table.write_text(
        f'directory = "{PLACE}"\nworker-port = 4711\nhosts = ["host1", "host2", "host3"]\n[limits]\nconnect = 10\n'
    )
    code = "import socket,time; s=socket.create_server(('', 4711)); open('/run/ready','w'); time.sleep(100)"
    cluster.net.ssh(cluster.net.hosts[1], "sh", "-c", f'/usr/bin/python3 -c "{code}" >/dev/null 2>&1 </dev/null &')
    eventually(lambda: cluster.net.ssh(cluster.net.hosts[1], "ls", "/run/ready", check=False), "the port is taken")

    done = cluster.deploy("-f", str(table), "-m", "daemon", "--listen", "192.0.2.1:9")

    assert done.returncode == 1
    assert "  - host2: port 4711 is taken, and the worker is to listen there" in done.stderr
    assert "the master can't listen at 192.0.2.1:9 here: Cannot assign requested address" in done.stderr
    assert done.stderr.count("  - ") == 2
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]


@pytest.mark.drill
def test_a_deploy_in_the_foreground_ends_with_its_master(cluster: Cluster) -> None:
    """As the original's: Ctrl-C stops the master, and the workers go with it."""
    process = cluster.spawn("deploy", "--ssh-config", str(cluster.net.ssh_config))
    read_until(process.stderr, "the master is ready")  # and deploy knows: before, Ctrl-C takes everything back
    eventually(lambda: cluster.members() == EVERYBODY, "all have joined")

    master = int(cluster.run("master", "pid").stdout)  # deploy has other children, which ask how it is
    for pid in (process.pid, master):
        os.kill(pid, signal.SIGINT)  # as a terminal sends it, to both
    _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 0, err
    eventually(lambda: not any(cluster.nodes(host) for host in cluster.net.hosts), "the workers are gone")


def test_the_next_version_boots_when_all_of_it_runs(cluster: Cluster) -> None:
    """It is sent as a difference and started uncommitted; what boots is changed when the master has all workers."""
    assert cluster.deploy("--copy-only").returncode == 0
    failed = cluster.deploy("-m", "daemon", "-d", "1 / 0", version="0.1.1")
    assert failed.returncode == 4
    versions = [cluster.net.ssh(host, f"{PLACE}/bin/crew", "version") for host in cluster.net.hosts]
    assert versions == ["crew 0.1.0\n"] * 3

    done = cluster.deploy("-m", "daemon", "--json", version="0.1.1")
    assert done.returncode == 0, done.stderr
    assert {each["sent"] for each in json.loads(done.stdout)["hosts"]} == {0}
    versions = [cluster.net.ssh(host, f"{PLACE}/bin/crew", "version") for host in cluster.net.hosts]
    assert versions == ["crew 0.1.1\n"] * 3


def test_a_dry_run_says_the_commands_and_starts_nothing(cluster: Cluster) -> None:
    """Each as it would be run, here and there."""
    assert cluster.deploy("--copy-only").returncode == 0
    done = cluster.deploy("--dry-run", "-m", "daemon", "-d", "f(1, 'a b')", "--listen", f"{cluster.net.control}:9000")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(f"worker daemon {cluster.net.control}:9000 --name ") == 3
    assert f"{cluster.release}/bin/cluster master daemon {' '.join(EVERYBODY)} --name crew_master@" in done.stdout
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]


def last_of(text: str) -> dict[str, Any]:
    """The outcome, which follows the commands of a dry run."""
    found: dict[str, Any] = json.loads(text[text.rindex("\n{") :])
    return found


@pytest.mark.drill
def test_a_dry_run_claims_nothing(cluster: Cluster) -> None:
    """Neither that something was copied, nor that it was started, nor, of what runs, that it is stopped."""
    cluster.net.ssh(cluster.net.hosts[0], "rm", "-rf", PLACE)
    tried = cluster.deploy("--dry-run", "-m", "daemon", "--json")
    assert (tried.returncode, tried.stderr) == (0, "")
    outcome = last_of(tried.stdout)
    assert (outcome["started"], outcome["dry_run"]) == (False, True)
    assert {host["sent"] for host in outcome["hosts"]} == {0}

    assert cluster.deploy("-m", "daemon").returncode == 0
    tried = cluster.deploy("--stop", "--dry-run")
    assert (tried.returncode, tried.stderr) == (0, "")
    assert "is stopped" not in tried.stdout
    assert tried.stdout.count(" stop --name ") == 4
    outcome = last_of(cluster.deploy("--stop", "--dry-run", "--json").stdout)
    assert outcome["stopped"] == []
    assert sorted(outcome["would_stop"])[1:] == EVERYBODY
    assert cluster.members() == EVERYBODY


@pytest.mark.drill
def test_a_worker_that_is_gone_is_brought_back_while_the_master_runs(cluster: Cluster) -> None:
    """By the same command, or with its host alone; those that run are left alone, and one more host is added the same way."""
    begin = ["-m", "daemon", "--no-shutdown-with-master", "--directory", PLACE]
    assert cluster.deploy("host1:a", "host2:a,b", *begin, "-d", "'once'").returncode == 0
    master = cluster.run("master", "pid").stdout
    lost, other = cluster.net.hosts[1], cluster.net.hosts[0]
    pids = cluster.net.ssh(other, "sh", "-c", f"cat {PLACE}/var/cluster/*/run/pid")
    cluster.net.crash(lost)
    eventually(lambda: cluster.members() == EVERYBODY[:1], "the master has noticed")
    cluster.net.boot(lost)

    again = cluster.deploy("host1:a", "host2:a,b", *begin, "-d", "'once'")
    assert again.returncode == 0, again.stderr
    assert "1 workers have joined crew_master@" in again.stderr
    assert "what --deploy says is not evaluated again" in again.stderr
    assert cluster.members() == EVERYBODY[:2]

    added = cluster.deploy("second@host3:c", *begin)
    assert added.returncode == 0, added.stderr
    assert cluster.members() == EVERYBODY
    assert cluster.net.ssh(other, "sh", "-c", f"cat {PLACE}/var/cluster/*/run/pid") == pids
    assert cluster.run("master", "pid").stdout == master

    refused = cluster.deploy("second@host3:c", *begin)
    assert refused.returncode == 1
    assert "second@host3 runs there already" in refused.stderr
    stopped = cluster.deploy("--stop")
    assert len(stopped.stdout.splitlines()) == 4, stopped.stderr
    assert [cluster.nodes(host) for host in cluster.net.hosts] == [[], [], []]


@pytest.mark.drill
def test_a_worker_that_can_not_join_the_master_that_runs_is_not_left_behind(cluster: Cluster) -> None:
    """One of another version is refused before anything is started; one that does not start leaves the others alone."""
    assert cluster.deploy("host1:a", "-m", "daemon", "--directory", PLACE).returncode == 0
    other = cluster.deploy("host2:a", "-m", "daemon", "--directory", PLACE, version="0.1.1")
    assert other.returncode == 1
    assert "runs here already, and is of 0.1.0: no worker of 0.1.1 can join it" in other.stderr

    broken = cluster.net.hosts[1]
    assert cluster.deploy("host2:a", "--copy-only", "--directory", PLACE).returncode == 0
    cluster.net.ssh(broken, "sh", "-c", f"echo 'echo on purpose >&2; exit 9' >>{PLACE}/releases/0.1.0/env.sh")
    try:
        failed = cluster.deploy("host2:a", "-m", "daemon", "--directory", PLACE)
    finally:
        cluster.net.ssh(broken, "rm", "-r", PLACE)
    assert failed.returncode == 4, failed.stderr
    assert cluster.members() == EVERYBODY[:1]


NOISY = """\
echo 'system x'
printf '\033]0;title\007no line break'
echo 'clock now' >&2
read -r answer
read -r more
export RELEASE_VAR=/var/lib/crew RELEASE_NAME=other RELEASE_VSN=9
"""


@pytest.mark.drill
def test_login_shells_may_print_what_they_like(cluster: Cluster) -> None:
    """Before and after, on both streams, for each step of a deploy, a question and a stop; and ask, and say where nodes are."""
    for host in cluster.net.hosts:
        cluster.net.ssh(
            host, "sh", "-c", f"printf %s {shlex.quote(NOISY)} >/root/.bashrc; cp /root/.bashrc /root/.bash_logout"
        )
    try:
        done = cluster.deploy("-m", "daemon", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["started"] is True
        assert cluster.members() == EVERYBODY
        stopped = cluster.deploy("--stop")
        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert stopped.stdout.splitlines()[1:] == [f"{node} is stopped" for node in EVERYBODY]
    finally:
        for host in cluster.net.hosts:
            cluster.net.ssh(host, "rm", "-f", "/root/.bashrc", "/root/.bash_logout")


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(
    ("bashrc", "said"),
    [
        ("echo 'Go away'; exit 0", "it printed: Go away"),
        ("exit 3", "its login shell ends before it runs what it is given (ssh ended with status 3)"),
        ("exec /usr/sbin/nologin", "it printed: This account is currently not available."),
        ("kill -9 $$", "ssh"),
    ],
)
def test_a_login_shell_that_ends_is_shown_as_that(cluster: Cluster, bashrc: str, said: str) -> None:
    """By the name of its host, with what it printed, before anything is changed."""
    host = cluster.net.hosts[1]
    cluster.net.ssh(
        host,
        "sh",
        "-c",
        f"cp -a /root/.bashrc /root/.bashrc.kept 2>/dev/null; printf %s {shlex.quote(bashrc)} >/root/.bashrc",
    )
    try:
        done = cluster.deploy("-m", "daemon")
    finally:
        cluster.net.crash(host)
        (host.place / "disk/upper/root/.bashrc").unlink()
        cluster.net.boot(host)

    assert done.returncode == 1
    assert "  - host2: " in done.stderr
    assert said in done.stderr
    assert "Error" not in done.stderr
    assert [cluster.nodes(each) for each in cluster.net.hosts] == [[], [], []]


@pytest.mark.drill
def test_a_tilde_is_the_home_of_who_logs_in(cluster: Cluster, tmp_path: Path) -> None:
    """In a table, in an option, and in the name of a file; nothing is called ~ anywhere."""
    table = tmp_path / "cluster.toml"
    table.write_text('directory = "~/of crew"\nhosts = ["host1", "host2", "host3"]\nlimits = { connect = 10 }\n')
    done = cluster.deploy("-f", str(table), "--copy-only", "--json")
    assert done.returncode == 0, done.stderr
    assert {host["directory"] for host in json.loads(done.stdout)["hosts"]} == {"/root/of crew"}

    done = cluster.deploy("host1", "--directory", "~", "--copy-only")
    assert done.returncode == 1
    assert "/root holds " in done.stderr
    done = cluster.deploy("host1", "--directory", "~other/crew", "--copy-only")
    assert done.returncode == 2
    assert cluster.net.ssh(cluster.net.hosts[0], "find", "/root", "-maxdepth", "1", "-name", "*~*") == ""


@pytest.mark.drill
def test_a_host_that_is_cut_off_while_nodes_are_stopped_is_named(cluster: Cluster) -> None:
    """With the status for a part of the cluster; the original ended with 0."""
    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode == 0
    cluster.net.cut(cluster.net.hosts[2])

    stopped = cluster.deploy("--stop")

    assert stopped.returncode == 5
    assert stopped.stderr.startswith("error: not every node could be stopped:\n  - host3: ")
    assert [cluster.nodes(host) for host in cluster.net.hosts[:2]] == [[], []]


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_a_cable_that_is_cut_for_20_s_is_noticed_and_healed(cluster: Cluster) -> None:
    """Both sides see it within ten seconds of what they are allowed, and the worker joins again by itself."""
    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode == 0
    host = cluster.net.hosts[0]
    cluster.net.cut(host)
    began = time.monotonic()
    eventually(lambda: cluster.members() == EVERYBODY[1:], "the master has noticed")
    time.sleep(max(0.0, 20 - (time.monotonic() - began)))  # the cable is cut for so long
    cluster.net.heal(host)

    eventually(lambda: cluster.members() == EVERYBODY, "it has joined again")


@pytest.mark.drill
@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["worker", "master"])
def test_who_is_killed_and_started_again_is_in_the_cluster_again(cluster: Cluster, who: str) -> None:
    """A worker with all that it was; a master finds its workers, which have gone on without it."""
    assert cluster.deploy("-m", "daemon", "--no-shutdown-with-master").returncode == 0
    host = cluster.net.hosts[0]
    if who == "worker":
        cluster.net.crash(host)
        eventually(lambda: cluster.members() == EVERYBODY[1:], "the master has noticed")
        cluster.net.boot(host)
        words: list[Any] = ["worker", "daemon", f"{cluster.net.control}:8786", "--name", EVERYBODY[0]]
        cluster.net.ssh(host, f"{PLACE}/bin/cluster", *words, "--listen", f"{host.address}:0", "--tag", "a")
    else:
        cluster.run("master", "run", "rpc", "import os; os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)")
        again = cluster.run("master", "daemon", "--listen", f"{cluster.net.control}:8786", *EVERYBODY)
        assert again.returncode == 0, again.stderr

    eventually(lambda: cluster.members() == EVERYBODY, "all are there again")
