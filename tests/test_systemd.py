"""What systemd sees of a release: its unit, what it is told, the sockets that it hands over."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_helpers import (
    DIES_AT_ONCE,
    TIMEOUT,
    App,
    MakeNode,
    Node,
    Process,
    finish,
    read_until,
    recorder,
    terminate,
)

# ------------------------------------------------------------------------------------------------------------ units

WEB = {"asgi": "web:app", "listen": ["tcp://127.0.0.1:8000", "tcp://[::1]:8000", "unix:///run/hello.sock"]}


@pytest.mark.needs_tool("systemd-analyze", "systemd")
@pytest.mark.parametrize("options", [(), ("--user", "root")])
def test_systemd_accepts_the_unit(make: MakeNode, tmp_path: Path, options: tuple[str, ...]) -> None:
    """`systemd-analyze verify` has nothing to say against it, nor against the sockets, wherever the release is."""
    node = make(App("web", "", WEB), at="a 100% re$lease")
    units = {"hello.service": ("systemd", *options), "hello.socket": ("systemd", "--socket")}
    for name, command in units.items():
        done = node.run(*command)
        assert (done.returncode, done.stderr) == (0, "")
        (tmp_path / name).write_text(done.stdout)

        verified = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=TIMEOUT
        )
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_says_how_the_release_runs(make: MakeNode) -> None:
    """As a user of its own, with its state in StateDirectory, and with what a watchdog and a reload need."""
    node = make(recorder("one"))
    lines = node.run("systemd", "--user", "chat").stdout.splitlines()

    assert {
        f'ExecStart="{node.command}" start',
        "Type=notify",
        "NotifyAccess=main",
        "User=chat",
        "Environment=RELEASE_VAR=%S/hello",
        "StateDirectory=hello",
        "WorkingDirectory=%S/hello",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=30",
    } <= set(lines)
    assert not [line for line in lines if re.search(r"@[A-Z_]+@", line)]
    newer = node.run("systemd", "--notify-reload").stdout.splitlines()
    assert set(lines) - set(newer) > {"Type=notify", "ExecReload=/bin/kill -HUP $MAINPID"}
    assert "Type=notify-reload" in newer


def test_the_socket_unit_names_the_addresses_of_the_release(make: MakeNode) -> None:
    """In systemd's words; what it can't listen on is told."""
    node = make(App("web", "", WEB))
    streams = [line for line in node.run("systemd", "--socket").stdout.splitlines() if line.startswith("Listen")]

    assert streams == ["ListenStream=127.0.0.1:8000", "ListenStream=[::1]:8000", "ListenStream=/run/hello.sock"]
    nowhere = make(recorder("one"), at="nowhere").run("systemd", "--socket")
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        "error: hello was not built to listen anywhere; `listen` in [tool.underway] says where\n",
    )
    named = make(App("web", "", {"asgi": "web:app", "listen": ["tcp://localhost:80"]}), at="named")
    assert "localhost is a name; systemd takes an IP address" in named.run("systemd", "--socket").stderr


def test_a_path_that_systemd_does_not_take_is_told(make: MakeNode) -> None:
    """Before systemd says it less clearly."""
    done = make(recorder("one"), at='a "release"').run("systemd")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: systemd takes no command with '\"' in its path; move /")


def test_a_wrong_option_is_status_2(make: MakeNode) -> None:
    """With the usage."""
    done = make(recorder("one")).run("systemd", "--reload")

    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: hello systemd [--notify-reload] [--user USER] [--socket]" in done.stderr


# --------------------------------------------------------------------------------------------------------- messages


class Manager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(TIMEOUT)

    def next_message(self, pattern: str) -> str:
        """The next message in which there is this; messages before it are passed over."""
        while True:
            message = self._socket.recv(4096).decode()
            if re.search(pattern, message):
                return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def notify(node: Node, tmp_path: Path, **environ: str) -> Process:
    """A start as systemd does it: the pid in the variables is that of the process."""
    node.environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}
    return node.spawn("start")


SAYS_ENVIRONMENT = "print(sorted(n for n in __import__('os').environ if 'RELEASE' not in n), flush=True)"


def test_systemd_is_told_what_becomes_of_the_service(make: MakeNode, tmp_path: Path, manager: Manager) -> None:
    """Ready, reloading and ready again, stopping; the node itself does not see systemd's variables."""
    node = make(recorder("one", start=SAYS_ENVIRONMENT))
    process = notify(node, tmp_path)

    assert manager.next_message("READY=1") == f"READY=1\nMAINPID={process.pid}\nSTATUS=1, running one"
    process.send_signal(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", manager.next_message("RELOADING"))
    manager.next_message("READY=1")
    status, out, _ = terminate(process)
    manager.next_message("STOPPING=1")

    assert status == 0
    assert "'NOTIFY_SOCKET'" not in out
    assert "'UNDERWAY_KEEPER'" not in out


@pytest.mark.parametrize("act", ["SIGHUP", "restart --graceful", "ExecReload"])
def test_a_reload_is_a_handover_however_it_is_asked_for(
    make: MakeNode, tmp_path: Path, manager: Manager, act: str
) -> None:
    """systemd is told when it begins, by its own clock, and when it is done; the main process stays, and another node runs."""
    node = make(recorder("one"))
    process = notify(node, tmp_path)
    ready = f"READY=1\nMAINPID={process.pid}\nSTATUS=1, running one"
    assert manager.next_message("READY=1") == ready
    before, earliest = node.lock_contents()["node"], time.monotonic_ns() // 1000

    if act == "restart --graceful":
        assert node.run("restart", "--graceful").returncode == 0
    elif act == "SIGHUP":
        process.send_signal(signal.SIGHUP)
    else:
        reload = next(line for line in node.run("systemd").stdout.splitlines() if line.startswith("ExecReload="))
        command = reload.removeprefix("ExecReload=").replace("$MAINPID", str(process.pid))
        subprocess.run(command.split(), check=True, timeout=TIMEOUT)

    begun = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", manager.next_message("."))
    assert begun is not None
    assert earliest <= int(begun[1]) <= time.monotonic_ns() // 1000
    assert manager.next_message(".") == ready
    assert (node.lock_contents()["pid"], node.lock_contents()["node"] != before) == (process.pid, True)
    assert terminate(process)[0] == 0
    assert manager.next_message(".") == "STOPPING=1"


def test_a_reload_that_fails_is_over_too(make: MakeNode, tmp_path: Path, manager: Manager) -> None:
    """The node that runs goes on, and systemd is told that the service is ready."""
    broken = tmp_path / "broken"
    node = make(recorder("one", start=f"assert not __import__('os').path.exists({str(broken)!r})"))
    process = notify(node, tmp_path)
    manager.next_message("READY=1")
    before = node.lock_contents()["node"]
    broken.touch()

    process.send_signal(signal.SIGHUP)

    assert manager.next_message(".").startswith("RELOADING=1\n")
    assert manager.next_message(".") == "READY=1"
    assert node.lock_contents()["node"] == before
    assert terminate(process)[0] == 0


def test_the_watchdog_hears_of_the_loop(make: MakeNode, tmp_path: Path, manager: Manager) -> None:
    """Each sign of life of the node is passed on, and where there is none nothing is."""
    stuck = "asyncio.get_running_loop().add_signal_handler(__import__('signal').SIGUSR1, time.sleep, 1000)"
    node = make(recorder("one", start=stuck))
    process = notify(node, tmp_path, WATCHDOG_USEC="200000")
    for _ in range(3):
        manager.next_message("WATCHDOG=1")

    process.send_signal(signal.SIGUSR1)
    manager._socket.settimeout(1)
    with pytest.raises(TimeoutError):
        for _ in range(20):
            manager.next_message("WATCHDOG=1")


def test_a_failed_start_is_told(make: MakeNode, tmp_path: Path, manager: Manager) -> None:
    """In the status line, which `systemctl status` shows."""
    node = make(recorder("one", start="raise RuntimeError('no database')"))
    process = notify(node, tmp_path)

    assert manager.next_message("STATUS=") == "STATUS=failed: one could not start: RuntimeError: no database"
    assert finish(process)[0] == 1


# ---------------------------------------------------------------------------------------------------------- sockets

UVICORN = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""

ACTIVATE = """
import os, sys
for target, source in enumerate(map(int, sys.argv[2].split(",")), start=3):
    os.dup2(source, target)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(1 + sys.argv[2].count(",")), "LISTEN_FDNAMES": "a"}
os.execv(sys.argv[1], [sys.argv[1], "start"])
"""


def test_sockets_of_systemd_are_used_where_their_addresses_are_ours(make: MakeNode, tmp_path: Path) -> None:
    """What had connected before the service started has its answer; a socket file stays when the service ends."""
    path = tmp_path / "hello.sock"
    tcp = socket.create_server(("127.0.0.1", 0))
    file = socket.socket(socket.AF_UNIX)
    file.bind(str(path))
    file.listen()
    mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
    other = socket.create_server(("127.0.0.1", 0))
    addresses = [f"tcp://127.0.0.1:{tcp.getsockname()[1]}", f"unix://{path}"]
    node = make(App("web", UVICORN, {"asgi": "web:app", "listen": addresses}), libraries=("uvicorn",))
    waiting = [socket.create_connection(tcp.getsockname()), socket.socket(socket.AF_UNIX)]
    waiting[1].connect(str(path))
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, 100) for each in (tcp, file, other)]
    process = subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, str(node.command), ",".join(map(str, high))],
        env={},
        pass_fds=high,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    node.processes.append(process)
    for number in high:
        os.close(number)

    assert (
        read_until(process.stderr, "listening").string
        == f"web 1.0: listening on {', '.join(addresses)} (mode {mode})\n"
    )
    port = other.getsockname()[1]
    assert read_until(process.stderr, ".").string == f"hello does not listen on tcp4:127.0.0.1:{port} any more\n"
    for each in waiting:
        each.settimeout(TIMEOUT)
        each.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert each.makefile("rb").read().endswith(b"hello")
        each.close()
    assert terminate(process)[0] == 0
    assert path.exists()
    for each in (tcp, file, other):
        each.close()


def test_variables_for_another_process_are_not_believed(make: MakeNode) -> None:
    """LISTEN_PID and WATCHDOG_PID name whom they are meant for."""
    node = make(recorder("one"))
    node.environ |= {"LISTEN_PID": "1", "LISTEN_FDS": "5", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1"}
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    assert terminate(process)[0] == 0


def test_a_pause_before_a_restart_is_no_silence(make: MakeNode, tmp_path: Path, manager: Manager) -> None:
    """While there is no node the keeper gives the signs of life, and says what it waits for."""
    node = make(recorder("one", start=DIES_AT_ONCE))
    (node.version / "heart").write_text('{"delay": 1000, "within": 2000}')
    process = notify(node, tmp_path, WATCHDOG_USEC="200000")
    manager.next_message("STATUS=ended with status 9; is started again")
    for _ in range(5):
        manager.next_message("WATCHDOG=1")

    assert terminate(process)[0] == 0
    manager.next_message("STOPPING=1")
