"""A review for a terminal: two lines a change, of which the first fits into 80 columns where names allow."""

from __future__ import annotations

from collections.abc import Iterator

from underway_runtime.release.relup import Relup, Row

from ..planner.report import SAY
from .causes import Change
from .review import Review, Way
from .stubs import Stub

MOST_FOLLOWING = 3
"""Consequences of a change that are named; the others are counted."""


def lines(comparison: Review) -> Iterator[str]:
    """All of it, line by line."""
    yield f"{comparison.name} {comparison.old.version} -> {comparison.new.version}: {comparison.verdict}, {SAY[comparison.verdict]}"
    yield f"  from {comparison.old.source} to {comparison.new.source}"
    yield from (f"  note: {note}" for note in comparison.notes)
    yield from _applications(comparison)
    yield from _changes(comparison.up)
    if comparison.state:
        yield "\nState"
        yield from (f"  {carried.what}: {carried.how}" for carried in comparison.state)
    yield from _stubs(comparison)
    yield f"\nPause: {comparison.pause.text}"
    yield f"Way back: {comparison.down.verdict}, {SAY[comparison.down.verdict]}"
    known = {(change.row.module, change.row.definition, change.verdict) for change in comparison.up.changes}
    severe = [change for change in comparison.down.changes if change.verdict in ("RESTART", "REFUSE")]
    for change in severe:
        if (change.row.module, change.row.definition, change.verdict) not in known:
            yield from _change(change)


def upgrade_lines(relup: Relup) -> Iterator[str]:
    """What became of a relup that was planned while its release was built: a line for each way, and what is in its way."""
    backs = {entry.version: entry for entry in relup.down}
    for entry in relup.up:
        back = backs[entry.version].verdict
        yield f"Upgrade from {entry.version}: {entry.verdict}, {SAY[entry.verdict]}; back: {back}"
        if entry.verdict in ("RESTART", "REFUSE"):
            severe = [row for row in entry.changes if row.verdict == entry.verdict]
            yield from (f"  {what(row)} {where(row)}: {row.reason}" for row in severe[:MOST_FOLLOWING])
            if len(severe) > MOST_FOLLOWING:
                yield f"  and {len(severe) - MOST_FOLLOWING} more: `underway plan`"


def where(row: Row) -> str:
    """File and line, as they stand in the application; what is not of one, as it stands in the release."""
    file = row.file.removeprefix("lib/").partition("/")[2] if row.file.startswith("lib/") else row.file
    return f"{file}:{row.line}" if row.line else file


def what(row: Row) -> str:
    """The definition, or what else changes."""
    return ":".join(dict.fromkeys(filter(None, (row.module, row.definition)))) or "the release"


def following(change: Change) -> str:
    """How many rows follow from a change, and which; empty where none does."""
    if not change.consequences:
        return ""
    named = list(dict.fromkeys(what(consequence) for consequence in change.consequences))
    more = len(named) - MOST_FOLLOWING
    others = f" and {more} more" if more > 0 else ""
    count = len(change.consequences)
    return f"{count} consequence{'s' if count > 1 else ''}: {', '.join(named[:MOST_FOLLOWING])}{others}"


def _applications(comparison: Review) -> Iterator[str]:
    if comparison.applications:
        yield "\nApplications"
        for application in comparison.applications:
            if application.old and application.new:
                yield f"  {application.name} {application.old} -> {application.new}"
            else:
                yield f"  {application.name} {application.new or application.old}, {'added' if application.new else 'removed'}"


def _changes(way: Way) -> Iterator[str]:
    if not way.changes:
        yield "\nNothing changes"
        return
    yield "\nChanges"
    for change in way.changes:
        yield from _change(change)


def _stubs(comparison: Review) -> Iterator[str]:
    if comparison.stubs:
        yield "\nInstances are carried over by a code_change, to begin with"
        for stub in comparison.stubs:
            yield f"  {stub.what}, {made_where(stub)}"
            yield from (f"      {line}" for line in stub.text.splitlines())


def made_where(stub: Stub) -> str:
    """How many places make instances of a class, and where the first are."""
    if not stub.made:
        return "made nowhere by that name"
    count, more = len(stub.made), len(stub.made) - MOST_FOLLOWING
    others = f" and {more} more" if more > 0 else ""
    return f"made in {count} place{'s' if count > 1 else ''}: {', '.join(stub.made[:MOST_FOLLOWING])}{others}"


def _change(change: Change) -> Iterator[str]:
    row = change.row
    yield "  ".join(filter(None, (f"  {change.verdict:<7}", what(row), row.change, where(row))))
    yield f"           {row.reason}"
    if follows := following(change):
        yield f"           {follows}"
        worse = next(
            (
                consequence
                for consequence in change.consequences
                if consequence.verdict == change.verdict != row.verdict
            ),
            None,
        )
        if worse is not None:
            yield f"           {what(worse)} ({where(worse)}): {worse.reason}"
