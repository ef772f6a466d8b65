"""The ends of streams and WebSockets: of each kind, within what frameworks put around it, before what they use is closed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from code_server_helpers import REPOSITORY, TIMEOUT, installed
from sources import source
from underway_runtime.apps.launch import run
from underway_runtime.apps.service import Service
from underway_runtime.apps.serving import ServerContext
from underway_runtime.apps.sockets import Listeners
from underway_runtime.release.boot_script import Load

KINDS = (
    *("events", "waits", "keeps_alive", "task_group", "inside_task_group", "timeout", "anyio_group", "anyio_timeout"),
    *("nested", "held", "closing", "wrapped", "in_session", "in_thread", "never_awaits", "ordinary", "deaf"),
)


RUNTIME_SOURCE = REPOSITORY / "runtime/src"


@dataclass
class Web:
    """An application of tests/projects that runs in this process."""

    module: ModuleType
    notes: Path
    service: Service
    port: int
    said: list[str] = field(default_factory=list)
    """What the operator was told."""

    async def ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that has read the head of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        assert head.startswith(b"HTTP/1.1 200 "), (path, head)
        return reader, writer

    def saved(self) -> list[str]:
        """What was noted, in its order."""
        return [line.removeprefix("1 ") for line in self.notes.read_text().splitlines()]


Serve = Callable[..., "contextlib.AbstractAsyncContextManager[Web]"]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves the application of a text, which is that of the project with what is added to it."""

    @contextlib.asynccontextmanager
    async def serving(added: str = "", **server: object) -> AsyncIterator[Web]:
        notes, file = tmp_path / "notes", tmp_path / "web.py"
        notes.touch()
        file.write_text(source("streams/v1/web.py").replace('"NOTES"', repr(str(notes))) + added)
        spec = importlib.util.spec_from_file_location("web", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "web", module)
        spec.loader.exec_module(module)
        said: list[str] = []
        configured = {"server": {"access_log": False, **server}}
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
            listening.setblocking(False)
            context = ServerContext(
                lambda _, key, default: configured.get(key, default),
                lambda message, error=None: said.append(message),
                lambda _: Listeners((listening.dup(),)),
            )
            load = Load("web", "1.0", (), {"asgi": "web:app", "listen": ["tcp://127.0.0.1:0"]})
            service = await run(load, context)
            await service.accept()
            said.clear()
            yield Web(module, notes, service, listening.getsockname()[1], said)
            for _ in range(10):
                await asyncio.sleep(0)  # what clients have closed is closed here too, in as many turns at most

    return serving


