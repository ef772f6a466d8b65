"""Descriptors 0 to 2 that a caller has closed, others that he has open, and lock files that somebody has damaged."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import textwrap
from pathlib import Path

import pytest

from handover_helpers import asgi, start
from node_helpers import TIMEOUT, MakeNode, Node, eventually, finish, read_until, recorder, terminate
from projects import living_children
from underway_runtime.process import lock
from underway_runtime.release.directory import VarDirectory
from underway_runtime.upgrade.transaction import transaction
from upgrade_helpers import make_host
from versions import add_sealed

CLOSED = [*itertools.chain.from_iterable(itertools.combinations((0, 1, 2), count) for count in (1, 2, 3))]
NULL = "/dev/null"


@pytest.fixture
def node(make: MakeNode) -> Node:
    return make(recorder("one"))


def run(node: Node, closed: tuple[int, ...], *arguments: str, more: str = "", shell: str = "sh") -> int:
    """The status of a command, called with these descriptors closed; the others are files that stay empty or say what it says."""
    redirect = " ".join(f"{number}>&-" for number in closed)
    with open(node.root.parent / "said", "w+") as said:
        script = f'exec "$@" {redirect} {more}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *([shell] if shell != "sh" else []), str(node.command), *arguments],
            env=node.environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            timeout=TIMEOUT,
        )
    return done.returncode


def standard(pid: int) -> list[str]:
    """What a process has on 0, 1 and 2."""
    return [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)]


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_daemon_is_one_whatever_is_closed(node: Node, closed: tuple[int, ...]) -> None:
    """It returns when it is ready; on 0 to 2 of keeper and node is the null device, or the pipe of the log, and the log is whole."""
    assert run(node, closed, "daemon") == 0
    said = node.lock_contents()

    assert standard(said["pid"]) == [NULL] * 3
    null, out, err = standard(said["node"])
    assert null == NULL
    assert out == err
    assert out.startswith("pipe:")
    assert run(node, closed, "stop") == 0
    log = (node.var / "log/hello.log.1").read_text()
    assert ("start one" in log, "stop one" in log, "Bad file descriptor" in log) == (True, True, False)


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_a_start_in_the_foreground_too(node: Node, closed: tuple[int, ...]) -> None:
    """What the caller has open is the node's; the rest is the null device, and nothing of ours."""
    redirect = " ".join(f"{number}>&-" for number in closed)
    with open(node.root.parent / "said", "w+") as said:
        command = ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", str(node.command), "start"]
        process = subprocess.Popen(command, env=node.environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        node.processes.append(process)  # type: ignore[arg-type]
        eventually(lambda: run(node, (), "status") == 0, "it runs")
        about = node.lock_contents()
        for pid in (about["pid"], about["node"]):
            for number, what in enumerate(standard(pid)):
                assert what == (NULL if number in closed or number == 0 else str(node.root.parent / "said"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_every_command_works_with_what_is_left(node: Node, closed: tuple[int, ...], shell: str) -> None:
    """Nobody hears it, and it does what it does: a socket that landed on 1 would be written to."""
    assert run(node, closed, "daemon", shell=shell) == 0
    for command in (
        ["status"],
        ["metrics"],
        ["rpc", "print(1)"],
        ["pid"],
        ["config"],
        ["eval", "print(1)"],
        ["restart"],
        ["remote"],
    ):
        assert run(node, closed, *command, shell=shell) == 0, command
    assert run(node, closed, "rpc", "1/0", shell=shell) == 7
    assert run(node, closed, "rpc", shell=shell) == 2
    assert run(node, closed, "stop", shell=shell) == 0
    assert run(node, closed, "status", shell=shell) == 1
    uses = (node.var / "journal/uses.jsonl").read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in uses if '"rpc"' in line] == ["began", "done", "began", "raised"]


@pytest.mark.parametrize(
    "words", [["status"], ["rpc", "print(1)"], ["logs"], ["pid"], ["eval", "print(1)"], ["help"]], ids=" ".join
)
def test_what_can_not_be_printed_is_said(node: Node, words: list[str]) -> None:
    """Where there is no room for it: one sentence, and not success; who reads no more is told nothing."""
    assert node.run("daemon").returncode == 0
    with open("/dev/full", "w") as full:
        done = node.run(*words, stdout=full)
    assert done.returncode == 1
    assert re.fullmatch(r".*(can't be written|I/O error).*\n", done.stderr), done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        assert "Exception" not in node.run(*words, stdout=pipe).stderr


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_what_changes_the_version_works_with_what_is_left(node: Node, closed: tuple[int, ...]) -> None:
    """Checked, installed, committed, rolled back and upgraded, and nothing that was said is in a file of ours."""
    add_sealed(node, "2", recorder("one"))
    assert run(node, closed, "daemon") == 0
    for words, status in (
        (["check", "2"], 0),
        (["install", "2"], 0),
        (["commit"], 0),
        (["rollback"], 0),
        (["unpack", "2"], 0),
        (["upgrade", "2"], 0),
        (["upgrade", "9"], 1),
        (["releases"], 0),
        (["verify"], 0),
        (["remove", "1"], 0),
    ):
        assert run(node, closed, *words) == status, words
    assert node.lock_contents()["version"] == "2"
    assert {
        name: each["state"] for name, each in json.loads((node.var / "RELEASES").read_text())["releases"].items()
    } == {"2": "permanent"}
    files = [path.read_bytes() for path in node.var.rglob("*") if path.is_file()]
    assert not [content for content in files if b"2 is permanent" in content or b"error: " in content]
    assert run(node, closed, "stop") == 0


def test_who_waits_for_the_end_of_a_pipe_does_not_wait_for_a_daemon(node: Node) -> None:
    """Also where the pipe, or a lock, is on another descriptor than 1: a daemon keeps nothing that its caller has open."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    done = subprocess.run([str(node.command), "daemon"], env={}, pass_fds=(writing,), timeout=TIMEOUT, check=False)
    os.close(writing)

    with open(reading, "rb") as pipe:
        assert pipe.read() == b""
    assert done.returncode == 0
    assert node.run("stop").returncode == 0


def test_what_a_node_executes_gets_no_descriptor_of_its_own(make: MakeNode) -> None:
    """Neither the lock nor a listening socket, also where nobody closes them in between: it would keep both when the node has stopped."""
    looks = """
    import os, time
    with open({path!r}, "w") as file:
        to = (os.POSIX_SPAWN_DUP2, file.fileno(), 1)
        os.waitpid(os.posix_spawn("/bin/ls", ["ls", "/proc/self/fd"], {{}}, file_actions=[to]), 0)
    print(*open({path!r}).read().split())
    """
    node = make(asgi(), libraries=["uvicorn"])
    process, _ = start(node)
    code = textwrap.dedent(looks.format(path=str(node.root.parent / "listed")))

    for _ in range(2):  # the second time of one that has taken over, with states and sockets that it was sent
        assert node.run("rpc", code).stdout == "0 1 2 3\n"  # 3 is that of the directory that is listed
        assert node.run("restart", "--graceful").returncode == 0
    terminate(process)


@pytest.mark.parametrize("limit", [16, 20, 64])
def test_a_low_limit_of_open_files_is_no_puzzle(node: Node, limit: int) -> None:
    """The keeper takes a lower descriptor for the line to its node; where that is not enough, files are what is said to be missing."""
    script = f'ulimit -n {limit}; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(node.command), "daemon"],
        env={},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert "Invalid argument" not in done.stderr
    if limit == 64:
        assert (done.returncode, done.stderr) == (0, "")
        assert node.run("stop").returncode == 0


@pytest.mark.parametrize("command", ["status", "daemon"])
def test_whatever_the_limit_of_open_files_is_the_end_has_its_reason(node: Node, command: str) -> None:
    """Also where a shell has none left for what it redirects: a status that is not 0 never comes without a word."""
    silent = []
    for limit in range(4, 24):
        script = f'ulimit -n {limit}; exec "$@"'
        words = ["/bin/sh", "-c", script, "sh", str(node.command), command]
        done = subprocess.run(words, env={}, capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode and not done.stderr.strip():
            silent.append(limit)
        if not done.returncode:
            assert node.run("stop").returncode == 0
    assert silent == []


# -------------------------------------------------------------------------------------------------------- lock files

DAMAGE = [
    b"",
    b"\0" * 5000,
    b"\xff\xfe" * 3000,
    b"[" * 5000,
    b'{"pid": 1, "node": 1}',
    b'{"pid": "x"}',
    b'{"pid": 1e999}',
    b"x" * 10**6,
]

UNREADABLE = [each for each in DAMAGE if each != b'{"pid": 1, "node": 1}']
"""Where no process is named: one that is named would be that of another view of the processes."""


def find(node: Node) -> int | None:
    found = lock.find(VarDirectory(node.var), "hello")
    return None if found is None else found.pid


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damage_from_before_is_gone_with_the_next_start(node: Node, damage: bytes) -> None:
    """Whatever lay there, the document of the one that runs is all that is in it."""
    (node.var / "run").mkdir(parents=True)
    (node.var / "run/lock").write_bytes(damage)
    (node.var / "run/pid").write_bytes(damage)

    assert node.run("daemon").returncode == 0

    about = json.loads((node.var / "run/lock").read_bytes())
    assert find(node) == about["pid"] == int((node.var / "run/pid").read_text())
    assert node.run("restart").returncode == 0
    assert node.run("stop").returncode == 0


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damage_while_it_runs_is_mended(node: Node, damage: bytes) -> None:
    """The keeper looks whenever something happens, and twice a minute: no command is lost for good."""
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    before = eventually(lambda: "version" in node.lock_contents() and node.lock_contents(), "it has said who it is")
    (node.var / "run/lock").write_bytes(damage)

    os.kill(process.pid, signal.SIGCHLD)  # something happens

    def mended() -> bool:
        try:
            return bool(json.loads((node.var / "run/lock").read_bytes()) == before)
        except (ValueError, RecursionError):
            return False

    assert eventually(mended, "it says again who runs")
    assert node.run("stop").returncode == 0
    assert process.wait(TIMEOUT) == 0


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("damage", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_node_whose_lock_file_is_damaged_is_found_and_stopped(node: Node, damage: bytes) -> None:
    """At once: the kernel knows who has the lock."""
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    (node.var / "run/lock").write_bytes(damage)

    assert find(node) == process.pid
    (node.var / "run/lock").write_bytes(damage)
    assert node.run("stop").returncode == 0
    assert process.wait(TIMEOUT) == 0


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_damage_in_the_transaction_file_is_gone_with_the_next_command(tmp_path: Path, damage: bytes) -> None:
    """It holds up nobody, and what is written then is all that is in it."""
    host = make_host(tmp_path)
    host.var.transaction.write_bytes(damage)

    host.upgrade("1.1")

    assert host.boots == "1.1"
    content = host.var.transaction.read_bytes()
    halves = [json.loads(half) for half in (content[:2048], content[2048:])]
    assert [*max(halves, key=lambda half: half["turn"])] == ["turn", "end"]


@pytest.mark.parametrize("torn", [0, 3, 1000, 2040, 2048])
def test_what_is_torn_while_it_is_written_leaves_what_was_announced(tmp_path: Path, torn: int) -> None:
    """A command that dies while it says that it is done is taken up again; and so is one that dies taking it up."""
    host = make_host(tmp_path)
    host.upgrade("1.1")
    with transaction(host.var, "rollback") as act:
        act.announce(to="1.0", **{"from": "1.1"})
        announced = host.var.transaction.read_bytes()
    done = host.var.transaction.read_bytes()
    [half] = [at for at in (0, 2048) if announced[at : at + 2048] != done[at : at + 2048]]

    host.var.transaction.write_bytes(announced[:half] + done[half : half + torn] + announced[half + torn :])

    with transaction(host.var, "rollback") as act:
        assert (act.unfinished.get("to"), torn) == ("1.0" if torn < 2048 else None, torn)


def remove_lock(node: Node, how: str) -> None:
    """Do what a cleaner does, or a person."""
    run = node.var / "run"
    match how:
        case "removed":
            (run / "lock").unlink()
        case "replaced":
            (run / "lock").unlink()
            (run / "lock").write_text("{}")
        case "moved":
            (run / "lock").rename(run / "moved")
        case "its directory removed":
            shutil.rmtree(run)
        case "its directory moved":
            run.rename(node.var / "moved")


LOST = "removed", "replaced", "moved", "its directory removed", "its directory moved"


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("how", LOST)
def test_a_lock_file_that_is_gone_is_there_again(node: Node, how: str) -> None:
    """As what tidies up temporary files does: the node is found, a second one is refused, and stop ends it."""
    assert node.run("daemon").returncode == 0
    about = node.lock_contents()
    place = node.var / "run/lock"
    remove_lock(node, how)

    os.kill(about["pid"], signal.SIGCHLD)

    eventually(lambda: place.exists() and node.lock_contents() == about, "it says again who runs")
    assert find(node) == about["pid"] == int((node.var / "run/pid").read_text())
    refused = node.run("daemon")
    assert (refused.returncode, f"pid {about['pid']}" in refused.stderr) == (1, True)
    if "directory" not in how:  # the control socket went with it
        assert node.run("restart", "--graceful").returncode == 0
    assert node.run("stop").returncode == 0
    assert find(node) is None


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("how", LOST)
def test_a_second_start_is_refused_before_the_lock_file_is_there_again(node: Node, how: str) -> None:
    """What runs has locked `var` itself too: there is no moment in which another start takes its place, and `stop` finds it."""
    assert node.run("daemon").returncode == 0
    pid = node.lock_contents()["pid"]
    for command in "daemon", "start":
        remove_lock(node, how if command == "daemon" else "its directory removed")
        assert find(node) == pid
        refused = node.run(command)
        assert (refused.returncode, f"hello is running already, pid {pid}" in refused.stderr) == (1, True)
    shutil.rmtree(node.var / "run")

    assert node.run("stop").returncode == 0

    assert find(node) is None
    assert node.run("daemon").returncode == 0
    assert node.run("stop").returncode == 0


def test_a_control_socket_that_is_gone_is_told_from_a_node_that_does_not_run(node: Node) -> None:
    """Who asks while the node can't make it again is told that it runs, its pid, and what still works."""
    assert node.run("daemon").returncode == 0
    about = node.lock_contents()
    os.kill(about["node"], signal.SIGSTOP)
    (node.var / "run/control").unlink()

    for command in ("status",), ("rpc", "1"), ("restart",):
        done = node.run(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            f"hello runs (pid {about['pid']}) and can't be asked, as {node.var}/run/control is not there" in done.stderr
        )
    os.kill(about["node"], signal.SIGCONT)
    assert node.run("stop").returncode == 0
    assert node.run("status").stderr == "error: hello is not running\n"


def remove_control(node: Node, how: str) -> None:
    """Do what a cleaner does, or a person, or a release that was here."""
    place = node.var / "run/control"
    match how:
        case "removed":
            place.unlink()
        case "moved":
            place.rename(node.var / "moved")
        case "replaced":
            place.unlink()
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(os.path.relpath(place))
        case "its directory removed":
            shutil.rmtree(node.var / "run")


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "its directory removed"])
def test_a_control_socket_that_is_gone_is_there_again(node: Node, how: str) -> None:
    """The node is asked as before, by who has connected before too, and hands over; the one that follows has a socket that stays."""
    add_sealed(node, "2", recorder("one"))
    assert node.run("daemon").returncode == 0
    about = node.lock_contents()
    for version in ("2", "1"):
        remove_control(node, how)
        os.kill(about["pid"], signal.SIGCHLD)  # the keeper looks for its lock file
        eventually(lambda: node.run("status").returncode == 0, "it can be asked")
        assert node.run("rpc", "1").stdout == "1\n"
        installed = node.run("install", version)
        assert installed.returncode == 0, installed.stderr
        assert json.loads(node.run("status", "--json").stdout)["version"] == version
        assert (node.var / "run/control").stat().st_mode & 0o777 == 0o600
    assert node.run("stop").returncode == 0
    assert not (node.var / "run/control").exists()


