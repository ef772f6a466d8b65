"""Handing over between two services that share their listening socket, with clients that do all that clients do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import stat
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from code_server_helpers import TIMEOUT
from conftest import Count
from underway_runtime.apps.launch import run
from underway_runtime.apps.service import CutOff, Service
from underway_runtime.apps.serving import ServerContext
from underway_runtime.apps.sockets import Listeners
from underway_runtime.release.addresses import short_path
from underway_runtime.release.boot_script import Load

ASGI = pytest.mark.parametrize("http", ["h11", "httptools"])
EACH = pytest.mark.parametrize("http", ["h11", "httptools", "waitress"])


@dataclass
class Place:
    """One listening socket, and the services that share it."""

    listening: socket.socket
    private: Path

    @property
    def port(self) -> int:
        port: int = self.listening.getsockname()[1]
        return port

    async def prepare(self, name: str, http: str = "h11", **server: Any) -> Service:
        """A service that has the socket and does not accept."""
        options = {} if http == "waitress" else {"http": http, "access_log": False, "timeout_keep_alive": 60}
        configuration = {"server": {**options, **server}}
        start = {"wsgi": f"{name}:app.wsgi"} if http == "waitress" else {"asgi": f"{name}:app"}
        world = ServerContext(
            lambda _, key, default: configuration.get(key, default),
            lambda message, error=None: None,
            lambda _: Listeners((self.listening.dup(),)),
            private=self.private,
        )
        return await run(Load(name, "1.0", (), {**start, "listen": ["tcp://127.0.0.1:0"]}), world)

    async def running(self, name: str, http: str = "h11", **server: Any) -> Service:
        service = await self.prepare(name, http, **server)
        await service.accept()
        return service

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        listening.setblocking(False)
        yield Place(listening, deep(tmp_path))


def deep(place: Path) -> Path:
    """A directory with a name that is longer than that of a socket may be."""
    made = place.joinpath(*["d" * 100] * 3)
    made.mkdir(parents=True)
    return made


@dataclass
class App:
    """An ASGI application that says who it is."""

    name: str
    lifespans: int = 0
    entered: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def wsgi(self, environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        self.entered += 1
        size = len(environ["wsgi.input"].read())
        if environ["PATH_INFO"] == "/forever":
            self.released.wait()
        start_response("200 OK", [])
        return [f"{self.name} {size}".encode()]

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            self.lifespans += 1
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await self.echo(receive, send)
        else:
            self.entered += 1
            await self.answer(scope["path"], receive, send)

    async def echo(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            while message["text"] == "hold" and not self.released.is_set():
                await asyncio.sleep(0.01)
            await send({"type": "websocket.send", "text": message["text"]})

    async def answer(
        self, path: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        size = 0
        while path != "/early":
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = f"{self.name} {size}".encode()
        if path in ("/events", "/forever"):
            if path == "/events":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(autouse=True)
def apps(monkeypatch: pytest.MonkeyPatch) -> dict[str, App]:
    """Two applications, each in a module of its name."""
    made = {name: App(name) for name in ("old", "new")}
    for name, app in made.items():
        module = ModuleType(name)
        module.app = app  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return made


@dataclass(frozen=True)
class Answer:
    status: str
    close: bool
    body: str


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """One answer with a content-length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Answer(lines[0], headers.get("connection") == "close", body.decode())


def request(path: str = "/", *, method: str = "GET", version: str = "1.1", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: here\r\n{headers}\r\n".encode()


def raw_socket(writer: asyncio.StreamWriter) -> socket.socket:
    """The connection itself, without a loop."""
    return socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))


@contextlib.asynccontextmanager
async def stopping(*services: Service) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for service in services:
            await service.stop(5)


# ------------------------------------------------------------------------------------------------------------ accept


async def ask(path: Path) -> Answer:
    with short_path(path) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    writer.write(request())
    try:
        return await read_answer(reader)
    finally:
        writer.close()


@EACH
def test_a_prepared_service_answers_privately_and_accepts_when_told(
    place: Place, apps: dict[str, App], http: str
) -> None:
    """Its lifespan has started, once, and gates can call it over a socket that only its user can open."""

    async def scenario() -> None:
        service = await place.prepare("new", http)
        async with stopping(service):
            private = place.private / "new.sock"
            assert stat.S_IMODE(private.stat().st_mode) == 0o600
            assert (await ask(private)).body == "new 0"
            reader, writer = await place.open()
            writer.write(request())
            with raw_socket(writer) as connection, pytest.raises(BlockingIOError):
                connection.recv(1)
            assert apps["new"].entered == 1

            await service.accept()

            assert (await read_answer(reader)).body == "new 0"
            assert (await ask(private)).body == "new 0"
            assert apps["new"].lifespans == (http != "waitress")
            writer.close()
        assert not private.exists()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


