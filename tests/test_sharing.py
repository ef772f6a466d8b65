"""What one process does to a listening socket that others have too: nothing that these notice."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handover_helpers import all_said, children, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, eventually, terminate
from ports import free_ports
from test_handover_mains import MAIN, served_by
from underway_runtime.apps.socket_adoption import Adoption
from underway_runtime.apps.socket_sharing import Flag
from versions import add_sealed


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listening socket as the keeper has it."""
    with socket.create_server(("127.0.0.1", 0), backlog=7) as held:
        held.setblocking(False)
        yield held


@pytest.fixture
def adoption(held: socket.socket) -> Iterator[Adoption]:
    adoption = Adoption(lambda message, error=None: None)
    adoption.declare([held], waits=True)
    yield adoption
    adoption.close()


@pytest.fixture
def bound(held: socket.socket, adoption: Adoption) -> Iterator[socket.socket]:
    """What a service has bound, which blocks."""
    with socket.socket() as bound:
        bound.bind(held.getsockname())
        yield bound


def wrapped(bound: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening = bound.dup()
    with context.wrap_socket(listening, server_side=True) as encrypted:
        encrypted.setblocking(True)


def with_a_default(bound: socket.socket) -> None:
    socket.setdefaulttimeout(5)
    try:
        bound.settimeout(None)
        assert bound.gettimeout() is None
    finally:
        socket.setdefaulttimeout(None)


CALLS: dict[str, Callable[[socket.socket], object]] = {
    "nothing": lambda bound: None,
    "setblocking": lambda bound: bound.setblocking(True),
    "settimeout(None)": lambda bound: bound.settimeout(None),
    "settimeout(1)": lambda bound: bound.settimeout(1),
    "a default timeout": with_a_default,
    "dup": lambda bound: bound.dup().close(),
    "fromfd": lambda bound: socket.fromfd(bound.fileno(), bound.family, bound.type).setblocking(True),
    "ssl": wrapped,
    "os.set_blocking": lambda bound: os.set_blocking(bound.fileno(), True),
    "F_SETFL": lambda bound: fcntl.fcntl(bound, fcntl.F_SETFL, 0),
    "FIONBIO": lambda bound: fcntl.ioctl(bound.fileno(), termios.FIONBIO, struct.pack("i", 0)),
    "a file": lambda bound: bound.dup().makefile("rb").close(),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_description_stays_non_blocking(
    held: socket.socket, bound: socket.socket, call: Callable[[socket.socket], object]
) -> None:
    """Whatever the service asks for, and by whatever way: an accept of the other process would block else, and its loop."""
    flags = fcntl.fcntl(held, fcntl.F_GETFL)

    call(bound)

    assert fcntl.fcntl(held, fcntl.F_GETFL) == flags
    with pytest.raises(BlockingIOError):
        held._accept()  # type: ignore[attr-defined]


def test_a_service_that_blocks_waits(held: socket.socket, bound: socket.socket) -> None:
    """Its accept returns with the connection, and for nothing else: another process may have been faster."""
    bound.setblocking(True)
    assert bound.gettimeout() is None
    accepted: list[bytes] = []

    def serve() -> None:
        connection, _ = bound.accept()
        with connection:
            assert connection.gettimeout() is None
            accepted.append(connection.recv(5))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with socket.create_connection(held.getsockname(), timeout=TIMEOUT) as client:
        client.sendall(b"hello")
        thread.join(TIMEOUT)
    assert accepted == [b"hello"]


def test_its_own_timeout_is_kept(bound: socket.socket) -> None:
    """As if nobody else had the socket."""
    bound.settimeout(0.01)
    with pytest.raises(TimeoutError):
        bound.accept()
    bound.settimeout(0)
    with pytest.raises(BlockingIOError):
        bound.accept()


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_RDWR, socket.SHUT_WR])
def test_a_shutdown_is_its_own(held: socket.socket, bound: socket.socket, how: int) -> None:
    """The others go on; it accepts no more, as after a real one, and who waits in accept is told so."""
    bound.setblocking(True)
    ended: list[int | None] = []

    def serve() -> None:
        try:
            bound.accept()[0].close()
        except OSError as error:
            ended.append(error.errno)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    bound.shutdown(how)

    assert held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    with socket.create_connection(held.getsockname(), timeout=TIMEOUT):
        if how == socket.SHUT_WR:
            thread.join(TIMEOUT)
            assert ended == []
            return
        thread.join(TIMEOUT)
        assert ended == [errno.EINVAL]
        connection, _ = held._accept()  # type: ignore[attr-defined]
        os.close(connection)


