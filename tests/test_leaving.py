"""Servers that a `main` runs tell their clients to come back at a handover, each by means of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from handover_helpers import PAUSES, children, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, finish, terminate
from ports import free_ports
from sources import package
from versions import add_sealed

SERVERS = {
    "aiohttp run_app": ("aiohttp_run_app:main", ["aiohttp"]),
    "aiohttp TCPSite": ("aiohttp_site:main", ["aiohttp"]),
    "aiohttp without a handler": ("aiohttp_site:without_a_handler", ["aiohttp"]),
    "aiohttp in uvloop": ("aiohttp_site:in_uvloop", ["aiohttp", "uvloop"]),
    "hypercorn": ("in_hypercorn:main", ["hypercorn"]),
    "uvicorn": ("in_uvicorn:main", ["uvicorn", "websockets"]),
    "gunicorn": ("in_gunicorn:main", ["gunicorn"]),
    "tornado": ("in_tornado:main", ["tornado"]),
    "tornado without a handler": ("in_tornado:without_a_handler", ["tornado"]),
    "http.server": ("in_http_server:main", []),
    "http.server without a handler": ("in_http_server:without_a_handler", []),
    "http.server that says keep-alive": ("in_http_server:kept_alive", []),
    "asyncio by streams": ("http_by_hand:main", []),
    "asyncio without a handler": ("http_by_hand:without_a_handler", []),
    "asyncio by a protocol": ("http_by_hand:by_protocol", []),
}

DRILLS = {
    "aiohttp TCPSite",
    "aiohttp in uvloop",
    "tornado without a handler",
    "http.server without a handler",
    "http.server that says keep-alive",
    "asyncio by streams",
    "asyncio without a handler",
}


def service(
    make: MakeNode, main: str, libraries: list[str], drain: float, *, declared: bool = True, **environ: object
) -> tuple[Node, int]:
    """Two versions of a service that runs a function of tests/projects/own_servers, and the port where it listens."""
    [port] = free_ports(1)
    how = {"main": f"tool.{main}", **({"listen": [f"tcp://127.0.0.1:{port}"]} if declared else {})}
    first, second = (
        App("tool", files=package("tool", "own_servers", *versions), start=how) for versions in (["v1"], ["v1", "v2"])
    )
    node = make(first, libraries=libraries)
    node.environ |= {"PORT": str(port), **{name: str(value) for name, value in environ.items()}}
    node.configure(underway_runtime={"drain_timeout": drain})
    add_sealed(node, "2", second)
    return node, port


@pytest.mark.sample(most=3)
@pytest.mark.parametrize(
    "server", [pytest.param(name, marks=pytest.mark.drill if name in DRILLS else ()) for name in SERVERS]
)
def test_connections_that_are_in_use_are_told_to_come_back(make: MakeNode, server: str) -> None:
    """Clients that keep their connections and never retry meet no error, up and down; what becomes of them is said."""
    main, libraries = SERVERS[server]
    node, port = service(make, main, libraries, 20)
    keeper, _ = start(node, r"listening on (\d+)")

    with clients(port, 6, short=2, pauses=PAUSES) as served:
        eventually(lambda: len(served.answers) > 20, "they ask")
        told = node.run("check", "2").stdout
        for version in "21":
            done = node.run("install", version)
            assert done.returncode == 0, done.stderr
            eventually(lambda version=version: served.answers[-8:] == [version] * 8, "the other version answers")
            eventually(lambda: len(children(keeper)) == 1, "the one before has left")

    assert served.failures == []
    name = server.split()[0]
    assert f"clients of tool, when it leaves: {name}: " in told
    does = "answers in HTTP say" if name == "asyncio" else "its answers say"
    assert status(node)["clients"]["tool"].startswith(f"{name}: {does} `Connection: close`")
    assert f"leaves       tool: {name}: " in node.run("status").stdout
    assert terminate(keeper)[0] == 0


@pytest.mark.sample(most=2)
@pytest.mark.parametrize(
    "server",
    [
        pytest.param("aiohttp run_app", marks=pytest.mark.drill),
        *("aiohttp TCPSite", "aiohttp in uvloop", "hypercorn", "uvicorn", "tornado"),
    ],
)
def test_websockets_are_closed_with_a_reason(make: MakeNode, server: str) -> None:
    """With 1012, at the deadline, and served until then."""
    main, libraries = SERVERS[server]
    node, port = service(make, main, libraries, 1)
    keeper, _ = start(node, r"listening on (\d+)")
    heard: list[str] = []
    with connect(f"ws://127.0.0.1:{port}/room", proxy=None, open_timeout=TIMEOUT, compression=None) as websocket:
        installing = node.spawn("install", "2")
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                websocket.send("!")
                heard.append(str(websocket.recv(timeout=TIMEOUT)))
                threading.Event().wait(0.02)
    assert set(heard) == {"1!"}
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert finish(installing)[0] == 0
    assert terminate(keeper)[0] == 0


ASKS = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    print(channel.unary_unary("/tool/Say")(b"", timeout=30, wait_for_ready=True).decode())
"""


