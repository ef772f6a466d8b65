"""Gates: how they are written, and what comes of them with real servers and processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import importlib
import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from node_helpers import TIMEOUT, eventually
from underway.project.options import problem_of
from underway_runtime.node.gates import Result, run
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.gates import KINDS, GateContext, gate_of, read


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("/health", "gates.0 is '/health'; it must be a table"),
        ({}, f"gates.0: a gate has one of {', '.join(KINDS)}, not none"),
        ({"http": "/", "tcp": "a:1"}, f"gates.0: a gate has one of {', '.join(KINDS)}, not http and tcp"),
        ({"http": "/", "statsu": 200}, "unknown key 'gates.0.statsu'; did you mean 'status'?"),
        ({"http": "/", "status": "200"}, "gates.0.status is '200'; it must be a number from 1"),
        ({"http": "/", "attempts": True}, "gates.0.attempts is True; it must be a number from 1"),
        ({"http": "/", "timeout": -1}, "gates.0.timeout is -1; it must be a number of seconds"),
        ({"http": "/", "contains": 1}, "gates.0.contains is 1; it must be a text"),
        ({"http": "health"}, 'gates.0.http is \'health\'; it must be "/path" or "http://host:port/path"'),
        (
            {"http": "http://h:port/"},
            'gates.0.http is \'http://h:port/\'; it must be "/path" or "http://host:port/path"',
        ),
        ({"tcp": "5432"}, 'gates.0.tcp is \'5432\'; it must be "host:port" or "unix:///path"'),
        ({"tcp": "unix:///"}, 'gates.0.tcp is \'unix:///\'; it must be "host:port" or "unix:///path"'),
        ({"command": "true"}, "gates.0.command is 'true'; it must be a list of texts, the program first"),
        ({"command": []}, "gates.0.command is []; it must be a list of texts, the program first"),
        ({"function": "chat.ready"}, "gates.0.function is 'chat.ready'; it must be \"module:function\""),
        ({"tcp": "a:1", "successes": 4}, "gates.0: 4 of 3 attempts can't pass"),
        ({"tcp": "a:1", "status": 200}, "unknown key 'gates.0.status'; there are timeout, "),
    ],
)
def test_what_is_wrong_with_a_gate_is_told_with_its_place(table: Any, problem: str) -> None:
    """The option of a release names the gate, the key, what was found and what it must be."""
    assert (problem_of("gates", [table]) or "").startswith(problem)


def test_all_that_is_wrong_with_all_gates_is_told_at_once() -> None:
    """Each problem with the gate that has it."""
    told = problem_of("gates", [{"http": "/", "status": 0, "attempts": 0}, {"tcp": "a:1"}, {"http": "x"}])

    assert [problem.partition(" ")[0] for problem in str(told).split("; ")[::2]] == [
        "gates.0.attempts",
        "gates.0.status",
        "gates.2.http",
    ]


def test_gates_are_read_as_they_were_written(tmp_path: Path) -> None:
    """No file is not a gates, and a file that was tampered with is refused."""
    assert read(tmp_path / "gates.json") == ()
    table = {"command": ["true"], "timeout": 1}
    (tmp_path / "gates.json").write_text(json.dumps([table]))
    assert read(tmp_path / "gates.json") == (gate_of(table),)
    (tmp_path / "gates.json").write_text('{"http": "/"}')
    with pytest.raises(DamagedRelease, match="does not list gates"):
        read(tmp_path / "gates.json")


def tried(
    table: Mapping[str, Any], private: Path | None = None, root: Path | None = None, loop: ModuleType = asyncio
) -> Result:
    with asyncio.Runner(loop_factory=loop.new_event_loop) as runner:
        [result] = runner.run(asyncio.wait_for(run([gate_of(table)], GateContext(private, root)), TIMEOUT))
    return result


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with "hello", framed as the path says; ``/flaky`` fails every other time, ``/endless`` never ends."""

    protocol_version = "HTTP/1.1"

    FRAMES: ClassVar = {
        "/length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "/tight": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "/extension": b"HTTP/1.1 200 OK\r\ntransfer-encoding:  Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "/close": b"HTTP/1.0 200 OK\r\n\r\nhello",
        "/newlines": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "/garbage": b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
    }

    def do_GET(self) -> None:  # a name of http.server's
        self.server.asked += 1  # type: ignore[attr-defined]
        self.close_connection = True
        if self.path in self.FRAMES:
            for at in range(len(self.FRAMES[self.path])):  # byte by byte, as a network may cut it
                self.wfile.write(self.FRAMES[self.path][at : at + 1])
            if self.path != "/close":
                self.close_connection = False  # as a server that takes no notice of ``Connection: close``
            return
        self.send_response(500 if self.path == "/flaky" and self.server.asked % 2 else 200)  # type: ignore[attr-defined]
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")

    def do_HEAD(self) -> None:  # a name of http.server's
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return ""


