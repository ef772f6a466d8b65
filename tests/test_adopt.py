"""Services that bind by themselves get the socket that outlives them."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import os
import socket
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest

from node_helpers import App, MakeNode, eventually, read_until, terminate
from underway_runtime.node.adopt import Adoption, not_handed_over
from underway_runtime.node.listen import Listeners
from underway_runtime.node.mainthread import MainThread
from underway_runtime.node.servers import World, run
from underway_runtime.release.bootscript import Load

TIMEOUT = 30.0


@pytest.fixture
def declared() -> Iterator[socket.socket]:
    """A listening socket such as the keeper holds."""
    with socket.create_server(("127.0.0.1", 0)) as declared:
        yield declared


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def adoption(declared: socket.socket, said: list[str]) -> Iterator[Adoption]:
    adoption = Adoption(lambda message, error=None: said.append(message))
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


def test_another_address_is_bound_as_ever(declared: socket.socket, adoption: Adoption, said: list[str]) -> None:
    """Another port is no business of ours; the same port of another host is told, since that is a slip."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        assert not same(own, declared)
    assert said == []
    port = declared.getsockname()[1]
    with socket.socket() as own, pytest.raises(OSError, match="in use"):
        own.bind(("0.0.0.0", port))
    assert said == [f"a bind to 0.0.0.0, port {port}, is not handed over: `listen` says tcp://127.0.0.1:{port}"]


def test_nothing_is_looked_at_any_more_once_it_is_closed(declared: socket.socket, adoption: Adoption) -> None:
    """socket.socket is as it was."""
    assert "bind" in vars(socket.socket)
    adoption.close()

    assert {"bind", "listen"}.isdisjoint(vars(socket.socket))
    adoption.__init__(lambda message, error=None: None)  # type: ignore[misc]  # for its fixture


def test_what_comes_late_waits_in_listen(declared: socket.socket, late: Adoption) -> None:
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


def test_a_main_function_is_prepared_when_it_waits_in_listen(
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
        world = World(
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


def test_what_is_bound_below_is_named(declared: socket.socket, adoption: Adoption) -> None:
    """By looking at what this process really listens with, whoever bound it."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        here = f"tcp://127.0.0.1:{own.getsockname()[1]}"
        assert not_handed_over([declared]) == [here]
        assert not_handed_over([declared, own]) == []


# ---------------------------------------------------------------------------------------------------- in a real node


@pytest.fixture
def port() -> int:
    """A port that is free now, and below those that the system gives out by itself."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


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
