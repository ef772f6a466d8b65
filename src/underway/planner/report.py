"""A relup for people: each way with its verdict, and what changes, where, and why it is what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from underway_runtime.release.relup import Relup, RelupEntry, Row

SAY: Mapping[str, str] = {
    "HOT": "in place",
    "MIGRATE": "in place, and live state is carried over",
    "RESTART": "by a fresh interpreter that takes the sockets over",
    "REFUSE": "not at all: somebody must decide",
}


def lines(relup: Relup) -> Iterator[str]:
    """The report, line by line."""
    for entry, way in (*((e, "up") for e in relup.up), *((e, "down") for e in relup.down)):
        yield from _of_entry(relup, entry, way)


def _of_entry(relup: Relup, entry: RelupEntry, way: str) -> Iterator[str]:
    versions = (entry.version, relup.version) if way == "up" else (relup.version, entry.version)
    yield f"{relup.name} {versions[0]} -> {versions[1]}: {entry.verdict}, {SAY[entry.verdict]}"
    if not entry.changes:
        yield "  nothing changes"
        return
    table = [(row.verdict, _what(row), row.change, _where(row), row.reason) for row in _sorted(entry)]
    widths = [max(len(line[column]) for line in table) for column in range(4)]
    for line in table:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False))
        yield f"  {cells}  {line[4]}"


def _sorted(entry: RelupEntry) -> list[Row]:
    """What is severest first; within that, as it stands in the files."""
    order = ("REFUSE", "RESTART", "MIGRATE", "HOT")
    return sorted(entry.changes, key=lambda row: (order.index(row.verdict), row.file, row.line, row.definition))


def _what(row: Row) -> str:
    return ":".join(filter(None, (row.module, row.definition))) or "-"


def _where(row: Row) -> str:
    return f"{row.file}:{row.line}" if row.line else row.file