@pytest.fixture
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        yield from serve(server)


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Path]:
    """The directory of private sockets, where one application serves."""
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "chat.sock"), Handler) as server:
        yield from (tmp_path for _ in serve(server))


def serve(server: Any) -> Iterator[Any]:
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def test_http_is_asked_over_the_private_socket(private: Path) -> None:
    """A path alone reaches the application before it accepts; chunks are put together."""
    assert tried({"http": "/health", "contains": "hello"}, private) == Result("http /health", True, ("ok",))
    assert tried({"http": "/", "application": "chat"}, private).passed
    assert tried({"http": "/", "application": "blog", "attempts": 1}, private).attempts == (
        "which application is asked? there is none; `application` of the gate names one",
    )


def test_http_is_asked_over_tcp(server: http.server.HTTPServer) -> None:
    """Each attempt that misses says why."""
    at = f"http://127.0.0.1:{server.server_port}"
    assert tried({"http": at}).passed
    assert tried({"http": f"{at}/", "status": 204, "attempts": 1}).attempts == ("status 200, not 204",)
    assert tried({"http": f"{at}/", "contains": "bye", "attempts": 1}).attempts == ("'bye' is not in the answer",)


@pytest.mark.parametrize("path", ["/length", "/tight", "/extension", "/close", "/newlines"])
def test_an_answer_is_read_as_a_client_of_http_reads_it(server: http.server.HTTPServer, path: str) -> None:
    """However it is framed and cut, and whether or not the connection is closed after it."""
    table = {"http": f"http://127.0.0.1:{server.server_port}{path}", "contains": "hello", "attempts": 1}

    assert tried(table).attempts == ("ok",)


def test_an_answer_without_a_body_is_one(server: http.server.HTTPServer) -> None:
    """That to HEAD has the length of a body that does not come."""
    assert tried({"http": f"http://127.0.0.1:{server.server_port}/", "method": "HEAD", "attempts": 1}).passed


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/garbage", "not an answer of HTTP: b'SSH-2.0-OpenSSH_9.2p1"), ("/cut", "nothing within 0.2 s")],
)
def test_what_is_no_whole_answer_is_none(server: http.server.HTTPServer, path: str, reason: str) -> None:
    """Of another protocol, or cut short: the reason says which."""
    table = {"http": f"http://127.0.0.1:{server.server_port}{path}", "attempts": 1, "timeout": 0.2}

    assert tried(table).attempts[0].startswith(reason)


def test_every_kind_is_told_apart_by_its_key() -> None:
    """A kind has its key as a field, without a default, and nobody else has that."""
    for name, kind in KINDS.items():
        assert [other.kind for other in KINDS.values() if name in {field.name for field in fields(other)}] == [name]
        assert next(field for field in fields(kind) if field.name == name).default is MISSING


def test_some_attempts_may_miss(server: http.server.HTTPServer) -> None:
    """Two of five; attempts end as soon as the outcome is certain."""
    at = f"http://127.0.0.1:{server.server_port}/flaky"
    missed = "status 500, not 200"
    quick = {"http": at, "interval": 0.0}

    assert tried({**quick, "attempts": 5, "successes": 2}).attempts == (missed, "ok", missed, "ok")
    assert tried({**quick, "attempts": 3, "successes": 3}) == Result(f"http {at}", False, (missed,))


