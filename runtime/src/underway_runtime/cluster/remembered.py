"""What was deployed from here: so that ``deploy --stop`` stops that where nobody says hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..release.directory import VarDirectory
from ..release.errors import UnderwayError
from ..release.filesystem import atomic_files
from .inventory import Fleet, Host, from_table


def recall(var: VarDirectory) -> Fleet:
    """Return the hosts on which nodes were started from here, and not stopped again. Raises UnderwayError where that can't be read."""
    file = var.deployed
    try:
        return from_table(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Fleet()
    except (OSError, ValueError, UnderwayError) as error:
        raise UnderwayError(
            f"{file}, which says where nodes were started, can't be read: {error}; name the hosts"
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
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.replace(file, json.dumps(table, indent=1) + "\n", 0o600)
