"""The phases of a node, and that it is asked to stop.

================  =====================================================================  ==============================
phase             what goes on                                                           what may follow
================  =====================================================================  ==============================
``PREPARING``     lock, cookie, configuration, modules; a signal ends the process        ``STARTING``
``STARTING``      applications start, on the loop; a signal stops what has started       ``RUNNING``, ``STOPPING``
``RUNNING``       all have started, and the keeper knows                                 ``INSTALLING``,
                                                                                         ``HANDING_OVER``, ``STOPPING``
``INSTALLING``    the process becomes another version                                    ``RUNNING``, ``STOPPING``
``HANDING_OVER``  a successor accepts, and this node drains                              ``STOPPING``
``STOPPING``      applications stop in reverse order                                     the end of the process
================  =====================================================================  ==============================

Somebody may ask a node to stop in any phase, from any thread, and before there is a loop to tell: a `StopRequest` keeps that.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Mapping


class Phase(enum.Enum):
    """Where a node is in its life; the values are what ``status`` shows."""

    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    INSTALLING = "installing"
    HANDING_OVER = "handing over"
    STOPPING = "stopping"


_FOLLOWS: Mapping[Phase, tuple[Phase, ...]] = {
    Phase.PREPARING: (Phase.STARTING,),
    Phase.STARTING: (Phase.RUNNING, Phase.STOPPING),
    Phase.RUNNING: (Phase.INSTALLING, Phase.HANDING_OVER, Phase.STOPPING),
    Phase.INSTALLING: (Phase.RUNNING, Phase.STOPPING),
    Phase.HANDING_OVER: (Phase.STOPPING,),
    Phase.STOPPING: (),
}


class Life:
    """The phase of one node, which goes one way."""

    def __init__(self, show: Callable[[str], object]) -> None:
        """`show` is called with each phase that is entered, for whoever asks for the status."""
        self.phase = Phase.PREPARING
        self._show = show

    def enter(self, phase: Phase) -> bool:
        """Enter a phase, where it may follow the one that is; whether it does. An install that is overtaken by the end is not
        followed by ``RUNNING``."""
        if phase not in _FOLLOWS[self.phase]:
            return False
        self.phase = phase
        self._show(phase.value)
        return True


class StopRequest:
    """Whether somebody wants the node to stop, and another to be started in its place."""

    def __init__(self) -> None:
        self.is_made = False
        self.restarts = False
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def make(self, *, restarts: bool = False) -> None:
        """Want that; from any thread, any number of times."""
        self.is_made = True
        self.restarts = self.restarts or restarts
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the node has stopped
                self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        """Return when it is made; on the node's loop."""
        self._loop = asyncio.get_running_loop()
        if not self.is_made:
            await self._event.wait()
