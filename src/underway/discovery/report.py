"""What was found, for a person and as JSON. Names of variables are shown, values never."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from underway_runtime.release.display import one_line

from .choice import Candidate
from .proposal import Proposal
from .table import text_of

_MOST = 12
"""Of a kind that are shown to a person; JSON has all."""


def lines(proposal: Proposal) -> Iterator[str]:
    """All that is to be said of a project, but for what was done."""
    yield from map(one_line, _lines(proposal))


def _lines(proposal: Proposal) -> Iterator[str]:
    findings, choice = proposal.findings, proposal.choice
    framework = choice.taken.start.framework if choice.taken else ""
    yield f"{findings.root}: {findings.read} files read" + (f", {framework}" if framework else "")
    if choice.taken:
        yield ""
        for line in text_of(proposal.table).split("\n")[1:]:
            key = line.partition(" ")[0]
            [row] = [row for row in proposal.lines if row.key == key]
            yield f"  {line}"
            yield f"      {row.sure}: {row.source}"
    others = [candidate for candidate in choice.candidates if candidate is not choice.taken]
    if others:
        yield ""
        yield "not taken:" if choice.taken else f"candidates ({choice.reason}):"
        yield from _most([_candidate(candidate) for candidate in others])
    elif not choice.taken:
        yield f"  {choice.reason}"
    yield from _surroundings(proposal)


def _candidate(candidate: Candidate) -> str:
    start = candidate.start
    args = f" args = {list(start.args)}" if start.args else ""
    where = ", ".join(dict.fromkeys(str(line.place) for line in candidate.evidence))
    problem = f"; not as it is: {start.problem}" if start.problem else ""
    return f"  {start.kind} = {start.reference}{args}  {start.sure}: {where} ({start.framework or start.how}){problem}"


def _surroundings(proposal: Proposal) -> Iterator[str]:
    findings = proposal.findings
    if findings.settings:
        required = [setting for setting in findings.settings if setting.is_required]
        yield ""
        if required:
            yield "variables that the code reads without a default:"
            yield from _most([f"  {setting.name}  {setting.place}" for setting in required])
        with_default = [setting.name for setting in findings.settings if not setting.is_required]
        if with_default:
            more = f" and {len(with_default) - _MOST} more" if len(with_default) > _MOST else ""
            yield f"variables with a default: {', '.join(with_default[:_MOST])}{more}"
    for path, names in findings.env_files.items():
        yield f"{path} sets {len(names)} names; a release does not read it: its env.sh, systemd or a provider sets them"
    for migration in findings.migrations:
        yield f"migrations: {migration.tool} ({migration.place}); in a release by `{migration.command}`"
    lock = proposal.shipped.lock
    yield f"lock: {lock.name if lock else 'none'}"
    for note in proposal.notes:
        yield f"note: {note}"
    for below in findings.below:
        starts = ", ".join(f"{start.kind} = {start.reference}" for start in below.starts) or "nothing clear starts"
        yield f"a project below: {below.directory} ({starts})"
    yield from _most([f"not read: {reason}" for reason in findings.unread])


def _most(texts: list[str]) -> Iterator[str]:
    yield from texts[:_MOST]
    if len(texts) > _MOST:
        yield f"  and {len(texts) - _MOST} more; --json has all"


def as_json(proposal: Proposal, written: str | None) -> dict[str, Any]:
    """The same for a program."""
    findings, choice = proposal.findings, proposal.choice
    return {
        "project": str(findings.root),
        "written": written,
        "table": proposal.table,
        "lines": [{"key": row.key, "value": row.value, "from": row.source, "sure": row.sure} for row in proposal.lines],
        "present": proposal.present,
        "reason": choice.reason,
        "candidates": [
            {
                "kind": candidate.start.kind,
                "reference": candidate.start.reference,
                "args": list(candidate.start.args),
                "framework": candidate.start.framework,
                "listen": list(candidate.start.listen),
                "workers": candidate.start.workers or None,
                "sure": candidate.start.sure,
                "problem": candidate.start.problem or None,
                "taken": candidate is choice.taken,
                "from": [
                    {"file": line.place.file, "line": line.place.line, "found": line.how} for line in candidate.evidence
                ],
            }
            for candidate in choice.candidates
        ],
        "settings": [
            {"name": s.name, "file": s.place.file, "line": s.place.line, "required": s.is_required}
            for s in findings.settings
        ],
        "env_files": {path: list(names) for path, names in findings.env_files.items()},
        "migrations": [
            {"tool": m.tool, "file": m.place.file, "line": m.place.line, "command": m.command}
            for m in findings.migrations
        ],
        "below": [
            {"directory": b.directory, "starts": [f"{s.kind}={s.reference}" for s in b.starts]} for b in findings.below
        ],
        "lock": str(proposal.shipped.lock) if proposal.shipped.lock else None,
        "notes": list(proposal.notes),
        "missing": list(proposal.missing),
        "not_read": list(findings.unread),
        "next": list(proposal.next),
    }