def test_a_soak_makes_all_attempts(server: http.server.HTTPServer) -> None:
    """However it begins, so that what dies later is seen."""
    at = f"http://127.0.0.1:{server.server_port}/flaky"

    assert len(tried({"http": at, "soak": 0.1, "attempts": 6}).attempts) == 6


def test_tcp_connects(server: http.server.HTTPServer, private: Path) -> None:
    """To an address or a socket file; a refused connection is the reason."""
    assert tried({"tcp": f"127.0.0.1:{server.server_port}"}).passed
    assert tried({"tcp": f"unix://{private}/chat.sock"}).passed
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        missed = tried({"tcp": f"127.0.0.1:{unused.getsockname()[1]}", "attempts": 1})
    assert "ConnectionRefusedError" in missed.attempts[0]


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_a_connection_of_a_gate_ends_although_a_child_has_it(kind: str, loop: str) -> None:
    """A service forks while it is asked, as a server makes its workers; that its child has the descriptor keeps nothing open."""
    ended = threading.Event()
    lives, ends = os.pipe()

    class Forking(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if os.fork() == 0:
                os.close(ends)
                os.read(lives, 1)
                os._exit(0)
            self.request.sendall(Handler.FRAMES["/length"])
            while self.request.recv(65536):
                pass
            ended.set()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forking) as forking:
        threading.Thread(target=forking.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{forking.server_address[1]}"
        try:
            table = {"tcp": address} if kind == "tcp" else {"http": f"http://{address}/"}
            assert tried(table, loop=importlib.import_module(loop)).passed
            assert ended.wait(TIMEOUT)
        finally:
            forking.shutdown()
            for end in (lives, ends):
                os.close(end)
            os.wait()


def test_a_command_ends_with_status_0(tmp_path: Path) -> None:
    """It runs in the root of the release; its last line is the reason, and one that hangs is killed with its children."""
    (tmp_path / "smoke").write_text("#!/bin/sh\necho no database\nexit 3\n")
    (tmp_path / "smoke").chmod(0o755)
    assert tried({"command": ["true"]}).passed
    assert tried({"command": ["./smoke"], "attempts": 1}, root=tmp_path).attempts == ("status 3: no database",)
    assert tried({"command": ["nowhere"], "attempts": 1}).attempts[0].startswith("FileNotFoundError")
    hangs = tried({"command": ["sh", "-c", "sleep 1000 & wait"], "timeout": 0.1, "attempts": 1})
    assert hangs.attempts == ("nothing within 0.1 s",)


@pytest.mark.parametrize("steps", range(12))
def test_a_command_that_is_out_of_time_at_any_step_leaves_nothing(steps: int) -> None:
    """While it is being started, too: the gate ends at once, and so does what the command has started."""
    marker = f"1000.{os.getpid()}{steps}"
    gate = gate_of({"command": ["sh", "-c", f"sleep {marker} & wait"]})

    async def give_up() -> None:
        attempt = asyncio.ensure_future(gate.attempt(GateContext(None, None)))
        for _ in range(steps):
            await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt

    asyncio.run(asyncio.wait_for(give_up(), TIMEOUT))

    eventually(lambda: not _running(marker), "what it started has ended")


def _running(argument: str) -> bool:
    wanted = argument.encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in file.read_bytes():
                return True
    return False


def test_a_function_is_called_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """async or not; what it raises, or that it returned False, is the reason."""
    module = ModuleType("checks")
    exec("def good(): pass\ndef bad(): return False\nasync def ugly(): raise OSError('lost')", module.__dict__)
    monkeypatch.setitem(sys.modules, "checks", module)

    assert tried({"function": "checks:good"}).passed
    assert tried({"function": "checks:bad", "attempts": 1}).attempts == ("it returned False",)
    assert tried({"function": "checks:ugly", "attempts": 1}).attempts == ("OSError: lost",)
    assert tried({"function": "checks:gone", "attempts": 1}).attempts == (
        "checks has no 'gone', which 'checks:gone' names",
    )