def test_calls_of_grpc_that_are_under_way_end(make: MakeNode, tmp_path: Path) -> None:
    """It binds below Python, so the two versions do not run at once; who has called has an answer."""
    node, port = service(make, "with_grpc:main", ["grpcio"], 20, declared=False, HERE=tmp_path)
    keeper, _ = start(node, r"listening on (\d+)")
    eventually(lambda: status(node)["state"] == "running", "it runs")
    (tmp_path / "hold").touch()
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKS, f"127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    eventually((tmp_path / "began").exists, "it is asked")
    installing = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "the other one is there")
    (tmp_path / "hold").unlink()

    out, error = asking.communicate(timeout=TIMEOUT)
    assert (asking.returncode, out in ("1\n", "2\n")) == (0, True), error
    assert finish(installing)[0] == 0
    assert status(node)["clients"]["tool"] == "grpc.aio: GOAWAY, and calls under way end"
    assert terminate(keeper)[0] == 0


def test_who_speaks_another_protocol_than_http_has_its_handler_called_at_once(make: MakeNode) -> None:
    """As soon as all connections have shown that they do, with what was asked answered; and it is said that nothing tells them."""
    node, port = service(make, "lines_by_hand:main", [], 3_600)
    keeper, _ = start(node, r"listening on (\d+)")
    assert (
        "in another protocol: as its handler for SIGTERM ends it: what that does not" in node.run("check", "2").stdout
    )
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection, connection.makefile("rw") as lines:
        installing = node.spawn("install", "2")
        answers = set()
        while answer := say(lines):
            answers.add(answer)
    assert answers == {"1 hello\n"}
    assert finish(installing)[0] == 0
    assert terminate(keeper)[0] == 0


def say(lines: TextIO) -> str:
    """What is answered to a line, or "" where its handler has closed the connection."""
    threading.Event().wait(0.02)
    with contextlib.suppress(OSError):
        print("hello", file=lines, flush=True)
        return lines.readline()
    return ""


LOST = {
    "it handles SIGTERM": ("with_asyncio:main", [], "what that does not finish is lost"),
    "it does not": ("with_asyncio:without_a_handler", [], "until its clients have closed their connections"),
    "uvloop": ("with_asyncio:in_uvloop", ["uvloop"], "at once"),
    "a child accepts": ("with_asyncio:with_a_child", [], "at once"),
}


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("kind", LOST)
def test_of_a_server_that_is_not_known_it_is_said_what_is_lost(make: MakeNode, kind: str) -> None:
    """By status and by check."""
    main, libraries, lost = LOST[kind]
    node, _ = service(make, main, libraries, 1)
    keeper, _ = start(node, r"listening on (\d+)")
    eventually(lambda: status(node)["state"] == "running", "it runs")
    said = status(node)["clients"]["tool"]
    assert lost in said
    assert f"clients of tool, when it leaves: {said}" in node.run("check", "2").stdout
    assert terminate(keeper)[0] == 0
