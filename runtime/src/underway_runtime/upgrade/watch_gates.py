"""The watch over a version that has just been installed: its gates are tried again, where it serves.

====================================  =================================================================================
what happens                          what follows
====================================  =================================================================================
its gates hold, for as long as they   nothing; it may be committed
soak
one does not                          the version before takes over again, from a fresh interpreter; marked as failed, 4
its process ends                      the keeper starts the permanent version; marked as failed, 4
somebody stops it                     nothing runs, which is said; not marked, 1
somebody restarts it, or has another  that one runs; not marked, 4
take over
====================================  =================================================================================
"""

from __future__ import annotations

from contextlib import closing

from ..control import answers
from ..control.client.client import Connection, Place, connect
from ..control.client.handover_request import hand_over, next_node
from ..process import upgrade_journal
from ..release import ledger as ledgers
from ..release.errors import UnderwayError, UndoneError
from .handler import Handler, changing, mark_failed
from .install import InstallResult


def watch(handler: Handler, place: Place, installed: InstallResult) -> None:
    """Watch what `install` has installed. Raises UndoneError, and BusyError where there is to be another version meanwhile."""
    version, before = installed.version, installed.before
    with closing(connect(place)) as connection:
        try:
            missed = _missed(connection, version)
        except UnderwayError as error:
            raise _after_the_end(handler, place, installed, connection, error) from None
    if not missed:
        return
    why = "; ".join(missed)
    with changing(handler, f"upgrade {version}", dry_run=False):
        _note_failed(handler, installed, why)
        hand_over(place, before, installed.id, 0)
    raise UndoneError(f"{version} has failed, and {before} has taken over again", why)


def _after_the_end(
    handler: Handler, place: Place, installed: InstallResult, ended: Connection, error: UnderwayError
) -> UnderwayError:
    """What to say of a node that is gone: its keeper has written down whether that is a fault of the version."""
    version = installed.version
    try:
        with closing(next_node(place, ended)) as following:
            runs = following.status()["version"]
    except UnderwayError:
        runs = None
    with changing(handler, f"upgrade {version}", dry_run=False):
        known = ledgers.read(handler.directory, handler.var)
        if version in known and known[version].failed:
            why = f"it ended after it had taken over: {error}"
            _note_failed(handler, installed, why)
            return UndoneError(f"{version} has failed, and the permanent version is started", why)
    if runs is not None:
        return UndoneError(
            f"{version} is not committed, and {runs} runs", f"its node was replaced meanwhile: {error}", blamed=False
        )
    return UnderwayError(
        f"{version} was stopped before its gates had held, and is not committed: nothing runs now, and"
        f" {ledgers.permanent(known)} boots next"
    )


def _note_failed(handler: Handler, installed: InstallResult, why: str) -> None:
    mark_failed(handler, installed.version, why)
    upgrade_journal.note(
        handler.var.upgrades,
        "soak",
        "failed",
        installed.id,
        version=installed.version,
        before=installed.before,
        reason=why,
    )


def _missed(connection: Connection, version: str) -> list[str]:
    """The gates that do not hold. Raises UnderwayError when the node has gone, or is another."""
    if (runs := connection.status()["version"]) != version:
        raise UnderwayError(f"{runs} runs")
    tried = answers.gates(connection.ask({"do": "gates"})["gates"])
    return [f"{gate['gate']}: {'; '.join(gate['attempts'])}" for gate in tried if not gate["passed"]]
