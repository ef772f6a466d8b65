"""Services that bind by themselves get the socket that outlives them."""

from __future__ import annotations

import asyncio
import errno
import http.client
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from node_helpers import TIMEOUT, App, MakeNode, eventually, read_until, terminate
from ports import free_port
from underway_runtime.apps.launch import run
from underway_runtime.apps.main_function import MainThread
from underway_runtime.apps.serving import ServerContext
from underway_runtime.apps.socket_adoption import Adoption
from underway_runtime.apps.sockets import Listeners, bind_private
from underway_runtime.process.proc_sockets import listening, not_handed_over
from underway_runtime.release.boot_script import Load


@pytest.fixture
def declared() -> Iterator[socket.socket]:
    """A listening socket such as the keeper holds."""
    with socket.create_server(("127.0.0.1", 0)) as declared:
        yield declared


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def adoption(declared: socket.socket, messages: list[str]) -> Iterator[Adoption]:
    adoption = Adoption(lambda message, error=None: messages.append(message))
    adoption.declare([declared], waits=True)
    yield adoption
    adoption.close()


@pytest.fixture
def late(declared: socket.socket) -> Iterator[Adoption]:
    adoption = Adoption(lambda message, error=None: None, late=True)
    adoption.declare([declared], waits=True)
    yield adoption
    adoption.close()


def same(one: socket.socket, other: socket.socket) -> bool:
    return os.path.sameopenfile(one.fileno(), other.fileno())


