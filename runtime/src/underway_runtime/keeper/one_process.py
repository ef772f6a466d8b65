"""What most releases have of further processes: none. ``processes.py`` takes its place when a node asks for more."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..release import channel
    from .child import Child


class OneProcess:
    """No further processes, as `Processes`."""

    children: Sequence[Child] = ()

    def has(self, first: Child) -> bool:
        """Whether a first one has others."""
        return False

    def due(self) -> Sequence[float]:
        """When something is to be done."""
        return ()

    def obey(self, child: Child, message: channel.FromNode) -> bool:
        """Whether this is one of them, and was obeyed."""
        return False

    def look(self, now: float = 0.0) -> None:
        """Do nothing: there is none."""

    tick = look

    def stop(self, first: Child | None = None) -> None:
        """Do nothing: there is none."""

    accept = serves = first_ended = stop
