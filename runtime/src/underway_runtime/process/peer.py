"""Who is at the other end of a unix socket, as the system says. Imports little: commands that ask a node use it."""

from __future__ import annotations

import _socket  # `socket` makes enumerations of all numbers first

_SO_PEERGROUPS = 59


def credentials(connected: _socket.socket) -> tuple[int, int, int] | None:
    """Return pid, uid and gid of the process at the other end; None where the system does not tell."""
    if not hasattr(_socket, "SO_PEERCRED"):
        return None
    pid, uid, gid = _numbers(connected.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
    return pid, uid, gid


def groups(connected: _socket.socket) -> tuple[int, ...]:
    """Return the other groups of that process; none where the system does not tell."""
    try:
        data = connected.getsockopt(_socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return _numbers(data)


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(memoryview(data).cast("I"))  # as `struct` would, which is not imported for it
