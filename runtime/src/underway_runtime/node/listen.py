"""Listening sockets: addresses as configured, and the sockets bound to them.

=============================  ===========================================================================
``tcp://127.0.0.1:8000``       an address and port; port 0 takes a free one
``tcp://[::1]:8000``           an IPv6 address
``tcp://localhost:8000``       every address that the name has
``unix:///run/chat.sock``      a socket file; who may connect follows from the umask, as for any file
=============================  ===========================================================================
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..release.errors import BootError, listing


@dataclass(frozen=True)
class Listeners:
    """Sockets bound by this process, and the socket files that came with them."""

    sockets: tuple[socket.socket, ...]
    files: tuple[tuple[Path, tuple[int, int]], ...] = field(default=())
    """With its identity: another process may have put its own in place since."""

    @property
    def addresses(self) -> list[str]:
        """Where they are bound, in the form in which it is configured, with the ports that they got."""
        return [text(each) for each in self.sockets]

    def close(self) -> None:
        """Close the sockets and remove their files."""
        for each in self.sockets:
            each.close()
        for path, identity in self.files:
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    path.unlink()


def bind(addresses: Sequence[str]) -> Listeners:
    """Bind every address, or none: raises BootError listing those that can't be bound, each with its reason."""
    sockets: list[socket.socket] = []
    files: list[tuple[Path, tuple[int, int]]] = []
    problems = []
    for address in addresses:
        try:
            if (path := socket_file(address)) is not None:
                sockets.append(_bind_file(path))
                files.append((path, _identity(path)))
            else:
                sockets += _bind_tcp(*host_and_port(address))
        except (OSError, ValueError) as error:
            problems.append(f"{address}: {getattr(error, 'strerror', None) or error}")
    listeners = Listeners(tuple(sockets), tuple(files))
    if problems:
        listeners.close()
        raise BootError(listing("can't listen:", problems))
    return listeners


def bind_private(path: Path) -> Listeners:
    """A socket file that only this user can connect to, in the place of any that is there."""
    each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        each.setblocking(False)
        path.unlink(missing_ok=True)
        with short(path) as name:
            each.bind(name)
        path.chmod(0o600)  # nobody can connect before `listen`
    except BaseException:
        each.close()
        raise
    return Listeners((each,), ((path, _identity(path)),))


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """A name for a socket file that is not too long for the system, which takes 107 bytes."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}" if os.path.isdir("/proc/self/fd") else os.fspath(path)
    finally:
        os.close(directory)


def socket_file(address: str) -> Path | None:
    """The path in ``unix:///path``; None for another scheme. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "unix":
        return None
    if parts.netloc or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError("a socket file is unix:///its/absolute/path")
    return Path(parts.path)


def host_and_port(address: str) -> tuple[str, int]:
    """``("::1", 8000)`` for ``tcp://[::1]:8000``. Raises ValueError."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    else:
        if parts.scheme != "tcp" or parts.path or parts.query or parts.fragment or parts.username is not None:
            host = None
    if not host or port is None:
        raise ValueError("an address is tcp://HOST:PORT, as in tcp://127.0.0.1:8000, or unix:///path")
    return host, port


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    unavailable: OSError | None = None
    try:
        for family, kind, protocol, _, target in dict.fromkeys(found):
            try:
                each = socket.socket(family, kind, protocol)
                sockets.append(each)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # so that 0.0.0.0 and [::] go together
                each.setblocking(False)
                each.bind(target)
            except OSError as error:
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                unavailable = error  # localhost has an IPv6 address where the machine has no IPv6
                if sockets and sockets[-1].family == family:
                    sockets.pop().close()
        if unavailable is not None and not sockets:
            raise unavailable
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _bind_file(path: Path) -> socket.socket:
    _remove_stale(path)
    each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        each.setblocking(False)
        each.bind(os.fspath(path))
    except BaseException:
        each.close()
        raise
    return each


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ValueError("this file is there already and is no socket; remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()  # its process is gone
            return
        except BlockingIOError:
            pass  # alive, with a full backlog
    raise ValueError("another process listens there")


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns  # the number alone may be given out again at once


def text(each: socket.socket) -> str:
    """Where a socket is bound, in the form in which that is configured."""
    name = each.getsockname()
    if each.family == socket.AF_UNIX:
        return f"unix://{name}"
    host = f"[{name[0]}]" if each.family == socket.AF_INET6 else name[0]
    return f"tcp://{host}:{name[1]}"
