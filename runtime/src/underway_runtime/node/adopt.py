"""Listening sockets for services that bind by themselves.

Where a ``main`` function or a class binds to an address that its application declares in ``listen``, its socket becomes
the one that was bound for it before, and that outlives the node. In a node that takes over from another, the ``bind`` of a
``main`` function waits until it may accept; a class binds when its ``accept`` is called. So it is in this process and in
children made by fork.

It is ``bind`` that waits: gunicorn does not call ``listen`` on what listens already, and uvloop does so below Python. What
binds below Python is not seen here; `listening` names it.

The address must be the one that is declared: ``0.0.0.0`` stands for nothing but itself. A socket file that the service
removes first, as asyncio and gunicorn do, can't be adopted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from .applications import Log
from .listen import address_of

_INHERITED = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY))
"""Options that a connection has from the socket that accepted it; a service may set them before it binds."""


class Adoption:
    """What was bound for such services. Binds are looked at from the first that is declared until `close`."""

    def __init__(self, log: Log, *, late: bool = False) -> None:
        """`late`: services that bind wait for `accept`, and what they can't bind may be another node's."""
        self.late = late
        self._log = log
        self._declared: list[socket.socket] = []
        self._waiting: list[socket.socket] = []
        self._adopted: WeakSet[socket.socket] = WeakSet()
        self._accepted: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._refusing = False
        self._before: dict[str, Callable[..., Any] | None] = {}
        self._may_accept, self._accept = os.pipe()
        self._arrived, self._arrive = os.pipe()
        os.set_blocking(self._arrive, False)
        if late:
            self._install()
        else:
            self.accept()

    def declare(self, sockets: Sequence[socket.socket], *, waits: bool) -> None:
        """Let a bind to one of these addresses have the socket; they stay the caller's to close.

        `waits`: so does the bind, which nothing on the node's own loop may.
        """
        self._declared += sockets
        self._waiting += sockets if waits else ()
        self._refusing = False
        if self._declared and not self._before:
            self._install()

    def withdraw(self, sockets: Sequence[socket.socket]) -> None:
        """Forget sockets, before they are closed."""
        self._declared = [each for each in self._declared if each not in sockets]
        self._waiting = [each for each in self._waiting if each not in sockets]

    def accept(self) -> None:
        """Let those that wait in `bind` go on, in whichever process."""
        os.write(self._accept, b".")  # and nobody reads it

    async def arrival(self) -> None:
        """Return once a service waits in `bind`, or went through it."""
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_reader(self._arrived, arrived.set_result, None)
        try:
            await arrived
        finally:
            loop.remove_reader(self._arrived)

    async def refuse(self, within: float, to_end: float) -> tuple[int, int]:
        """Accept nothing more in this process, and wait until its clients have closed their connections.

        Those that are left after `within` seconds are read to what has come until then, as if their clients had closed
        them, and the service has `to_end` seconds to answer that. Returns how many were left at first, and then.
        """
        self._refusing = True
        left = await self._closed(within)
        for each in left:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RD)
        return len(left), len(await self._closed(to_end))

    def close(self) -> None:
        """Look at binds no more."""
        for each in (self._may_accept, self._accept, self._arrived, self._arrive):
            os.close(each)
        self._declared.clear()
        self._waiting.clear()
        for name, before in self._before.items():
            if before is None:
                delattr(socket.socket, name)  # it is inherited
            else:
                setattr(socket.socket, name, before)
        self._before = {}

    async def _closed(self, within: float) -> list[socket.socket]:
        end = time.monotonic() + within
        while True:
            with self._lock:
                left = [each for each in self._accepted if each.fileno() >= 0]
            if not left or (more := end - time.monotonic()) <= 0:
                return left
            await asyncio.sleep(min(more, 0.05))

    def _install(self) -> None:
        bind, accept = socket.socket.bind, socket.socket.accept
        self._before = {name: vars(socket.socket).get(name) for name in ("bind", "accept")}

        def adopting_bind(own: socket.socket, address: Any, /) -> None:
            if (declared := self._find(own, address)) is None:
                try:
                    bind(own, address)
                except OSError as error:
                    if error.errno == errno.EADDRINUSE and self.late:
                        raise OSError(error.errno, f"{error.strerror}; {_NOT_DECLARED}") from None
                    raise
                return
            self._adopt(own, declared)
            if declared in self._waiting:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._arrive, b".")
                may_accept = select.poll()
                may_accept.register(self._may_accept, select.POLLIN)
                may_accept.poll()

        def counting_accept(own: socket.socket) -> tuple[socket.socket, Any]:
            if own not in self._adopted:
                return accept(own)
            if self._refusing:
                _find_nothing(own.gettimeout())
            connection, address = accept(own)
            with self._lock:
                self._accepted.add(connection)
            return connection, address

        socket.socket.bind = adopting_bind  # type: ignore[method-assign, assignment]
        socket.socket.accept = counting_accept  # type: ignore[method-assign, assignment]

    def _adopt(self, own: socket.socket, declared: socket.socket) -> None:
        options = [] if own.family == socket.AF_UNIX else [(*name, own.getsockopt(*name)) for name in _INHERITED]
        os.dup2(declared.fileno(), own.fileno(), inheritable=False)
        own.settimeout(own.gettimeout())  # the descriptor's own mode is that of whoever had it before
        for option in options:
            own.setsockopt(*option)
        self._adopted.add(own)

    def _find(self, own: socket.socket, address: Any) -> socket.socket | None:
        if own.type != socket.SOCK_STREAM:
            return None
        candidates = [each for each in self._declared if each.fileno() >= 0 and each.family == own.family]
        if own.family == socket.AF_UNIX:
            wanted = os.fsdecode(address)
            return next((each for each in candidates if each.getsockname() == wanted and os.path.exists(wanted)), None)
        if own.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = address[:2]
        same_port = [each for each in candidates if each.getsockname()[1] == port]
        if not same_port:
            return None
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(host or None, port, own.family, own.type, flags=socket.AI_PASSIVE)
            hosts = {place[4][0] for place in found}
            if match := next((each for each in same_port if each.getsockname()[0] in hosts), None):
                return match
        self._log(
            f"a bind to {host or '*'}, port {port}, is not handed over: `listen` says {', '.join(map(address_of, same_port))}"
        )
        return None


_NOT_DECLARED = "where the version before has it, declare it in `listen`, or say that the two do not `overlap`"


def _find_nothing(timeout: float | None) -> None:
    """What `accept` does where nobody connects."""
    if timeout == 0:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    select.poll().poll(None if timeout is None else timeout * 1000)
    raise TimeoutError("timed out")
