"""The processes of a release that runs in several, asked one after the other."""

from __future__ import annotations

import contextlib

from ...release.errors import UnderwayError
from .client import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .client import Place

_PATIENCE = 2.0
"""Seconds for each: who is started again, or hangs, must not keep others from being shown."""


def rows(place: Place, first: dict[str, Any]) -> list[dict[str, Any]]:
    """What each of them says of itself, `first` being the status of the first: a row each, in which ``state`` is ``not there`` of one
    that does not answer. None where the release runs in one."""
    if (process := first.get("process")) is None:
        return []
    return [_row(1, first), *(_row(number, _asked(place, number)) for number in range(2, process["of"] + 1))]


def memory_of(rows: list[dict[str, Any]]) -> int:
    """Bytes of all of them together."""
    return sum(row["memory"] or 0 for row in rows)


def _asked(place: Place, number: int) -> dict[str, Any] | None:
    asked = place.of_process(number)
    with contextlib.suppress(UnderwayError), contextlib.closing(connect(asked, _PATIENCE)) as connection:
        return connection.status()
    return None


def _row(number: int, status: dict[str, Any] | None) -> dict[str, Any]:
    if status is None:
        nothing = dict.fromkeys(("pid", "version", "release_id", "uptime", "memory", "clients"))
        return {"number": number, "state": "not there", **nothing}
    shown = {key: status[key] for key in ("state", "pid", "version", "release_id", "uptime", "memory")}
    return {"number": number, **shown, "clients": (status.get("process") or {}).get("clients")}
