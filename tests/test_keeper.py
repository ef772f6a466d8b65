"""The keeper: the parent of a node, whose pid never changes. Real processes, from a release directory."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from code_server_helpers import installed
from conftest import Count
from node_helpers import (
    DIES_AT_ONCE,
    TIMEOUT,
    App,
    MakeNode,
    Node,
    eventually,
    finish,
    once_ready,
    read_until,
    recorder,
    terminate,
)
from ports import free_port


def log_of(node: Node) -> str:
    """All that a daemon has logged, without marks."""
    files = sorted((node.var / "log").iterdir(), key=lambda file: int(file.suffix[1:]))
    text = "".join(file.read_text() for file in files)
    return re.sub(r"^===== (STARTED|ENDED|ALIVE )?.*\n", "", text, flags=re.MULTILINE)


WEB = """
import os, signal, threading

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if scope["path"] == "/restart":
        [keeper] = [each._target.__self__ for each in threading.enumerate() if each.name == "keeper"]
        keeper.restart()
        os.kill(os.getpid(), signal.SIGTERM)
    body = f"{os.getpid()} {os.getppid()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


def web(make: MakeNode, port: int, **heart: float) -> Node:
    start = {"asgi": "web:app", "listen": [f"tcp://127.0.0.1:{port}"]}
    node = make(App("web", WEB, start), libraries=("uvicorn",))
    if heart:
        (node.version / "heart").write_text(json.dumps(heart))
    return node


def ask(port: int, path: str = "/") -> list[int]:
    """The pids of the node that answers and of its parent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.connect()  # this may not be refused
    try:
        connection.request("GET", path)
        return [int(word) for word in connection.getresponse().read().split()]
    except (http.client.HTTPException, ConnectionError):
        return []  # it had been accepted, by a node that died
    finally:
        connection.close()


# --------------------------------------------------------------------------------------------------------- daemon


@pytest.mark.sample
@pytest.mark.parametrize("interpreter", list(installed()), indirect=True)
@pytest.mark.parametrize("command", ["start", "daemon"])
def test_the_keeper_is_small_and_its_pid_is_the_pid(make: MakeNode, command: str) -> None:
    """Below 12 MB with sockets, log and heart at work, on every interpreter; `pid` and the pid file name it."""
    port = free_port()
    node = web(make, port, beat=60)
    process = node.spawn(command)
    if command == "start":
        read_until(process.stderr, "listening")
    else:
        assert finish(process)[0] == 0

    pid, keeper = ask(port)
    assert node.run("pid").stdout == f"{keeper}\n" == (node.var / "run/pid").read_text()
    assert node.lock_contents()["node"] == pid
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{keeper}/status").read_text())
    assert resident is not None
    assert int(resident[1]) < 12_000
    assert node.run("stop").returncode == 0
    if command == "start":
        finish(process)
    assert node.running() == []


def test_daemon_returns_when_the_node_is_ready(make: MakeNode) -> None:
    """Not before; it says nothing, keeps nothing of the terminal open, and what the node says is in the log."""
    node = make(recorder("one", start="await asyncio.sleep(0.5); print('is ready', flush=True)"))

    done = node.run("daemon")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert log_of(node) == "start one\nis ready\n"
    assert node.run("stop").returncode == 0
    assert log_of(node) == "start one\nis ready\nstop one\n"
    assert not (node.var / "run/pid").exists()


def test_a_daemon_that_can_not_start_says_why(make: MakeNode) -> None:
    """With the node's own error and status; nothing is left running."""
    node = make(recorder("one"), recorder("two", start='raise RuntimeError("no database")'))

    done = node.run("daemon")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("error: two could not start: RuntimeError: no database\n")
    assert f'File "{node.root}/lib/two-1.0/two.py", line' in done.stderr
    assert node.run("pid").returncode == 1
    assert node.running() == []


def test_a_daemon_whose_environment_fails_says_so(make: MakeNode) -> None:
    """What goes wrong before Python starts is told as well, and it makes no files."""
    node = make(recorder("one"))
    (node.version / "env.sh").write_text("echo no vault >&2\nexit 3\n")

    done = node.run("daemon")

    assert (done.returncode, done.stderr) == (
        3,
        f"no vault\nerror: {node.version}/env.sh ended with status 3\n",
    )
    assert not node.var.exists()


def test_a_node_that_dies_while_it_starts_is_told(make: MakeNode) -> None:
    """A crash has no words of its own."""
    node = make(recorder("one", start="__import__('os').kill(__import__('os').getpid(), 9)"))

    done = node.run("daemon")

    assert (done.returncode, done.stderr) == (137, "start one\nhello was ended by signal 9\n")