def test_a_control_socket_may_go_while_a_node_hands_over(node: Node) -> None:
    """The node that leaves makes it again, and the one that comes has the same; who waits for the handover is told how it ended."""
    go_on = node.root.parent / "go on"
    waits = f"import os\n            while not os.path.exists({str(go_on)!r}): await asyncio.sleep(0.01)"
    add_sealed(node, "2", recorder("one", start=waits))
    assert node.run("daemon").returncode == 0
    keeper = node.lock_contents()["pid"]
    installing = node.spawn("install", "2")
    eventually(lambda: len(living_children(keeper)) == 2, "both are there")
    place = node.var / "run/control"
    for _ in range(2):
        place.unlink()
        eventually(place.exists, "it is there again")
    go_on.touch()
    assert finish(installing)[0] == 0
    assert json.loads(node.run("status", "--json").stdout)["version"] == "2"
    remove_control(node, "removed")
    eventually(lambda: node.run("rpc", "1").stdout == "1\n", "the one that came makes it again")
    assert node.run("stop").returncode == 0


def test_what_others_have_put_in_the_place_of_the_control_socket_stays(node: Node) -> None:
    """A file that is not a socket, or one where another process listens, is not taken away; it is said in the log."""
    assert node.run("daemon").returncode == 0
    place = node.var / "run/control"
    place.unlink()
    place.write_text("mine")
    log = node.var / "log/hello.log.1"
    eventually(lambda: "run/control was removed or replaced by somebody else: " in log.read_text(), "it is said")
    assert place.read_text() == "mine"
    assert node.run("stop").returncode == 0
    assert place.read_text() == "mine"


def test_what_is_in_the_place_of_the_lock_is_told(node: Node) -> None:
    """A FIFO or a directory is not a lock, and nobody waits there."""
    (node.var / "run").mkdir(parents=True)
    place = Path(node.var / "run/lock")
    os.mkfifo(place)

    done = node.run("start")

    assert done.returncode == 1
    assert "is not a regular file" in done.stderr