# ------------------------------------------------------------------------------------------------------------- drain


async def client(place: Place, seen: list[str], handed_over: asyncio.Event, longest: float) -> None:
    """Keep connections alive, pause between requests, and open a new one only when told; raises when a request fails."""
    pauses = random.Random(id(seen))
    after = 0
    while after < 3:
        reader, writer = await place.open()
        close = False
        while not close and after < 3:
            writer.write(request("/", method="POST", headers="Content-Length: 4\r\n") + b"body")
            answer = await read_answer(reader)
            assert answer.status == "http/1.1 200 ok"
            seen.append(answer.body)
            close = answer.close
            after += handed_over.is_set()
            await asyncio.sleep(pauses.uniform(longest / 50, longest))
        if close:
            assert await reader.read() == b""
        writer.close()


@EACH
@pytest.mark.parametrize("longest", [0.2, pytest.param(5.0, marks=pytest.mark.drill)])
def test_no_request_of_a_client_that_pauses_fails(place: Place, http: str, longest: float, count: Count) -> None:
    """Every client is told by an answer to come back, comes back to the new one, and the old one ends before its deadline."""

    async def scenario() -> None:
        old, new = await place.running("old", http), await place.prepare("new", http)
        async with stopping(old, new):
            handed_over = asyncio.Event()
            many = 80 if http == "waitress" else 200  # waitress takes a hundred connections
            seen: list[list[str]] = [[] for _ in range(count(40, many))]
            clients = [asyncio.create_task(client(place, each, handed_over, longest)) for each in seen]
            while not all(seen):
                await asyncio.sleep(0.01)

            await new.accept()
            draining = asyncio.ensure_future(old.drain(TIMEOUT))
            await asyncio.sleep(0)  # it has begun
            handed_over.set()
            await asyncio.gather(*clients)

            assert await draining == CutOff()
            assert all(bodies[0] in ("old 4", "new 4") and bodies[-1] == "new 4" for bodies in seen)
            assert any("old 4" in bodies for bodies in seen)

    asyncio.run(asyncio.wait_for(scenario(), 4 * TIMEOUT))


@EACH
def test_no_new_connection_is_lost_while_the_old_one_stops_accepting(place: Place, http: str, count: Count) -> None:
    """A storm of connections that goes on while the listening socket changes hands."""

    async def one() -> str:
        reader, writer = await place.open()
        writer.write(request())
        answer = await read_answer(reader)
        writer.close()
        return answer.body

    async def storm(stop: asyncio.Event) -> set[str]:
        bodies = set()
        while not stop.is_set():
            bodies.add(await one())
        return bodies

    async def scenario() -> None:
        for _ in range(count(3, 50)):
            old, new = await place.running("old", http), await place.prepare("new", http)
            async with stopping(old, new):
                stop = asyncio.Event()
                storms = [asyncio.create_task(storm(stop)) for _ in range(20)]
                await one()
                await new.accept()
                assert await old.drain(TIMEOUT) == CutOff()
                assert await one() == "new 0"
                stop.set()
                assert set().union(*await asyncio.gather(*storms)) <= {"old 0", "new 0"}

    asyncio.run(asyncio.wait_for(scenario(), 4 * TIMEOUT))


@pytest.mark.sample
@ASGI
@pytest.mark.parametrize("turns", range(4))
def test_a_connection_that_has_just_been_accepted_has_its_answer(place: Place, http: str, turns: int) -> None:
    """At whatever turn of the loop the drain begins."""

    async def scenario() -> None:
        old, new = await place.running("old", http), await place.prepare("new", http)
        async with stopping(old, new):
            with socket.create_connection(("127.0.0.1", place.port), TIMEOUT) as client:
                client.sendall(request())
                for _ in range(turns):
                    await asyncio.sleep(0)
                draining = asyncio.ensure_future(old.drain(TIMEOUT))
                await new.accept()
                await draining
                assert (await asyncio.to_thread(client.recv, 1000)).startswith(b"HTTP/1.1 200 ")

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


