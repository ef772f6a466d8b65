"""The commands of ``bin/NAME`` about releases: reads the command line, prints what was done, returns the exit status."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..node import events, lock
from ..node.control.client import NotRunning, Place, connect
from ..node.control.successor import hand_over
from ..node.settings import Settings, from_environ
from ..release import ledger
from ..release.errors import EXIT_REFUSED, BusyError, UnderwayError, UndoneError
from . import handler as handlers
from .change import How, change
from .check import check, lines
from .handler import Handler
from .install import install
from .remove import remove
from .soak import stand
from .unpack import Trust, unpack

ALLOWED_SIGNERS = Path("/etc/underway/allowed_signers")
"""Believed where neither --allowed-signers nor RELEASE_ALLOWED_SIGNERS names another file, if it is there."""


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks for; 0, or 6 where check refuses, or raises an UnderwayError.

    A command line that is none ends the process with 2.
    """
    settings = from_environ(environ)
    options = _parser(settings.prog).parse_args(arguments)
    handler = Handler(
        settings.directory,
        settings.var,
        settings.version,
        lambda: running_version(settings),
        started_as=lambda: started_as(settings),
        keeper=lambda: keeper(settings),
    )
    try:
        outcome = _do(handler, options, environ)
    except OSError as error:
        raise UnderwayError(
            f"{options.command} could not go on: {error.strerror}: {error.filename}; what runs and what boots is as it was, and"
            " the same command goes on when that is mended"
        ) from error
    if options.json:
        print(json.dumps(outcome, indent=1))
    else:
        would = "would be " if getattr(options, "dry_run", False) else ""
        print("\n".join(_lines(options.command, outcome, would)))
    return EXIT_REFUSED if options.command == "check" and outcome["outcome"] == "refused" else 0


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
        raise BusyError(
            f"{settings.name} is starting, and has not said yet which version it is; try again when it runs"
        )
    return version


def started_as(settings: Settings) -> str | None:
    """The version whose files that node has; None when none runs."""
    return None if lock.find(settings.tmp, settings.name) is None else _said(settings, "started_as")


def _said(settings: Settings, key: str) -> str | None:
    """What the node, or the one that was before it, says of itself."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if isinstance(value := json.loads(settings.tmp.lock.read_bytes())[key], str):
            return value
    return None


def _do(handler: Handler, options: argparse.Namespace, environ: Mapping[str, str]) -> Any:
    match options.command:
        case "releases":
            return handlers.releases(handler)
        case "unpack":
            return unpack(handler, options.what, _trust(options, environ), again=options.again, dry_run=options.dry_run)
        case "check":
            return check(from_environ(environ), handler, options.version, again=options.again, within=options.within)
        case "install":
            to_commit = options.commit_within or 0
            outcome = install(
                handler,
                Place(environ),
                options.version,
                again=options.again,
                to_commit=to_commit,
                at_least=options.at_least,
            )
            if outcome["state"] == "permanent":
                _tell_keeper(Place(environ))
            return outcome
        case "commit":
            return _commit(handler, Place(environ), options.version, dry_run=options.dry_run)
        case "upgrade":
            return _upgrade(handler, options, environ)
        case "rollback":

            def back(running: str, version: str) -> None:
                with suppress(NotRunning):  # it has ended since
                    _go_back(handler, Place(environ), running, version)

            outcome = handlers.rollback(handler, options.version, dry_run=options.dry_run, change=back)
            if not options.dry_run:
                _tell_keeper(Place(environ))
            return outcome
        case "remove":
            return remove(handler, options.version, dry_run=options.dry_run)
        case "create-releases":
            return handlers.create_releases(handler, options.permanent, dry_run=options.dry_run)
    raise AssertionError(options.command)


def _trust(options: argparse.Namespace, environ: Mapping[str, str]) -> Trust:
    return Trust(_allowed_signers(options.allowed_signers, environ), options.sha256, options.allow_downgrade)


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


def _upgrade(handler: Handler, options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    version, place = options.what, Place(environ)
    if version not in ledger.read(handler.directory, handler.var):
        version = unpack(handler, version, _trust(options, environ), again=options.again)["version"]
    checked = check(from_environ(environ), handler, version, again=options.again)
    if checked["outcome"] == "refused":
        raise UnderwayError("\n".join(lines(checked)))
    outcome = install(handler, place, version, again=options.again, at_least=options.at_least)
    if outcome["changed"]:
        stand(handler, place, outcome)
    _commit(handler, place, version)
    return {**outcome, "state": "permanent"}


def _go_back(handler: Handler, place: Place, running: str, version: str) -> None:
    how: How
    identity = events.new_id()
    try:
        how = change(handler.directory, place, running, version, identity, 0).how
    except UndoneError:  # a fresh interpreter has nothing of what is wrong with this one
        how = "handover"
        hand_over(place, version, identity, 0)
    events.note(handler.var.upgrades, "rollback", "done", identity, version=version, before=running, how=how)


def _allowed_signers(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = given or (Path(environ["RELEASE_ALLOWED_SIGNERS"]) if environ.get("RELEASE_ALLOWED_SIGNERS") else None)
    return named or (ALLOWED_SIGNERS if _is_there(ALLOWED_SIGNERS) else None)


def _is_there(file: Path) -> bool:
    """Also where it can't be looked at, or is a link to nowhere: only what is known to be missing sets no rule."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, *, dry_run: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="print the outcome as JSON")
        if dry_run:
            made.add_argument("--dry-run", action="store_true", help="look only, and say what would be done")
        return made

    command("releases", "Lists the versions that are here, with their states", dry_run=False)
    unpacking = command("unpack", "Unpacks a version from var/incoming, or a file, beside the others")
    upgrading = command("upgrade", "Unpacks a version, installs it and makes it the one that boots", dry_run=False)
    for made in (unpacking, upgrading):
        made.add_argument("what", metavar="VERSION|FILE", help="a version, or an archive or delta")
        made.add_argument("--sha256", metavar="DIGEST", help="what its sha256 must be")
        made.add_argument("--allowed-signers", metavar="FILE", type=Path, help="by whom it must be signed")
        made.add_argument("--allow-downgrade", action="store_true", help="even if it is older than what boots or runs")
        made.add_argument("--again", action="store_true", help="forget that it has failed")
    checking = command("check", "Says what install would do, having tried all that can be tried", dry_run=False)
    checking.add_argument("version", metavar="VERSION")
    checking.add_argument("--again", action="store_true", help="even if it has failed")
    checking.add_argument("--within", metavar="SECONDS", type=_seconds, default=60.0, help="what it may take (60)")
    installing = command("install", "Makes the node another version, until the next restart or a commit", dry_run=False)
    least = "refuse, with status 3, what takes more: hot, new code in the process that runs; handover, a new interpreter (handover)"
    for made in (installing, upgrading):
        made.add_argument("--at-least", choices=("hot", "handover"), default="handover", help=least)
    installing.add_argument("version", metavar="VERSION")
    installing.add_argument("--again", action="store_true", help="although it has failed")
    within = "hand over to the permanent version again when it is not committed in so many seconds"
    installing.add_argument("--commit-within", metavar="SECONDS", type=_seconds, help=within)
    commit = command("commit", "Makes the version that runs the one that boots")
    commit.add_argument("version", nargs="?", metavar="VERSION")
    rollback = command("rollback", "Goes back to the version before")
    rollback.add_argument("version", nargs="?", metavar="VERSION")
    command("remove", "Deletes a version, and what only it has").add_argument("version", metavar="VERSION")
    creating = command("create-releases", "Makes the ledger of versions anew from what is here")
    creating.add_argument("--permanent", metavar="VERSION", help="what is to boot, when start.data can't be understood")
    return parser


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) <= 86400:
        raise ValueError
    return seconds


