"""Listening sockets for services that bind by themselves.

Where a ``main`` function or a class binds to an address that its application declares in ``listen``, its socket becomes
the one that was bound for it before, and that outlives the node. In a node that takes over from another, ``listen`` in a
``main`` function waits until it may accept; a class binds when its ``accept`` is called. So it is in this process and in
children made by fork. What binds below Python, as uvloop does, is not seen here; `not_handed_over` names it.

The address must be the one that is declared: ``0.0.0.0`` stands for nothing but itself. A socket file that the service
removes first, as asyncio and gunicorn do, can't be adopted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .applications import Log
from .listen import address_of


class Adoption:
    """What was bound for such services. Binds are looked at from the first that is declared until `close`."""

    def __init__(self, log: Log, *, late: bool = False) -> None:
        """`late`: services that listen wait for `accept`."""
        self.late = late
        self._log = log
        self._declared: list[socket.socket] = []
        self._waiting: list[socket.socket] = []
        self._may_accept, self._accept = os.pipe()
        self._arrived, self._arrive = os.pipe()
        os.set_blocking(self._arrive, False)
        if not late:
            self.accept()

    def declare(self, sockets: Sequence[socket.socket], *, waits: bool) -> None:
        """Let a bind to one of these addresses have the socket; they stay the caller's to close.

        `waits`: `listen` on it waits, which nothing on the node's own loop may.
        """
        self._declared += sockets
        self._waiting += sockets if waits else ()
        if self._declared and "bind" not in vars(socket.socket):
            self._install()

    def withdraw(self, sockets: Sequence[socket.socket]) -> None:
        """Forget sockets, before they are closed."""
        self._declared = [each for each in self._declared if each not in sockets]
        self._waiting = [each for each in self._waiting if each not in sockets]

    def accept(self) -> None:
        """Let those that wait in `listen` go on, in whichever process."""
        os.write(self._accept, b".")  # and nobody reads it

    async def arrival(self) -> None:
        """Return once a service waits in `listen`, or went through it."""
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        loop.add_reader(self._arrived, arrived.set_result, None)
        try:
            await arrived
        finally:
            loop.remove_reader(self._arrived)

    def close(self) -> None:
        """Look at binds no more."""
        for each in (self._may_accept, self._accept, self._arrived, self._arrive):
            os.close(each)
        self._declared.clear()
        self._waiting.clear()
        for name in {"bind", "listen"}.intersection(vars(socket.socket)):
            delattr(socket.socket, name)  # they are inherited

    def _install(self) -> None:
        bind, listen = socket.socket.bind, socket.socket.listen

        def adopting_bind(own: socket.socket, address: Any, /) -> None:
            if (declared := self._find(own, address)) is None:
                bind(own, address)
                return
            os.dup2(declared.fileno(), own.fileno(), inheritable=False)
            own.settimeout(own.gettimeout())  # the descriptor's own mode is that of whoever had it before

        def waiting_listen(own: socket.socket, *backlog: int) -> None:
            if any(_same(own, each) for each in self._waiting):
                with contextlib.suppress(BlockingIOError):
                    os.write(self._arrive, b".")
                may_accept = select.poll()
                may_accept.register(self._may_accept, select.POLLIN)
                may_accept.poll()
            listen(own, *backlog)

        socket.socket.bind = adopting_bind  # type: ignore[method-assign, assignment]
        socket.socket.listen = waiting_listen  # type: ignore[method-assign, assignment]

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


def not_handed_over(handed_over: Iterable[socket.socket]) -> list[str]:
    """The addresses where this process listens with sockets other than these, as in ``tcp://127.0.0.1:8000``.

    Read from ``/proc``; empty where there is none.
    """
    known = {os.fstat(each.fileno()).st_ino for each in handed_over if each.fileno() >= 0}
    return sorted(address for inode, address in listening("self").items() if inode not in known)


def listening(pid: int | str) -> dict[int, str]:
    """The addresses where a process listens, by the inode of the socket; none where ``/proc`` does not say.

    Without those that are named through a descriptor, as sockets for gates are.
    """
    ours = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                ours.add(os.stat(entry.path).st_ino)  # as lsof does: links to socket:[INODE]
    found = {}
    for file, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net", file).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[9]) in ours:
                    found[int(fields[9])] = _address(fields[1], family)
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
            fields = line.split(maxsplit=7)
            if fields[3] == _LISTENING_UNIX and int(fields[6]) in ours and not fields[-1].startswith("/proc/"):
                found[int(fields[6])] = f"unix://{fields[7] if len(fields) > 7 else ''}"
    return found


_LISTENING = "0A"
_LISTENING_UNIX = "00010000"


def _address(local: str, family: socket.AddressFamily) -> str:
    """``0100007F:1F40`` as ``tcp://127.0.0.1:8000``; words are in the machine's order."""
    host, _, port = local.partition(":")
    words = bytes.fromhex(host)
    packed = b"".join(int.from_bytes(words[i : i + 4]).to_bytes(4, sys.byteorder) for i in range(0, len(words), 4))
    name = socket.inet_ntop(family, packed)
    return f"tcp://{f'[{name}]' if family == socket.AF_INET6 else name}:{int(port, 16)}"


def _same(one: socket.socket, other: socket.socket) -> bool:
    """Whether two descriptors are of the same socket."""
    return other.fileno() >= 0 and os.path.sameopenfile(one.fileno(), other.fileno())
