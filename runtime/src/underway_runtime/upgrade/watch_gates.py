"""The watch over a version that has just been installed: its gates are tried again, where it serves.

====================================  =================================================================================
what happens                          what follows
====================================  =================================================================================
its gates hold, for as long as they   nothing; it may be committed
soak
one does not                          the version before takes over again, from a fresh interpreter; marked as failed, 4
its process ends                      the keeper starts the permanent version; marked as failed, 4
the same, and its loop is blocked,    it runs on, and is not committed; marked as failed, 1
so nobody can take over
somebody stops it                     nothing runs, which is said; not marked, 1
somebody restarts it, or has another  that one runs; not marked, 4
take over
====================================  =================================================================================
"""

from __future__ import annotations

from contextlib import closing

from ..control import answers
from ..control.client.client import Connection, Denied, Place, connect
from ..control.client.handover_request import hand_over
from ..process import upgrade_journal
from ..release import ledger
from ..release.errors import UnderwayError, UndoneError
from .handler import Handler, changing, marked, remember
from .install import InstallResult, after_the_end


def watch(handler: Handler, place: Place, installed: InstallResult) -> None:
    """Watch what `install` has installed. Raises UndoneError, and BusyError where there is to be another version meanwhile."""
    version, before = installed.version, installed.before
    with closing(connect(place)) as connection:
        try:
            missed = _missed(connection, version)
        except UnderwayError as error:
            with changing(handler, f"upgrade {version}", dry_run=False):
                ended = after_the_end(handler, place, version, connection, error)
                if isinstance(ended, UndoneError) and ended.blamed:
                    _note_failed(handler, installed, ended.reason)
            raise ended from None
    if not missed:
        return
    why = "; ".join(missed)
    with changing(handler, f"upgrade {version}", dry_run=False):
        _note_failed(handler, installed, why)
        try:
            hand_over(place, before, installed.id, 0)
        except Denied as error:
            raise UnderwayError(
                f"{version} has failed, runs on and is not committed, for {before} can't take over: {error}\n`{place.prog} restart` ends"
                f" it and starts what is permanent; it has failed because of this: {why}"
            ) from None
    raise UndoneError(f"{version} has failed, and {before} has taken over again", why)


def _note_failed(handler: Handler, installed: InstallResult, why: str) -> None:
    remember(handler, marked(ledger.read(handler.directory, handler.var), installed.version, why))
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
    """The gates that do not hold. Raises UnderwayError when the node has gone, or has been replaced."""
    if (runs := connection.status()["version"]) != version:
        raise UnderwayError(f"{runs} runs")
    try:
        tried = answers.gates(connection.ask({"do": "gates"})["gates"])
    except Denied as error:  # its loop does not even begin with them
        return [str(error)]
    return [f"{gate['gate']}: {'; '.join(gate['attempts'])}" for gate in tried if not gate["passed"]]