def test_a_shutdown_in_a_child_is_no_more_than_that(held: socket.socket, bound: socket.socket) -> None:
    """A worker made by fork ends its part."""
    pid = os.fork()
    if pid == 0:
        try:
            bound.shutdown(socket.SHUT_RDWR)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_who_binds_again_accepts_again(held: socket.socket, bound: socket.socket) -> None:
    """A server that is stopped and made again in one process."""
    bound.shutdown(socket.SHUT_RDWR)
    bound.close()
    with socket.socket() as again:
        again.bind(held.getsockname())
        with socket.create_connection(held.getsockname(), timeout=TIMEOUT):
            again.accept()[0].close()


OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1),
]


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_options_are_given_to_connections_and_not_to_the_others(
    held: socket.socket, adoption: Adoption, option: tuple[int, int, int], when: str
) -> None:
    """Set before it binds or after, as far as a connection can have them."""
    level, name, value = option
    before = held.getsockopt(level, name)
    with socket.socket() as bound:
        if when == "before":
            bound.setsockopt(level, name, value)
        bound.bind(held.getsockname())
        if when == "after":
            bound.setsockopt(level, name, value)
        assert held.getsockopt(level, name) == before
        with socket.create_connection(held.getsockname(), timeout=TIMEOUT):
            connection, _ = bound.accept()
            with connection:
                if option in OPTIONS[:3]:
                    assert connection.getsockopt(level, name) == value


def test_the_backlog_is_the_keepers(held: socket.socket, bound: socket.socket) -> None:
    """A service that listens, with less, takes nothing from what waits for the other."""

    async def serve() -> None:
        server = await asyncio.start_server(lambda *_: None, sock=bound.dup(), backlog=1)
        server.close()

    bound.listen(1)
    asyncio.run(serve())
    info = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert struct.unpack_from("I", info, 28)[0] == 7  # tcpi_sacked of a listening socket is its backlog


@pytest.mark.parametrize("is_raised", [True, False])
def test_a_flag_that_is_closed_stays_what_it_was(is_raised: bool) -> None:
    """Servers of a function that has ended still ask it, and the numbers of its descriptors are somebody else's."""
    flag = Flag()
    if is_raised:
        flag.raise_()

    flag.close()

    pipe = os.pipe()  # which has its numbers
    os.write(pipe[1], b"x")
    assert bool(flag) is is_raised
    for descriptor in pipe:
        os.close(descriptor)


def test_what_is_not_shared_is_as_ever(adoption: Adoption) -> None:
    """Other sockets, other descriptors."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        other.setblocking(True)
        assert os.get_blocking(other.fileno())
        os.set_blocking(other.fileno(), False)
        assert not os.get_blocking(other.fileno())
        fcntl.fcntl(other, fcntl.F_SETFL, 0)
        assert os.get_blocking(other.fileno())
        other.shutdown(socket.SHUT_RDWR)
        assert not other.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


# ---------------------------------------------------------------------------------------------------- in real nodes


def listening_flags(pid: int, port: int) -> set[int]:
    """The flags of the descriptions with which a process listens at a port."""
    from underway_runtime.process.proc_sockets import listening

    inodes = {inode for inode, where in listening(pid).items() if where.endswith(f":{port}")}
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if entry.stat().st_ino in inodes:
                info = dict(
                    line.split(":", 1) for line in Path(f"/proc/{pid}/fdinfo", entry.name).read_text().splitlines()
                )
                found.add(int(info["flags"], 8))
    return found


ASYNC = """
import asyncio, sys