def told_nothing(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the operator nor a log was told of anything."""
    assert web.said == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection is closed."""
    return await asyncio.wait_for(reader.read(), TIMEOUT)


def streams(*, within: str) -> list[str]:
    """The paths of all kinds, within what is put around them."""
    return [f"{within}/{kind}" for kind in KINDS if within != "/sse" or kind not in ("ordinary", "deaf")]


def saves(path: str) -> set[str]:
    """What a stream saves at its end."""
    name = path.strip("/").replace("/", " ")
    found = {name}
    if name.endswith("in_session"):
        found.add(f"{name} session")
    if name.startswith("sse"):
        found.add(f"{name} dependency")
    return found


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_kind_of_generator_ends_before_the_lifespan(
    serve: Serve, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With task groups, timeouts and generators within it, within middlewares and server-sent events; its client sees a cut."""
    paths = [path for within in ("", "/behind_1", "/behind_2", "/sse") for path in streams(within=within)]

    async def main() -> Web:
        async with serve(timeout_graceful_shutdown=0) as web:
            clients = [await web.ask(path) for path in paths]
            reading = [asyncio.ensure_future(read_to_the_end(reader)) for reader, _ in clients]
            await web.service.stop(6)
            for body in await asyncio.gather(*reading):
                assert not body.endswith(b"0\r\n\r\n")
            for _, writer in clients:
                writer.close()
        return web

    with asyncio.Runner(loop_factory=importlib.import_module(loop).new_event_loop) as runner:
        web = runner.run(main())

    *saved, last = web.saved()
    assert last == "lifespan ends"
    assert sorted(saved) == sorted(f"{name} saves, open" for path in paths for name in saves(path))
    told_nothing(web, caplog)


ADDED = """
async def swallows(name):
    # what it is told while it waits
    try:
        while True:
            yield DATA
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
    finally:
        await save(name)


async def fails(name):
    try:
        async for data in events(name):
            yield data
    finally:
        raise OSError("the disk is full")


async def never_ends(name):
    try:
        async for data in events(name):
            yield data
    finally:
        await asyncio.sleep(1000)


starlette.routes.extend(map(streaming, (swallows, fails, never_ends)))
"""


def test_what_goes_wrong_at_ends_is_told_once_for_a_kind(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """With how many it was, and where; and what has not ended in time. What swallows its cancellation ends all the same."""

    async def main() -> Web:
        async with serve(ADDED, timeout_graceful_shutdown=0) as web:
            clients = [await web.ask(path) for path in ("/swallows", "/fails", "/never_ends") for _ in range(3)]
            await web.service.stop(4)
            for _, writer in clients:
                writer.close()
        return web

    web = asyncio.run(main())

    names = [line for line in web.saved() if line.startswith("swallows")]
    assert names == ["swallows saves, open"] * 3
    first, second = web.said
    assert re.fullmatch(
        r"web: streams that failed at their end: 3, with OSError: the disk is full \(web\.py:\d+\)", first
    )
    assert second == (
        "web: streams that had not ended when the time for that was over: 3; what they still do may find closed what they use"
    )
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_stream_whose_client_reads_slowly_ends_before_the_lifespan(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """What it waits to send is waited for no more."""

    async def main() -> Web:
        async with serve(timeout_graceful_shutdown=0) as web:
            clients = [await web.ask(f"{within}/never_awaits") for within in ("", "/behind_1", "/sse")]
            await web.service.stop(6)
            for _, writer in clients:
                writer.transport.abort()
        return web

    web = asyncio.run(main())

    *saved, last = web.saved()
    assert last == "lifespan ends"
    assert sorted(saved) == sorted(
        f"{name} saves, open"
        for name in ("never_awaits", "behind_1 never_awaits", "sse never_awaits", "sse never_awaits dependency")
    )
    told_nothing(web, caplog)


OTHERS = """
async def ends(name):
    yield DATA
    await asyncio.sleep(0.1)


async def begins_another(name):
    global other
    other = asyncio.create_task(iterates())
    async for data in events(name):
        yield data


async def iterates():
    async for data in events("other"):
        pass


starlette.routes.extend(map(streaming, (ends, begins_another)))
"""


def test_only_what_an_answer_iterates_over_is_ended(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that ends by itself has its end; and what a request has left to iterate in the background goes on."""

    async def main() -> tuple[Web, bytes]:
        async with serve(OTHERS, timeout_graceful_shutdown=0) as web:
            _, other = await web.ask("/begins_another")
            reader, writer = await web.ask("/ends")
            await web.service.stop(6)
            body = await read_to_the_end(reader)
            assert not web.module.other.done()
            for each in (other, writer):
                each.close()
        return web, body

    web, body = asyncio.run(main())

    assert body == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
    assert web.saved()[:2] == ["begins_another saves, open", "lifespan ends"]
    told_nothing(web, caplog)


SLOWLY = """
saving = asyncio.Event()


async def slowly(name):
    try:
        async for data in events(name):
            yield data
    finally:
        saving.set()
        for _ in range(10):
            await asyncio.sleep(0.01)
        await save(f"{name} slowly")


async def slowly_awaits(name):
    try:
        yield DATA
        await asyncio.Event().wait()
    finally:
        saving.set()
        for _ in range(10):
            await asyncio.sleep(0.01)
        await save(f"{name} slowly")


for kind in (slowly, slowly_awaits):
    starlette.routes.insert(0, streaming(kind))
    server_sent(kind)
    next(route for route in starlette.routes if route.path == "/behind_1").app.routes.append(streaming(kind, "behind_1 "))
"""


@pytest.mark.parametrize("kind", ["slowly", "slowly_awaits"])
def test_a_client_that_goes_meanwhile_cancels_no_end(serve: Serve, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """What frameworks make of that is kept from what saves already."""
    paths = (f"/{kind}", f"/behind_1/{kind}", f"/sse/{kind}")

    async def main() -> Web:
        async with serve(SLOWLY, timeout_graceful_shutdown=0) as web:
            clients = [await web.ask(path) for path in paths]
            stopping = asyncio.ensure_future(web.service.stop(6))
            await asyncio.wait_for(web.module.saving.wait(), TIMEOUT)
            for _, writer in clients:
                writer.transport.abort()
            await stopping
        return web

    web = asyncio.run(main())

    *saved, last = web.saved()
    assert last == "lifespan ends"
    assert {f"{path.strip('/').replace('/', ' ')} slowly saves, open" for path in paths} <= {*saved}
    told_nothing(web, caplog)


KNOWN = """
import asyncio, contextlib, sys

sys.path.insert(0, sys.argv[1])
from underway_runtime.apps.asgi_streams import Streams


async def numbers():
    yield 1
    yield 2


async def nested():
    async for number in numbers():
        yield number


class Wrapped:
    def __init__(self):
        self.generator = numbers()

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.generator.__anext__()


async def iterates(known):
    async for _ in numbers():
        return known()


async def iterates_over_another(known):
    async for _ in nested():
        return known()


async def iterates_over_a_wrapper(known):
    async for _ in Wrapped():
        return known()


async def enters(known):
    @contextlib.asynccontextmanager
    async def manager():
        yield

    async with manager():
        return known()


async def steps(known):
    generator = numbers()
    await anext(generator)
    return known()


async def main():
    for turn in range(100):  # the interpreter changes what has run for a while
        counts = []
        for function in (iterates, iterates_over_another, iterates_over_a_wrapper, enters, steps):
            streams = Streams()
            streams.watch()
            counts.append(await function(lambda: sum(map(len, streams.open().values()))))
        assert counts == [1, 2, 1, 0, 0], (turn, counts)


asyncio.run(main())
"""


@pytest.mark.parametrize("python", list(installed()))
def test_what_is_iterated_over_is_known_in_each_python(python: Path) -> None:
    """By ``async for``; not a context manager, nor what is asked by hand for one value."""
    done = subprocess.run([python, "-I", "-c", KNOWN, RUNTIME_SOURCE], capture_output=True, text=True, timeout=TIMEOUT)

    assert done.returncode == 0, done.stderr


TALKS = """
from starlette.routing import WebSocketRoute


async def answers(websocket, text):
    for _ in range(10):
        await asyncio.sleep(0.001)
    await websocket.send_text(text.upper())


async def at_once(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await answers(websocket, text)


async def by_a_queue(websocket):
    await websocket.accept()
    queue = asyncio.Queue()

    async def works():
        while True:
            await answers(websocket, await queue.get())

    working = asyncio.create_task(works())
    async for text in websocket.iter_text():
        queue.put_nowait(text)
    working.cancel()


async def by_a_group(websocket):
    await websocket.accept()
    await websocket.send_text("welcome")
    sends, receives = anyio.create_memory_object_stream(100)

    async def reads():
        async with sends:
            async for text in websocket.iter_text():
                await sends.send(text)

    async with anyio.create_task_group() as group:
        group.start_soon(reads)
        async with receives:
            async for text in receives:
                await answers(websocket, text)


async def by_a_task_for_each(websocket):
    await websocket.accept()
    tasks = []
    async for text in websocket.iter_text():
        tasks.append(asyncio.create_task(answers(websocket, text)))


async def pushes(websocket):
    await websocket.accept()
    async for data in task_group("pushes"):
        await websocket.send_bytes(data)


for talk in (at_once, by_a_queue, by_a_group, by_a_task_for_each, pushes):
    starlette.routes.append(WebSocketRoute(f"/{talk.__name__}", talk))
"""


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::DeprecationWarning")
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio", "wsproto"])
def test_who_answers_in_other_tasks_answers_before_the_close(
    serve: Serve, ws: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of twenty messages, whatever reads them; and who only sends is told nothing in a log."""
    paths = ("at_once", "by_a_queue", "by_a_group", "by_a_task_for_each")

    async def main() -> tuple[Web, dict[str, tuple[list[str], int | None]]]:
        async with contextlib.AsyncExitStack() as stack:
            web = await stack.enter_async_context(serve(TALKS, ws=ws))
            url = f"ws://127.0.0.1:{web.port}"
            clients = {
                path: await stack.enter_async_context(connect(f"{url}/{path}", proxy=None, compression=None))
                for path in (*paths, "pushes")
            }
            for number in range(20):
                for path in paths:
                    await clients[path].send(f"message {number}")
            hearing = {path: asyncio.ensure_future(hear(client)) for path, client in clients.items()}
            await web.service.stop(4)
            return web, {path: await heard for path, heard in hearing.items()}

    web, heard = asyncio.run(main())

    for path in paths:
        answers, code = heard[path]
        assert [answer for answer in answers if answer != "welcome"] == [f"MESSAGE {number}" for number in range(20)]
        assert code == 1012
    assert heard["pushes"][1] == 1012
    assert web.saved() == ["pushes saves, open", "lifespan ends"]
    told_nothing(web, caplog)


async def hear(client: ClientConnection) -> tuple[list[str], int | None]:
    """What a WebSocket receives, and the code that it is closed with."""
    heard = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            heard.append(str(await client.recv()))
    return heard, client.close_code
