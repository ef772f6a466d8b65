"""install: the node becomes another version, which is current until it is committed; by handover, but see `change`.

=========================================  ============================================================================
what happens                               what follows
=========================================  ============================================================================
it does not boot, or pass its gates, or    it is killed, the old one was never stopped; marked as failed, 4
is not ready in time
it accepts, and is gone before it has      the keeper starts the permanent version; marked as failed, 4
said so itself
it says that it runs, and the old one      0
has left
=========================================  ============================================================================
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ..node import events
from ..node.control.client import Place
from ..release import ledger as ledgers
from ..release.errors import UndoneError
from .change import change
from .handler import Handler, changing, mark_failed, settle


def install(
    handler: Handler, place: Place, version: str, *, again: bool = False, to_commit: float = 0
) -> dict[str, Any]:
    """Have a version take over from the one that runs. Without a commit in `to_commit` seconds the permanent one does, unless
    that is 0.

    Raises StateRefused before anything happens, BusyError, and UndoneError.
    """
    with changing(handler, f"install {version}", dry_run=False):
        running = handler.running_version()
        known = settle(handler)
        states = ledgers.with_running(known, running)
        installed = ledgers.after(states, "install", version, handler.now())
        if running is None:
            raise ledgers.StateRefused(
                f"{place.name} does not run, so nothing can hand over; `RELEASE_VSN={version} {place.prog} start` tries it"
            )
        if (why := states[version].failed) and not again:
            raise ledgers.StateRefused(f"{version} has failed: {why}; --again installs it all the same")
        outcome = {"version": version, "before": running, "state": installed[version].state}
        if version == running:
            return {**outcome, "changed": False}
        if why:
            mark_failed(handler, version, None)
        identity = events.new_id()
        told = partial(
            events.note, handler.var.upgrades, "install", upgrade_id=identity, version=version, before=running
        )
        try:
            how, status = change(handler.directory, place, running, version, identity, to_commit)
        except UndoneError as error:
            mark_failed(handler, version, error.reason)
            told("undone", reason=error.reason)
            raise
        ledgers.write(handler.var, {**installed, version: replace(installed[version], failed=None)})
        told("done", how=how)
    return {**outcome, "changed": True, "how": how, "id": identity, "pid": status["pid"]}
