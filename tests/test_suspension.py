"""While other code is put in place, new work waits, and nothing is refused or lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from websockets.asyncio.client import connect

from underway_runtime import Application
from underway_runtime.apps.controller import Applications
from underway_runtime.apps.launch import run
from underway_runtime.apps.service import Service
from underway_runtime.apps.serving import ServerContext
from underway_runtime.apps.sockets import Listeners
from underway_runtime.apps.suspension import HeldAsgi, Suspension
from underway_runtime.release.boot_script import Load
from underway_runtime.release.errors import BootError

WITHIN = 30


class App:
    """An ASGI and a WSGI application that remember what they have been given."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.heard: list[str] = []
        self.go_on = threading.Event()
        self.inside = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                self.heard.append(message["text"])
                await send({"type": "websocket.send", "text": message["text"]})
        else:
            self.entered.append(scope["path"])
            if scope["path"] == "/slow":
                self.inside.set()
                await asyncio.to_thread(self.go_on.wait, WITHIN)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    def wsgi(self, environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        self.entered.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/slow":
            self.inside.set()
            self.go_on.wait(WITHIN)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    module = ModuleType("held")
    module.app = made = App()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "held", module)
    return made


async def serve(kind: str, reference: str, held: Suspension) -> tuple[Service, int]:
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    listening.setblocking(False)
    listeners = Listeners((listening,))
    port: int = listening.getsockname()[1]
    world = ServerContext(lambda _, key, default: default, lambda *_: None, lambda _: listeners, suspension=held)
    service = await run(Load("held", "1.0", (), {kind: reference, "listen": ["tcp://127.0.0.1:0"]}), world)
    await service.accept()
    return service, port


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(("kind", "reference"), [("asgi", "held:app"), ("wsgi", "held:app.wsgi")])
def test_a_request_waits_and_what_has_begun_goes_on(app: App, kind: str, reference: str) -> None:
    """One that comes while work is held is not seen by its application before it is released; one that was inside ends."""

    async def scenario() -> None:
        held = Suspension()
        service, port = await serve(kind, reference, held)
        try:
            slow = asyncio.ensure_future(get(port, "/slow"))
            await asyncio.to_thread(app.inside.wait, WITHIN)
            held.hold()
            later = [asyncio.ensure_future(get(port, f"/{n}")) for n in range(3)]
            app.go_on.set()
            assert (await slow).endswith(b"ok")
            assert app.entered == ["/slow"]

            held.release()

            assert all(answer.endswith(b"ok") for answer in await asyncio.gather(*later))
            assert sorted(app.entered) == ["/0", "/1", "/2", "/slow"]
        finally:
            held.release()
            await service.stop(5)

    asyncio.run(asyncio.wait_for(scenario(), WITHIN))


def test_messages_of_an_open_websocket_wait(app: App) -> None:
    """They are read after the release, in order, over the same connection."""

    async def scenario() -> None:
        held = Suspension()
        service, port = await serve("asgi", "held:app", held)
        try:
            async with connect(f"ws://127.0.0.1:{port}/") as client:
                await client.send("before")
                assert await client.recv() == "before"
                held.hold()
                for text in ("one", "two"):
                    await client.send(text)
                await get_through(client)
                assert app.heard == ["before"]

                held.release()

                assert [await client.recv(), await client.recv()] == ["one", "two"]
        finally:
            held.release()
            await service.stop(5)

    asyncio.run(asyncio.wait_for(scenario(), WITHIN))


def test_a_message_whose_reader_is_cancelled_while_it_waits_is_read_by_the_next() -> None:
    """As a loop with a restart hook does."""

    async def scenario() -> list[str]:
        held, sent = Suspension(), iter(["one", "two"])
        read: list[str] = []

        async def message() -> str:
            return next(sent)

        async def application(scope: Any, receive: Any, send: Any) -> None:
            held.hold()
            first = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            assert held.keeps(first, late=False)
            first.cancel()
            await asyncio.wait([first])
            held.release()
            read.extend([await receive(), await receive()])

        async def send(message: Any) -> None:
            pass

        await HeldAsgi(application, held)({"type": "websocket"}, message, send)
        return read

    assert asyncio.run(asyncio.wait_for(scenario(), WITHIN)) == ["one", "two"]


async def get_through(client: Any) -> None:
    """A ping is answered by the server, after all that was sent before it was read from the socket."""
    await (await client.ping())


def test_who_waits_goes_on_in_the_order_of_coming() -> None:
    """And who has gone away meanwhile keeps nobody."""

    async def scenario() -> list[int]:
        held = Suspension()
        held.hold()
        order: list[int] = []

        async def come(number: int) -> None:
            await held.over()
            order.append(number)

        tasks = [asyncio.ensure_future(come(number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        held.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(asyncio.wait_for(scenario(), WITHIN)) == [0, 1, 3, 4]


class Consumer(Application):
    """What takes up work by itself, and says so."""

    refuses = False

    def __init__(self) -> None:
        self.told: list[str] = []

    def suspend(self, within: float) -> None:
        self.told.append("suspend")
        if self.refuses:
            raise RuntimeError("not now")

    async def resume(self) -> None:
        self.told.append("resume")


@pytest.mark.parametrize("refuses", [False, True])
def test_an_application_that_takes_up_work_by_itself_is_told(monkeypatch: pytest.MonkeyPatch, refuses: bool) -> None:
    """Before and after; one that can't suspend is named, and resumed like the others."""
    module = ModuleType("consumer")
    module.Consumer = Consumer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "consumer", module)
    monkeypatch.setattr(Consumer, "refuses", refuses)
    world = ServerContext(lambda _, key, default: default, lambda *_: None, lambda _: Listeners(()))

    async def scenario() -> list[str]:
        applications = Applications(Path(), lambda load: run(load, world), lambda *_: None)
        applications.loaded["consumer"] = Load("consumer", "1.0", (), {"class": "consumer:Consumer"})
        await applications.start("consumer", "permanent")
        _, service = applications.running["consumer"]
        told_why = pytest.raises(BootError, match="consumer could not suspend: RuntimeError: not now")
        with told_why if refuses else contextlib.nullcontext():
            await applications.hooks.suspend(5)
        await applications.hooks.resume()
        told: list[str] = service.subject.told
        await applications.stop()
        return told

    assert asyncio.run(asyncio.wait_for(scenario(), WITHIN)) == ["suspend", "resume"]
