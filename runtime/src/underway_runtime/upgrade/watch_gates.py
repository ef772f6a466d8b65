"""The watch over a version that has just been installed: its gates are tried again, where it serves.

====================================  =================================================================================
what happens                          what follows
====================================  =================================================================================
its gates hold, for as long as they   nothing; it may be committed
soak
one does not                          the version before takes over again, from a fresh interpreter; marked as failed, 4
its process ends                      the keeper starts the permanent version; marked as failed, 4
====================================  =================================================================================
"""

from __future__ import annotations

from contextlib import closing

from ..control import answers
from ..control.client.client import Connection, Place, connect
from ..control.client.handover_request import hand_over
from ..process import upgrade_journal
from ..release.errors import UnderwayError, UndoneError
from .handler import Handler, changing, mark_failed
from .install import InstallResult


def watch(handler: Handler, place: Place, installed: InstallResult) -> None:
    """Watch what `install` has installed. Raises UndoneError, and BusyError where there is to be another version meanwhile."""
    version, before = installed.version, installed.before
    try:
        with closing(connect(place)) as connection:
            missed, ended = _missed(connection, version), False
    except UnderwayError as error:
        missed, ended = [f"it ended after it had taken over: {error}"], True
    if not missed:
        return
    why = "; ".join(missed)
    with changing(handler, f"upgrade {version}", dry_run=False):
        mark_failed(handler, version, why)
        upgrade_journal.note(
            handler.var.upgrades, "soak", "failed", installed.id, version=version, before=before, reason=why
        )
        if ended:
            raise UndoneError(f"{version} has failed, and the permanent version is started", why)
        hand_over(place, before, installed.id, 0)
    raise UndoneError(f"{version} has failed, and {before} has taken over again", why)


def _missed(connection: Connection, version: str) -> list[str]:
    """The gates that do not hold. Raises UnderwayError when the node has gone, or is another."""
    if (runs := connection.status()["version"]) != version:
        raise UnderwayError(f"{runs} runs")
    tried = answers.gates(connection.ask({"do": "gates"})["gates"])
    return [f"{gate['gate']}: {'; '.join(gate['attempts'])}" for gate in tried if not gate["passed"]]