@EACH
def test_an_upload_under_way_is_received_to_its_end(place: Place, http: str) -> None:
    """With a length or in chunks."""

    async def scenario() -> None:
        old = await place.running("old", http)
        async with stopping(old):
            length, chunked = [await place.open() for _ in range(2)]
            expect = "Expect: 100-continue\r\n"
            length[1].write(request("/", method="PUT", headers=f"Content-Length: 300000\r\n{expect}"))
            chunked[1].write(request("/", method="PUT", headers=f"Transfer-Encoding: chunked\r\n{expect}"))
            for reader, _ in (length, chunked):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            length[1].write(bytes(100_000))
            chunked[1].write(b"3\r\nabc\r\n")
            draining = asyncio.ensure_future(old.drain(TIMEOUT))
            await asyncio.sleep(0)  # it has begun
            length[1].write(bytes(200_000))
            chunked[1].write(b"2\r\nde\r\n0\r\n\r\n")

            assert await read_answer(length[0]) == Answer("http/1.1 200 ok", True, "old 300000")
            assert await read_answer(chunked[0]) == Answer("http/1.1 200 ok", True, "old 5")
            for reader, writer in (length, chunked):
                assert await reader.read() == b""
                writer.close()
            assert await draining == CutOff()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


@ASGI
def test_an_answer_before_the_end_of_its_upload_keeps_the_connection(place: Place, http: str) -> None:
    """To close would reset a client that is still sending, and it would lose the answer."""

    async def scenario() -> None:
        old = await place.running("old", http)
        async with stopping(old):
            reader, writer = await place.open()
            writer.write(request())
            assert not (await read_answer(reader)).close
            draining = asyncio.ensure_future(old.drain(TIMEOUT))
            await asyncio.sleep(0)  # it has begun
            writer.write(request("/early", method="PUT", headers="Content-Length: 300000\r\n") + bytes(100_000))
            assert await read_answer(reader) == Answer("http/1.1 200 ok", False, "old 0")
            writer.write(bytes(200_000) + request("/again"))

            assert await read_answer(reader) == Answer("http/1.1 200 ok", True, "old 0")
            assert await reader.read() == b""
            writer.close()
            assert await draining == CutOff()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


@EACH
def test_pipelined_requests_are_all_answered(place: Place, http: str) -> None:
    """Only the last of what a client has sent closes its connection."""

    async def scenario() -> None:
        old = await place.running("old", http)
        async with stopping(old):
            connections = [await place.open() for _ in range(2)]
            for reader, writer in connections:
                writer.write(request())
                await read_answer(reader)
            draining = asyncio.ensure_future(old.drain(TIMEOUT))
            await asyncio.sleep(0)  # it has begun
            for _, writer in connections:
                writer.write(request() * 200)  # little enough to be sent at once
            for reader, writer in connections:
                answers = [await read_answer(reader) for _ in range(200)]
                assert [answer.close for answer in answers] == [False] * 199 + [True]
                assert await reader.read() == b""
                writer.close()
            assert await draining == CutOff()

    asyncio.run(asyncio.wait_for(scenario(), 2 * TIMEOUT))


@EACH
def test_http_1_0_is_answered_and_closed(place: Place, http: str) -> None:
    """As it always is."""

    async def scenario() -> None:
        old = await place.running("old", http)
        async with stopping(old):
            connections = [await place.open() for _ in range(2)]
            for reader, writer in connections:
                writer.write(request())
                await read_answer(reader)
            draining = asyncio.ensure_future(old.drain(TIMEOUT))
            await asyncio.sleep(0)  # it has begun
            for (reader, writer), headers in zip(connections, ("", "Connection: keep-alive\r\n"), strict=True):
                writer.write(request(version="1.0", headers=headers))
                assert (await read_answer(reader)).body == "old 0"
                assert await reader.read() == b""
                writer.close()
            assert await draining == CutOff()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