def answer(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/")
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


class Hello(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:  # a name of http.server's
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args: object) -> None:
        pass


def test_http_server_has_the_declared_socket(declared: socket.socket, adoption: Adoption) -> None:
    """It binds as ever, serves, and when it is gone the socket still takes connections."""
    address = declared.getsockname()
    with http.server.ThreadingHTTPServer(address, Hello) as server:
        assert same(server.socket, declared)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        assert answer(address[1]) == "hello"
        server.shutdown()
        thread.join()

    socket.create_connection(address, timeout=TIMEOUT).close()


@pytest.mark.parametrize("reuse_port", [None, True])
def test_an_asyncio_server_has_it_too(declared: socket.socket, adoption: Adoption, reuse_port: bool | None) -> None:
    """SO_REUSEPORT makes no difference."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def scenario() -> bytes:
        host, port = declared.getsockname()
        async with await asyncio.start_server(greet, host, port, reuse_port=reuse_port) as server:
            assert same(server.sockets[0]._sock, declared)  # type: ignore[attr-defined]
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await reader.read()
            finally:
                writer.close()

    assert asyncio.run(scenario()) == b"hello"


def test_names_and_shorthands_of_an_address_are_resolved(adoption: Adoption) -> None:
    """An empty host is every address, localhost is 127.0.0.1."""
    with socket.create_server(("", 0)) as everywhere, socket.create_server(("127.0.0.1", 0)) as here:
        adoption.declare([everywhere, here], waits=True)
        for asked, given in (("", everywhere), ("0.0.0.0", everywhere), ("localhost", here)):
            with socket.socket() as own:
                own.bind((asked, given.getsockname()[1]))
                assert same(own, given)


def test_another_address_is_bound_as_ever(declared: socket.socket, adoption: Adoption, messages: list[str]) -> None:
    """Another port is no business of ours; the same port of another host is told, since that is a slip."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        assert not same(own, declared)
    assert messages == []
    port = declared.getsockname()[1]
    with socket.socket() as own, pytest.raises(OSError, match="in use"):
        own.bind(("0.0.0.0", port))
    assert messages == [f"a bind to 0.0.0.0, port {port}, is not handed over: `listen` says tcp://127.0.0.1:{port}"]


def test_nothing_is_looked_at_any_more_once_it_is_closed(declared: socket.socket, adoption: Adoption) -> None:
    """socket.socket is as it was."""
    accept = socket.socket.accept
    assert "bind" in vars(socket.socket)
    adoption.close()

    assert "bind" not in vars(socket.socket)
    assert socket.socket.accept is not accept
    assert socket.socket.accept.__module__ == "socket"
    adoption.__init__(lambda message, error=None: None)  # type: ignore[misc]  # for its fixture


def test_what_connections_inherit_is_carried_over(declared: socket.socket, adoption: Adoption) -> None:
    """gunicorn sets TCP_NODELAY before it binds: without it an answer in two parts takes 40 ms more."""
    with socket.socket() as own:
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.bind(declared.getsockname())
        with socket.create_connection(own.getsockname(), timeout=TIMEOUT):
            accepted, _ = own.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_an_error_that_says_why(late: Adoption) -> None:
    """It may be that of the version before, which goes on."""
    why = "in use; where the version before has it, declare it in `listen`"
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.socket() as own,
        pytest.raises(OSError, match=why) as caught,
    ):
        own.bind(other.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


def test_what_comes_late_waits_in_bind(declared: socket.socket, late: Adoption) -> None:
    """Until it may accept, which holds for a child made by fork as well; connections wait meanwhile."""
    awake, wake = os.pipe()
    address = declared.getsockname()

    def serve() -> None:
        with socket.create_server(address) as own:
            connection, _ = own.accept()
            connection.sendall(b"late")
            connection.close()
            os.write(wake, b".")

    async def arrival() -> None:
        await asyncio.wait_for(late.arrival(), TIMEOUT)

    thread = threading.Thread(target=serve)
    with socket.create_connection(address, timeout=TIMEOUT) as client:
        thread.start()
        asyncio.run(arrival())
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(TIMEOUT)
        late.accept()
        assert client.recv(4) == b"late"
    thread.join()
    os.close(awake)
    os.close(wake)


def test_a_main_function_is_prepared_when_it_waits_in_bind(
    declared: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its gates can be tried; it goes on when it may accept, and never notices."""
    address = declared.getsockname()
    main_thread = MainThread()
    adoption = Adoption(lambda message, error=None: None, late=True)
    tool = ModuleType("tool")

    def main() -> None:
        with socket.create_server(address) as own:
            connection, _ = own.accept()
            with connection:
                connection.sendall(b"late")

    tool.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tool", tool)
    monkeypatch.setattr(sys, "argv", [])

    async def scenario() -> bytes:
        configuration = {"listen": ["tcp://127.0.0.1:0"]}
        world = ServerContext(
            lambda _, key, default: configuration.get(key, default),
            lambda message, error=None: None,
            lambda _: Listeners((declared.dup(),)),
            main_thread,
            adoption=adoption,
        )
        reader, writer = await asyncio.open_connection(*address)
        service = await run(Load("tool", "1.0", (), {"main": "tool:main"}), world)
        assert not service.ended.done()
        await service.accept()
        answer = await reader.read()
        writer.close()
        await service.ended
        await service.stop(1)
        return answer

    answer = main_thread.lend_while(lambda: asyncio.run(asyncio.wait_for(scenario(), TIMEOUT)))
    adoption.close()
    assert answer == b"late"


@pytest.mark.parametrize("goes", [True, False])
def test_what_refuses_ends_when_its_clients_have_gone(declared: socket.socket, adoption: Adoption, goes: bool) -> None:
    """It accepts nothing more; who has not gone in time is answered what was asked until then."""

    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    async def scenario() -> None:
        address = declared.getsockname()
        server = await asyncio.start_server(upper, *address)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"one\n")
        assert await reader.readline() == b"ONE\n"
        writer.write(b"two\n")
        refusing = asyncio.ensure_future(adoption.refuse(TIMEOUT if goes else 0, TIMEOUT))
        await asyncio.sleep(0)
        _, for_another = await asyncio.open_connection(*address)
        if goes:
            assert await reader.readline() == b"TWO\n"
            assert not refusing.done()
            writer.close()
        else:
            assert await reader.read() == b"TWO\n"
        assert await refusing == (0 if goes else 1, 0)
        descriptor, _ = declared._accept()  # type: ignore[attr-defined]  # as another process would
        os.close(descriptor)
        for each in (for_another, writer, server):
            each.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_what_refuses_finds_nothing_to_accept(declared: socket.socket, adoption: Adoption, timeout: float) -> None:
    """As if nobody connected: at once, or after its own time."""
    with socket.socket() as own:
        own.bind(declared.getsockname())
        own.settimeout(timeout)
        asyncio.run(adoption.refuse(0, 0))
        with (
            socket.create_connection(declared.getsockname(), timeout=TIMEOUT),
            pytest.raises(BlockingIOError if timeout == 0 else TimeoutError),
        ):
            own.accept()


def test_where_a_process_listens_is_named(tmp_path: Path) -> None:
    """By looking at what it really listens with, whoever bound it: sockets and socket files."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.create_server(str(tmp_path / "a b.sock"), family=socket.AF_UNIX) as file,
        socket.socket() as not_yet,
    ):
        not_yet.bind(("127.0.0.1", 0))
        found = listening(os.getpid())
        names = [
            f"tcp://127.0.0.1:{four.getsockname()[1]}",
            f"tcp://[::1]:{six.getsockname()[1]}",
            f"unix://{tmp_path}/a b.sock",
        ]
        assert [found[os.fstat(each.fileno()).st_ino] for each in (four, six, file)] == names
        assert os.fstat(not_yet.fileno()).st_ino not in found


def test_what_a_parent_does_not_hold_is_not_handed_over(tmp_path: Path) -> None:
    """What it has too is; and the sockets of gates are nobody's business."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        held.set_inheritable(True)
        child = subprocess.Popen(
            [sys.executable, "-c", LISTENS, str(held.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
            text=True,
        )
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        assert not_handed_over(os.getpid(), child.pid) == [f"tcp://127.0.0.1:{port}"]
        child.communicate("", timeout=TIMEOUT)
    private = bind_private(tmp_path / "web.sock")
    private.sockets[0].listen()
    assert any("web.sock" in each for each in listening(os.getpid()).values())
    assert not any("web.sock" in each for each in not_handed_over(0, os.getpid()))
    private.close()


LISTENS = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])), socket.create_server(("127.0.0.1", 0)) as own:
    print(own.getsockname()[1], flush=True)
    sys.stdin.read()
"""


# ---------------------------------------------------------------------------------------------------- in a real node


@pytest.fixture
def port() -> int:
    return free_port()


SAYS = """
import os

def says(socket):
    print("same", any(
        os.path.sameopenfile(socket.fileno(), int(fd))
        for fd in os.listdir("/proc/self/fd") if int(fd) != socket.fileno() and os.path.exists(f"/proc/self/fd/{fd}")
    ), flush=True)
"""

GUNICORN = """
from gunicorn.app.base import BaseApplication

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

class Standalone(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", "127.0.0.1:@PORT@")
        self.cfg.set("workers", 2)
        self.cfg.set("when_ready", lambda server: says(server.LISTENERS[0]))

    def load(self):
        return app

def main():
    Standalone().run()
"""

UVICORN = """
import uvicorn

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        says(self.servers[0].sockets[0])

def main():
    Server(uvicorn.Config(app, port=@PORT@, lifespan="off", log_config=None, loop="asyncio")).run()
"""

WAITRESS = """
import waitress.server

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

def main():
    server = waitress.server.create_server(app, listen="127.0.0.1:@PORT@")
    says(server.socket)
    server.run()
"""


@pytest.mark.parametrize(
    ("library", "source"),
    [
        pytest.param("gunicorn", GUNICORN, id="gunicorn"),
        pytest.param("uvicorn", UVICORN, id="uvicorn"),
        pytest.param("waitress", WAITRESS, id="waitress"),
    ],
)
def test_a_main_that_runs_its_own_server_is_handed_over(make: MakeNode, port: int, library: str, source: str) -> None:
    """gunicorn with two workers, uvicorn and waitress bind what `listen` says, and get the node's socket."""
    start = {"main": "tool:main", "args": [], "listen": [f"tcp://127.0.0.1:{port}"]}
    node = make(App("tool", SAYS + source.replace("@PORT@", str(port)), start), libraries=(library,))
    process = node.spawn("start")

    assert read_until(process.stdout, "same").string == "same True\n"
    assert eventually(lambda: answer(port), "an answer") == "hello"
    assert terminate(process)[0] == 0
