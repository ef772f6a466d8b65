"""Listening sockets that several processes have, and what none of them changes for the others.

The keeper holds each, and so do its nodes, two of them during a handover. What belongs to the open file description, or to
the socket, is one for all:

====================================  ================================================================================
a service calls                       so in this node
====================================  ================================================================================
``setblocking``, ``settimeout``,      the Python object has it, and `accept` waits as it says; the description stays
``os.set_blocking``, ``fcntl``,       non-blocking, as the keeper has made it: an ``accept`` of another process would
``ioctl``                             block else, and with it a loop
``shutdown``                          it accepts nothing more here, as after a real one; the others go on
``setsockopt``                        goes to each connection that is accepted here
``listen``                            nothing, since it listens; the backlog is the keeper's
====================================  ================================================================================

So it is in children made by fork. What is called below Python is not seen; what is shut down there, the keeper makes listen
again.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import fcntl
import functools
import os
import select
import socket
import stat
import termios
import threading
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

_CHANGE_FLAGS = (termios.FIONBIO, termios.FIOASYNC)


class Shared:
    """One of them, in this process and its children."""

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], tuple[Any, ...]] = {}
        """By level and name, what a connection is given that is accepted here."""
        self._accepted: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self.shut, self.refused, self.accepting = Flag(), Flag(), Flag()
        """Whether nothing is accepted here because the service has shut it down, or because it has been handed over; and
        whether the service has called ``accept``."""

    def wait(self, sock: socket.socket, timeout: float | None) -> None:
        """Wait, as `sock` would, for what can be accepted; returns at once where it is non-blocking.

        Raises what ``accept`` does where nobody connects, and where the socket was shut down.
        """
        self.accepting.raise_()
        poll = select.poll()
        for descriptor in (self.shut.descriptor, self.refused.descriptor, sock.fileno()):
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000)}
        if self.shut.descriptor in ready:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self.refused.descriptor in ready:
            _find_nothing(timeout)
        if not ready and timeout:
            raise TimeoutError("timed out")

    def take(self, connection: socket.socket) -> None:
        """Give what was accepted here all that the service has set on the socket; what it can't have is left out."""
        with self._lock:
            self._accepted.add(connection)
        for (level, name), value in list(self.options.items()):
            with contextlib.suppress(OSError):
                connection.setsockopt(level, name, *value)

    def connections(self) -> list[socket.socket]:
        """Those that were accepted in this process and are open."""
        with self._lock:
            return [connection for connection in self._accepted if connection.fileno() >= 0]

    def close(self) -> None:
        for flag in (self.shut, self.refused, self.accepting):
            flag.close()


class Flag:
    """True or false, for this process and the children that it makes by fork; can be waited for."""

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        self._raised = self._is_closed = False
        for descriptor in (self.descriptor, self._write):
            os.set_blocking(descriptor, False)

    def raise_(self) -> None:
        if self._raised or self._is_closed:
            return
        self._raised = True  # here; where a child has it too, once more does no harm
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b".")

    def lower(self) -> None:
        self._raised = False
        if self._is_closed:
            return
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 65536)

    def __bool__(self) -> bool:
        if self._is_closed:
            return self._raised
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Let go of its descriptors, whose numbers are somebody else's then; it stays what it was."""
        self._raised = bool(self)
        os.close(self.descriptor)
        os.close(self._write)
        self._is_closed = True


