"""What a node leaves when it stops: processes that it had started run on and hold its ports. They are named, or end with it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node_helpers import App, MakeNode, Node, eventually
from underway_runtime.process import leftovers
from underway_runtime.process.process_table import processes

HOLDS = """
import asyncio, os, signal, socket, subprocess, sys, time
from underway_runtime import Application

LEAVES = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.{term})
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
'''

class App(Application):
    async def start(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen()
        self.socket.set_inheritable(True)
        {start}
        while not os.path.exists("{place}"):
            await asyncio.sleep(0.01)
"""

PROGRAM = 'subprocess.Popen([sys.executable, "-I", "-c", LEAVES, "{place}"], close_fds=False)'
WAYS = {
    "a program": PROGRAM,
    "in a session of its own": PROGRAM.replace(", close_fds", ", start_new_session=True, close_fds"),
    "a grandchild that is an orphan": (
        "subprocess.run([sys.executable, '-I', '-c', 'import subprocess, sys;"
        " subprocess.Popen(sys.argv[1:], close_fds=False)', sys.executable, '-I', '-c', LEAVES, '{place}'], close_fds=False)"
    ),
    "an orphan in a session of its own": (
        "subprocess.run([sys.executable, '-I', '-c', 'import subprocess, sys;"
        " subprocess.Popen(sys.argv[1:], close_fds=False, start_new_session=True)', sys.executable, '-I', '-c', LEAVES, '{place}'],"
        " close_fds=False)"
    ),
    "a fork": "",
    "without the port": PROGRAM.replace("close_fds=False", "close_fds=True"),
}


def leaves(place: Path, way: str, term: str = "SIG_DFL") -> App:
    """An application that listens on a port and leaves a process that has it too."""
    start = WAYS[way].format(place=place)
    if way == "a fork":
        start = f"sys.argv[1:] = [{str(place)!r}]\n        if not os.fork(): exec(LEAVES, {{}})"
    return App("one", HOLDS.format(start=start, place=place, term=term), {"class": "one:App"})


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """The pid of what is left; it is ended with the test."""

    def pid() -> int:
        return int((tmp_path / "left").read_text())

    yield pid
    with contextlib.suppress(OSError, ValueError):
        os.kill(pid(), signal.SIGKILL)


def is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def started(node: Node, **how: object) -> None:
    done = node.run("daemon", **how)
    assert done.returncode == 0, done.stderr


@pytest.mark.sample(most=3)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_is_named_with_what_it_holds(
    make: MakeNode, tmp_path: Path, left: Callable[[], int], way: str
) -> None:
    """Wherever it went: its pid, its words, the port that it holds, and how it is ended; the status is that of the stop."""
    node = make(leaves(tmp_path / "left", way))
    started(node)
    done = node.run("stop")
    assert (done.returncode, done.stdout) == (0, "")
    assert is_there(left())
    assert f"what it had started runs on: pid {left()} (" in done.stderr
    assert f"`kill {left()}` ends that" in done.stderr
    port = re.search(r"listens on tcp://127.0.0.1:(\d+)", done.stderr)
    assert (port is not None) is (way != "without the port")
    if port is not None:
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", int(port[1])))


def test_a_port_of_udp_is_named_too(make: MakeNode, tmp_path: Path, left: Callable[[], int]) -> None:
    """What is left of a service that serves datagrams."""
    app = leaves(tmp_path / "left", "a program")
    source = app.source.replace("socket.socket()", "socket.socket(type=socket.SOCK_DGRAM)").replace(
        "self.socket.listen()", ""
    )
    node = make(App("one", source, {"class": "one:App"}))
    started(node)
    done = node.run("stop")
    assert re.search(rf"pid {left()} \(.*listens on udp://127.0.0.1:\d+", done.stderr)


def test_a_node_that_leaves_nothing_says_nothing(make: MakeNode) -> None:
    """Nor does one whose children end with it."""
    source = """
    import subprocess, sys
    from underway_runtime import Application
    class App(Application):
        async def start(self):
            self.child = subprocess.Popen([sys.executable, "-I", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    """
    node = make(App("one", source, {"class": "one:App"}))
    started(node)
    done = node.run("stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@contextlib.contextmanager
def control_group(kind: str = "") -> Iterator[Path]:
    """A control group of our own, whose name ends so; skips where none may be made."""
    above = next(
        (Path(place) for place in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if Path(place, "cgroup.procs").exists()),
        None,
    )
    group = (above or Path("/sys/fs/cgroup")) / f"underway-{uuid.uuid4().hex}{kind}"
    try:
        group.mkdir()
        (group / "cgroup.procs").read_text()
    except OSError:
        pytest.skip("needs the right to make a control group")
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        eventually(lambda: not (group / "cgroup.procs").read_text(), "all in the group have ended")
        group.rmdir()


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("term", ["SIG_DFL", "SIG_IGN"])
@pytest.mark.parametrize("way", ["a program", "an orphan in a session of its own"])
def test_what_is_left_ends_with_the_control_group_of_the_node(
    make: MakeNode, tmp_path: Path, left: Callable[[], int], way: str, term: str
) -> None:
    """Where the node has one for itself, also what ignores SIGTERM; and it is said."""
    with control_group() as group:
        node = make(leaves(tmp_path / "left", way, term))
        started(node, preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
        done = node.run("stop")
        assert done.returncode == 0
        assert f"ended with its control group: pid {left()} (" in done.stderr
        assert not is_there(left())


@pytest.mark.parametrize("suffix", ["", ".service"], ids=["a group", "the unit of cron, or of another supervisor"])
def test_others_in_the_control_group_are_left_alone(
    make: MakeNode, tmp_path: Path, left: Callable[[], int], suffix: str
) -> None:
    """A group in which there is anything else is not the node's own: what is left is named, and nothing is ended."""
    with control_group(suffix) as group:
        other = subprocess.Popen(["/bin/sleep", "100"])
        (group / "cgroup.procs").write_text(str(other.pid))
        try:
            node = make(leaves(tmp_path / "left", "a program"))
            started(node, preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())))
            done = node.run("stop")
            assert f"runs on: pid {left()} (" in done.stderr
            assert f"pid {other.pid} (" not in done.stderr
            assert is_there(left())
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


SERVES = """
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})
"""


def test_who_has_made_the_socket_is_left_alone(make: MakeNode) -> None:
    """As systemd, or another that starts services when somebody connects: it had the socket before the keeper, and goes on to hold it."""
    with control_group(".service") as group, socket.create_server(("127.0.0.1", 0)) as listener:
        maker = subprocess.Popen(["/bin/sleep", "100"], stdin=listener.fileno())
        try:
            address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            node = make(App("web", SERVES, {"asgi": "web:app", "listen": [address]}), libraries=("uvicorn",))
            enter = f"echo $$ >{group}/cgroup.procs; exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1"
            keeper = subprocess.Popen(
                ["/bin/sh", "-c", f'{enter}; exec "$0" start', str(node.command)],
                env=node.environ,
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            eventually(lambda: node.run("status").stdout.startswith("hello 1 is running"), "it runs")
            done = node.run("stop")
            assert (keeper.wait(10), done.returncode, done.stderr) == (0, 0, "")
            assert maker.poll() is None
        finally:
            maker.kill()
            maker.wait()


def test_of_what_began_within_one_tick_of_the_clock_pids_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the socket and came before the keeper has made it, and is none of the service's; who came after it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        maker, keeper, later = (subprocess.Popen(["/bin/sleep", "100"], stdin=listener.fileno()) for _ in range(3))
        try:
            monkeypatch.setattr(
                leftovers, "processes", lambda: {pid: replace(each, started=1) for pid, each in processes().items()}
            )
            family = leftovers.Family(keeper.pid)
            keeper.kill()
            keeper.wait()

            assert family.left().pids == [later.pid]
        finally:
            for process in (maker, later):
                process.kill()
                process.wait()
