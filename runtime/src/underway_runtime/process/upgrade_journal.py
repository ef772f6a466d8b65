"""What happens in upgrades: installs, and the boots, drains and gates that belong to them, in a journal that has an end.

``var/journal/upgrades.jsonl`` has a line for each, with the same ``upgrade_id`` for all that belong together. It is bounded as
the journal of uses is. Commands and nodes write to it, and `totals` reads it: a node has no memory of the ones before it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ..frozen import Frozen
from . import usage_journal


class Totals(Frozen):
    """The installs that the journal knows of."""

    by_outcome: dict[str, int] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    """By outcome, when the last one ended so; in seconds since 1970."""


def new_id() -> str:
    """What tells one upgrade from others."""
    return os.urandom(6).hex()


def note(
    file: Path,
    event: Literal["install", "boot", "drain", "soak", "rollback", "return"],
    outcome: str,
    upgrade_id: str,
    **facts: object,
) -> None:
    """Write that something has ended, and how. Never raises: what can't be written is told to the operator."""
    usage_journal.append(file, {"upgrade_id": upgrade_id, "event": event, "outcome": outcome, **facts})


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Read all that is known, oldest first; lines that are not whole are left out."""
    for journal in (file.with_name(f"{file.name}.1"), file):
        with contextlib.suppress(OSError):
            for line in journal.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    if isinstance(event := json.loads(line), dict):
                        yield event


def totals(file: Path) -> Totals:
    """Count the installs."""
    sums = Totals()
    for event in read(file):
        match event:
            case {"event": "install", "outcome": str(outcome), "time": str(time)}:
                sums.by_outcome[outcome] = sums.by_outcome.get(outcome, 0) + 1
                with contextlib.suppress(ValueError):
                    sums.last[outcome] = datetime.fromisoformat(time).timestamp()
    return sums
