"""What the commands about releases have done, for people: a line for each outcome, and notes below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..release import display

if TYPE_CHECKING:  # each command loads what it needs, and not what the others would say
    from .handler import ListedRelease, RollbackResult
    from .install import InstallResult
    from .remove import RemoveResult
    from .trust import Basis


def lines(command: str, outcome: Any, would: str = "") -> list[str]:
    """What a command has done, in sentences; `would` is "would be " for a dry run."""
    will = would or "is "
    match command:
        case "releases":
            return [_release_line(release) for release in outcome.releases]
        case "unpack" if outcome.admitted is None:
            failed = f"; it has failed: {outcome.failed}" if outcome.failed else ""
            return [f"{outcome.version} is here already, whole, and {outcome.state}{failed}"]
        case "unpack":
            plan, basis = outcome.admitted.plan, outcome.admitted.basis
            counts = f"{len(plan.add)} new, {len(plan.keep)} shared with others"
            return [f"{outcome.version} {will}unpacked, {_trusted(basis)}: {counts}"]
        case "check":
            from .preflight import check

            return check.lines(outcome)
        case "install" | "upgrade":
            return [_install_line(command, outcome), *_belief(outcome), *_old_code(outcome)]
        case "commit" if not outcome.changed:
            return [f"{outcome.version} is permanent already"]
        case "commit":
            return [f"{outcome.version} {will}permanent; {outcome.before} {will}old"]
        case "rollback":
            return [_rollback_line(outcome, will)]
        case "remove":
            return [_removed_line(outcome, will)]
        case "prune":
            stays = [f"{version} stays: {why}" for version, why in outcome.stays.items()]
            return [*(_removed_line(removed, will) for removed in outcome.removed), *stays]
        case "create-releases":
            return [f"the ledger {will}made again: {', '.join(outcome.releases)}; {outcome.permanent} boots"]
    raise AssertionError(command)


def _removed_line(removed: RemoveResult, will: str) -> str:
    return f"{removed.version} {will}removed, with {', '.join(removed.deleted) or 'nothing else'}"


def _install_line(command: str, result: InstallResult) -> str:
    version, is_upgrade = result.version, command == "upgrade"
    if result.how == "start":
        already = "" if result.changed else " already"
        return f"{version} is permanent{already}, and boots at the next start; no node runs now, so its gates were not tried"
    if not result.changed:
        return f"{version} runs already{', and is permanent' if is_upgrade else ''}"
    commit = "" if result.state == "permanent" else "; `commit` makes it the one that boots"
    return f"{version} runs (pid {result.pid}){_how(result)}{'; it is permanent' if is_upgrade else commit}"


def _rollback_line(result: RollbackResult, will: str) -> str:
    """Say what runs too: a node that runs has become the version, or been replaced by one that is."""
    runs = f"{'runs' if will == 'is ' else 'would run'} again, and " if result.ran else ""
    left = f"{will}old" if result.changed else "was not committed"
    return f"{result.version} {runs}{will}permanent; {result.left} {left}"


def _trusted(basis: Basis) -> str:
    match basis.by:
        case "signature":
            return f"signed by {basis.signer}"
        case "digest":
            return "with the digest that was given"
    return f"trusted without a digest, for nobody but root and this user could have changed {basis.file}"


def _belief(result: InstallResult) -> list[str]:
    """Of an archive that was unpacked on the way, where its owner was what proved it."""
    basis = result.basis
    return [f"  note     it was {_trusted(basis)}"] if basis is not None and basis.by == "owner" else []


def _how(result: InstallResult) -> str:
    match result.how:
        case "hot":
            return f" in the process that ran {result.before}; new work waited for {1000 * result.held:.0f} ms"
        case "configuration":
            return f" in the process that ran {result.before}, configured otherwise"
    return f", and {result.before} has left" + (f" ({result.why})" if result.why else "")


def _old_code(result: InstallResult) -> list[str]:
    return [f"  note     of {result.before} there is still {frame}" for frame in result.old_code]


def _release_line(release: ListedRelease) -> str:
    record = release.record
    marks = [record.state, *(["runs"] if release.running else [])]
    marks += [f"failed: {display.one_line(record.failed)}"] if record.failed else []
    marks += [display.one_line(record.left)] if record.left and record.state != "permanent" else []
    return f"{release.version}  {', '.join(marks)}, since {display.one_line(record.when)}"
