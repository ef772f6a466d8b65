"""What answers a request has ended before what it uses is closed; and what a WebSocket has received is answered."""

from __future__ import annotations

import http.client
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from handover_helpers import all_said, start
from node_helpers import TIMEOUT, App, MakeNode, Node, Process, eventually, finish
from sources import source
from versions import add_sealed

WEB = source("streams/v1/web.py")

PATHS = (
    "/events",
    "/waits",
    "/task_group",
    "/anyio_group",
    "/wrapped",
    "/ordinary",
    "/deaf",
    "/behind_1/events",
    "/sse/waits",
)
"""A few of what its generators do; `test_asgi_streams.py` tries all."""

SAVE = {
    *("events", "waits", "task_group", "anyio_group", "wrapped", "ordinary", "deaf", "behind_1 events"),
    *("sse waits", "sse waits dependency"),
}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").touch()
    return tmp_path / "notes"


def service(notes: Path, version: str) -> App:
    text = WEB.replace('"NOTES"', repr(str(notes))).replace('VERSION = "1"', f"VERSION = {version!r}")
    return App("web", text, {"asgi": "web:app", "listen": ["tcp://127.0.0.1:0"]})


@pytest.fixture
def running(make: MakeNode, notes: Path) -> tuple[Node, Process, int]:
    node = make(service(notes, "1"), libraries=["uvicorn", "fastapi"])
    node.configure(underway_runtime={"drain_timeout": 0.5, "stop_timeout": 6})
    add_sealed(node, "2", service(notes, "2"))
    keeper, port = start(node)
    return node, keeper, port


def streams(port: int) -> list[http.client.HTTPConnection]:
    """A client of each, that has read something."""
    made = []
    for path in PATHS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", path)
        assert connection.getresponse().read(6) == b"data: "
        made.append(connection)
    return made


def all_have_saved(notes: Path, keeper: Process) -> None:
    """Each end came before that of the lifespan, and no traceback was printed for it."""
    told = [line[2:] for line in notes.read_text().splitlines() if line.startswith("1 ")]
    assert sorted(told[:-1]) == sorted(f"{name} saves, open" for name in SAVE)
    assert told[-1] == "lifespan ends"
    assert not any("Traceback" in line for line in all_said(keeper))


@pytest.fixture
def set_aside(make: MakeNode, notes: Path) -> tuple[Node, Process, int]:
    """What a node does with all that is there when it has started, done when its streams have begun."""
    app = service(notes, "1")
    begun = "    async def __call__(self, scope, receive, send):\n"
    text = app.source.replace(begun, f"{begun}        import gc; gc.freeze()\n")
    assert text != app.source
    node = make(replace(app, source=text), libraries=["uvicorn", "fastapi"])
    node.configure(underway_runtime={"drain_timeout": 0.5, "stop_timeout": 6})
    keeper, port = start(node)
    return node, keeper, port


def test_streams_that_begin_with_the_node_end_before_the_lifespan(
    set_aside: tuple[Node, Process, int], notes: Path
) -> None:
    """Also where the collector does not look at them any more."""
    _, keeper, port = set_aside
    clients = streams(port)

    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(TIMEOUT) == 0

    all_have_saved(notes, keeper)
    for client in clients:
        client.close()


def test_a_stop_ends_streams_before_the_lifespan(running: tuple[Node, Process, int], notes: Path) -> None:
    """Whatever kind of generator it is: what it saves at its end goes through what the lifespan has open."""
    _, keeper, port = running
    clients = streams(port)

    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(TIMEOUT) == 0

    all_have_saved(notes, keeper)
    for each in clients:
        each.close()


def test_a_handover_ends_streams_before_the_lifespan(running: tuple[Node, Process, int], notes: Path) -> None:
    """At the deadline of the drain."""
    node, keeper, port = running
    clients = streams(port)

    done = node.run("install", "2")

    assert done.returncode == 0, done.stderr
    for each in clients:
        each.close()
    keeper.terminate()
    assert keeper.wait(TIMEOUT) == 0
    all_have_saved(notes, keeper)


TALK = """
import asyncio
from pathlib import Path

VERSION = "1"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        Path(HERE, "began").touch()
        while Path(HERE, "hold").exists():
            await asyncio.sleep(0.01)
        await send({"type": "websocket.send", "text": message["text"].upper()})
"""


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])
@pytest.mark.parametrize("how", ["stop", "handover"])
def test_what_a_websocket_has_received_is_answered(make: MakeNode, tmp_path: Path, ws: str, how: str) -> None:
    """Twenty messages that an application is slow to answer: each has its answer before the 1012."""
    text = TALK.replace("HERE", repr(str(tmp_path)))
    app = App("web", text, {"asgi": "web:app", "listen": ["tcp://127.0.0.1:0"]})
    node = make(app, libraries=["uvicorn", "websockets", "wsproto"])
    node.configure(web={"server": {"ws": ws}}, underway_runtime={"drain_timeout": 0.2})
    add_sealed(node, "2", App("web", text.replace('VERSION = "1"', 'VERSION = "2"'), app.start))
    keeper, port = start(node)
    (tmp_path / "hold").touch()
    with connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=TIMEOUT, compression=None) as websocket:
        for number in range(20):
            websocket.send(f"message {number}")
        eventually((tmp_path / "began").exists, "it has begun with the first")
        installing = None
        if how == "stop":
            keeper.send_signal(signal.SIGTERM)
        else:
            installing = node.spawn("install", "2", stdout=subprocess.DEVNULL)
            eventually(lambda: node.lock_contents()["version"] == "2", "the other accepts")
        (tmp_path / "hold").unlink()
        answers = []
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                answers.append(websocket.recv(timeout=TIMEOUT))
    assert answers == [f"MESSAGE {number}" for number in range(20)]
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    if installing is not None:
        assert finish(installing)[0] == 0
        keeper.terminate()
    assert keeper.wait(TIMEOUT) == 0


WSGI = """
import time

def app(environ, start_response):
    start_response("200 OK", [])
    def body():
        try:
            while True:
                yield b"data: 1\\n\\n"
                time.sleep(0.01)
        finally:
            with open(NOTES, "a") as file:
                file.write("saves\\n")
    return body()
"""


def test_a_stop_ends_what_a_wsgi_application_iterates_over(make: MakeNode, notes: Path) -> None:
    """As when its client has gone; before what it requires stops."""
    source = f"""
    from underway_runtime import Application

    class App(Application):
        def stop(self):
            with open({str(notes)!r}, "a") as file:
                file.write("closed\\n")
    """
    store = App("store", source, {"class": "store:App"})
    web = App(
        "web", WSGI.replace("NOTES", repr(str(notes))), {"wsgi": "web:app", "listen": ["tcp://127.0.0.1:0"]}, ("store",)
    )
    node = make(store, web, libraries=["waitress"])
    node.configure(underway_runtime={"stop_timeout": 5})
    keeper, port = start(node)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    client.request("GET", "/")
    assert client.getresponse().read(9) == b"data: 1\n\n"

    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(TIMEOUT) == 0

    assert notes.read_text().splitlines() == ["saves", "closed"]
    client.close()
