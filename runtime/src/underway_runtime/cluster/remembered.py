"""What was deployed from here: so that ``deploy --stop`` stops that where nobody says hosts.

One file, with a fleet for each directory of the hosts that was deployed to; the same host may be in several of them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ..release.directory import VarDirectory
from ..release.errors import UnderwayError
from ..release.filesystem import atomic_files, openat
from .inventory import Fleet, Host, from_table, together


def recall(var: VarDirectory) -> list[Fleet]:
    """Return the hosts on which nodes were started from here, and not stopped again: the last first, the one with the master before
    all. Raises UnderwayError where that can't be read."""
    file = var.deployed
    try:
        if (other := openat.of_others(var.path, file.parent)) is not None:
            path, uid = other
            who = openat.user(uid)
            raise UnderwayError(
                f"it is in {path}, which belongs to {who}, who would say where you log in and what is run there; as {who} it is"
                " believed, or with a RELEASE_VAR of your own"
            )
        document = json.loads(openat.read(var.path, file, of_owner=True))
        fleets = [from_table(table) for table in document.pop("deployed", None) or [document]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, UnderwayError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnderwayError(
            f"{file}, which says where nodes were started, can't be read: {reason}; name the hosts"
        ) from None
    fleets = [fleet for fleet in fleets if fleet.hosts]
    return sorted(fleets, key=lambda fleet: all(host.role == "worker" for host in fleet.hosts))


def remember(var: VarDirectory, fleet: Fleet) -> None:
    """Remember what is to be started on these hosts, next to what is known already. Raises OSError."""
    with _changing(var):
        known: list[Fleet] = []
        with suppress(UnderwayError):
            known = _without(recall(var), fleet.directory, fleet.hosts)
        for other in known:
            hosts = (*other.hosts, *fleet.hosts)
            if other.directory == fleet.directory and not together(hosts):
                known.remove(other)
                fleet = replace(fleet, hosts=hosts)
                break
        _write(var, [fleet, *known])


def forget(var: VarDirectory, directory: str | None, hosts: Iterable[Host]) -> None:
    """Forget these hosts, in whose directory nothing runs any more. Raises OSError."""
    if not os.path.lexists(var.deployed):
        return
    with _changing(var), suppress(UnderwayError):
        if known := recall(var):
            _write(var, _without(known, directory, hosts))


@contextmanager
def _changing(var: VarDirectory) -> Iterator[None]:
    """Keep out who else changes what is known, for as long as it takes to read it and write it again: no other user can open the lock."""
    lock = var.deployed_lock
    with openat.made(lock.parent) as directory:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(lock.name, flags, 0o600, dir_fd=directory.descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _without(fleets: list[Fleet], directory: str | None, hosts: Iterable[Host]) -> list[Fleet]:
    gone = {*map(_node, hosts)}
    return [
        fleet
        if fleet.directory != directory
        else replace(fleet, hosts=tuple(host for host in fleet.hosts if _node(host) not in gone))
        for fleet in fleets
    ]


def _node(host: Host) -> tuple[str, str | None, str, str | None, int | None]:
    """What makes it another node, or another place: a home is of a user."""
    return host.host, host.name, host.role, host.user, host.port


def _write(var: VarDirectory, fleets: Iterable[Fleet]) -> None:
    tables = [
        {
            "hosts": [_table(host) for host in fleet.hosts],
            **({"directory": fleet.directory} if fleet.directory else {}),
        }
        for fleet in fleets
        if fleet.hosts
    ]
    atomic_files.replace(var.deployed, json.dumps({"deployed": tables}, indent=1) + "\n", 0o600)


def _table(host: Host) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in vars(host).items()
        if value is not None
    }
