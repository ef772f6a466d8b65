"""The commands of ``bin/NAME`` about releases: reads the command line, prints what was done, returns the exit status.

Each command imports what it alone needs: `releases` is asked by monitors, and loads nothing of what tries or unpacks a version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..control.client.client import TO_SAY, NotAnswering, NotRunning, Place, check_directory, connect
from ..process import lock
from ..process.settings import Settings, from_environ
from ..release import command_line, display, ledger, names
from ..release.errors import EXIT_REFUSED, BusyError, UnderwayError, UndoneError, place_of
from . import command_options, sentences
from . import handler as handlers
from .command_options import Options
from .handler import Handler
from .trust import Trust, trust

if TYPE_CHECKING:
    from .change import How
    from .install import InstallResult
    from .preflight.check import CheckResult
    from .prune import PruneResult
    from .remove import RemoveResult
    from .unpack import UnpackResult

_WIDEST = 100_000
"""Characters of a line of an outcome."""


@dataclass(frozen=True)
class Request:
    """What a command is given."""

    handler: Handler
    options: Options
    environ: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Where the node is asked."""
        return Place(self.environ)

    @property
    def trust(self) -> Trust:
        """What an archive has to prove."""
        asked = self.options
        return trust(
            asked.allowed_signers, asked.sha256, asked.trust, self.environ, allow_downgrade=asked.allow_downgrade
        )


