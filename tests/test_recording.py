"""underway record: what a proxy on loopback writes down, and that it passes everything on."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from code_server_helpers import TIMEOUT
from projects import ENVIRONMENT, UNDERWAY, underway
from underway.rehearsal.traffic import Conversation, Receive, Request, Send, read


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """In two pieces, and no length said."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"one ")
        self.wfile.write(str(self.headers.get("Authorization")).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Kept", "yes")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(TIMEOUT)


@pytest.fixture
def talker() -> Iterator[int]:
    def talk(socket: ServerConnection) -> None:
        for _ in range(2):
            socket.send("welcome")
        for message in socket:
            socket.send(message)

    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(TIMEOUT)


@contextmanager
def recording(port: int, file: Path, *options: str) -> Iterator[int]:
    """The command, for as long as the block lasts; ended as by Ctrl-C."""
    command: list[str | Path] = [UNDERWAY, "record", file, "--to", f"127.0.0.1:{port}", *options]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.match(r"recording http://127\.0\.0\.1:(\d+) into ", said)
            assert found, said
            yield int(found[1])
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0
            assert re.search(r"\d+ exchanges in ", process.stdout.read())
        finally:
            process.kill()


def ask(port: int, method: str, path: str, **how: object) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request(method, path, **how)  # type: ignore[arg-type]
    answer = connection.getresponse()
    said = (answer.status, answer.getheader("X-Kept"), answer.read())
    connection.close()
    return said


def test_requests_are_passed_on_and_written_down(service: int, tmp_path: Path) -> None:
    """With path, query and body, of a length and in chunks; the answers are those of the service."""
    with recording(service, tmp_path / "traffic") as port:
        assert ask(port, "GET", "/a?b=c") == (200, None, b"one None")
        typed = {"Content-Type": "text/plain"}
        assert ask(port, "POST", "/d", body=b"hello", headers=typed) == (201, "yes", b"hello")
        assert ask(port, "POST", "/e", body=iter([b"in ", b"chunks"]), encode_chunked=True) == (
            201,
            "yes",
            b"in chunks",
        )

    assert read(tmp_path / "traffic") == [
        Request("GET", "/a?b=c"),
        Request("POST", "/d", {"content-type": "text/plain"}, b"hello"),
        Request("POST", "/e", {}, b"in chunks"),
    ]


def test_who_asks_is_not_written_down_unless_asked_for(service: int, tmp_path: Path) -> None:
    """Authorization, Cookie and a key of one's own reach the service, and are not in the file, which is its owner's only."""
    secret = {
        "Authorization": "Bearer s3cret",
        "Cookie": "session=s3cret",
        "X-Api-Key": "s3cret",
        "Accept": "text/plain",
    }
    with recording(service, tmp_path / "one") as port:
        assert ask(port, "GET", "/", headers=secret)[2] == b"one Bearer s3cret"
    with recording(service, tmp_path / "other", "--header", "cookie") as port:
        ask(port, "GET", "/", headers=secret)

    assert read(tmp_path / "one") == [Request("GET", "/", {"accept": "text/plain"})]
    assert read(tmp_path / "other") == [Request("GET", "/", {"accept": "text/plain", "cookie": "session=s3cret"})]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600


def test_what_is_said_over_a_websocket_is_written_down(talker: int, tmp_path: Path) -> None:
    """What was sent, with what was received between: text, bytes, and messages in several frames."""
    with recording(talker, tmp_path / "traffic") as port, connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as socket:
        assert [socket.recv(timeout=TIMEOUT) for _ in range(2)] == ["welcome", "welcome"]
        socket.send(["he", "llo"])
        assert socket.recv(timeout=TIMEOUT) == "hello"
        socket.send(b"\x00\xff")
        assert socket.recv(timeout=TIMEOUT) == b"\x00\xff"
        socket.close()

    assert read(tmp_path / "traffic") == [
        Conversation("/ws", {}, (Receive(2), Send("hello"), Receive(1), Send(b"\x00\xff"), Receive(1)))
    ]


def test_a_service_that_does_not_answer_is_told_to_who_asks(tmp_path: Path) -> None:
    """502, and nothing is written down for it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as gone:
        port = gone.server_port
    with recording(port, tmp_path / "traffic") as proxy:
        assert ask(proxy, "GET", "/")[0] == 502

    assert (tmp_path / "traffic").read_text() == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "127.0.0.1:1", "--listen", "0.0.0.0:0"), "is not on loopback"),
        (("--to", "nowhere"), "is not HOST:PORT"),
    ],
)
def test_it_listens_on_loopback_only(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Whatever else is asked for is refused with 2, before anything is written."""
    done = underway("record", tmp_path / "traffic", *options, cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "traffic").exists()