def test_a_second_daemon_is_refused(make: MakeNode) -> None:
    """As a second start; the first goes on."""
    node = make(recorder("one"))
    node.run("daemon")
    pid = node.run("pid").stdout.strip()

    for command in ("daemon", "start"):
        second = node.run(command)
        assert second.returncode == 1
        assert second.stderr.startswith(f"error: hello is running already, pid {pid} ")

    assert node.run("pid").stdout == f"{pid}\n"


def test_of_starts_at_once_exactly_one_runs(make: MakeNode, count: Count) -> None:
    """The others are refused, by the pid of the one."""
    node = make(recorder("one"))
    for _ in range(count(1, 20)):
        starts = [node.spawn("daemon") for _ in range(count(3, 6))]
        ends = [finish(start) for start in starts]

        assert sorted(status for status, _, _ in ends)[:2] == [0, 1]
        pid = node.run("pid").stdout.strip()
        assert all(f"running already, pid {pid} " in err for status, _, err in ends if status)
        assert len(node.running()) == 2
        assert node.run("stop").returncode == 0


def test_the_output_of_a_daemon_goes_round(make: MakeNode) -> None:
    """As with run_erl: files of a size, in turn, and the oldest goes."""
    node = make(recorder("one", start="[print(f'{i:08}' * 12, flush=True) for i in range(100)]"))
    node.environ |= {"RELEASE_LOG_GENERATIONS": "3", "RELEASE_LOG_SIZE": "1000"}

    assert node.run("daemon").returncode == 0
    assert node.run("stop").returncode == 0

    files = list((node.var / "log").iterdir())
    assert 1 <= len(files) <= 3
    assert {file.name for file in files} < {"hello.log.1", "hello.log.2", "hello.log.3"}
    assert all(file.stat().st_size <= 1000 for file in files)
    assert "stop one\n" in log_of(node)


def test_a_node_is_not_started_by_hand(make: MakeNode) -> None:
    """It would have no lock, and nobody would know of it."""
    done = make(recorder("one")).run("node", "start")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a node is started by its keeper, and that by `start` or `daemon`\n"


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("variable", ["", "RELEASE_VAR", "RELEASE_TMP"])
def test_every_command_works_at_any_length_of_path(make: MakeNode, tmp_path: Path, variable: str) -> None:
    """The release itself, or what changes, or sockets and logs: 300 bytes deep, where a socket's address ends at 107."""
    deep = "/".join("d" * 60 for _ in range(5))
    node = make(recorder("one"), at="hello" if variable else f"{deep}/hello")
    place = tmp_path / deep if variable else node.var
    node.environ |= {variable: str(place)} if variable else {}
    assert len(str(place)) > 300

    process = node.spawn("start")
    read_until(process.stdout, "start one")
    assert finish(node.spawn("stop"))[0] == finish(process)[0] == 0

    assert node.run("daemon").returncode == 0
    pid = node.run("pid").stdout
    assert (place / "run/pid").read_text() == pid
    assert "running already" in node.run("daemon").stderr
    assert json.loads(node.run("status", "--json").stdout)["state"] == "running"
    assert node.run("rpc", "one.name").stdout == "'one'\n"
    shell = node.spawn("remote", stdin=subprocess.PIPE)
    assert shell.communicate("40 + 2\n", timeout=TIMEOUT)[0] == "42\n"
    assert node.run("config").returncode == 0
    assert node.run("eval", "print(1)").stdout == "1\n"
    assert node.run("restart").returncode == 0
    assert node.run("pid").stdout == pid
    assert node.run("stop").returncode == 0
    assert (place / "log/hello.log.1").read_text().count("start one\n") == 2
    assert node.running() == []


# ----------------------------------------------------------------------------------------------------------- deaths


