"""The releases on disk: what `releases`, `commit`, `rollback` and `create-releases` do, and what all changes begin with.

Each function takes a Handler, does its one thing, and returns what it did. Whether a node is told of it,
and what it then does, is not here.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from ..process.log import log
from ..release import ledger as ledgers
from ..release import manifest, names
from ..release.directory import ReleaseDirectory, VarDirectory
from ..release.errors import BusyError, UnderwayError, UndoneError
from ..release.filesystem import atomic_files
from ..release.ledger import Record
from ..release.precedence import in_order
from . import tree
from .transaction import Transaction, transaction, where_there_is_room


@dataclass(frozen=True)
class Handler:
    """One release on this machine, and who runs it."""

    directory: ReleaseDirectory
    var: VarDirectory
    own_version: str
    """The version whose code does all this."""
    running_version: Callable[[], str | None]
    """The version that the node runs; None when there is no node. Asked of the process, never of the disk."""
    now: Callable[[], str] = ledgers.now
    started_as: Callable[[], str | None] = lambda: None
    """The version whose files the node has, where it has become another since."""
    keeper: Callable[[], int | None] = lambda: None
    """The pid of the keeper; None when there is none."""


@dataclass(frozen=True)
class ListedRelease:
    """One version that is here."""

    version: str
    record: Record
    running: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``releases --json`` prints it."""
        record = self.record
        return {
            "version": self.version,
            "state": record.state,
            "running": self.running,
            "release_id": record.release_id,
            "when": record.when,
            "failed": record.failed,
            "left": record.left,
        }


