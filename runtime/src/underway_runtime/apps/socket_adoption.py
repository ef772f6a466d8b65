"""Listening sockets for services that bind by themselves.

Where a ``main`` function or a class binds to an address that its application declares in ``listen``, its socket becomes
the one that was bound for it before, and that outlives the node. In a node that takes over from another, the ``bind`` of a
``main`` function waits until it may accept; a class binds when its ``accept`` is called. So it is in this process and in
children made by fork.

It is ``bind`` that waits: gunicorn does not call ``listen`` on what listens already, and uvloop does so below Python. What
binds below Python is not seen here; `listening` names it.

The address must be the one that is declared: ``0.0.0.0`` stands for nothing but itself. The file of a declared socket
stays when the service removes it, as asyncio and gunicorn do before they bind, and when they close: clients come by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Sequence
from typing import Any

from .server_drain import Leaving
from .service import Log
from .socket_sharing import Shared, Sharing, replace
from .sockets import address_of

_INHERITED = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    ),
)
"""Options that a connection has from the socket that accepted it; a service may set them before it binds."""


_TO_LISTEN = 5.0
"""Seconds for the keeper to repair what another process has shut down."""


class Adoption:
    """What was bound for such services. Binds are looked at from the first that is declared until `close`."""

    def __init__(self, log: Log, *, late: bool = False) -> None:
        """`late`: services that bind wait for `accept`, and what they can't bind may be another node's."""
        self.late = late
        self._log = log
        self._declared: list[socket.socket] = []
        self._waiting: list[socket.socket] = []
        self.sharing = Sharing()
        self.leaving = Leaving(self.sharing.find)
        self._taken_in = 0
        self._spares = False
        """Whether files of declared sockets are kept; `os` is left alone where there are none."""
        self._undo: list[Callable[[], None]] = []
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
        self.sharing.add(sockets)
        if self._declared and not self._undo:
            self._install()
        if not self._spares and any(listening.family == socket.AF_UNIX for listening in sockets):
            self._spares = True
            self._undo += [self._spare_files(name) for name in ("remove", "unlink")]

    def withdraw(self, sockets: Sequence[socket.socket]) -> None:
        """Forget sockets, before they are closed."""
        self._declared = [listening for listening in self._declared if listening not in sockets]
        self._waiting = [listening for listening in self._waiting if listening not in sockets]
        self.sharing.remove(sockets)

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

    def stop_accepting(self) -> None:
        """Accept nothing more on what a main function has, in this process and its children."""
        for shared in self._shared():
            shared.refused.raise_()

    async def closed(self, timeout: float, enough: Callable[[], bool]) -> None:
        """Wait until what was accepted in this process is closed, or it is `enough`."""
        await self._closed(timeout, enough)

    async def refuse(self, timeout: float, to_end: float) -> tuple[int, int]:
        """Accept nothing more in this process, and wait until its clients have closed their connections.

        Those that are left after `timeout` seconds are read to what has come until then, as if their clients had closed
        them, and the service has `to_end` seconds to answer that. Returns how many were left at first, and then.
        """
        self.stop_accepting()
        left = await self._closed(timeout)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        return len(left), len(await self._closed(to_end))

    def close(self) -> None:
        """Look at binds no more."""
        for descriptor in (self._may_accept, self._accept, self._arrived, self._arrive):
            os.close(descriptor)
        self._declared.clear()
        self._waiting.clear()
        for undo in self._undo:
            undo()
        self._undo.clear()
        self.sharing.close()
        self.leaving.begun.close()

    async def _closed(self, timeout: float, enough: Callable[[], bool] = bool) -> list[socket.socket]:
        end = time.monotonic() + timeout
        while True:
            left = [connection for shared in self._shared() for connection in shared.connections()]
            if not left or enough() or (more := end - time.monotonic()) <= 0:
                return left
            await asyncio.sleep(min(more, 0.05))

    def _shared(self) -> list[Shared]:
        """What a main function has."""
        return [shared for listening in self._waiting if (shared := self.sharing.find(listening)) is not None]

    def _install(self) -> None:
        bind, accept = socket.socket.bind, socket.socket.accept

        def adopting_bind(sock: socket.socket, address: Any, /) -> None:
            if (declared := self._find(sock, address)) is None:
                try:
                    bind(sock, address)
                except OSError as error:
                    if error.errno == errno.EADDRINUSE and self.late:
                        raise OSError(error.errno, f"{error.strerror}; {_NOT_DECLARED}") from None
                    raise
                return
            self._adopt(sock, declared)
            self.leaving.take()
            if declared in self._waiting:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._arrive, b".")
                may_accept = select.poll()
                may_accept.register(self._may_accept, select.POLLIN)
                may_accept.poll()

        def counting_accept(sock: socket.socket) -> tuple[socket.socket, Any]:
            if (shared := self.sharing.find(sock)) is None:
                return accept(sock)
            timeout = sock.gettimeout()
            if self._taken_in != os.getpid():
                self._taken_in = os.getpid()
                self.leaving.take()
            end = time.monotonic() + _TO_LISTEN
            while True:
                shared.wait(sock, timeout)
                try:
                    connection, address = accept(sock)
                except BlockingIOError:
                    if timeout is not None:
                        raise
                    continue  # another process was faster
                except OSError as error:
                    if error.errno != errno.EINVAL or time.monotonic() > end:
                        raise
                    if timeout == 0:
                        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
                    time.sleep(0.01)
                    continue  # another process has shut it down, and the keeper is about to make it listen again
                shared.take(connection)
                return connection, address

        self._undo.append(replace(socket.socket, "bind", adopting_bind))
        self._undo.append(replace(socket.socket, "accept", counting_accept))

    def _spare_files(self, name: str) -> Callable[[], None]:
        """Let this function of `os` leave the files of declared sockets where they are."""
        remove = getattr(os, name)

        @functools.wraps(remove)
        def sparing(path: Any, *, dir_fd: int | None = None) -> None:
            if dir_fd is not None or not self._is_declared_file(path):
                remove(path, dir_fd=dir_fd)

        undo = replace(os, name, sparing)
        if remove not in os.supports_dir_fd:
            return undo
        os.supports_dir_fd.add(sparing)  # shutil asks for it when it is imported

        def undo_both() -> None:
            os.supports_dir_fd.discard(sparing)
            undo()

        return undo_both

    def _is_declared_file(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        files = [
            listening.getsockname()
            for listening in self._declared
            if listening.family == socket.AF_UNIX and listening.fileno() >= 0
        ]
        with contextlib.suppress(OSError):
            return os.fsdecode(path) in files and stat.S_ISSOCK(os.lstat(path).st_mode)
        return False

    def _adopt(self, sock: socket.socket, declared: socket.socket) -> None:
        shared = self.sharing.find(declared)
        assert shared is not None
        if sock.family != socket.AF_UNIX:
            for option in _INHERITED:
                if (value := sock.getsockopt(*option)) != declared.getsockopt(*option):
                    shared.options[option] = (value,)
        shared.shut.lower()
        shared.refused.lower()
        os.dup2(declared.fileno(), sock.fileno(), inheritable=False)  # and the timeout of the object is its own

    def _find(self, sock: socket.socket, address: Any) -> socket.socket | None:
        if sock.type != socket.SOCK_STREAM:
            return None
        candidates = [
            listening for listening in self._declared if listening.fileno() >= 0 and listening.family == sock.family
        ]
        if sock.family == socket.AF_UNIX:
            wanted = os.fsdecode(address)
            return next(
                (candidate for candidate in candidates if candidate.getsockname() == wanted and os.path.exists(wanted)),
                None,
            )
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = address[:2]
        same_port = [candidate for candidate in candidates if candidate.getsockname()[1] == port]
        if not same_port:
            return None
        with contextlib.suppress(OSError):
            rows = socket.getaddrinfo(host or None, port, sock.family, sock.type, flags=socket.AI_PASSIVE)
            hosts = {row[4][0] for row in rows}
            if match := next((listening for listening in same_port if listening.getsockname()[0] in hosts), None):
                return match
        self._log(
            f"a bind to {host or '*'}, port {port}, is not handed over: `listen` says {', '.join(map(address_of, same_port))}"
        )
        return None


_NOT_DECLARED = "where the version before has it, declare it in `listen`, or say that the two do not `overlap`"
