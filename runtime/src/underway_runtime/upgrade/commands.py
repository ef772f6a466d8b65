"""The commands of ``bin/NAME`` about releases: reads the command line, prints what was done, returns the exit status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..control.client.client import NotAnswering, NotRunning, Place, check_directory, connect
from ..control.client.handover_request import hand_over
from ..process import lock, upgrade_journal
from ..process.settings import Settings, from_environ
from ..release import command_line, display, ledger, names
from ..release.command_table import COMMANDS
from ..release.errors import EXIT_REFUSED, BusyError, UnderwayError, UndoneError, UsageError
from . import handler as handlers
from . import sentences
from .change import How, change
from .handler import Handler
from .install import Basis, InstallResult, install
from .preflight.check import CheckResult, check, lines
from .prune import prune
from .remove import remove
from .trust import KINDS, Trust, trust
from .unpack import unpack
from .watch_gates import stand

_WIDEST = 100_000
"""Characters of a line of an outcome."""
_CHECK_WITHIN = 60.0
"""Seconds that a trial gets."""


@dataclass(frozen=True)
class Options:
    """What a command line asks for."""

    command: str
    json: bool
    dry_run: bool
    again: bool
    what: str
    """A version or a file."""
    version: str
    """Empty where none was named."""
    sha256: str | None
    allowed_signers: Path | None
    trust: str | None
    allow_downgrade: bool
    at_least: How
    fresh: bool
    """Whether a new interpreter is wanted, whatever could be done without one."""
    timeout: float
    commit_within: float
    """0 for never."""
    permanent: str | None
    keep: int


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; 0, or 6 where check refuses, or raises an UnderwayError: UsageError for one that is none."""
    settings = from_environ(environ)
    options = _options(arguments, settings.prog)
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
        outcome = _do(handler, options, environ)
    except OSError as error:
        raise UnderwayError(
            f"{options.command} could not go on: {error.strerror}: {error.filename}; the version that runs and the one that boots are"
            " as they were, and the same command goes on when that is mended"
        ) from error
    if options.json:
        print(json.dumps(outcome.as_json() if isinstance(outcome, (CheckResult, InstallResult)) else outcome, indent=1))
    else:
        would = "would be " if options.dry_run else ""
        said = "\n".join(sentences.lines(options.command, outcome, would))
        print("\n".join(display.one_line(line, _WIDEST) for line in said.split("\n")))
    return EXIT_REFUSED if isinstance(outcome, CheckResult) and outcome.outcome == "refused" else 0


def keeper(settings: Settings) -> int | None:
    """The pid of the keeper; None when there is none."""
    found = lock.find(settings.tmp, settings.name)
    return None if found is None else found.pid


def running_version(settings: Settings) -> str | None:
    """The version that the node of this release runs, as itself says; None when none runs. Raises BusyError while it starts."""
    if lock.find(settings.tmp, settings.name) is None:
        return None
    version = _said(settings, "version")
    if version is None:
        raise BusyError(f"{settings.name} is starting, and its version is not known yet; try again when it runs")
    return version


def _root(settings: Settings) -> object:
    """The release directory of the node that runs, as it says; None when none runs."""
    return None if lock.find(settings.tmp, settings.name) is None else lock.said(settings.tmp).get("root")


def started_as(settings: Settings) -> str | None:
    """The version whose files that node has; None when none runs."""
    return None if lock.find(settings.tmp, settings.name) is None else _said(settings, "started_as")


def _said(settings: Settings, key: str) -> str | None:
    """The version that the node, or the one that was before it, says of itself; None where it says none, or what is not one."""
    value = lock.said(settings.tmp).get(key)
    return str(value) if names.is_version(value) else None


def _do(handler: Handler, options: Options, environ: Mapping[str, str]) -> Any:
    match options.command:
        case "releases":
            return handlers.releases(handler)
        case "unpack":
            return unpack(handler, options.what, _trust(options, environ), again=options.again, dry_run=options.dry_run)
        case "check":
            return check(
                from_environ(environ),
                handler,
                options.version,
                again=options.again,
                timeout=options.timeout,
                at_least=options.at_least,
                fresh=options.fresh,
            )
        case "install":
            to_commit = options.commit_within
            installed = install(
                handler,
                Place(environ),
                options.version,
                again=options.again,
                to_commit=to_commit,
                at_least=options.at_least,
                fresh=options.fresh,
            )
            if installed.state == "permanent":
                _tell_keeper(Place(environ))
            return installed
        case "commit":
            return _commit(handler, Place(environ), options.version or None, dry_run=options.dry_run)
        case "upgrade":
            return _upgrade(handler, options, environ)
        case "rollback":

            def back(running: str, version: str) -> None:
                with suppress(NotRunning):  # it has ended since
                    _go_back(handler, Place(environ), running, version)

            outcome = handlers.rollback(handler, options.version or None, dry_run=options.dry_run, change=back)
            if not options.dry_run:
                _tell_keeper(Place(environ))
            return outcome
        case "remove":
            return remove(handler, options.version, dry_run=options.dry_run)
        case "prune":
            return prune(handler, options.keep, dry_run=options.dry_run)
        case "create-releases":
            return handlers.create_releases(handler, options.permanent, dry_run=options.dry_run)
    raise AssertionError(options.command)


