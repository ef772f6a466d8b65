"""The node's end of the control socket: a thread with a loop of its own, so that no client can delay the node.

==========================  ============================================================================================
who may connect             the user of the node, root, and the members of the group in ``control_group``
at most, in all             512, and never more than a quarter of the files that the process may open
at most, after handshake    64
the handshake               within 5 s; what is larger than 4 KiB or no frame ends the connection
a client that reads slowly  is cut off when it has taken nothing for 60 s
==========================  ============================================================================================

When all places are taken, who has been at the handshake for longest makes room, and until somebody has been at it for a
moment the next ones wait in the socket's queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from ..apps.sockets import Listeners
from ..configuration import config
from ..process import peer
from ..process.log import log
from ..process.settings import Settings
from ..release import names
from ..release.errors import BootError, ConfigError, UnderwayError
from . import cookie, handshake, metrics_http
from .client_session import ClientSession, RequestHandler
from .connection import Connection, Gone
from .frames import FIRST, BadFrame
from .loop_monitor import PERIOD
from .node_control import NodeControl
from .socket_file import SocketFile, listen_on

MOST = 512
MOST_KNOWN = 64
DEADLINE = 5.0
_MOMENT = 0.25
_LATER = 30.0
"""Seconds until it is tried again to listen where that was not possible."""
_TO_SAY_IT = 1.0
"""Seconds that the last answers get to leave, when the node ends."""
_LONGEST_ROOT = 500
"""Characters of the path of a release directory that is told in the handshake, whose frames are small."""


def open_control(
    settings: Settings,
    secret: str,
    node: NodeControl,
    listen: Callable[[Path, int | None], socket.socket] = listen_on,
    process: int = 1,
) -> Server:
    """Make the node of these settings, whose configuration is installed, answer at its control socket.

    `secret` is the cookie, `listen` is as `listen_on`, `process` the number of this one among those of the release. Raises
    ConfigError for configuration that does not hold, and BootError when it can't listen.
    """
    allowed, group = _allowed(), _group()
    cookie.share(settings.var.cookie, group)
    file = SocketFile(settings, group, listen, process)
    try:
        listener = file.open()
    except OSError as error:
        who = "" if group is None else "; the user who runs the node must be a member of `control_group`"
        raise BootError(f"can't listen at the control socket {file.path}: {error.strerror}{who}") from None
    handler = RequestHandler(node, settings.name, settings.version, settings.var.uses, allowed)
    handler.upgrades = settings.var.upgrades
    handler.root = names.path_text(settings.root)
    server = Server(listener, secret, group, handler, file)
    server.start()
    return server


class Server:
    """The clients of one node."""

    def __init__(
        self,
        listener: socket.socket,
        secret: str,
        group: int | None,
        handler: RequestHandler,
        file: SocketFile | None = None,
    ) -> None:
        """`handler` answers what clients ask once they are known; `file` is what the listener listens at, if it is to stay there."""
        self._file = file
        self._listener = listener
        self._secret = secret
        self._group = group
        self.handler = handler
        self._boot = os.urandom(8).hex()
        self._unknown: dict[Connection, float] = {}
        self._known: set[ClientSession] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scraped: tuple[socket.socket, ...] = ()
        self._scraping: list[Future[None]] = []
        handler.clients = lambda: len(self._known)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most = MOST if files == resource.RLIM_INFINITY else min(MOST, files // 4)
        self._most_known = min(MOST_KNOWN, self._most // 2)
        self._closing: asyncio.Event | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Start serving; returns when it does."""
        os.register_at_fork(after_in_child=self._in_child)
        self._listener.setblocking(False)
        self._thread.start()
        self._opened.wait()

    def configured(self) -> None:
        """Obey the configuration as it is now: it was opened with that of the build, and providers have loaded since.

        Raises ConfigError for what comes too late, and for configuration that does not hold.
        """
        if _group() != self._group:
            raise ConfigError(
                "`control_group` of underway_runtime comes too late: with start-distribution-during-config the control"
                " socket is opened before providers load; state it in config/config.py"
            )
        self.handler.allowed = _allowed()

    def serve_metrics(self, bind: Callable[[Sequence[str]], Listeners]) -> None:
        """Answer over HTTP too, where the configuration says so. Raises BootError where it can't be bound."""
        address = config.config.get("underway_runtime", "metrics", None)
        if address is None or self._loop is None:
            return
        self._scraped = bind([address]).sockets
        for listener in self._scraped:
            self._scraping.append(
                asyncio.run_coroutine_threadsafe(metrics_http.serve(listener, self.handler.metrics), self._loop)
            )

    def accept_no_more(self) -> None:
        """Leave new clients to the node that has the listening sockets too; those that are here stay. From any thread."""
        for listener in self._scraping:
            listener.cancel()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._leave)

    def close(self) -> None:
        """Take no more clients, let the last answers leave, and end the connections. From any thread, any number of times."""
        if self._loop is not None and self._closing is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join(2 * _TO_SAY_IT)
        self._listener.close()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        except Exception as error:
            log("the control socket failed; the node goes on without it", error)
        finally:
            self._opened.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        beating = asyncio.ensure_future(self.handler.loop_monitor.beat())
        self._accepting = asyncio.ensure_future(self._accept())
        if self._file is not None:
            self._looking = asyncio.ensure_future(self._look(self._file))
        self._opened.set()
        await self._closing.wait()
        self._leave()
        beating.cancel()
        self.handler.closing = True
        for connection in self._unknown:
            connection.abort()
        for client in self._known:
            if client.idle:
                client.connection.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_TO_SAY_IT)

    def _leave(self) -> None:
        for task in (self._accepting, self._looking):
            if task is not None:
                task.cancel()

    async def _look(self, file: SocketFile) -> None:
        """Listen again where somebody has removed the file, until others are the node."""
        pause = PERIOD
        while True:
            await asyncio.sleep(pause)
            pause = PERIOD
            if file.is_lost():
                try:
                    await self._replace(await asyncio.to_thread(file.open))
                except (OSError, UnderwayError) as error:
                    pause = _LATER
                    log(f"{file.path} was removed or replaced by somebody else: {error}")
                else:
                    log(f"{file.path} was removed or replaced by somebody else, and is there again")

    async def _replace(self, listener: socket.socket) -> None:
        """Accept from this one; who has come by the one before is not lost."""
        assert self._accepting is not None
        self._accepting.cancel()
        await asyncio.wait({self._accepting})
        with contextlib.suppress(OSError):
            while True:
                self._take(self._listener.accept()[0])
        self._listener.close()
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        while True:
            await self._room()
            await self._readable()
            try:
                # With nothing to await in between, a cancel loses no client.
                connected, _ = self._listener.accept()
            except BlockingIOError:  # taken by another node meanwhile
                continue
            except OSError:  # no more files, or it was gone before it was taken
                await asyncio.sleep(_MOMENT)
                continue
            self._take(connected)

    def _take(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        if not _may_connect(connected, self._group):
            connected.close()
            return
        task = asyncio.ensure_future(self._attend(connected))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _readable(self) -> None:
        """Return when a client waits."""
        loop, listener = asyncio.get_running_loop(), self._listener
        waiting = asyncio.Event()
        loop.add_reader(listener, waiting.set)
        try:
            await waiting.wait()
        finally:
            loop.remove_reader(listener)

    async def _room(self) -> None:
        """Return when there is room for one more."""
        while len(self._tasks) >= self._most:
            oldest, since = next(iter(self._unknown.items()), (None, 0.0))
            if oldest is not None and time.monotonic() - since >= _MOMENT:
                oldest.abort()
                del self._unknown[oldest]
            await asyncio.sleep(0.01)

    async def _attend(self, connected: socket.socket) -> None:
        try:
            connection = await Connection.of(connected)
        except OSError:
            connected.close()
            return
        try:
            self._unknown[connection] = time.monotonic()
            try:
                async with asyncio.timeout(DEADLINE):
                    if not await self._known_after_handshake(connection):
                        return
            finally:
                self._unknown.pop(connection, None)
            uid, pid = _who(connected)
            client = ClientSession(connection, self.handler, uid, pid, member=uid not in (None, 0, os.geteuid()))
            self._known.add(client)
            try:
                await client.hold()
            finally:
                self._known.discard(client)
        except BadFrame as error:
            with contextlib.suppress(Gone, TimeoutError):
                await connection.last_words(str(error))
        except (Gone, TimeoutError):
            pass
        except Exception as error:
            log("a connection to the control socket was closed after an internal error", error)
        finally:
            connection.abort()

    async def _known_after_handshake(self, connection: Connection) -> bool:
        greeting = handshake.hello(os.getpid(), self._boot)
        await connection.send(greeting)
        answer = await connection.read(FIRST)
        if answer.get("underway") != handshake.VERSION:
            await connection.last_words(
                f"this node speaks version {handshake.VERSION} of its control protocol; use the version of the release that"
                " runs: RELEASE_VSN chooses it"
            )
            return False
        nonce = answer.get("nonce")
        if not isinstance(nonce, str) or not handshake.proves(
            answer, handshake.proof(self._secret, "client", greeting, nonce)
        ):
            await connection.last_words("the cookie is not that of this node")
            return False
        if len(self._known) >= self._most_known:
            await connection.last_words(
                f"{self._most_known} clients talk to this node already; try again when one has left"
            )
            return False
        root = {"root": self.handler.root} if len(self.handler.root) <= _LONGEST_ROOT else {}
        await connection.send({"proof": handshake.proof(self._secret, "node", greeting, nonce), **root})
        return True

    def _in_child(self) -> None:
        """Let go of all connections: a fork of the node is not the node."""
        for listener in (self._listener, *self._scraped):
            listener.close()
        for connection in (*self._unknown, *(known.connection for known in self._known)):
            connection.drop()


def _allowed() -> dict[str, bool]:
    return {command: config.is_enabled(command) for command in ("rpc", "remote")}


def _group() -> int | None:
    import grp

    name = config.config.get("underway_runtime", "control_group", None)
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, TypeError):
        raise ConfigError(f"`control_group` of underway_runtime is {name!r}, and there is no such group") from None


def _may_connect(connected: socket.socket, group: int | None) -> bool:
    """Whether the kernel says that the other end is the node's user, root, or in the group."""
    if (process := peer.credentials(connected)) is None:
        return True  # the permissions of the socket file decide alone
    _, uid, gid = process
    if uid in (0, os.geteuid()):
        return True
    return group is not None and group in (gid, *peer.groups(connected))


def _who(connected: socket.socket) -> tuple[int | None, int | None]:
    """The uid and pid at the other end; None where the system does not tell."""
    process = peer.credentials(connected)
    return (None, None) if process is None else (process[1], process[0])
