"""Listening sockets: the keeper binds and holds them; ``release/addresses.py`` says how they are configured."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from ..frozen import Frozen
from ..release.addresses import host_and_port, join, short_path, socket_file
from ..release.errors import BootError, listing

Ask: TypeAlias = Callable[[Sequence[str]], "Sequence[socket.socket | str]"]
"""Asks the keeper for sockets; for each there is one, or what was the matter. See ``release/channel``."""

_UNAVAILABLE = "unavailable "


class Listeners(Frozen):
    """The node's descriptors of sockets that listen."""

    sockets: tuple[socket.socket, ...]
    addresses: tuple[str, ...] = ()
    """Where they are bound, in the form in which it is configured, with the ports that they got."""
    release: Callable[[], None] = lambda: None
    """Tells the keeper that the node does without them."""

    @property
    def shared(self) -> Listeners:
        """The same, of which `close` does not tell the keeper: another node has them as well."""
        return Listeners(self.sockets, self.addresses)

    def close(self) -> None:
        """Close the sockets; so does the keeper, unless another node is to follow."""
        for listening in self.sockets:
            listening.close()
        self.release()


def bind(addresses: Sequence[str], ask: Ask, release: Callable[[Sequence[str]], None]) -> Listeners:
    """Have every address, or none: raises BootError listing those that can't be bound, each with its reason."""
    sockets: list[socket.socket] = []
    names: list[str] = []
    asked: list[str] = []
    problems: list[str] = []
    for address in addresses:
        try:
            wanted = _wanted(address)
        except (OSError, ValueError) as error:
            problems.append(f"{address}: {getattr(error, 'strerror', None) or error}")
            continue
        outcomes = ask(wanted)
        for text, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, socket.socket):
                sockets.append(outcome)
                asked.append(text)
                names.append(_shown(address) if outcome.family == socket.AF_UNIX else address_of(outcome))
        reasons = [result for result in outcomes if isinstance(result, str)]
        fatal = [reason for reason in reasons if not reason.startswith(_UNAVAILABLE)]
        if fatal or len(reasons) == len(outcomes):  # localhost may have an IPv6 address where the machine has no IPv6
            problems.append(f"{address}: {(fatal or reasons)[0].partition(' ')[2]}")

    def let_go() -> None:
        release(tuple(asked))
        asked.clear()  # another time it could be the socket of another

    listeners = Listeners(tuple(sockets), tuple(names), let_go)
    if problems:
        listeners.close()
        raise BootError(listing("can't listen:", problems))
    return listeners


def bind_private(path: Path) -> Listeners:
    """Make a socket file that only this user can connect to, in the place of any that is there; no keeper holds it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        path.unlink(missing_ok=True)
        with short_path(path) as name:
            listener.bind(name)
        path.chmod(0o600)  # nobody can connect before `listen`
    except BaseException:
        listener.close()
        raise
    made = _identity(path)

    def remove() -> None:
        with contextlib.suppress(OSError):
            if _identity(path) == made:  # another node may have put its own in place since
                path.unlink()

    return Listeners((listener,), (f"unix://{path}",), remove)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns  # the number alone may be given out again at once


def _wanted(address: str) -> list[str]:
    """What the keeper is asked for. Raises OSError when a name is not known, and ValueError."""
    if (file := socket_file(address)) is not None:
        group = "" if (gid := file.gid()) is None else f":{gid}"
        return [f"unix {file.mode:o}{group} {file.path}"]
    host, port = host_and_port(address)
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets = dict.fromkeys((family, target) for family, _, _, _, target in rows)
    return [f"tcp{6 if family == socket.AF_INET6 else 4} {' '.join(map(str, target))}" for family, target in targets]


def _shown(address: str) -> str:
    """A socket file with who may connect to it."""
    file = socket_file(address)
    assert file is not None
    mode = file.mode
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(file.path.lstat().st_mode)  # that of a unit of systemd's is its own
    return f"{file.address} (mode {mode:04o}{f', group {file.group}' if file.group else ''})"


def address_of(listener: socket.socket) -> str:
    """Where a socket is bound, in the form in which that is configured."""
    name = listener.getsockname()
    return f"tcp://{join(name[0], name[1])}"
