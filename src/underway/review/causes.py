"""Rows that follow from one cause, put together: who reads them wants to know what to do, and that is one thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from underway_runtime.release.relup import VERDICTS, Row, Verdict, worst


@dataclass(frozen=True)
class Change:
    """A change, and what follows from it."""

    row: Row
    consequences: tuple[Row, ...] = ()
    """Rows whose cause it is, or that are like it but for the file that they are about."""

    @property
    def verdict(self) -> Verdict:
        """The severest of its rows."""
        return worst(row.verdict for row in (self.row, *self.consequences))


def changes(rows: Sequence[Row]) -> list[Change]:
    """Each row with those that follow from it; the severest first, then as they stand in the files."""
    rows = list(dict.fromkeys(rows))
    named = _named(rows)
    causes: dict[Row, Row] = {}
    for row in rows:
        cause = named.get(row.cause) if row.cause else None
        if cause is not None and _root(cause, causes) != row:  # of a circle the last one stands by itself
            causes[row] = cause
    consequences: dict[Row, list[Row]] = {}
    for row in causes:
        consequences.setdefault(_root(row, causes), []).append(row)
    top = [Change(row, tuple(consequences.get(row, ()))) for row in rows if row not in causes]
    return sorted(
        _alike(top),
        key=lambda change: (-VERDICTS.index(change.verdict), change.row.file, change.row.line, change.row.definition),
    )


def _named(rows: Iterable[Row]) -> dict[str, Row]:
    """The first row of each definition, by ``module:definition`` and by the last part of that: causes have one or the other."""
    rows_by_name: dict[str, Row] = {}
    for row in rows:
        rows_by_name.setdefault(f"{row.module}:{row.definition}", row)
    for row in rows:
        rows_by_name.setdefault(f"{row.module}:{row.definition.rpartition('.')[2]}", row)
    return rows_by_name


def _root(row: Row, causes: Mapping[Row, Row]) -> Row:
    while row in causes:
        row = causes[row]
    return row


def _alike(causes: Iterable[Change]) -> Iterator[Change]:
    """Files that are not modules, and have the same said of them, are one change."""
    groups: dict[tuple[str, ...], Change] = {}
    for cause in causes:
        row = cause.row
        if row.line or cause.consequences:
            yield cause
            continue
        key = (row.module, row.change, row.verdict, row.reason)
        first = groups.get(key)
        groups[key] = cause if first is None else Change(first.row, (*first.consequences, row))
    yield from groups.values()