class Sharing:
    """All that this node shares. Calls are looked at from the first that is added until `close`."""

    def __init__(self) -> None:
        self._shared: dict[int, Shared] = {}
        """By the inode, which is the same for every descriptor of a socket, in every process."""
        self._undo: list[Callable[[], None]] = []

    def add(self, sockets: Iterable[socket.socket]) -> None:
        """Let nothing be changed for others in these; they stay the caller's."""
        for listening in sockets:
            if listening.type == socket.SOCK_STREAM:
                os.set_blocking(listening.fileno(), False)
                self._shared.setdefault(os.fstat(listening.fileno()).st_ino, Shared())
        if self._shared and not self._undo:
            self._install()

    def remove(self, sockets: Iterable[socket.socket]) -> None:
        """Forget sockets that are about to be closed here."""
        for listening in sockets:
            if listening.fileno() >= 0 and (shared := self._shared.pop(os.fstat(listening.fileno()).st_ino, None)):
                shared.close()

    def find(self, descriptor: Any) -> Shared | None:
        """Find what a descriptor, or something that has one, is shared as; None where it is nobody else's."""
        try:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            status = os.fstat(number)
        except (OSError, AttributeError, TypeError, ValueError, OverflowError):
            return None
        return self._shared.get(status.st_ino) if stat.S_ISSOCK(status.st_mode) else None

    def close(self) -> None:
        """Look at calls no more."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        for shared in self._shared.values():
            shared.close()
        self._shared.clear()

    def _install(self) -> None:
        for name in ("setblocking", "settimeout", "shutdown", "listen", "setsockopt"):
            before = getattr(socket.socket, name)
            self._undo.append(replace(socket.socket, name, getattr(self, f"_{name}")(before)))
        for module, name in ((os, "set_blocking"), (fcntl, "fcntl"), (fcntl, "ioctl")):
            self._undo.append(replace(module, name, getattr(self, f"_{name}")(getattr(module, name))))

    def _setblocking(self, before: Callable[..., None]) -> Callable[..., None]:
        def setblocking(sock: socket.socket, flag: Any, /) -> None:
            if flag and self.find(sock):
                _block(sock)
            else:
                before(sock, flag)

        return setblocking

    def _settimeout(self, before: Callable[..., None]) -> Callable[..., None]:
        def settimeout(sock: socket.socket, value: Any, /) -> None:
            if value is None and self.find(sock):
                _block(sock)
            else:
                before(sock, value)

        return settimeout

    def _shutdown(self, before: Callable[..., None]) -> Callable[..., None]:
        def shutdown(sock: socket.socket, how: int, /) -> None:
            if (shared := self.find(sock)) is None:
                before(sock, how)
            elif how in (socket.SHUT_RD, socket.SHUT_RDWR):
                shared.shut.raise_()

        return shutdown

    def _listen(self, before: Callable[..., None]) -> Callable[..., None]:
        def listen(sock: socket.socket, *backlog: int) -> None:
            if self.find(sock) is None:
                before(sock, *backlog)

        return listen

    def _setsockopt(self, before: Callable[..., None]) -> Callable[..., None]:
        def setsockopt(sock: socket.socket, level: int, name: int, *value: Any) -> None:
            if (shared := self.find(sock)) is None:
                before(sock, level, name, *value)
            else:
                shared.options[level, name] = value

        return setsockopt

    def _set_blocking(self, before: Callable[[int, bool], None]) -> Callable[[int, bool], None]:
        @functools.wraps(before)
        def set_blocking(fd: int, blocking: bool, /) -> None:
            if not (blocking and self.find(fd)):
                before(fd, blocking)

        return set_blocking

    def _fcntl(self, before: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(before)
        def changed(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
            return 0 if cmd == fcntl.F_SETFL and self.find(fd) else before(fd, cmd, arg)

        return changed

    def _ioctl(self, before: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(before)
        def changed(fd: Any, request: int, *arguments: Any) -> Any:
            return 0 if request in _CHANGE_FLAGS and self.find(fd) else before(fd, request, *arguments)

        return changed


def replace(holder: Any, name: str, value: Any) -> Callable[[], None]:
    """Put something in the place of an attribute; the function that is returned takes that back."""
    inherited = name not in vars(holder)
    before = getattr(holder, name)
    setattr(holder, name, value)

    def undo() -> None:
        if inherited:
            delattr(holder, name)
        else:
            setattr(holder, name, before)

    return undo


def _block(sock: socket.socket) -> None:
    """Make the object one that waits for ever, and leave the description alone: ``settimeout`` would change both."""
    default = socket.getdefaulttimeout()
    if default is not None:
        socket.setdefaulttimeout(None)
    try:
        _socket.socket.__init__(sock, sock.family, sock.type, sock.proto, sock.fileno())
    finally:
        if default is not None:
            socket.setdefaulttimeout(default)


def _find_nothing(timeout: float | None) -> None:
    """Do what `accept` does where nobody connects."""
    if timeout == 0:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    select.poll().poll(None if timeout is None else timeout * 1000)
    raise TimeoutError("timed out")
