"""When a `main` function is ready: what can be shown, within the time to start, and what is not known.

=====================  ================================================================================================
``ready`` is           it is ready when
=====================  ================================================================================================
``"accepts"``          all that it declares in ``listen`` accepts: it, or a child of its, has called ``accept``, or has the
                       socket in an epoll; where neither is to be seen a connection of ours is taken
``"notify"``           it has sent ``READY=1`` to NOTIFY_SOCKET, as for systemd; see sd_notify(3)
``"line:TEXT"``        it has printed a line that contains TEXT, on its standard output or error, by whatever way
``"called"``           it is called
=====================  ================================================================================================

Without the option it is ``accepts`` where it has ``listen``. Where it has not, nothing tells: it is ready when it has run for a
moment, or has sent ``READY=1``, and it is said that no more is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..frozen import Frozen
from ..process.proc_sockets import watched
from ..process.process_table import family
from ..release.addresses import hang_up
from ..release.errors import BootError, ConfigError
from .socket_sharing import Shared

_MOMENT = 1.0
"""Seconds that a function has to run of which nothing is known."""
_LOOK = 0.05
_PROBE = 0.3
"""Seconds between two connections of ours."""


class Readiness(Frozen):
    """How one is found to be ready."""

    wait: Callable[[asyncio.Future[None]], Awaitable[str]]
    """Returns what it has shown when it has, or has ended; told the future of its end. Raises BootError."""
    known: bool = True
    """Whether anything tells."""
    close: Callable[[], None] = lambda: None


def of(application: str, wanted: str, listens: Sequence[tuple[str, socket.socket, Shared]]) -> Readiness:
    """How a function is to show that it is ready; before it is called. `listens` is what it declares.

    Raises ConfigError where that can't be.
    """
    problem = problem_of(wanted)
    if not problem and wanted == "accepts" and not listens:
        problem = "it declares no `listen`, so there is nothing to accept on"
    if problem:
        raise ConfigError(f"`ready` of {application}: {problem}")
    if wanted.startswith("line:"):
        return _line(wanted.removeprefix("line:"))
    notified = Notified()
    if wanted == "notify":
        return Readiness(notified.wait, close=notified.close)
    if wanted == "called":
        return Readiness(_called, close=notified.close)
    if wanted == "accepts" or listens:
        return Readiness(lambda ended: _accepts(listens, ended), close=notified.close)
    return Readiness(lambda ended: _moment(notified, ended), known=False, close=notified.close)


def problem_of(wanted: object) -> str:
    """Why this is nothing that `ready` may be."""
    if wanted in ("", "accepts", "notify", "called"):
        return ""
    if isinstance(wanted, str) and wanted.startswith("line:") and wanted.removeprefix("line:").strip():
        return ""
    return f'it is "accepts", "notify", "line:TEXT" or "called", not {wanted!r}'


def _both(ready: asyncio.Future[Any], ended: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    return {ready, ended}


async def _called(ended: asyncio.Future[None]) -> str:
    return "it was called"


# --------------------------------------------------------------------------------------------------------------- accepts


async def _accepts(listens: Sequence[tuple[str, socket.socket, Shared]], ended: asyncio.Future[None]) -> str:
    loop = asyncio.get_running_loop()
    left = list(listens)
    probes: list[socket.socket] = []
    probe_at = loop.time() + _PROBE
    try:
        while left and not ended.done():
            waits_for = await loop.run_in_executor(None, watched, family(os.getpid()))
            left = [listen for listen in left if not (listen[2].accepting or _inode(listen[1]) in waits_for)]
            if left and loop.time() > probe_at:
                _close(probes)
                probes = [probe for _, listening, _ in left if (probe := _probe(listening)) is not None]
                probe_at = loop.time() + _PROBE
            if left:
                await asyncio.wait({ended}, timeout=_LOOK)
    except asyncio.CancelledError:
        addresses = ", ".join(address for address, _, _ in left)
        raise BootError(
            f"it has not accepted on {addresses} in time; start_timeout of underway_runtime gives it more"
        ) from None
    finally:
        _close(probes)
    return f"it accepts on {', '.join(address for address, _, _ in listens)}"


def _inode(listening: socket.socket) -> int:
    return os.fstat(listening.fileno()).st_ino


def _probe(listening: socket.socket) -> socket.socket | None:
    """A connection to where this listens; none where that fails."""
    name = listening.getsockname()
    if listening.family != socket.AF_UNIX:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name[0], name[0])
        name = (host, *name[1:])
    probe = socket.socket(listening.family, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(name)
    except BlockingIOError:
        pass
    except OSError:
        probe.close()
        return None
    return probe


def _close(sockets: list[socket.socket]) -> None:
    for probe in sockets:
        hang_up(probe)
        probe.close()


# ---------------------------------------------------------------------------------------------------------------- notify


class Notified:
    """NOTIFY_SOCKET for a service, as systemd gives one. Its name can't be guessed, and is in no directory."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        name = f"underway/{os.urandom(16).hex()}"
        self._socket.bind(f"\0{name}")
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)
        self._variable = f"@{name}"
        os.environ["NOTIFY_SOCKET"] = self._variable

    async def wait(self, ended: asyncio.Future[None]) -> str:
        ready = asyncio.ensure_future(self._ready.wait())
        try:
            await asyncio.wait(_both(ready, ended), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            raise BootError(
                "it has not sent READY=1 to NOTIFY_SOCKET in time; start_timeout of underway_runtime gives it more"
            ) from None
        finally:
            ready.cancel()
        return "it has sent READY=1"

    @property
    def is_ready(self) -> asyncio.Event:
        return self._ready

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        with contextlib.suppress(RuntimeError):
            self._loop.remove_reader(self._socket)
        self._socket.close()
        if os.environ.get("NOTIFY_SOCKET") == self._variable:
            del os.environ["NOTIFY_SOCKET"]

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            if b"READY=1" in self._socket.recv(65536).split(b"\n"):
                self._ready.set()


async def _moment(notified: Notified, ended: asyncio.Future[None]) -> str:
    ready = asyncio.ensure_future(notified.is_ready.wait())
    await asyncio.wait(_both(ready, ended), timeout=_MOMENT, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    return "it has sent READY=1" if notified.is_ready.is_set() else ""


# ------------------------------------------------------------------------------------------------------------------ line


def _line(text: str) -> Readiness:
    """Look through all that the process prints, its children too: its standard output and error are pipes from here on."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def seen() -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.set)

    undo = [_look_through(number, text.encode(), seen) for number in (1, 2)]

    def close() -> None:
        while undo:
            undo.pop()()

    async def wait(ended: asyncio.Future[None]) -> str:
        ready = asyncio.ensure_future(arrived.wait())
        try:
            await asyncio.wait(_both(ready, ended), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            raise BootError(
                f"it has not printed a line with {text!r} in time; start_timeout of underway_runtime gives it more"
            ) from None
        finally:
            ready.cancel()
        return f"it has printed {text!r}"

    return Readiness(wait, close=close)


def _look_through(number: int, text: bytes, seen: Callable[[], None]) -> Callable[[], None]:
    """Pass on what is written to a descriptor, and tell of the first line with a text; the function that is returned ends that."""
    real = os.dup(number)
    reading, writing = os.pipe()
    os.dup2(writing, number)
    os.close(writing)

    def pass_on() -> None:
        line, told = b"", False
        while data := os.read(reading, 65536):
            rest = memoryview(data)
            with contextlib.suppress(OSError):
                while rest:
                    rest = rest[os.write(real, rest) :]
            if told:
                continue
            *lines, line = (line + data).split(b"\n")
            if told := any(text in printed for printed in [*lines, line]):
                seen()
            line = line[-65536:]
        os.close(reading)
        os.close(real)

    thread = threading.Thread(target=pass_on, name="output", daemon=True)
    thread.start()

    def undo() -> None:
        os.dup2(real, number)
        thread.join(1)  # what a child still has the other end of goes on being passed on

    return undo
