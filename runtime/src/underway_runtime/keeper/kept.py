"""A node that `check` has had started before it is wanted: it has imported all and is configured, and waits.

=================================================  =====================================================================
what happens                                       what becomes of it
=================================================  =====================================================================
an install of its version, by a handover, begins   it goes on, as the successor
another install begins, or another is to be kept   it is killed
its time is over, the node ends, all is to stop    it is killed
it ends, or can't wait                             who has asked is told, if it has not waited yet; nothing else changes
=================================================  =====================================================================
"""

from __future__ import annotations

import time

from ..release import channel
from .yielding import Yielding

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from .child import Child
    from .nodes import Nodes
    from .shared_resources import SharedResources
else:
    import _signal

_TO_WAIT = 300.0
"""Seconds until it waits, at most; who asks gives up earlier."""


class Kept:
    """The one that is kept, if any."""

    def __init__(self, nodes: Nodes, resources: SharedResources, log: Callable[[str], object]) -> None:
        self._nodes = nodes
        self._resources = resources
        self._log = log
        self.child: Child | None = None
        self._version = ""
        self._seconds = 0.0
        self._waits = False
        self._yielding: Yielding | None = None

    def begin(self, version: str, seconds: float) -> str:
        """Start one of a version, which is kept for so many seconds from when it waits; returns why not."""
        nodes = self._nodes
        self.end("another one is to be kept")
        try:
            self.child = nodes.start_second(version)
        except OSError as error:
            return f"{nodes.name} can't be executed: {error.strerror}"
        self._version, self._seconds, self._waits = version, seconds, False
        self._yielding = Yielding(self.child.pid)
        nodes.timers["kept"] = time.monotonic() + _TO_WAIT
        return ""

    def obey(self, child: Child, message: channel.FromNode) -> None:
        """Do what it sends."""
        nodes = self._nodes
        match message:
            case channel.Hello():
                child.hello = message
                self._resources.admit_second(child, message.lock, nodes.beat, channel.KEPT)
            case channel.About():
                child.about = message
                child.send(channel.Noted())
            case channel.Failed(reason):
                child.failure = child.failure or reason
            case channel.Prepared((channel.KEPT,)):
                self._wait(child)
            case channel.Bind() | channel.Prepared():
                self.end("its runtime is of a version that can't wait")

    def _wait(self, child: Child) -> None:
        self._waits = True
        if self._yielding is not None:
            self._yielding.end()
        self._nodes.timers["kept"] = time.monotonic() + self._seconds
        if self._nodes.node is not None:
            self._nodes.node.send(channel.SuccessorPrepared((channel.KEPT, str(child.pid))))

    def take(self, version: str) -> Child | None:
        """Return the one that waits, to be the successor, where it is of that version; end it where it is not."""
        if self._waits and version == self._version:
            child, self.child = self.child, None
            self._nodes.timers.pop("kept", None)
            return child
        self.end("another version takes over")
        return None

    def end(self, reason: str) -> None:
        """Kill it, where there is one, and tell who waits until it does."""
        child, self.child = self.child, None
        if child is not None:
            child.kill(_signal.SIGKILL)
            child.close()
            self._gone(child, reason)

    def look(self) -> None:
        """Do what follows where it has ended."""
        if self.child is not None and (died := self.child.ended) is not None:
            self._nodes.finish(self.child)
            child, self.child = self.child, None
            if child is not None:
                how = f"it was ended by signal {-died}" if died < 0 else f"it ended with status {died}"
                self._gone(child, child.failure or how)

    def _gone(self, child: Child, reason: str) -> None:
        self._nodes.timers.pop("kept", None)
        self._resources.sockets.drop(child.pid)
        if not self._waits and self._nodes.node is not None:
            self._nodes.node.send(channel.SuccessorFailed(reason))
        elif self._waits:
            self._log(f"{self._version} (pid {child.pid}) is not kept any more: {reason}")
