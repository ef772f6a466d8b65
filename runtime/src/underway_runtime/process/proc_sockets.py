"""Where processes listen, as the system says in ``/proc``; nothing where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from ..release.addresses import join
from .process_table import children

_LISTENING = "0A"
_OPEN = ("01", "04", "05", "08")
"""Established, or closed by one side."""
_ACCEPTS = 0x10000
_OF_GATES = "unix:///proc/self/fd/"
"""See `listen.short`: nobody else has sockets of such a name."""

_OF_POOLS = "/pymp-"
"""In each socket file by which processes of `multiprocessing` speak with each other."""


def not_handed_over(keeper: int, node: int) -> list[str]:
    """Where a node and its children listen with sockets that its keeper does not hold, but for those of its gates and pools."""
    of_keeper = listening(keeper)
    addresses: dict[int, str] = {}
    for pid in (node, *children(node)):
        addresses |= listening(pid)
    return sorted(
        {
            address
            for inode, address in addresses.items()
            if inode not in of_keeper and not address.startswith(_OF_GATES) and _OF_POOLS not in address
        }
    )


def connected(pids: Iterable[int], ports: Collection[int]) -> int:
    """Count how many connections to these ports, of TCP, the processes have open."""
    if not ports:
        return 0
    ours: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    ours.add(os.stat(entry.path).st_ino)
    rows = [fields for file in ("tcp", "tcp6") for fields in table(os.getpid(), file, 10)]
    return sum(
        fields[3] in _OPEN and int(fields[1].rpartition(":")[2], 16) in ports and int(fields[9]) in ours
        for fields in rows
    )


def listening(pid: int) -> dict[int, str]:
    """Where a process listens, as in ``tcp://127.0.0.1:8000`` or ``unix:///run/chat.sock``, by the inode of the socket."""
    ours = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                ours.add(os.stat(entry.path).st_ino)  # as lsof does: links to socket:[INODE]
    addresses = {}
    for file, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for fields in table(pid, file, 10):
            if fields[3] == _LISTENING and int(fields[9]) in ours:
                addresses[int(fields[9])] = address(fields[1], family)
    for fields in table(pid, "unix", 7):
        if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS and int(fields[6]) in ours:
            addresses[int(fields[6])] = f"unix://{fields[7]}"
    return addresses


def watched(pids: Iterable[int]) -> set[int]:
    """Return the inodes that processes wait for in an epoll; a loop has its sockets there, whoever wrote it."""
    inodes: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    if os.readlink(entry.path) == "anon_inode:[eventpoll]":
                        lines = Path(f"/proc/{pid}/fdinfo", entry.name).read_text().splitlines()
                        inodes |= {int(line.split(" ino:")[1].split()[0], 16) for line in lines if " ino:" in line}
    return inodes


def is_bound(path: Path) -> bool:
    """Return whether a socket of some process has this file; False where the system does not tell."""
    return any(len(fields) == 8 and fields[7] == str(path) for fields in table(os.getpid(), "unix", 7))


def table(pid: int, file: str, columns: int) -> list[list[str]]:
    """The rows of a table in ``/proc/PID/net``, cut into so many columns and the rest."""
    with contextlib.suppress(OSError):
        text = os.fsdecode(Path(f"/proc/{pid}/net", file).read_bytes())
        return [line.split(maxsplit=columns) for line in text.splitlines()[1:]]
    return []


def address(local: str, family: socket.AddressFamily) -> str:
    """``0100007F:1F40`` as ``tcp://127.0.0.1:8000``; words are in the machine's order."""
    host, _, port = local.partition(":")
    words = bytes.fromhex(host)
    packed = b"".join(int.from_bytes(words[i : i + 4]).to_bytes(4, sys.byteorder) for i in range(0, len(words), 4))
    name = socket.inet_ntop(family, packed)
    return f"tcp://{join(name, int(port, 16))}"
