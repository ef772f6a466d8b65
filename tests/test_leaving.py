"""Servers that a `main` runs tell their clients to come back at a handover, each by means of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from handover_helpers import PAUSES, children, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, finish, terminate
from test_handover_mains import ports
from versions import add_sealed

SAYS = """
import asyncio, os, signal, sys

VERSION = "1"
PORT = PORT_

def says():
    print("listening on", PORT, file=sys.stderr, flush=True)
"""

AIOHTTP = (
    SAYS
    + """
from aiohttp import web

async def index(request):
    return web.Response(text=VERSION)

async def room(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_str(VERSION + message.data)
    return websocket

def application():
    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/room", room)])
    return app
"""
)

RUN_APP = (
    AIOHTTP
    + """
def main():
    app = application()
    async def started(app):
        says()
    app.on_startup.append(started)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None, shutdown_timeout=1)
"""
)

RUNNER = (
    AIOHTTP
    + """
async def serve():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    says()
    await stopped.wait()
    await runner.cleanup()

def main():
    asyncio.run(serve())
"""
)

NO_HANDLER = RUNNER.replace("    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)\n", "")

UVLOOP = RUNNER.replace("asyncio.run(serve())", "__import__('uvloop').run(serve())")

ASGI = (
    SAYS
    + """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": VERSION + message["text"]})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": VERSION.encode()})
"""
)

HYPERCORN = (
    ASGI
    + """
from hypercorn.asyncio import serve
from hypercorn.config import Config

def main():
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.graceful_timeout = 1
    async def both():
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        says()
        await serve(app, config, shutdown_trigger=stopped.wait)
    asyncio.run(both())
"""
)

UVICORN = (
    ASGI
    + """
import uvicorn

def main():
    says()
    uvicorn.run(app, port=PORT, log_config=None, loop="asyncio", timeout_keep_alive=60)
"""
)

GUNICORN = (
    SAYS
    + """
from gunicorn.app.base import BaseApplication

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [VERSION.encode()]

class Standalone(BaseApplication):
    def load_config(self):
        for name, value in {
            "bind": f"127.0.0.1:{PORT}", "workers": 2, "threads": 4, "worker_class": "gthread", "keepalive": 60,
            "control_socket_disable": True, "when_ready": lambda server: says(),
        }.items():
            self.cfg.set(name, value)

    def load(self):
        return app

def main():
    Standalone().run()
"""
)

SERVERS = {
    "aiohttp run_app": (RUN_APP, ["aiohttp"]),
    "aiohttp TCPSite": (RUNNER, ["aiohttp"]),
    "aiohttp without a handler": (NO_HANDLER, ["aiohttp"]),
    "aiohttp in uvloop": (UVLOOP, ["aiohttp", "uvloop"]),
    "hypercorn": (HYPERCORN, ["hypercorn"]),
    "uvicorn": (UVICORN, ["uvicorn", "websockets"]),
    "gunicorn": (GUNICORN, ["gunicorn"]),
}


def service(make: MakeNode, source: str, libraries: list[str], drain: float) -> tuple[Node, int]:
    """Two versions of a service with a server of its own."""
    [port] = ports(1)
    how = {"main": "tool:main", "listen": [f"tcp://127.0.0.1:{port}"]}
    text = source.replace("PORT_", str(port))
    node = make(App("tool", text, how), libraries=libraries)
    node.configure(underway_runtime={"drain_timeout": drain})
    add_sealed(node, "2", App("tool", text.replace('VERSION = "1"', 'VERSION = "2"'), how))
    return node, port


@pytest.mark.parametrize(
    "server", [pytest.param(name, marks=pytest.mark.drill if name == "aiohttp TCPSite" else ()) for name in SERVERS]
)
def test_connections_that_are_in_use_are_told_to_come_back(make: MakeNode, server: str) -> None:
    """Clients that keep their connections and never retry meet no error, up and down; what becomes of them is said."""
    source, libraries = SERVERS[server]
    node, port = service(make, source, libraries, 20)
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
    assert status(node)["clients"]["tool"].startswith(f"{name}: its answers say `Connection: close`")
    assert f"leaves       tool: {name}: " in node.run("status").stdout
    assert terminate(keeper)[0] == 0


@pytest.mark.parametrize(
    "server",
    [
        pytest.param("aiohttp run_app", marks=pytest.mark.drill),
        *("aiohttp TCPSite", "aiohttp in uvloop", "hypercorn", "uvicorn"),
    ],
)
def test_websockets_are_closed_with_a_reason(make: MakeNode, server: str) -> None:
    """With 1012, at the deadline, and served until then."""
    source, libraries = SERVERS[server]
    node, port = service(make, source, libraries, 1)
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


GRPC = """
import asyncio, sys
from pathlib import Path
import grpc

HERE = Path(HERE_)

async def say(request, context):
    (HERE / "began").touch()
    while (HERE / "hold").exists():
        await asyncio.sleep(0.01)
    return VERSION.encode()

VERSION = "1"

async def serve():
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(say)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tool", {"Say": handler}),))
    server.add_insecure_port("127.0.0.1:PORT_")
    await server.start()
    print("listening on", PORT_, file=sys.stderr, flush=True)
    await server.wait_for_termination()

def main():
    asyncio.run(serve())
"""

ASKS = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    print(channel.unary_unary("/tool/Say")(b"", timeout=30, wait_for_ready=True).decode())
"""


def test_calls_of_grpc_that_are_under_way_end(make: MakeNode, tmp_path: Path) -> None:
    """It binds below Python, so the two versions do not run at once; who has called has an answer."""
    [port] = ports(1)
    text = GRPC.replace("HERE_", repr(str(tmp_path))).replace("PORT_", str(port))
    node = make(App("tool", text, {"main": "tool:main"}), libraries=["grpcio"])
    node.configure(underway_runtime={"drain_timeout": 20})
    add_sealed(node, "2", App("tool", text.replace('VERSION = "1"', 'VERSION = "2"'), {"main": "tool:main"}))
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


PLAIN = """
import asyncio, signal, sys

async def serve():
    stopped = asyncio.Event()
    if HANDLES:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", PORT_)
    print("listening on", PORT_, file=sys.stderr, flush=True)
    await stopped.wait()
    server.close()

def main():
    asyncio.run(serve())
"""


FORKED = """
    import os
    reading, writing = os.pipe()
    if not os.fork():
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    await stopped.wait()
"""
LOST = {
    "it handles SIGTERM": (PLAIN.replace("HANDLES", "True"), [], "what that does not finish is lost"),
    "it does not": (PLAIN.replace("HANDLES", "False"), [], "until its clients have closed their connections"),
    "uvloop": (
        PLAIN.replace("HANDLES", "False").replace("asyncio.run", "__import__('uvloop').run"),
        ["uvloop"],
        "at once",
    ),
    "a child accepts": (
        PLAIN.replace("HANDLES", "False").replace("\n    await stopped.wait()\n", FORKED),
        [],
        "at once",
    ),
}


@pytest.mark.sample(most=2)
@pytest.mark.parametrize("kind", LOST)
def test_of_a_server_that_is_not_known_it_is_said_what_is_lost(make: MakeNode, kind: str) -> None:
    """By status and by check."""
    source, libraries, lost = LOST[kind]
    node, _ = service(make, source, libraries, 1)
    keeper, _ = start(node, r"listening on (\d+)")
    eventually(lambda: status(node)["state"] == "running", "it runs")
    said = status(node)["clients"]["tool"]
    assert lost in said
    assert f"clients of tool, when it leaves: {said}" in node.run("check", "2").stdout
    assert terminate(keeper)[0] == 0
