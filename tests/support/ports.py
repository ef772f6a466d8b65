"""TCP ports for services under test, each given to one test alone.

Who asks the system for a free port, and lets go of it so that a service may bind it, can lose it in between: to another test, which is
given the same, or to whatever connects meanwhile. So these are not among those that the system gives out, and each is locked, by an
abstract socket of its number, against all processes of tests on this machine.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

_LOWEST = 10_000
_locks: list[int] = []
"""Descriptors of what locks the ports of this process, until it ends."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else is given while this process lives."""
    return next(port for port in _others_than_the_system_s() if _is_taken(port))


def free_ports(count: int) -> list[int]:
    """Several."""
    return [free_port() for _ in range(count)]


def _others_than_the_system_s() -> Iterator[int]:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [*range(_LOWEST, lowest), *range(highest + 1, 1 << 16)]
    SystemRandom().shuffle(ports)
    yield from ports
    raise AssertionError("no port is free")


def _is_taken(port: int) -> bool:
    """Take it, if it is free; whether it was."""
    with socket.socket(socket.AF_UNIX) as lock, socket.socket() as probe:
        try:
            lock.bind(f"\0a port of underway's tests: {port}")
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        _locks.append(lock.detach())
    return True
