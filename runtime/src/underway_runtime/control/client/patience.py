"""Asking a node for what takes its time: for as long as the node lives, and not for ever.

===================================================  ================================================================
while nothing comes, every `LOOKS` seconds           then
===================================================  ================================================================
its control socket, which has a thread for itself,   it is given up: the process is frozen
does not answer
its loop has not answered for `BLOCKED` seconds      it is given up: something that it was asked for, or some
                                                     application, never returns
another node answers there                           the one that was asked has gone
it answers                                           it is waited for; what has begun to come has a minute
===================================================  ================================================================
"""

from __future__ import annotations

from contextlib import closing

from ...release.errors import UnderwayError
from .client import TO_SAY, Gone, NotAnswering, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..frames import Message
    from .client import Connection, Place

LOOKS = 30.0
"""Seconds."""
BLOCKED = 120.0
"""Seconds for which the loop of a node may do one thing only: what some applications do at their end takes long."""


class GivenUp(UnderwayError):
    """A node has begun with what it was asked for, and hangs: what becomes of it is not known."""


def ask(place: Place, node: Connection, request: Message, what: str) -> Message:
    """Send a message and return the next. Raises GivenUp where the node hangs, with `what`: what is not known then; and what
    `Connection.ask` does."""
    node.send(request)
    while not node.has_answered(LOOKS):
        why = _hangs(place, node)
        if why and not node.has_answered(0):
            raise GivenUp(f"{why} and was given up: {what}; `{place.prog} status` says what runs when it answers")
    return node.rest(TO_SAY)


def _hangs(place: Place, node: Connection) -> str:
    """Why nothing is to be expected of a node any more; empty where it lives, or has ended. Raises Gone where another has followed."""
    try:
        with closing(connect(place, LOOKS)) as other:
            is_followed = other.boot != node.boot
            blocked = 0.0 if is_followed else _blocked(other.ask({"do": "status"}, LOOKS)["status"])
    except NotAnswering:
        return f"{place.name} has not answered for {LOOKS:g} s: it is frozen, or hangs,"
    except UnderwayError:  # it ends, or can't be asked: what was asked of it is answered or not
        return ""
    if is_followed and not node.has_answered(1):  # what it has said last may be on its way
        raise Gone(f"{place.name} has gone, and another node has followed")
    return f"the loop of {place.name} has not answered for {blocked:.0f} s" if blocked > BLOCKED else ""


def _blocked(status: object) -> float:
    """For how many seconds the loop of a node has not answered, as its status says."""
    match status:
        case {"loop": {"answers": False, "seconds": float() | int() as seconds}}:
            return seconds
    return 0.0
