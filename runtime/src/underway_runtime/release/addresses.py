"""Addresses to listen on, as they are configured: read the same at the build, by `check` and at the boot.

================================================  ===================================================================
``tcp://127.0.0.1:8000``                          an address and port; port 0 takes a free one
``tcp://[::1]:8000``                              an IPv6 address
``tcp://localhost:8000``                          every address that the name has
``unix:///run/chat.sock``                         a socket file that every user may connect to: its mode is 0666
``unix:///run/chat.sock?mode=0660&group=www-data``  one with another mode, and of another group, by name or number
================================================  ===================================================================
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from ..frozen import Frozen
from .filesystem.descriptors import path_of

SOCKET_MODE = 0o666
"""As uvicorn gives it: who may reach the file may connect. The directory, or ``mode``, says otherwise."""

_HIGHEST_PORT = 65535
# A text, which `re` compiles when it is first used.
_HOST_AND_PORT = (
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]+)?\])(:(?P<port>[0-9]{1,5}))?"
)


class SocketFile(Frozen):
    """Where a socket file is, and who may connect to it."""

    path: Path
    mode: int = SOCKET_MODE
    group: str = ""
    """A name or a number; that of the process that binds where it is empty."""

    @property
    def address(self) -> str:
        """Without what says who may."""
        return f"unix://{self.path}"

    def gid(self) -> int | None:
        """The number of the group; None for that of the process. Raises ValueError."""
        if not self.group:
            return None
        if self.group.isdecimal():
            return int(self.group)
        import grp

        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError:
            raise ValueError(f"there is no group {self.group!r} on this host") from None


def socket_file(address: str) -> SocketFile | None:
    """What ``unix:///path?mode=0660&group=www-data`` says; None for another scheme. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme != "unix":
        return None
    if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/") or "#" in address:
        raise ValueError("a socket file is unix:///its/absolute/path, with ?mode=0660&group=NAME where that matters")
    mode, group = SOCKET_MODE, ""
    seen: set[str] = set()
    for key, value in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)):
        if key in seen or key not in ("mode", "group"):
            raise ValueError(f"a socket file has a `mode` and a `group`, each once at most; look at {key!r}")
        seen.add(key)
        if key == "mode" and not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError(f"the mode of a socket file is three octal digits, as in mode=0660, not {value!r}")
        if key == "group" and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", value):
            raise ValueError(f"the group of a socket file is a name or a number, not {value!r}")
        mode, group = (int(value, 8), group) if key == "mode" else (mode, value)
    return SocketFile(Path(parts.path), mode, group)


def host_and_port(address: str) -> tuple[str, int]:
    """``("::1", 8000)`` for ``tcp://[::1]:8000``. Raises ValueError."""
    if not address.startswith("tcp://"):
        raise ValueError("an address is tcp://HOST:PORT, as in tcp://127.0.0.1:8000, or unix:///path")
    return split(address.removeprefix("tcp://"))


def split(text: str, port: int | None = None) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, or of ``HOST`` where `port` says the other; an IPv6 address is in brackets, and comes without.

    Raises ValueError for anything else: what follows the port, a user, a port that there is not.

    >>> split("[::1]:8000"), split("alpha", 8786)
    (('::1', 8000), ('alpha', 8786))
    """
    match = re.fullmatch(_HOST_AND_PORT, text)
    if match is None or not (match["port"] or port is not None):
        raise ValueError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8000 or [::1]:8000")
    number = int(match["port"]) if match["port"] else port or 0
    if number > _HIGHEST_PORT:
        raise ValueError(f"{text!r} has no port; the highest is {_HIGHEST_PORT}")
    return unbracketed(match["host"]), number


def join(host: str, port: int) -> str:
    """Return ``HOST:PORT``, an IPv6 address in brackets.

    >>> join("::1", 8786), join("alpha", 8786)
    ('[::1]:8786', 'alpha:8786')
    """
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def unbracketed(host: str) -> str:
    """A host as the system and SSH take it."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a socket file a name that is not too long for the system, which takes 107 bytes."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{path_of(directory, os.fspath(path.parent))}/{path.name}"
    finally:
        os.close(directory)


def hang_up(connection: socket.socket | None) -> None:
    """End a connection for its other side, who may wait for that: a child that was forked meanwhile has it open too, and
    closing it here would change nothing there. It is still to be closed."""
    with contextlib.suppress(OSError):  # it has ended, or was never made
        if connection is not None:
            with socket.socket(fileno=os.dup(connection.fileno())) as same:  # what uvloop shows of one refuses to do it
                same.shutdown(socket.SHUT_RDWR)


def problem_of(address: str) -> str:
    """Why this is not an address to listen on; empty where it is one."""
    try:
        if socket_file(address) is None:
            host_and_port(address)
    except ValueError as error:
        return str(error)
    return ""