def _lines(command: str, outcome: Any, would: str) -> list[str]:
    match command:
        case "releases":
            return [_release_line(release) for release in outcome]
        case "unpack" if outcome["was_here"]:
            failed = f"; it has failed: {outcome['failed']}" if outcome["failed"] else ""
            return [f"{outcome['version']} is here already, whole, and {outcome['state']}{failed}"]
        case "unpack":
            by = f"signed by {outcome['signer']}" if outcome["signer"] else "with the digest that was given"
            counts = f"{len(outcome['added'])} new, {len(outcome['kept'])} shared with others"
            return [f"{outcome['version']} {would or 'is '}unpacked, {by}: {counts}"]
        case "check":
            return lines(outcome)
        case "upgrade" if not outcome["changed"]:
            return [f"{outcome['version']} runs already, and is permanent"]
        case "install" if not outcome["changed"]:
            return [f"{outcome['version']} runs already"]
        case "install":
            kept = "" if outcome["state"] == "permanent" else "; `commit` makes it the one that boots"
            return [f"{outcome['version']} runs (pid {outcome['pid']}){_how(outcome)}{kept}", *_old_code(outcome)]
        case "upgrade":
            return [
                f"{outcome['version']} runs (pid {outcome['pid']}){_how(outcome)}; it is permanent",
                *_old_code(outcome),
            ]
        case "commit" if not outcome["changed"]:
            return [f"{outcome['version']} is permanent already"]
        case "commit":
            return [f"{outcome['version']} {would or 'is '}permanent; {outcome['before']} {would or 'is '}old"]
        case "rollback":
            return [f"{outcome['version']} {would or 'is '}what boots, instead of {outcome['from']}"]
        case "remove":
            return [
                f"{outcome['version']} {would or 'is '}removed, with {', '.join(outcome['deleted']) or 'nothing else'}"
            ]
    return [f"the ledger {would or 'is '}made anew: {', '.join(outcome['releases'])}; {outcome['permanent']} boots"]


def _how(outcome: Mapping[str, Any]) -> str:
    before = outcome["before"]
    match outcome["how"]:
        case "hot":
            return f" in the process that ran {before}; new work waited for {1000 * outcome['held']:.0f} ms"
        case "configuration":
            return f" in the process that ran {before}, configured otherwise"
    return f", and {before} has left" + (f" ({outcome['why']})" if outcome["why"] else "")


def _old_code(outcome: Mapping[str, Any]) -> list[str]:
    return [f"  note     of {outcome['before']} there is still {each}" for each in outcome["old_code"]]


def _release_line(release: Mapping[str, Any]) -> str:
    marks = [release["state"], *(["runs"] if release["running"] else [])]
    marks += [f"failed: {release['failed']}"] if release["failed"] else []
    return f"{release['version']}  {', '.join(marks)}, since {release['when']}"
