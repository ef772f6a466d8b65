"""install: the node becomes another version, which is current until it is committed; by handover, but see `change`.

The ledger is written before: what runs is asked of the node, so nothing has to be added when it is done, and a command that
is killed leaves nothing undone. The keeper knows the handover by an id that is in the ledger too, and notes under it why it has
replaced the version before it was committed; whoever reads the ledger next finds it marked as failed.

=========================================  ============================================================================
what happens                               what follows
=========================================  ============================================================================
it does not boot, or pass its gates, or    it is killed, the old one was never stopped; marked as failed, 4
is not ready in time
it accepts, and is gone before it has      the keeper starts the permanent version; marked as failed, 4
said so itself
it is gone later, or not committed in      the keeper starts the permanent version; marked as failed
time
the old one is gone before it accepts      it is killed, the keeper starts the permanent version; not marked, 4
the old one can't let go of what must not  it is killed, the old one goes on; not marked, 4
run twice
the service is stopped, or restarted,      nothing runs, 1, or what was started, 4; not marked
before the old one has left
one of them, or the keeper, hangs          1: not known; not marked
it says that it runs, and the old one      0
has left
=========================================  ============================================================================
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from ..control.client.client import Connection, NotRunning, Place, connect
from ..control.client.handover_request import TookOverAndEnded, next_node
from ..process import upgrade_journal
from ..release import ledger as ledgers
from ..release.errors import UnderwayError, UndoneError
from .change import ANY, Conditions, How, change
from .handler import Handler, changing, remember, settle
from .trust import Basis


@dataclass(frozen=True)
class InstallResult:
    """What an install, or an upgrade, has come to."""

    version: str
    before: str
    """The version that ran, or booted."""
    state: ledgers.State
    how: How | Literal["start"] | None = None
    """None where it ran already; start where no node runs, so that it boots at the next start."""
    is_new: bool = True
    """With start: whether another version booted before."""
    held: float = 0.0
    """Seconds for which new work had to wait."""
    old_code: tuple[str, ...] = ()
    """Frames of the version before that somebody keeps, though they have ended."""
    why: str = ""
    """Why it took a new interpreter."""
    id: str = ""
    pid: int | None = None
    basis: Basis | None = None
    """Of an archive that was unpacked on the way."""

    @property
    def changed(self) -> bool:
        """Whether anything is otherwise than before."""
        return self.how is not None and self.is_new

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``--json`` prints it."""
        result = {"version": self.version, "before": self.before, "state": self.state, "changed": self.changed}
        if self.how == "start":
            result["how"] = self.how
        elif self.how is not None:
            result |= {"how": self.how, "held": self.held, "old_code": self.old_code, "why": self.why}
            result |= {"id": self.id, "pid": self.pid}
        return result | (asdict(self.basis) if self.basis is not None else {})


def install(
    handler: Handler,
    place: Place,
    version: str,
    conditions: Conditions = ANY,
    *,
    again: bool = False,
    to_commit: float = 0,
) -> InstallResult:
    """Have a version take over from the one that runs. Without a commit in `to_commit` seconds the permanent one does, unless
    that is 0.

    Raises StateRefused before anything happens, BusyError, RestartError and UndoneError.
    """
    with changing(handler, f"install {version}", dry_run=False):
        running = handler.running_version()
        known = settle(handler)
        states = ledgers.with_running(known, running)
        installed = ledgers.after(states, "install", version, handler.now())
        if running is None:
            raise ledgers.StateRefused(
                f"{place.name} does not run, so nothing can hand over; `{place.prog} upgrade {version}` makes it the one"
                f" that boots, and `RELEASE_VSN={version} {place.prog} start` tries it"
            )
        if (why := states[version].failed) and not again:
            raise ledgers.StateRefused(f"{version} has failed: {why}; --again installs it all the same")
        result = InstallResult(version, running, installed[version].state)
        if version == running:
            return result
        upgrade_id = upgrade_journal.new_id()
        boots = installed[version].state == "permanent"
        trial = replace(installed[version], failed=None, left=None, installed=None if boots else upgrade_id)
        told = partial(
            upgrade_journal.note,
            handler.var.upgrades,
            "install",
            upgrade_id=upgrade_id,
            version=version,
            before=running,
        )
        ledgers.write(handler.var, {**installed, version: trial})
        try:
            timeout = 0 if boots else to_commit
            changed = change(handler.directory, place, running, version, upgrade_id, timeout, conditions)
        except UndoneError as undone:
            error: UnderwayError = undone
            if isinstance(undone, TookOverAndEnded):
                error = after_the_end(handler, place, version, undone.node, undone)
            blamed = isinstance(error, UndoneError) and error.blamed
            failed = undone.reason if blamed else known[version].failed
            remember(handler, {**known, version: replace(known[version], failed=failed)})
            told("undone", reason=undone.reason)
            raise error from None
        except UnderwayError:
            remember(handler, known)
            raise
        told("done", how=changed.how, why=changed.why)
    return replace(
        result,
        how=changed.how,
        held=changed.held,
        old_code=tuple(changed.old_code),
        why=changed.why,
        id=upgrade_id,
        pid=changed.status["pid"],
    )


def after_the_end(
    handler: Handler, place: Place, version: str, node: Connection | None, error: UnderwayError
) -> UnderwayError:
    """What to say of a version whose node is gone before it was committed: its keeper has written down whether that is a fault
    of the version, and what follows it runs by then. Within a transaction."""
    runs, nothing_runs = "", False
    try:
        with closing(connect(place) if node is None else next_node(place, node)) as following:
            runs = following.status()["version"]
    except NotRunning:
        nothing_runs = True
    except UnderwayError:
        runs = "another"
    known = ledgers.read(handler.directory, handler.var)
    if version in known and known[version].failed:
        what = "nothing runs" if nothing_runs else "the permanent version is started"
        return UndoneError(f"{version} has failed, and {what}", f"it ended after it had taken over: {error}")
    if nothing_runs:
        return UnderwayError(
            f"{version} was stopped before it was committed: nothing runs now, and {ledgers.permanent(known)} boots next"
        )
    return UndoneError(
        f"{version} is not committed, and {runs} runs", f"its node was replaced meanwhile: {error}", blamed=False
    )
