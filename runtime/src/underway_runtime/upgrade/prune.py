"""prune: of the versions that neither run nor boot, all but the last few are removed.

==================================================  =================================================================
a version                                           stays
==================================================  =================================================================
boots, or runs, or the node was started from it     always
is what `rollback` would go to                      always
was unpacked and never installed                    always: it is to come
is old, or was unpacked and has failed              while it is one of the last `keep` of these, by when it became so
holds what the keeper runs from                     until that is started again; it is named
==================================================  =================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..release import ledger as ledgers
from ..release.ledger import Ledger, StateRefused
from .handler import Handler, check_owner
from .remove import RemoveResult, remove


@dataclass(frozen=True)
class PruneResult:
    """What was removed, and what stays."""

    removed: tuple[RemoveResult, ...]
    stays: Mapping[str, str]
    """By version, why."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``prune --json`` prints it."""
        return {
            "removed": [removed.as_json() for removed in self.removed],
            "kept": [{"version": version, "why": why} for version, why in self.stays.items()],
        }


def prune(handler: Handler, keep: int, *, dry_run: bool = False) -> PruneResult:
    """Remove all that the table does not keep, one after the other, each as `remove` does.

    Raises what `remove` raises but StateRefused, which is why a version stays; those that were removed before it stay removed.
    """
    check_owner(handler.directory)
    running = handler.running_version()
    ledger = ledgers.with_running(ledgers.read(handler.directory, handler.var), running)
    removed, stays = [], {version: why for version in ledger if (why := _stays(ledger, version, handler))}
    for number, version in enumerate(reversed([name for name in ledger if name not in stays])):
        if number < keep:
            stays[version] = f"one of the last {keep}" if keep > 1 else "the last one"
            continue
        try:
            removed.append(remove(handler, version, dry_run=dry_run))
        except StateRefused as error:
            stays[version] = str(error)
    return PruneResult(tuple(removed), {version: stays[version] for version in ledger if version in stays})


def _stays(ledger: Ledger, version: str, handler: Handler) -> str:
    """Why a version stays whatever is to be kept; "" where nothing says so."""
    record = ledger[version]
    if record.state == "permanent":
        return "it boots"
    if record.state == "current":
        return "it runs"
    if version == handler.started_as():
        return "the node was started from it"
    if version == handler.own_version:
        return "this command runs from it"
    if version == ledgers.previous(ledger):
        return "`rollback` goes to it"
    return "" if record.state == "old" or record.failed else "it was never installed"
