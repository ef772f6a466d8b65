"""Whether there is memory for two nodes, as there are while one hands over to the other.

=================================================  =====================================================================
left is                                            then
=================================================  =====================================================================
less than the running node has                     a note: what the new one will take is not known, and may be as much
by a limit of a control group, less than the new   refused: it takes more than that before it is ready, and would be
version has taken on trial                         ended then
=================================================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...process import memory


@dataclass(frozen=True)
class Memory:
    """In bytes; None where the system does not tell."""

    needs: int | None
    """What the running node has."""
    tried: int
    """What the new version has taken on trial; 0 where it was not tried."""
    host: int | None
    """What the host has left."""
    limit: int | None
    """What the control groups of the running node leave; None without a limit."""

    @property
    def available(self) -> int | None:
        """What there is for a second node."""
        return min((left for left in (self.host, self.limit) if left is not None), default=None)

    @property
    def reasons(self) -> list[str]:
        """Why it can't be done."""
        if self.limit is None or self.limit >= self.tried:
            return []
        took, left = _megabytes(self.tried), _megabytes(self.limit)
        return [f"not enough memory for two nodes: the limit leaves {left}, the new version took {took} on trial"]

    @property
    def notes(self) -> list[str]:
        """What may go wrong."""
        if self.reasons or not self.needs or self.available is None or self.available >= self.needs:
            return []
        left, has = _megabytes(self.available), _megabytes(self.needs)
        return [f"there may not be enough memory for two nodes: {left} available, the running one has {has}"]


def look(status: Mapping[str, Any], tried: int, root: Path = Path("/")) -> Memory:
    """Find out what there is next to the node that says this of itself; `tried` is in bytes, of one process."""
    several = status.get("process")
    count = _count(several.get("of")) or 1 if isinstance(several, Mapping) else 1
    limit = min(memory.left_by_limits(_count(status.get("pid")), root), default=None)
    needs = _count(status.get("memory"))
    return Memory(needs and needs * count, tried * count, memory.available(root), limit)


def _count(value: object) -> int | None:
    """A number as the node states it, where it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
