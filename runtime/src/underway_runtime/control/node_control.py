"""What a node does when somebody asks for it at its control socket."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from .frames import Message
from .requests import HandOver, Install, Keep, Scale


class NodeControl(Protocol):
    """The node, for those who answer its clients. Each method may be called in any thread, and returns at once."""

    def status(self) -> Message:
        """What ``status`` shows, but for the loop."""

    def names(self) -> Mapping[str, Any]:
        """What code finds that somebody runs in the node."""

    def is_unpacked(self, version: str) -> bool:
        """Whether the release directory has a version."""

    def why_not_startable(self, version: str) -> str | None:
        """Why no node of a version, or of the permanent one where that is empty, could be started from there; None where one can."""

    def restart(self) -> str | None:
        """Make the node stop and start again; why it can't, if so."""

    def hand_over(self, request: HandOver) -> Future[Message]:
        """Make another node take over; the answer comes when it does, or has failed."""

    def install(self, request: Install) -> Future[Message]:
        """Make this process another version."""

    def can_install_in_place(self, version: str) -> Future[Message]:
        """Find out whether this process could become a version; changes nothing."""

    def keep(self, request: Keep) -> Future[Message]:
        """Have a node of a version started that waits to be wanted; the answer comes when it does, or has failed."""

    def scale(self, request: Scale) -> Future[Message]:
        """Have so many processes."""

    def try_gates(self) -> Future[Message]:
        """Try the gates of the version that runs."""

    def committed(self) -> str | None:
        """Tell the keeper that this version is permanent; why not, where it is not."""
