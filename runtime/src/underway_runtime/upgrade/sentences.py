"""What the commands about releases have done, for people: a line for each outcome, and notes below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..release import display
from .install import Basis, InstallResult
from .preflight import check


def lines(command: str, outcome: Any, would: str = "") -> list[str]:
    """What a command has done, in sentences; `would` is "would be " for a dry run."""
    match command:
        case "releases":
            return [_release_line(release) for release in outcome]
        case "unpack" if outcome["was_here"]:
            failed = f"; it has failed: {outcome['failed']}" if outcome["failed"] else ""
            return [f"{outcome['version']} is here already, whole, and {outcome['state']}{failed}"]
        case "unpack":
            by = _believed(Basis(outcome["by"], outcome["file"], outcome["signer"]))
            counts = f"{len(outcome['added'])} new, {len(outcome['kept'])} shared with others"
            return [f"{outcome['version']} {would or 'is '}unpacked, {by}: {counts}"]
        case "check":
            return check.lines(outcome)
        case "install" | "upgrade":
            return [_install_line(command, outcome), *_belief(outcome), *_old_code(outcome)]
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
        case "prune":
            gone = [
                f"{each['version']} {would or 'is '}removed, with {', '.join(each['deleted'])}"
                for each in outcome["removed"]
            ]
            stays = [f"{each['version']} stays: {each['why']}" for each in outcome["kept"]]
            return [*gone, *stays]
    return [f"the ledger {would or 'is '}made again: {', '.join(outcome['releases'])}; {outcome['permanent']} boots"]


def _install_line(command: str, result: InstallResult) -> str:
    version, is_upgrade = result.version, command == "upgrade"
    if result.how == "start":
        already = "" if result.changed else " already"
        return f"{version} is permanent{already}, and boots at the next start; no node runs now, so its gates were not tried"
    if not result.changed:
        return f"{version} runs already{', and is permanent' if is_upgrade else ''}"
    commit = "" if result.state == "permanent" else "; `commit` makes it the one that boots"
    return f"{version} runs (pid {result.pid}){_how(result)}{'; it is permanent' if is_upgrade else commit}"


def _believed(basis: Basis) -> str:
    match basis.by:
        case "signature":
            return f"signed by {basis.signer}"
        case "digest":
            return "with the digest that was given"
    return f"believed because nobody but root and this user could have changed {basis.file}"


def _belief(result: InstallResult) -> list[str]:
    """Of an archive that was unpacked on the way, where its owner was what proved it."""
    basis = result.basis
    return [f"  note     it was {_believed(basis)}"] if basis is not None and basis.by == "owner" else []


def _how(result: InstallResult) -> str:
    match result.how:
        case "hot":
            return f" in the process that ran {result.before}; new work waited for {1000 * result.held:.0f} ms"
        case "configuration":
            return f" in the process that ran {result.before}, configured otherwise"
    return f", and {result.before} has left" + (f" ({result.why})" if result.why else "")


def _old_code(result: InstallResult) -> list[str]:
    return [f"  note     of {result.before} there is still {frame}" for frame in result.old_code]


def _release_line(release: Mapping[str, Any]) -> str:
    marks = [release["state"], *(["runs"] if release["running"] else [])]
    marks += [f"failed: {display.one_line(release['failed'])}"] if release["failed"] else []
    marks += [display.one_line(release["left"])] if release["left"] and release["state"] != "permanent" else []
    return f"{release['version']}  {', '.join(marks)}, since {display.one_line(release['when'])}"
