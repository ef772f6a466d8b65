"""What the parts of a keeper need of it; for type checkers alone."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..release import channel
    from .child import Child
    from .processes import Processes

    class Nodes(Protocol):
        """Who starts the nodes, and knows which of them is the node."""

        name: str
        node: Child | None
        timers: dict[str, float]
        """By name, when each is due, on the monotonic clock."""
        told: bool
        """Whether all is to end."""
        processes: Processes
        """Those of the release besides the first."""

        @property
        def beat(self) -> float:
            """Seconds between the signs of life of a node, or 0."""

        def start_second(self, version: str) -> Child:
            """Start a node of a version, or of the permanent one, next to the one that runs. Raises OSError."""

        def follow(self, new: Child, line: str) -> None:
            """Take this one for the node from here on; `line` is what it sends of itself."""

        def start_permanent(self, why: str) -> None:
            """Start the permanent version, since nothing else runs; `why` is for the log."""

        def finish(self, node: Child) -> None:
            """Take what a node has still sent and printed, in its last moments."""

        def end(self, status: int) -> None:
            """End with this status: nothing follows."""

        def want(self, first: Child, asked: channel.Processes, upgrade_id: str) -> None:
            """Have further processes of the version of a first one."""