async def hello(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n1")
    writer.close()

async def serve():
    server = await asyncio.start_server(hello, "127.0.0.1", PORT)
    print("listening on", PORT, file=sys.stderr, flush=True)
    await server.serve_forever()

def main():
    asyncio.run(serve())
"""

TAKES = """
import os, socket, sys, time

def main():
    listening = socket.create_server(("127.0.0.1", PORT))
    while True:
        CALL
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n2")
        connection.close()
"""


@pytest.mark.parametrize("call", ["listening.setblocking(True)", "os.set_blocking(listening.fileno(), True)"])
def test_a_loop_never_meets_a_socket_that_blocks(make: MakeNode, tmp_path: Path, call: str) -> None:
    """An asyncio main and, after it, one that blocks: at each point of the handover the shared socket is non-blocking."""
    [port] = free_ports(1)
    gate = tmp_path / "gate"
    how = {"main": "tool:main", "listen": [f"tcp://127.0.0.1:{port}"]}
    node = make(App("tool", ASYNC.replace("PORT", str(port)), how))
    second = App("tool", TAKES.replace("PORT", str(port)).replace("CALL", call), how)
    command = ["/bin/sh", "-c", f"touch {gate}; while test -e {gate}; do sleep 0.01; done"]
    add_sealed(node, "2", second, gates=[{"command": command, "timeout": 60, "attempts": 1}])
    keeper, _ = start(node, r"listening on (\d+)")
    installing = node.spawn("install", "2")
    eventually(gate.exists, "the gate is tried: the second one waits in bind")

    for pid in (keeper.pid, *map(int, children(keeper))):
        assert all(flags & os.O_NONBLOCK for flags in listening_flags(pid, port)), pid
    assert served_by(port) == "1"
    gate.unlink()
    assert installing.wait(TIMEOUT) == 0
    assert [served_by(port) for _ in range(3)] == ["2"] * 3
    assert all(flags & os.O_NONBLOCK for flags in listening_flags(keeper.pid, port))
    assert terminate(keeper)[0] == 0


SHUTS = {
    "python": "listening.shutdown(socket.SHUT_RDWR)",
    "c": "import ctypes; ctypes.CDLL(None).shutdown(listening.fileno(), 2)",
    "another interpreter": "import subprocess; subprocess.run([sys.executable, '-c',"
    " 'import socket; socket.socket(fileno=0).shutdown(2)'], stdin=listening)",
}


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("how", SHUTS)
def test_who_shuts_its_listener_down_leaves_that_of_the_others(make: MakeNode, how: str) -> None:
    """By Python it is not done; below it, or in another interpreter, the keeper listens again at once, and says so."""
    [port] = free_ports(1)
    begins = {"main": "tool:main", "listen": [f"tcp://127.0.0.1:{port}"]}
    serve = f"listening.settimeout(0.05); accept(listening, lambda: not stopped); {SHUTS[how]}; listening.close()"
    text = MAIN.replace("HANDLER", "signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))").replace("MORE", "")
    text = text.replace("SERVE", serve).replace("PORT", str(port))
    node = make(App("tool", text, begins))
    add_sealed(node, "2", App("tool", text.replace('VERSION = "1"', 'VERSION = "2"'), begins))
    keeper, _ = start(node, r"listening on (\d+)")

    for version in "21":
        done = node.run("install", version)
        assert done.returncode == 0, done.stderr
        eventually(lambda: len(children(keeper)) == 1, "the other has left")
        assert eventually(lambda: served_by(port), "it listens") == version
    assert status(node)["state"] == "running"
    keeper.terminate()
    assert keeper.wait(TIMEOUT) == 0
    again = any("was shut down by a process that has it, and listens again" in line for line in all_said(keeper))
    assert again == (how != "python")


SANIC = """
import importlib.metadata, sys
importlib.metadata.version = lambda name: "1"  # these small releases have no metadata
from sanic import Sanic
from sanic.response import text

VERSION = "1"
app = Sanic("tool", configure_logging=False)

@app.get("/")
async def index(request):
    return text(VERSION)

@app.after_server_start
async def started(app, loop):
    print("listening on", PORT, file=sys.stderr, flush=True)

def main():
    app.run("127.0.0.1", PORT, single_process=True, motd=False, access_log=False)
"""


def test_sanic_hands_over(make: MakeNode) -> None:
    """It shuts its listeners down when it ends, and nobody who connects meanwhile is refused."""
    [port] = free_ports(1)
    begins = {"main": "tool:main", "listen": [f"tcp://127.0.0.1:{port}"]}
    text = SANIC.replace("PORT", str(port))
    node = make(App("tool", text, begins), libraries=["sanic", "setuptools"])
    add_sealed(node, "2", App("tool", text.replace('VERSION = "1"', 'VERSION = "2"'), begins))
    keeper, _ = start(node, r"listening on (\d+)")
    with clients(port, 0, short=4, pauses=(0.01,)) as served:
        for version in "21":
            done = node.run("install", version)
            assert done.returncode == 0, done.stderr
            eventually(lambda: len(children(keeper)) == 1, "the other has left")
            assert [served_by(port) for _ in range(5)] == [version] * 5
    assert served.failures == []
    assert terminate(keeper)[0] == 0
