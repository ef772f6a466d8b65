"""The control socket without a node behind it, and clients that do what no command does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_helpers import TIMEOUT
from underway_runtime.control import frames, handshake
from underway_runtime.control.client import client
from underway_runtime.control.client_session import RequestHandler
from underway_runtime.control.requests import HandOver, Install, Keep, Scale
from underway_runtime.control.server import Server
from underway_runtime.control.socket_file import listen_on

COOKIE = "hushhush"


@dataclass
class StandIn:
    """A node that only says its name, and restarts as a test wants it to."""

    on_restart: Callable[[], str | None] = lambda: "nobody would start it again"

    def status(self) -> dict[str, Any]:
        return {"name": "hello"}

    def names(self) -> dict[str, Any]:
        return {"where": "here"}

    def is_unpacked(self, version: str) -> bool:
        return True

    def why_not_startable(self, version: str) -> str | None:
        return None

    def restart(self) -> str | None:
        return self.on_restart()

    def hand_over(self, request: HandOver) -> Future[dict[str, Any]]:
        raise AssertionError

    def install(self, request: Install) -> Future[dict[str, Any]]:
        raise AssertionError

    def can_install_in_place(self, version: str) -> Future[dict[str, Any]]:
        raise AssertionError

    def keep(self, request: Keep) -> Future[dict[str, Any]]:
        raise AssertionError

    def scale(self, request: Scale) -> Future[dict[str, Any]]:
        raise AssertionError

    def try_gates(self) -> Future[dict[str, Any]]:
        raise AssertionError

    def committed(self) -> str | None:
        return None


@dataclass
class Stand:
    """A control server whose node is a loop in another thread of this process."""

    directory: Path
    listener: socket.socket
    loop: asyncio.AbstractEventLoop
    node: StandIn = field(default_factory=StandIn)
    servers: list[Server] = field(default_factory=list)

    def serve(self, *, ready: bool = True) -> Server:
        """Begin to serve at the socket, as another boot of the node; not ready is before its loop runs."""
        allowed = {"rpc": True, "remote": True}
        handler = RequestHandler(self.node, "hello", "1", self.directory / "uses.jsonl", allowed)
        server = Server(self.listener.dup(), COOKIE, None, handler)
        self.servers.append(server)
        server.start()
        if ready:
            handler.attach(self.loop)
            handler.settle()
        return server

    @property
    def path(self) -> Path:
        return self.directory / "run/control"

    @property
    def environ(self) -> dict[str, str]:
        """For commands that ask it."""
        return {
            "RELEASE_ROOT": str(self.directory),
            "RELEASE_NAME": "hello",
            "RELEASE_VSN": "1",
            "RELEASE_VAR": str(self.directory),
            "RELEASE_COOKIE": COOKIE,
        }

    def connect(self) -> client.Connection:
        """A good client."""
        return client.connect(client.Place(self.environ))


@contextlib.contextmanager
def stand(directory: Path) -> Iterator[Stand]:
    """A stand with its loop, not serving yet."""
    (directory / "run").mkdir(parents=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Stand(directory, listen_on(directory / "run/control"), loop)
    try:
        yield made
    finally:
        for server in made.servers:
            server.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT)
        loop.close()
        made.listener.close()


def raw(path: Path) -> socket.socket:
    """A connection on which nothing was said; `path` must be short."""
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(TIMEOUT)
    connected.connect(str(path))
    return connected


def receive(connected: socket.socket) -> dict[str, Any]:
    """One frame. Raises EOFError when the connection ends instead."""
    size = int.from_bytes(_exactly(connected, 4), "big")
    message: dict[str, Any] = json.loads(_exactly(connected, size))
    return message


def known(path: Path, cookie: str = COOKIE) -> socket.socket:
    """A connection after a good handshake."""
    connected = raw(path)
    connected.sendall(frames.encode(handshake.answer(cookie, receive(connected))))
    assert "proof" in receive(connected)
    return connected


def ended(connected: socket.socket) -> bool:
    """Whether the other end closes it; what it says before is not looked at."""
    try:
        while connected.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def _exactly(connected: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (chunk := connected.recv(count - len(data))):
            raise EOFError
        data += chunk
    return data
