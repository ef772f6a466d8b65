"""The phases of a node, as its keeper sees them by what the node has sent.

==============  ==========================================================  ==============================================
phase           what the node has sent                                      what may follow, but for the end of the process
==============  ==========================================================  ==============================================
``STARTING``    nothing yet, or what it needs to start                      all of the others
``RUNNING``     `Ready`, or `Accepting`: it serves                          ``RESTARTING``, ``FAILING``, ``STOPPING``
``FAILING``     `Stopping`, because of what has happened in it              ``RESTARTING``
``STOPPING``    `Stopping`, because somebody wants that                     ``RESTARTING``
``RESTARTING``  `Restart`: it ends, and another is to follow                nothing
==============  ==========================================================  ==============================================

They are texts and no `enum.Enum`: to import that takes 0.7 MB, of the 3.5 that a keeper has for itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STARTING = "starting"
RUNNING = "running"
FAILING = "failing"
STOPPING = "stopping"
RESTARTING = "restarting"

_FOLLOWS: Mapping[str, tuple[str, ...]] = {
    STARTING: (RUNNING, FAILING, STOPPING, RESTARTING),
    RUNNING: (FAILING, STOPPING, RESTARTING),
    FAILING: (RESTARTING,),
    STOPPING: (RESTARTING,),
    RESTARTING: (),
}


def after(phase: str, wanted: str) -> str:
    """The phase of a node that is in one and has sent what leads to another: that, where it may follow, else the same."""
    return wanted if wanted in _FOLLOWS[phase] else phase
