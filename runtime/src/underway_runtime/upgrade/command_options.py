"""The command line of a command about releases, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..release import command_line
from ..release.command_table import COMMANDS
from ..release.errors import UsageError
from .change import Conditions, How
from .trust import KINDS

_CHECK_WITHIN = 60.0
"""Seconds that a trial gets."""


@dataclass(frozen=True)
class Options:
    """What a command line asks for."""

    command: str
    as_json: bool
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
    conditions: Conditions
    timeout: float
    commit_within: float
    """0 for never."""
    permanent: str | None
    keep: int
    """How many versions, of `prune`."""
    keep_for: float
    """Seconds, of `check`; 0 for not at all."""


def read(arguments: Sequence[str], prog: str) -> Options:
    """Read what was asked for. Raises UsageError."""
    command, *words = arguments
    given = command_line.parse(command, words, prog)
    usage = f"; usage: {prog} {COMMANDS[command].usage}"
    at_least: How = "hot" if given.get("at_least") == "hot" else "handover"
    if given.get("at_least") not in (None, at_least):
        raise UsageError(f"--at-least is hot or handover, not {given['at_least']!r}{usage}")
    if given.get("trust") not in (None, *KINDS):
        raise UsageError(f"--trust is {' or '.join(KINDS)}, not {given['trust']!r}{usage}")
    keep = (given.get("keep") or "0") if command == "prune" else "0"
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
        keep_for = _seconds(given.get("keep")) if command == "check" else 0.0
    except ValueError as error:
        raise UsageError(f"{error} is not a number of seconds above 0 and up to a day{usage}") from None
    signers = given.get("allowed_signers")
    return Options(
        command=command,
        what=given.get("version_or_file") or "",
        version=given.get("version") or "",
        as_json=given["as_json"],
        dry_run=given.get("dry_run", False),
        again=given.get("again", False),
        sha256=given.get("sha256"),
        allowed_signers=Path(signers) if signers else None,
        trust=given.get("trust"),
        allow_downgrade=given.get("allow_downgrade", False),
        conditions=Conditions(at_least, fresh=how == "handover"),
        timeout=timeout or _CHECK_WITHIN,
        commit_within=to_commit,
        permanent=given.get("permanent"),
        keep=int(keep),
        keep_for=keep_for,
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
