"""Gates: how they are written, and what comes of them with real servers and processes."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from underway.project.options import problem_of
from underway_runtime.node.gates import Result, run
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.gates import gate_of, problems_of, read

TIMEOUT = 30.0


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("/health", "a gate is a table, not '/health'"),
        ({}, "a gate has one of http, tcp, command, function, not none"),
        ({"http": "/", "tcp": "a:1"}, "a gate has one of http, tcp, command, function, not http and tcp"),
        ({"http": "/", "statsu": 200}, "a gate has no 'statsu'"),
        ({"http": "/", "status": "200"}, "status of a gate is a number from 1, not '200'"),
        ({"http": "/", "timeout": -1}, "timeout of a gate is a number of seconds, not -1"),
        ({"http": "/", "contains": 1}, "contains of a gate is a string, not 1"),
        ({"http": "health"}, 'http of a gate is "/path" or "http://host:port/path", not \'health\''),
        ({"tcp": "5432"}, 'tcp of a gate is "host:port" or "unix:///path", not \'5432\''),
        ({"command": "true"}, "command of a gate is a list of strings, not 'true'"),
        ({"command": []}, "command of a gate is a list of strings, not []"),
        ({"function": "chat.ready"}, "function of a gate is \"module:function\", not 'chat.ready'"),
        ({"http": "/", "successes": 4}, "4 of 3 attempts can't hold"),
    ],
)
def test_what_is_wrong_with_a_gate_is_told(table: Any, problem: str) -> None:
    """The option of a release says the same."""
    assert problems_of(table) == [problem]
    assert problem_of("gates", [table]) == problem


def test_gates_are_read_as_they_were_written(tmp_path: Path) -> None:
    """No file is not a gates, and a file that was tampered with is refused."""
    assert read(tmp_path / "gates.json") == ()
    table = {"command": ["true"], "timeout": 1}
    (tmp_path / "gates.json").write_text(json.dumps([table]))
    assert read(tmp_path / "gates.json") == (gate_of(table),)
    (tmp_path / "gates.json").write_text('{"http": "/"}')
    with pytest.raises(DamagedRelease, match="does not hold gates"):
        read(tmp_path / "gates.json")


def tried(table: Mapping[str, Any], private: Path | None = None, root: Path | None = None) -> Result:
    assert problems_of(table) == []
    [result] = asyncio.run(asyncio.wait_for(run([gate_of(table)], private, root), TIMEOUT))
    return result


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with its path; ``/flaky`` fails every other time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # a name of http.server's
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(500 if self.path == "/flaky" and self.server.asked % 2 else 200)  # type: ignore[attr-defined]
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
        self.close_connection = True

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


def test_a_command_ends_with_status_0(tmp_path: Path) -> None:
    """It runs in the root of the release; its last line is the reason, and one that hangs is killed with its children."""
    (tmp_path / "smoke").write_text("#!/bin/sh\necho no database\nexit 3\n")
    (tmp_path / "smoke").chmod(0o755)
    assert tried({"command": ["true"]}).passed
    assert tried({"command": ["./smoke"], "attempts": 1}, root=tmp_path).attempts == ("status 3: no database",)
    assert tried({"command": ["nowhere"], "attempts": 1}).attempts[0].startswith("FileNotFoundError")
    hangs = tried({"command": ["sh", "-c", "sleep 1000 & wait"], "timeout": 0.1, "attempts": 1})
    assert hangs.attempts == ("nothing within 0.1 s",)


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