class Outcome(Protocol):
    """What a command has come to."""

    def as_json(self) -> Any:
        """Plain data, as ``--json`` prints it."""


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; 0, or 6 where check refuses, or raises an UnderwayError: UsageError for one that is none."""
    settings = from_environ(environ)
    options = command_options.read(arguments, settings.prog)
    handler = Handler(
        settings.directory,
        settings.var,
        settings.version,
        lambda: running_version(settings),
        started_as=lambda: started_as(settings),
        keeper=lambda: keeper(settings),
    )
    check_directory(settings.name, str(settings.root), _root(settings), options.command)
    try:
        outcome: Outcome = command_line.function_of(options.command)(Request(handler, options, environ))
    except OSError as error:
        raise UnderwayError(
            f"{options.command} could not go on: {error.strerror}: {place_of(error)};{_as_it_is(handler)} the same command goes on when"
            " that is mended"
        ) from error
    if options.as_json:
        print(json.dumps(outcome.as_json(), indent=1))
    else:
        would = "would be " if options.dry_run else ""
        text = "\n".join(sentences.lines(options.command, outcome, would))
        print("\n".join(display.one_line(line, _WIDEST) for line in text.split("\n")))
    return EXIT_REFUSED if options.command == "check" and outcome.as_json()["outcome"] == "refused" else 0


def _as_it_is(handler: Handler) -> str:
    """What runs and what boots, where a command may have changed the one or the other; empty where that is not known."""
    try:
        running, boots = handler.running_version(), ledger.boots(handler.directory, handler.var)
    except (UnderwayError, OSError):
        return ""
    return f" {running or 'nothing'} runs and {boots} boots, and"


def releases(request: Request) -> handlers.ReleaseList:
    """List what is here."""
    return handlers.releases(request.handler)


def unpack(request: Request) -> UnpackResult:
    """Unpack a version, or a file."""
    from . import unpack as unpacking

    asked = request.options
    return unpacking.unpack(request.handler, asked.what, request.trust, again=asked.again, dry_run=asked.dry_run)


def check(request: Request) -> CheckResult:
    """Try a version, and find out what installing it would do."""
    from .preflight import check as checking

    asked = request.options
    return checking.check(
        from_environ(request.environ),
        request.handler,
        asked.version,
        asked.conditions,
        again=asked.again,
        timeout=asked.timeout,
        keep_for=asked.keep_for,
    )


def install(request: Request) -> InstallResult:
    """Have a version take over until the next restart, or a commit."""
    from . import install as installing

    asked = request.options
    installed = installing.install(
        request.handler,
        request.place,
        asked.version,
        asked.conditions,
        again=asked.again,
        to_commit=asked.commit_within,
    )
    if installed.state == "permanent":
        _tell_keeper(request.place)
    return installed


def commit(request: Request) -> handlers.CommitResult:
    """Make what runs the version that boots, and tell its keeper."""
    return _commit(request, request.options.version or None)


def upgrade(request: Request) -> InstallResult:
    """Unpack a version, install it, watch its gates and commit it; of a node that is stopped, make it the one that boots."""
    from . import install as installing
    from . import unpack as unpacking
    from .preflight import check as checking
    from .watch_gates import watch

    handler, asked, place = request.handler, request.options, request.place
    version, basis = asked.what, None
    if version not in ledger.read(handler.directory, handler.var):
        unpacked = unpacking.unpack(handler, version, request.trust, again=asked.again)
        version = unpacked.version
        basis = None if unpacked.admitted is None else unpacked.admitted.basis
    checked = checking.check(from_environ(request.environ), handler, version, again=asked.again)
    if checked.outcome == "refused":
        raise UnderwayError("\n".join(checking.lines(checked)))
    if checked.outcome == "start":
        before = handlers.make_permanent(handler, version, again=asked.again)
        return installing.InstallResult(version, before, "permanent", "start", before != version, basis=basis)
    try:
        installed = installing.install(handler, place, version, asked.conditions, again=asked.again)
    except NotAnswering as error:
        raise UnderwayError(
            f"{error} Nothing has changed. Where it fails again and again, `{place.prog} stop` ends that, and the same upgrade then"
            f" makes {version} the one that boots"
        ) from None
    if installed.changed:
        watch(handler, place, installed)
    _commit(request, version)
    return replace(installed, state="permanent", basis=basis)


def rollback(request: Request) -> handlers.RollbackResult:
    """Go back to the version before, in the node that runs and for the next boot."""
    handler, asked = request.handler, request.options

    def back(running: str, version: str) -> None:
        with suppress(NotRunning):  # it has ended since
            _go_back(handler, request.place, running, version)

    outcome = handlers.rollback(handler, asked.version or None, dry_run=asked.dry_run, change=back)
    if not asked.dry_run:
        _tell_keeper(request.place)
    return outcome


def remove(request: Request) -> RemoveResult:
    """Delete a version and what only it has."""
    from . import remove as removing

    return removing.remove(request.handler, request.options.version, dry_run=request.options.dry_run)


def prune(request: Request) -> PruneResult:
    """Remove all but the last few versions."""
    from . import prune as pruning

    return pruning.prune(request.handler, request.options.keep, dry_run=request.options.dry_run)


def create_releases(request: Request) -> handlers.RebuiltLedger:
    """Make the ledger again from what is here."""
    return handlers.create_releases(request.handler, request.options.permanent, dry_run=request.options.dry_run)


def _commit(request: Request, version: str | None) -> handlers.CommitResult:
    outcome = handlers.commit(request.handler, version, dry_run=request.options.dry_run)
    if not request.options.dry_run:
        _tell_keeper(request.place)
    return outcome


def _tell_keeper(place: Place) -> None:
    """Tell the keeper that what runs is permanent, where it can be told."""
    with suppress(UnderwayError), closing(connect(place)) as connection:
        connection.ask({"do": "committed"}, TO_SAY)


def _go_back(handler: Handler, place: Place, running: str, version: str) -> None:
    from ..control.client.handover_request import hand_over
    from ..process import upgrade_journal
    from .change import change

    how: How
    upgrade_id = upgrade_journal.new_id()
    try:
        how = change(handler.directory, place, running, version, upgrade_id, 0).how
    except UndoneError:  # a fresh interpreter has nothing of what is wrong with this one
        how = "handover"
        hand_over(place, version, upgrade_id, 0)
    upgrade_journal.note(handler.var.upgrades, "rollback", "done", upgrade_id, version=version, before=running, how=how)


def keeper(settings: Settings) -> int | None:
    """The pid of the keeper; None when there is none."""
    running = lock.find(settings.tmp, settings.name)
    return None if running is None else running.pid


def running_version(settings: Settings) -> str | None:
    """The version that the node of this release runs, as itself says; None when none runs. Raises BusyError while it starts."""
    if lock.find(settings.tmp, settings.name) is None:
        return None
    version = _stated_version(settings, "version")
    if version is None:
        raise BusyError(f"{settings.name} is starting, and its version is not known yet; try again when it runs")
    return version


def _root(settings: Settings) -> object:
    """The release directory of the node that runs, as it says; None when none runs."""
    return None if lock.find(settings.tmp, settings.name) is None else lock.contents(settings.tmp).get("root")


def started_as(settings: Settings) -> str | None:
    """The version whose files that node has; None when none runs."""
    return None if lock.find(settings.tmp, settings.name) is None else _stated_version(settings, "started_as")


def _stated_version(settings: Settings, key: str) -> str | None:
    """The version that the node, or the one that was before it, says of itself; None where it says none, or what is not one."""
    value = lock.contents(settings.tmp).get(key)
    return str(value) if names.is_version(value) else None