async def sends_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A client that has begun to send when it reads that the connection ends; raises when it is reset."""
    assert await reader.read() == b""
    with raw_socket(writer) as connection:
        connection.send(request())
        connection.send(request())


@ASGI
def test_the_deadline_ends_what_is_left_and_says_what_it_was(place: Place, http: str) -> None:
    """Streams end, connections that are kept alive are closed, not reset, and requests without an answer are cancelled."""

    async def scenario() -> None:
        old = await place.running("old", http)
        async with stopping(old):
            idle, half, events, forever = [await place.open() for _ in range(4)]
            idle[1].write(request())
            await read_answer(idle[0])
            half[1].write(request()[:10])
            events[1].write(request("/events"))
            await events[0].readuntil(b"data: 1")
            forever[1].write(request("/forever"))
            closed_by_half = asyncio.create_task(sends_after_the_end(*idle))
            assert await old.drain(0.2) == CutOff(requests=2, idle=2)

            await closed_by_half
            assert await half[0].read() == b""
            assert b"\r\n0\r\n\r\n" not in await events[0].read()
            await forever[0].read()
            for _, writer in (idle, half, events, forever):
                writer.close()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


def test_the_deadline_ends_what_waitress_still_does(place: Place, apps: dict[str, App]) -> None:
    """Connections that are kept alive are closed, not reset; a request in a thread can only be reported."""

    async def scenario() -> None:
        old = await place.running("old", "waitress")
        async with stopping(old):
            idle, half, forever = [await place.open() for _ in range(3)]
            idle[1].write(request())
            await read_answer(idle[0])
            half[1].write(request()[:10])
            forever[1].write(request("/forever"))
            while apps["old"].entered < 2:
                await asyncio.sleep(0.01)
            closed_by_half = asyncio.create_task(sends_after_the_end(*idle))
            assert await old.drain(0.2) == CutOff(requests=1, idle=2)

            await closed_by_half
            assert await half[0].read() == b""
            apps["old"].released.set()
            assert await read_answer(forever[0]) == Answer("http/1.1 200 ok", True, "old 0")
            for _, writer in (idle, half, forever):
                writer.close()

    asyncio.run(asyncio.wait_for(scenario(), TIMEOUT))


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])
def test_websockets_are_served_until_the_deadline(place: Place, ws: str) -> None:
    """Two hundred that talk all the time: each then gets 1012, service restart, and none is reset."""

    async def talk(said: list[int]) -> int | None:
        async with connect(f"ws://127.0.0.1:{place.port}/", compression=None, open_timeout=TIMEOUT) as websocket:
            try:
                for number in range(1_000_000):
                    await websocket.send(str(number))
                    assert await websocket.recv() == str(number)
                    said.append(number)
                    await asyncio.sleep(0.01)
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None
        return None

    async def scenario() -> None:
        old = await place.running("old", ws=ws)
        async with stopping(old):
            said: list[list[int]] = [[] for _ in range(200)]
            talks = [asyncio.create_task(talk(each)) for each in said]
            while not all(said):
                await asyncio.sleep(0.01)
            before = sum(map(len, said))

            assert await old.drain(1) == CutOff(websockets=200)
            assert await asyncio.gather(*talks) == [1012] * 200
            assert sum(map(len, said)) > before

    asyncio.run(asyncio.wait_for(scenario(), 2 * TIMEOUT))


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])
def test_websockets_are_closed_one_by_one_before_the_deadline(place: Place, apps: dict[str, App], ws: str) -> None:
    """Not all of their clients come back at once; one that is at work is served on, and so is the last of those that wait."""

    async def scenario() -> None:
        old = await place.running("old", ws=ws)
        async with stopping(old), contextlib.AsyncExitStack() as talks:
            address = f"ws://127.0.0.1:{place.port}/"
            busy, *others = [
                await talks.enter_async_context(connect(address, compression=None, open_timeout=TIMEOUT))
                for _ in range(4)
            ]
            await busy.send("hold")
            for other in others:
                await other.send("!")
                assert await other.recv() == "!"
            draining = asyncio.ensure_future(old.drain(6))
            ends = [asyncio.ensure_future(other.wait_closed()) for other in others]
            for left in (2, 1):
                await asyncio.wait([end for end in ends if not end.done()], return_when=asyncio.FIRST_COMPLETED)
                assert sum(not end.done() for end in ends) == left
            [last] = [other for other, end in zip(others, ends, strict=True) if not end.done()]
            await last.send("still here")
            assert await last.recv() == "still here"
            apps["old"].released.set()
            assert await busy.recv() == "hold"
            assert [other.close_code for other in others if other is not last] == [1012, 1012]
            await last.close()
            await busy.close()
            assert await draining == CutOff(websockets=2)

    asyncio.run(asyncio.wait_for(scenario(), 2 * TIMEOUT))