def test_a_crash_is_the_end_without_a_heart(make: MakeNode) -> None:
    """The status says which signal; the lock is free and nothing is left."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    eventually(lambda: "stop_timeout" in node.lock_contents(), "the node has said who it is")

    os.kill(node.lock_contents()["node"], signal.SIGKILL)
    status, _, err = finish(process)

    assert (status, err) == (137, "hello was ended by signal 9\n")
    assert node.run("pid").returncode == 1
    assert not (node.var / "run/pid").exists()


@pytest.mark.parametrize(("path", "said"), [("/crash", "is started again in 0.3 s"), ("/restart", "is started again")])
def test_connections_wait_while_there_is_no_node(make: MakeNode, count: Count, path: str, said: str) -> None:
    """None is refused: a client that goes on through crashes and restarts is served by other nodes of the same keeper."""
    port = free_port()
    node = web(make, port, restarts=100, within=1, delay=0.3)
    assert node.run("daemon").returncode == 0
    _, keeper = ask(port)
    answers: list[list[int]] = []
    refused: list[OSError] = []
    enough = threading.Event()

    def client() -> None:
        while not enough.is_set():
            try:
                answers.append(ask(port))
            except OSError as error:
                refused.append(error)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for number in range(2, 2 + count(1, 8)):
        ask(port, path)
        eventually(lambda: len({pid for pid, _ in filter(None, answers)}) == number, "another node")  # noqa: B023 # called here
    enough.set()
    for each in clients:
        each.join(TIMEOUT)

    assert refused == []
    assert {parent for _, parent in filter(None, answers)} == {keeper}
    assert said in log_of(node)
    assert node.run("stop").returncode == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_a_node_that_always_dies_is_started_a_limited_number_of_times(make: MakeNode) -> None:
    """Never a storm: counted, it is the first start and as many as the limit says; then the keeper gives up."""
    node = make(recorder("one", start=DIES_AT_ONCE))
    (node.version / "heart").write_text('{"restarts": 3, "delay": 0.01}')

    done = node.run("start")

    assert done.returncode == 1
    assert done.stdout == "start one\n" * 4
    assert "in 0.01 s\n" in done.stderr
    assert "in 0.04 s\n" in done.stderr
    assert done.stderr.endswith(
        "hello ended with status 9; it was started again 3 times within 60 s, which is the limit, and is not any more\n"
    )


def test_a_node_that_was_never_ready_is_not_started_again(make: MakeNode) -> None:
    """What is wrong with it is told at once, and is not to be hoped away."""
    node = make(recorder("one", start="raise RuntimeError('no')"))
    node.environ["RELEASE_HEART"] = "true"

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start one\n")


@pytest.mark.parametrize(("said", "starts"), [("true", 2), ("false", 1)])
def test_the_variable_release_heart_wins(make: MakeNode, said: str, starts: int) -> None:
    """Over what the release was built with, either way."""
    node = make(recorder("one", start=DIES_AT_ONCE))
    (node.version / "heart").write_text('{"restarts": 1, "delay": 0.01}')
    node.environ["RELEASE_HEART"] = said

    assert node.run("start").stdout == "start one\n" * starts


def test_a_node_that_ends_well_is_not_started_again(make: MakeNode) -> None:
    """A permanent application that ends is the end, with or without a heart."""
    source = "import asyncio\n\ndef main():\n    print('done', flush=True)\n"
    node = make(App("job", source, {"main": "job:main"}))
    node.environ["RELEASE_HEART"] = "true"

    done = node.run("start")

    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_hung_node_is_killed_and_started_again(make: MakeNode) -> None:
    """With `beat`, a node whose loop gives no sign of life counts as dead."""
    node = make(recorder("one", start=once_ready("time.sleep(1000)")))
    (node.version / "heart").write_text('{"restarts": 1, "delay": 0.01, "beat": 0.5}')

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start one\n" * 2)
    assert re.search(r"hello \(pid \d+\) gave no sign of life and is killed\n", done.stderr)


def test_a_node_that_was_frozen_with_its_keeper_goes_on(make: MakeNode) -> None:
    """Ctrl-Z, or a container that pauses, for longer than `beat`: also where the keeper goes on first."""
    node = make(recorder("one"))
    (node.version / "heart").write_text('{"beat": 1}')
    assert node.run("daemon").returncode == 0
    keeper, process = (node.lock_contents()[of] for of in ("pid", "node"))
    for pid in (keeper, process):
        os.kill(pid, signal.SIGSTOP)
    frozen = time.monotonic()
    eventually(lambda: time.monotonic() > frozen + 1.5, "longer than that has passed")

    os.kill(keeper, signal.SIGCONT)
    eventually(lambda: " S " in Path(f"/proc/{keeper}/stat").read_text(), "the keeper waits again")
    os.kill(process, signal.SIGCONT)

    assert node.run("rpc", "1 + 1").stdout == "2\n"
    assert node.lock_contents()["node"] == process
    assert node.run("stop").returncode == 0
    assert log_of(node) == "start one\nstop one\n"


def test_a_crash_boots_the_permanent_release(make: MakeNode) -> None:
    """What was chosen for this start only, by RELEASE_VSN, is not what is started later, nor is its environment."""
    node = make(recorder("one", start="print(os.environ['RELEASE_VSN'], os.environ.get('OF_TWO'), flush=True)"))
    source = node.root / "lib/one-1.0/one.py"
    source.write_text(source.read_text().replace("import asyncio", "import os, asyncio"))
    (node.version / "heart").write_text('{"restarts": 1, "delay": 0.01}')
    shutil.copytree(node.version, node.root / "releases/2", symlinks=True)
    (node.root / "releases/2/env.sh").write_text("export OF_TWO=yes RELEASE_MODE=interactive\n")
    node.environ["RELEASE_VSN"] = "2"
    assert node.run("daemon").returncode == 0
    assert log_of(node) == "start one\n2 yes\n"

    os.kill(node.lock_contents()["node"], signal.SIGKILL)

    eventually(lambda: log_of(node).endswith("start one\n1 None\n"), "version 1 runs")
    assert node.run("stop").returncode == 0


def test_a_node_without_its_keeper_stops_in_order(make: MakeNode) -> None:
    """No orphan serves on; a start waits for its end, and is not refused for it."""
    node = make(recorder("one", stop="await asyncio.sleep(0.7); print('late', flush=True)"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    process.kill()
    process.wait(timeout=TIMEOUT)
    second = node.spawn("start")

    assert process.stdout is not None
    assert process.stdout.read() == "stop one\nlate\n"
    read_until(second.stdout, "start one")
    assert terminate(second)[0] == 0


COUNTS = (
    "import signal; self.told, before = [], signal.getsignal(15);"
    " signal.signal(15, lambda *which: (self.told.append(which), before(*which)))"
)
"""What a recorder does at its start to know how often the node was told to stop: at first by itself, when its keeper is gone."""


def test_an_orphan_can_be_stopped(make: MakeNode) -> None:
    """`stop` finds a node that is on its way out without its keeper, and waits for it."""
    node = make(recorder("one", start=COUNTS, stop="while len(self.told) < 2: await asyncio.sleep(0.01)"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    process.kill()
    process.wait(timeout=TIMEOUT)

    assert node.run("stop").returncode == 0
    assert node.running() == []


def test_workers_that_outlive_a_node_are_not_in_the_way(make: MakeNode) -> None:
    """A process that an application forked holds neither the lock nor the line to the keeper."""
    source = """
    import os, sys, time

    def main():
        if os.fork() == 0:
            print("worker", os.getpid(), flush=True)
            time.sleep(1000)
    """
    node = make(App("tool", source, {"main": "tool:main"}))
    process = node.spawn("start", stderr=None)
    worker = int(read_until(process.stdout, "worker").string.split()[1])
    try:
        assert process.wait(timeout=TIMEOUT) == 0
        second = node.spawn("start", stderr=None)
        os.kill(int(read_until(second.stdout, "worker").string.split()[1]), signal.SIGKILL)
        assert second.wait(timeout=TIMEOUT) == 0
    finally:
        os.kill(worker, signal.SIGKILL)


RESTARTS = """
import os, signal, threading
from underway_runtime import Application

