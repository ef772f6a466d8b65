"""What was deployed from here: so that ``deploy --stop`` stops that where nobody says hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..release.directory import VarDirectory
from ..release.errors import UnderwayError
from ..release.filesystem import atomic_files, openat
from .inventory import Fleet, Host, from_table


def recall(var: VarDirectory) -> Fleet:
    """Return the hosts on which nodes were started from here, and not stopped again. Raises UnderwayError where that can't be read."""
    file = var.deployed
    try:
        if (other := openat.of_others(var.path, file.parent)) is not None:
            path, uid = other
            who = openat.user(uid)
            raise UnderwayError(
                f"it is in {path}, which belongs to {who}, who would say where you log in and what is run there; as {who} it is"
                " believed, or with a RELEASE_VAR of your own"
            )
        return from_table(json.loads(openat.read(var.path, file, of_owner=True)))
    except FileNotFoundError:
        return Fleet()
    except (OSError, ValueError, RecursionError, UnderwayError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UnderwayError(
            f"{file}, which says where nodes were started, can't be read: {reason}; name the hosts"
        ) from None


def remember(var: VarDirectory, fleet: Fleet) -> None:
    """Remember what is to be started on these hosts, next to what is known already. Raises OSError."""
    known = Fleet()
    with suppress(UnderwayError):
        known = recall(var)
    others = [host for host in known.hosts if known.directory == fleet.directory and not _among(host, fleet.hosts)]
    _write(var, replace(fleet, hosts=(*others, *fleet.hosts)))


def forget(var: VarDirectory, hosts: Iterable[Host]) -> None:
    """Forget these hosts, on which nothing runs any more. Raises OSError."""
    with suppress(UnderwayError):
        known = recall(var)
        if known.hosts:
            _write(var, replace(known, hosts=tuple(host for host in known.hosts if not _among(host, [*hosts]))))


def _among(host: Host, others: Iterable[Host]) -> bool:
    return any((host.host, host.name, host.role) == (other.host, other.name, other.role) for other in others)


def _write(var: VarDirectory, fleet: Fleet) -> None:
    hosts: list[dict[str, Any]] = [
        {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(host).items()
            if value is not None
        }
        for host in fleet.hosts
    ]
    table = {"hosts": hosts, **({"directory": fleet.directory} if fleet.directory else {})}
    file = var.deployed
    with openat.made(file.parent):
        pass
    atomic_files.replace(file, json.dumps(table, indent=1) + "\n", 0o600)