@dataclass(frozen=True)
class ReleaseList:
    """Every version that is here, by version."""

    releases: tuple[ListedRelease, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """Plain data, as ``releases --json`` prints it."""
        return [release.as_json() for release in self.releases]


@dataclass(frozen=True)
class CommitResult:
    """What a commit has come to."""

    version: str
    changed: bool
    """Whether another version booted before."""
    before: str
    """The version that booted before."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``commit --json`` prints it."""
        return {"version": self.version, "state": "permanent", "changed": self.changed, "before": self.before}


@dataclass(frozen=True)
class RollbackResult:
    """What a rollback has come to."""

    version: str
    left: str
    """The version that somebody has gone back from."""
    changed: bool
    """Whether another version boots now."""
    ran: bool = False
    """Whether a node ran, and so has become the version."""

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``rollback --json`` prints it."""
        return {"version": self.version, "from": self.left, "changed": self.changed}


@dataclass(frozen=True)
class RebuiltLedger:
    """What `create-releases` has made."""

    permanent: str
    releases: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``create-releases --json`` prints it."""
        return {"permanent": self.permanent, "releases": self.releases}


def releases(handler: Handler) -> ReleaseList:
    """List every version that is here with its state. Changes nothing, and waits for nobody."""
    try:
        running = handler.running_version()
    except BusyError:
        running = None
    ledger = ledgers.with_running(ledgers.read(handler.directory, handler.var), running)
    return ReleaseList(
        tuple(ListedRelease(version, ledger[version], version == running) for version in in_order(ledger))
    )


def commit(handler: Handler, version: str | None = None, *, dry_run: bool = False) -> CommitResult:
    """Make the version that runs the one that boots. Raises StateRefused when it is not current."""
    with changing(handler, f"commit {version or ''}".rstrip(), dry_run):
        running = handler.running_version()
        ledger = ledgers.with_running(settle(handler, dry_run), running)
        if running is None and version is None:
            raise ledgers.StateRefused("no node runs, so there is nothing to commit; install a version first")
        version = version or running
        assert version is not None
        committed = ledgers.after(ledger, "commit", version, handler.now())
        changes = committed != ledger
        if changes and not dry_run:
            _boot_from_now_on(handler, version, committed)
    return CommitResult(version, changes, ledgers.permanent(ledger))


def rollback(
    handler: Handler,
    version: str | None = None,
    *,
    dry_run: bool = False,
    change: Callable[[str, str], object] = lambda running, version: None,
) -> RollbackResult:
    """Go back: from a version that runs uncommitted to the permanent one, else from the permanent one to that before.

    What is left is marked as that, and has not failed: it may be installed again.
    `change` makes a node that runs one version another. A rollback that
    has not come to its end is taken up again, to the same version: what runs meanwhile does not say where it was to go.
    Raises StateRefused when there is nothing to go back to, and what `change` raises.
    """
    with changing(handler, f"rollback {version or ''}".rstrip(), dry_run) as act:
        ledger = settle(handler, dry_run)
        permanent, running = ledgers.permanent(ledger), handler.running_version()
        begun = act.unfinished if _may_go_on(act.unfinished, version, ledger) else {}
        left = str(begun.get("from", running or permanent))
        target = str(begun["to"]) if begun else version
        target = target or (permanent if left != permanent else ledgers.previous(ledger))
        if target is None:
            raise ledgers.StateRefused(
                f"there is no version before {permanent} to go back to that has not failed or been left; `rollback V` goes to a"
                " certain one"
            )
        changes = target != permanent
        gone_from = _left(ledger, left, f"{ledgers.ROLLED_BACK}{target}")
        back = ledgers.after(gone_from, "rollback", target, handler.now()) if changes else gone_from
        if not dry_run:
            act.announce(**{"to": target, "from": left})
            if running is not None and running != target:
                try:
                    change(running, target)
                except UndoneError as error:
                    if changes:
                        remember(handler, marked(ledger, target, error.reason))
                    raise
            if not changes:
                remember(handler, gone_from)
            else:
                ledgers.write(handler.var, gone_from)
                _boot_from_now_on(handler, target, back)
    return RollbackResult(target, left, changes, running is not None)


def make_permanent(handler: Handler, version: str, *, again: bool = False) -> str:
    """Make a version the one that boots while no node runs: what `upgrade` does with a service that is stopped.

    Returns the version that booted before.

    Raises StateRefused for one that has failed, without `again`, and BusyError where a node has been started meanwhile.
    """
    with changing(handler, f"upgrade {version}", dry_run=False):
        ledger = settle(handler)
        if (running := handler.running_version()) is not None:
            raise BusyError(f"{running} has been started meanwhile; the same command again upgrades what runs")
        after = ledgers.after(ledger, "upgrade", version, handler.now())
        if (why := ledger[version].failed) and not again:
            raise ledgers.StateRefused(f"{version} has failed: {why}; --again takes it all the same")
        before = ledgers.permanent(ledger)
        if after != ledger:
            _boot_from_now_on(handler, version, after)
    return before


def _may_go_on(unfinished: Mapping[str, object], version: str | None, ledger: ledgers.Ledger) -> bool:
    """Whether an unfinished rollback was from one version that is here to another, and nothing speaks against it."""
    target = unfinished.get("to")
    record = ledger.get(target) if isinstance(target, str) else None
    if not names.is_version(unfinished.get("from", target)):
        return False
    return record is not None and version in (None, target) and (record.state == "permanent" or not record.failed)


def remember(handler: Handler, ledger: ledgers.Ledger) -> None:
    """Write the ledger where something else has been done, or has failed, that must neither be hidden nor kept from being
    undone. Never raises: what can't be written is told to the operator. For use within a transaction."""
    try:
        ledgers.write(handler.var, ledger)
    except OSError as error:
        log(f"{error.filename} can't be written ({error.strerror}), and does not say how this has ended")


def mark_failed(handler: Handler, version: str, why: str | None) -> None:
    """Remember why a version is not to be chosen again, or with None forget that. For use within a transaction."""
    ledgers.write(handler.var, marked(ledgers.read(handler.directory, handler.var), version, why))


def create_releases(handler: Handler, permanent: str | None = None, *, dry_run: bool = False) -> RebuiltLedger:
    """Make the ledger again from what is here. `permanent` says what boots, where the start data can't be understood.

    Raises StateRefused when that is given and the start data says something else.
    """
    with changing(handler, "create-releases", dry_run):
        try:
            version = ledgers.boots(handler.directory, handler.var)
            ledger = ledgers.rebuilt(handler.directory, version)
        except UnderwayError:
            if permanent is None:
                raise
            version = permanent
            ledger = ledgers.rebuilt(handler.directory, permanent)
            if not dry_run:
                _boot_from_now_on(handler, permanent, ledger)
        if permanent not in (None, version):
            raise ledgers.StateRefused(f"version {version} boots, not {permanent}; commit or rollback change that")
        if not dry_run:
            ledgers.write(handler.var, ledger)
    return RebuiltLedger(version, tuple(in_order(ledger)))


def changing(handler: Handler, command: str, dry_run: bool) -> AbstractContextManager[Transaction]:
    """The transaction in which the releases are changed; none for a dry run.

    Raises UnderwayError for others than the owner, and BusyError when it is entered while there is another.
    """
    check_owner(handler.directory)
    return transaction(handler.var, command, pretend=dry_run)


def settle(handler: Handler, dry_run: bool = False) -> dict[str, Record]:
    """The ledger, with the tree and the ledger itself as they have to be after whatever died before. Within a transaction."""
    ledger = ledgers.read(handler.directory, handler.var)
    if not dry_run:
        tree.clear(handler.directory)
        here, var = handler.directory, handler.var
        for file in (var.ledger, var.start_data, here.start_data, here.shared):
            atomic_files.clear(file)
        if ledger != ledgers.recorded(handler.var):
            with where_there_is_room():  # what is read is settled anyway
                ledgers.write(handler.var, ledger)
    return ledger


def check_owner(directory: ReleaseDirectory) -> None:
    """Raise UnderwayError for all but the owner of the tree, root too: what root left there the owner could not change."""
    owner = os.stat(directory.root).st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise UnderwayError(f"{directory.root} belongs to {name}, who alone changes its releases; try `sudo -u {name}`")


def _boot_from_now_on(handler: Handler, version: str, ledger: ledgers.Ledger) -> None:
    """Make a version the one that boots. The first write is the act; `settle` makes the second one good if it is missing."""
    interpreter = manifest.read(handler.directory.version(version).manifest).interpreter
    ledgers.write_start_data(handler.var.start_data, interpreter, version)
    ledgers.write(handler.var, ledger)


def _left(ledger: ledgers.Ledger, version: str, how: str) -> dict[str, Record]:
    return {
        name: replace(record, left=how, installed=None) if name == version else record
        for name, record in ledger.items()
    }


def marked(ledger: ledgers.Ledger, version: str, why: str | None) -> dict[str, Record]:
    """Return the ledger with why a version is not to be chosen again, or with None without that."""
    return {
        name: replace(record, failed=why, installed=None) if name == version else record
        for name, record in ledger.items()
    }