class App(Application):
    def start(self):
        print("start", os.getpid(), flush=True)
        if not os.path.exists("been here"):
            open("been here", "w").close()
            [keeper] = [each._target.__self__ for each in threading.enumerate() if each.name == "keeper"]
            keeper.restart()
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_node_may_ask_for_another(make: MakeNode, tmp_path: Path) -> None:
    """As `restart` does: the same keeper starts it, once, and without a heart."""
    node = make(App("one", RESTARTS, {"class": "one:App"}))
    process = node.spawn("start", cwd=tmp_path)

    first, second = (read_until(process.stdout, "start").string for _ in range(2))

    assert first != second
    status, _, err = terminate(process)
    assert (status, err) == (0, "hello is started again\n")


def test_a_start_in_the_foreground_leaves_the_output_alone(make: MakeNode) -> None:
    """The node writes to what the keeper was given, not to a pipe of the keeper's."""
    node = make(
        recorder("one", start="print(os.readlink('/proc/self/fd/1'), os.readlink('/proc/self/fd/2'), flush=True)")
    )
    source = node.root / "lib/one-1.0/one.py"
    source.write_text(source.read_text().replace("import asyncio", "import os, asyncio"))
    process = node.spawn("start")
    assert process.stdout is not None
    assert process.stderr is not None
    ours = " ".join(os.readlink(f"/proc/self/fd/{stream.fileno()}") for stream in (process.stdout, process.stderr))

    assert read_until(process.stdout, "pipe").string == f"{ours}\n"
    assert terminate(process)[0] == 0


# ---------------------------------------------------------------------------------------------------------- signals