def _trust(options: Options, environ: Mapping[str, str]) -> Trust:
    return trust(
        options.allowed_signers, options.sha256, options.trust, environ, allow_downgrade=options.allow_downgrade
    )


def _commit(handler: Handler, place: Place, version: str | None, *, dry_run: bool = False) -> dict[str, Any]:
    outcome = handlers.commit(handler, version, dry_run=dry_run)
    if not dry_run:
        _tell_keeper(place)
    return outcome


def _tell_keeper(place: Place) -> None:
    """What runs is permanent, whether its keeper knows or not."""
    with suppress(UnderwayError):
        connection = connect(place)
        connection.ask({"do": "committed"})
        connection.close()


def _upgrade(handler: Handler, options: Options, environ: Mapping[str, str]) -> InstallResult:
    version, place, basis = options.what, Place(environ), None
    if version not in ledger.read(handler.directory, handler.var):
        unpacked = unpack(handler, version, _trust(options, environ), again=options.again)
        version = unpacked["version"]
        basis = None if unpacked["was_here"] else Basis(unpacked["by"], unpacked["file"], unpacked["signer"])
    checked = check(from_environ(environ), handler, version, again=options.again)
    if checked.outcome == "refused":
        raise UnderwayError("\n".join(lines(checked)))
    if checked.outcome == "start":
        before = handlers.make_permanent(handler, version, again=options.again)
        return InstallResult(version, before, "permanent", "start", before != version, basis=basis)
    try:
        installed = install(
            handler, place, version, again=options.again, at_least=options.at_least, fresh=options.fresh
        )
    except NotAnswering as error:
        raise UnderwayError(
            f"{error} Nothing has changed. Where it fails again and again, `{place.prog} stop` ends that, and the same upgrade then"
            f" makes {version} the one that boots"
        ) from None
    if installed.changed:
        stand(handler, place, installed)
    _commit(handler, place, version)
    return replace(installed, state="permanent", basis=basis)


def _go_back(handler: Handler, place: Place, running: str, version: str) -> None:
    how: How
    upgrade_id = upgrade_journal.new_id()
    try:
        how = change(handler.directory, place, running, version, upgrade_id, 0).how
    except UndoneError:  # a fresh interpreter has nothing of what is wrong with this one
        how = "handover"
        hand_over(place, version, upgrade_id, 0)
    upgrade_journal.note(handler.var.upgrades, "rollback", "done", upgrade_id, version=version, before=running, how=how)


def _options(arguments: Sequence[str], prog: str) -> Options:
    """What was asked for. Raises UsageError."""
    command, *words = arguments
    given = command_line.parse(command, words, prog)
    usage = f"; usage: {prog} {COMMANDS[command].usage}"
    at_least: How = "hot" if given.get("at_least") == "hot" else "handover"
    if given.get("at_least") not in (None, at_least):
        raise UsageError(f"--at-least is hot or handover, not {given['at_least']!r}{usage}")
    if given.get("trust") not in (None, *KINDS):
        raise UsageError(f"--trust is {' or '.join(KINDS)}, not {given['trust']!r}{usage}")
    keep = given.get("keep") or "0"
    if command == "prune" and given["keep"] is None:
        raise UsageError(f"prune needs --keep N, how many of those that neither run nor boot stay{usage}")
    if not (keep.isascii() and keep.isdecimal() and len(keep) < 10):
        raise UsageError(f"--keep is a number of versions, not {keep!r}{usage}")
    if (how := given.get("how")) not in (None, "in-place", "handover"):
        raise UsageError(f"--how is in-place or handover, not {how!r}{usage}")
    if how == "handover" and at_least == "hot":
        raise UsageError(f"--how handover and --at-least hot exclude each other{usage}")
    if how == "in-place":
        at_least = "hot"
    try:
        timeout, to_commit = (_seconds(given.get(name)) for name in ("within", "commit_within"))
    except ValueError as error:
        raise UsageError(f"{error} is not a number of seconds above 0 and up to a day{usage}") from None
    signers = given.get("allowed_signers")
    return Options(
        command=command,
        what=given.get("version_or_file") or "",
        version=given.get("version") or "",
        json=given["json"],
        dry_run=given.get("dry_run", False),
        again=given.get("again", False),
        sha256=given.get("sha256"),
        allowed_signers=Path(signers) if signers else None,
        trust=given.get("trust"),
        allow_downgrade=given.get("allow_downgrade", False),
        at_least=at_least,
        fresh=how == "handover",
        timeout=timeout or _CHECK_WITHIN,
        commit_within=to_commit,
        permanent=given.get("permanent"),
        keep=int(keep),
    )


def _seconds(text: str | None) -> float:
    """0 where nothing is given. Raises ValueError with what is not a number of seconds."""
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise ValueError(repr(text))
    return seconds
