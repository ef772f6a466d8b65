"""The node's end of the line to its keeper: ``release/channel`` says what goes over it.

A thread reads. When the keeper is gone the node gets SIGTERM from itself, as from an operator: nobody else would end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NoReturn, TypeAlias

from ..apps.sockets import Listeners
from ..apps.sockets import bind as bind_through
from ..process import lock, peer
from ..process.log import last_words
from ..process.settings import START_TIMEOUT, STOP_TIMEOUT, Settings
from ..process.settings import heart as heart_of
from ..release import channel, names
from ..release.channel import datagram
from ..release.errors import EXIT_FAILED, BootError, UsageError

_PATIENCE = 30.0
"""Seconds for an answer of the keeper, which has little else to do."""
_MARGIN = 5.0
_STARTING, _LOOK = 1.0, 30.0
"""Seconds after which the thread that reads looks whether the line is still there, while the node starts and afterwards."""
_SIGNS = 5
"""So many signs of life are missed before a start has failed, however short its time is: the node's own deadline names more."""
_CLOSED = (errno.EBADF, errno.ENOTSOCK)

Answer: TypeAlias = tuple[channel.FromKeeper, list[int]]
"""A message of the keeper, with its descriptors."""


class KeeperClient:
    """The keeper, as the node sees it. Any thread may call it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._inode = os.fstat(line.fileno()).st_ino
        self._poll = select.poll()
        self._poll.register(line, select.POLLIN)
        self._starting = True
        self._silence = START_TIMEOUT
        """Seconds without a sign of life after which a start has failed."""
        self._lock = -1
        self._asking = threading.Lock()
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._beat = 0.0
        self._unasked: SimpleQueue[Answer] = SimpleQueue()
        self._on_unasked: Callable[[], object] = lambda: None
        self.upgrade_id = ""
        """Of the handover, where this node is the successor of one that runs."""
        self.process = 1
        """Which of the processes of the release this is; 0 where the keeper, of an older version, knows of one only."""
        self._stop_timeout = STOP_TIMEOUT
        self._document: dict[str, object] = {}
        self.why_stale: Callable[[], str] = str  # of one that was kept: it is not what a start would be
        self._files: dict[str, str] = {}
        """The socket files that the keeper has made for this node, by what it was asked."""
        os.register_at_fork(after_in_child=self._let_go)  # a child would keep the lock of a node that is gone
        threading.Thread(target=self._read_messages, name="keeper", daemon=True).start()

    def hold(self, settings: Settings) -> None:
        """Have the keeper take the lock, and share it.

        A node that has lost its keeper is waited for. Raises BootError when another runs, naming its pid, or when
        ``var/run`` can't be written.
        """
        var, name = settings.tmp, settings.name
        log, heart = settings.log, heart_of(settings)
        policy = "" if heart is None else f"{heart.restarts} {heart.within} {heart.delay} {heart.beat}"
        hello = channel.Hello(
            name,
            str(var.lock),
            str(var.pid),
            str(settings.var.replaced),
            str(var.log_stem(name)),
            log.generations,
            log.size,
            log.alive,
            policy,
        )
        end = None
        for attempt in range(1_000_000):
            match self._ask(hello):
                case (channel.Held(beat, upgrade_id, process), [descriptor]):
                    self._lock, self._beat, self.upgrade_id, self.process = descriptor, beat, upgrade_id, process
                    self._send(channel.Alive(self._silence))
                    return
                case (channel.Unwritable(reason), _):
                    raise BootError(
                        f"{var.run} can't be written: {reason}; set RELEASE_VAR to a directory that belongs to the user"
                        " who runs the node"
                    )
            time.sleep(lock.PAUSE)
            if attempt < lock.TRIES:
                continue
            running = lock.find(var, name)
            if running is None:
                continue
            timeout = (STOP_TIMEOUT if running.stop_timeout is None else running.stop_timeout) + _MARGIN
            end = time.monotonic() + timeout if end is None else end
            if not running.orphan or time.monotonic() > end:
                from ..control.client.client import elsewhere

                where = elsewhere(name, str(settings.root), lock.contents(var).get("root"))
                raise BootError(
                    f"{name} is running already, pid {running.pid} ({var.lock} is held); stop it first, or give this"
                    f" start another RELEASE_VAR{where and f': {where}'}"
                )

    def about(self, settings: Settings, stop_timeout: float, start_timeout: float) -> None:
        """Say, through the lock file, what others need to know of this node; it gives signs of life within the time to start."""
        document: dict[str, object] = {
            "pid": os.getppid(),
            "node": os.getpid(),
            "release": settings.name,
            "root": names.path_text(settings.root),
            "version": settings.version,
            "started_as": settings.version,
            "stop_timeout": stop_timeout,
        }
        self._stop_timeout, self._silence = stop_timeout, max(start_timeout, _SIGNS * _STARTING)
        self._send(channel.Alive(self._silence))
        self._document = document
        self._ask(channel.About(json.dumps(document), stop_timeout))

    def about_version(self, version: str) -> None:
        """It is another version now, which has the code of the one that was started."""
        self._document["version"] = version
        self._ask(channel.About(json.dumps(self._document), self._stop_timeout))

    def bind(self, addresses: Sequence[str]) -> Listeners:
        """Sockets that listen at these addresses. Raises BootError when there is one that can't be had."""
        return bind_through(addresses, self._sockets, self._do_without)

    def lost_files(self) -> list[str]:
        """Return the socket files of this node that somebody has removed: nobody can connect there until another node has its own."""
        return sorted(path for path in self._files.values() if not os.path.lexists(path))

    def listen_on(self, path: Path, mode: int = 0o600) -> socket.socket:
        """Listen on a socket file of the node's own, with these permissions from its first moment on, at any path.

        The next node finds it listening. Raises BootError.
        """
        [outcome] = self._sockets([f"unix {mode:o} {path}"])
        if isinstance(outcome, str):
            raise BootError(f"can't listen on {path}: {outcome.partition(' ')[2]}")
        return outcome

    def ready(self, line: str, note: str = "") -> None:
        """Tell that all applications have started; `line` is for systemd, `note` for who waits for the start.

        Called on the loop, whose life the keeper is told of from then on."""
        self._starting = False
        self._send(channel.Ready(line, note))
        self._give_signs_of_life()

    def accepting(self, line: str) -> None:
        """Tell that this successor accepts, and is the node; as `ready`."""
        self._starting = False
        self._send(channel.Accepting(line))
        self._give_signs_of_life()

    def _give_signs_of_life(self) -> None:
        if self._beat:
            self._send(channel.Beat())
            asyncio.get_running_loop().call_later(self._beat, self._give_signs_of_life)

    def status(self, line: str) -> None:
        """Tell what systemd is to show of this service."""
        self._send(channel.Status(line))

    def failed(self, reason: str) -> None:
        """Tell that the node could not start."""
        self._send(channel.Failed(reason))

    def stopping(self, *, asked: bool) -> None:
        """Tell that the node is about to end: because someone wants it, or because of what happened in it."""
        self._send(channel.Stopping("asked" if asked else ""))

    def restart(self) -> None:
        """Have another node started when this one has ended."""
        self._send(channel.Restart())

    def successor(self, version: str, upgrade_id: str, timeout: float, to_commit: float) -> None:
        """Ask for a successor of a version, or of the permanent one; `on_message` tells what becomes of it."""
        self._send(channel.Successor(version, upgrade_id, timeout, to_commit))

    def booted(self) -> None:
        """Tell that the applications of this successor have started, and that it need not yield any more to the node that serves."""
        self._send(channel.Beat())

    def prepared(self, waiting: Sequence[str]) -> None:
        """Tell that this successor could accept, and waits to start these; or why one that was kept is not what a start would be."""
        self._send(channel.Stays(stale) if (stale := self.why_stale()) else channel.Prepared((*waiting,)))

    def wait(self) -> Answer | None:
        """Tell that this node is kept; returns what the keeper says when it is wanted, or None when that has gone."""
        self._send(channel.Prepared((channel.KEPT,)))
        return self._answers.get()

    def stays(self, reason: str) -> None:
        """Tell that the successor must not accept, and is to be ended: this node goes on."""
        self._send(channel.Stays(reason))

    def goes_on(self) -> None:
        """Tell that the handover has failed, and all that was released for it runs here again."""
        self._send(channel.GoesOn())

    def go(self, states: bytes) -> None:
        """Tell that the successor may accept; these are the states of what it is to start only then."""
        self._send(channel.Go(), states)

    def leaving(self, states: bytes) -> None:
        """Tell that all is done here; these are the states that are left."""
        self._send(channel.Leaving(), states)

    def installing(self, version: str, upgrade_id: str) -> None:
        """Tell that a version is put in place in this process; should it end, the permanent one is to be started."""
        self._send(channel.Installing(version, upgrade_id))

    def installed(self, line: str, to_commit: float) -> None:
        """It is in place, and is to be committed within so many seconds, unless that is 0; `line` is for systemd."""
        self._send(channel.Installed(line, to_commit))

    def not_installed(self) -> None:
        """Tell that all is as it was before `installing`."""
        self._send(channel.Undone())

    @property
    def is_late(self) -> bool:
        """Whether this node is told when it may accept: another runs."""
        return bool(self.upgrade_id) or self.process > 1

    def processes(self, wanted: int, version: str) -> None:
        """Have so many processes of this version run, this one included; `on_message` tells what becomes of them."""
        self._send(channel.Processes(wanted, version))

    def committed(self) -> None:
        """Tell that the version of this node is permanent."""
        self._send(channel.Committed())

    def on_message(
        self, loop: asyncio.AbstractEventLoop, handler: Callable[[channel.FromKeeper, bytes], object]
    ) -> None:
        """Call `handler` on the loop with all that the keeper sends of a handover, and the states that come with it."""

        def handle() -> None:
            while not self._unasked.empty():
                message, descriptors = self._unasked.get()
                states = b""
                for descriptor in descriptors:
                    with open(descriptor, "rb") as file:
                        file.seek(0)
                        states = file.read()
                handler(message, states)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(handle)

        self._on_unasked = wake
        wake()

    def _sockets(self, wanted: Sequence[str]) -> list[socket.socket | str]:
        outcomes: list[socket.socket | str] = []
        for start in range(0, len(wanted), datagram.BATCH):
            message, descriptors = self._ask(channel.Bind((*wanted[start : start + datagram.BATCH],)))
            assert isinstance(message, channel.Bound)
            given = iter(descriptors)
            outcomes += [reason or socket.socket(fileno=next(given)) for reason in message.outcomes]
        for text, outcome in zip(wanted, outcomes, strict=True):
            kind, _, rest = text.partition(" ")
            if kind == "unix" and isinstance(outcome, socket.socket) and _is_the_keepers(outcome):
                self._files[text] = rest.partition(" ")[2]
        return outcomes

    def _do_without(self, closed: Sequence[str]) -> None:
        for text in closed:
            self._files.pop(text, None)
        self._send(channel.Closed((*closed,)))

    def _send(self, message: channel.FromNode, states: bytes = b"") -> None:
        with self._if_it_is_there():
            if not states:
                self._line.send(datagram.encode(message), socket.MSG_DONTWAIT)
                return
            # On no disk, and nobody's when both have gone.
            with open(os.memfd_create("states"), "w+b", buffering=0) as file:
                file.write(states)
                socket.send_fds(self._line, [datagram.encode(message)], [file.fileno()])

    def _ask(self, message: channel.FromNode) -> Answer:
        with self._asking:
            with self._if_it_is_there():
                self._line.send(datagram.encode(message))
            try:
                answer = self._answers.get(timeout=_PATIENCE)
            except Empty:
                answer = None
            if answer is None:
                self._answers.put(None)
                raise BootError("the keeper, the parent of this node, does not answer; start the release again")
            return answer

    @contextlib.contextmanager
    def _if_it_is_there(self) -> Iterator[None]:
        """Send to the keeper, which may have gone, as the reader sees; or it sleeps, and misses a beat."""
        try:
            yield
        except OSError as error:
            if error.errno in _CLOSED and self._line.fileno() >= 0:  # by number, in this process
                _end_without_it()

    def _wait_for_it(self) -> None:
        """Return when there is something to read. Give signs of life meanwhile, and end where the line was closed: the kernel
        wakes nobody who waits for that, and neither a loop."""
        while True:
            happened = self._poll.poll((_STARTING if self._starting else _LOOK) * 1000)
            try:
                is_there = os.fstat(self._line.fileno()).st_ino == self._inode
            except OSError:
                is_there = False
            if not is_there:
                _end_without_it()
            if happened:
                return
            if self._starting:
                self._send(channel.Alive(self._silence))

    def _read_messages(self) -> None:
        """Sort what the keeper sends, in a thread, until it is gone; then end."""
        while True:
            try:
                self._wait_for_it()
                data, descriptors = datagram.receive(self._line)
            except OSError:
                data = b""
            if not data:
                break
            message = None
            with contextlib.suppress(ValueError):
                message = datagram.decode(channel.FromKeeper, data)
            if isinstance(message, channel.Unasked):
                self._unasked.put((message, descriptors))
                self._on_unasked()
            elif message is not None:
                self._answers.put((message, descriptors))
            else:  # of a keeper of another version
                for descriptor in descriptors:
                    os.close(descriptor)
        self._answers.put(None)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._stop_timeout + _MARGIN)
        last_words("the keeper is gone and this node has not stopped; it is ended by force")
        os._exit(EXIT_FAILED)

    def _let_go(self) -> None:
        self._line.close()
        if self._lock >= 0:
            os.close(self._lock)


def _is_the_keepers(listening: socket.socket) -> bool:
    """Whether the keeper listens there; with a unit of systemd's for sockets that does, and makes its files."""
    listener = peer.credentials(listening)
    return listener is not None and listener[0] == os.getppid()


def _end_without_it() -> NoReturn:
    last_words("the line to the keeper was closed here: code may close only descriptors that it has opened")
    os._exit(EXIT_FAILED)


def connect(environ: MutableMapping[str, str]) -> KeeperClient:
    """Connect to the keeper that has started this process. Raises UsageError when none has.

    The variable that says how to reach it is taken out of the environment: it is not for what the node starts.
    """
    number = environ.pop(channel.VARIABLE, "")
    try:
        line = socket.socket(fileno=int(number))
        fcntl.fcntl(line, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    except (OSError, ValueError):
        raise UsageError("a node is started by its keeper, and that by `start` or `daemon`") from None
    return KeeperClient(line)