def test_signals_reach_the_node(make: MakeNode) -> None:
    """The pid that an operator knows is the keeper's; what is sent to it is meant for the node."""
    handle = "asyncio.get_running_loop().add_signal_handler(10, lambda: print('usr1', flush=True))"
    start = f"{handle}; print('armed', flush=True); await asyncio.sleep(1000)"
    node = make(recorder("one", start=start))
    process = node.spawn("start")
    read_until(process.stdout, "armed")

    process.send_signal(signal.SIGUSR1)
    read_until(process.stdout, "usr1")
    process.send_signal(signal.SIGHUP)
    assert read_until(process.stderr, ".").string == "SIGHUP: hello can't hand over: it is starting, or stopping\n"

    assert terminate(process)[0] == 0


def test_ctrl_c_at_a_terminal_reaches_the_node_once(make: MakeNode) -> None:
    """The terminal tells both processes; the first stops in order, the second forces."""
    node = make(recorder("one", stop="await asyncio.sleep(1000)"))
    ours, theirs = os.openpty()
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", take, str(node.command), "start"],
        env={},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    node.processes.append(process)
    os.close(theirs)
    read_until(process.stdout, "start one")

    os.write(ours, b"\x03")
    read_until(process.stdout, "stop one")
    assert process.poll() is None
    os.write(ours, b"\x03")
    status, _, err = finish(process)
    os.close(ours)

    assert (status, err) == (1, "hello is ended by force; what still ran has not stopped\n")


def test_a_stop_during_the_pause_before_a_restart_ends_the_keeper(make: MakeNode) -> None:
    """There is no node to wait for."""
    node = make(recorder("one", start=DIES_AT_ONCE))
    (node.version / "heart").write_text('{"delay": 1000, "within": 2000}')
    process = node.spawn("start")
    read_until(process.stderr, "is started again in 1000 s")

    assert node.run("stop").returncode == 0
    assert finish(process)[0] == 0


INIT = """
import os, time
from underway_runtime import Application

class App(Application):
    def start(self):
        if os.fork() == 0:  # its child's parent will be the first process
            if os.fork() == 0:
                time.sleep(0.1)
            os._exit(0)
        os.wait()
        while len([p for p in os.listdir("/proc") if p.isdigit()]) > 2:
            time.sleep(0.01)
        print("start", sorted(int(p) for p in os.listdir("/proc") if p.isdigit())[0], os.getppid(), flush=True)
"""


@pytest.mark.needs_tool("unshare", "util-linux")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
def test_it_works_as_the_first_process_of_a_container(make: MakeNode) -> None:
    """It reaps the children of others, is told to stop, and ends with the node's status."""
    node = make(App("one", INIT, {"class": "one:App"}))
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", str(node.command), "start"],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    node.processes.append(process)
    assert read_until(process.stdout, "start").string == "start 1 1\n"

    [keeper] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(keeper), signal.SIGTERM)

    assert finish(process)[0] == 0


def test_a_hung_node_without_its_keeper_is_ended(make: MakeNode) -> None:
    """One that can't stop would otherwise hold its lock for ever, and nobody would know of it."""
    node = make(recorder("one", start=once_ready("(print('hangs', flush=True), time.sleep(1000))")))
    node.configure(underway_runtime={"stop_timeout": 0.1})
    process = node.spawn("start")
    read_until(process.stdout, "hangs")

    process.kill()

    assert finish(process)[2] == "the keeper is gone and this node has not stopped; it is ended by force\n"


LISTENS = """
import os, threading
from pathlib import Path
from underway_runtime import Application

class App(Application):
    def start(self):
        [keeper] = [each._target.__self__ for each in threading.enumerate() if each.name == "keeper"]
        self.listening = keeper.listen_on(Path("a #?%20 b").absolute())
        self.listening.setblocking(True)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listening.accept()
            if connection.recv(5) == b"crash":
                os._exit(9)
            connection.sendall(b"%d" % os.getpid())
            connection.close()
"""


def test_a_socket_file_of_the_node_itself_is_private_and_stays(make: MakeNode, tmp_path: Path) -> None:
    """At any path, with a mode; a client that came while there was no node is served by the next."""
    place = tmp_path / "s"
    place.mkdir()
    node = make(App("one", LISTENS, {"class": "one:App"}))
    (node.version / "heart").write_text('{"delay": 0.2}')
    assert node.run("daemon", cwd=place).returncode == 0
    path = place / "a #?%20 b"
    assert path.stat().st_mode & 0o777 == 0o600

    def answer(text: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(path))
            client.sendall(text)
            return client.recv(100)

    first = answer(b"hello")
    with contextlib.suppress(ConnectionResetError):
        assert answer(b"crash") == b""
    second = answer(b"hello")

    assert first != second
    assert node.run("stop").returncode == 0
    assert not path.exists()
