"""``restart``: make the node stop and start again, and wait until it is ready; ``--graceful``: let another take over."""

from __future__ import annotations

import os

from ...release.errors import UnderwayError
from .. import answers
from . import patience
from .client import TO_SAY, NotRunning, check_directory, connect

TO_COME = 120.0
"""Seconds that the new node has until it answers, which it does before its applications start."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Connection, Place


def run(place: Place, *, graceful: bool) -> int:
    """Return 0 when the new node is ready. Raises UnderwayError when it did not become so."""
    if graceful:
        from .handover_request import hand_over

        hand_over(place, "", f"restart-{os.getpid()}", 0)
        return 0
    old = connect(place)
    check_directory(place.name, place.root, old.root, "restart")
    timeout = answers.seconds(old.ask({"do": "restart"}, TO_SAY)["within"])
    if not old.wait_for_end(timeout):
        raise UnderwayError(
            f"{place.name} was asked to restart and has not stopped within {timeout:g} s; its log says what it waits for"
        )
    try:
        answer = patience.ask(place, _next(place, old), {"do": "ready"}, "whether it starts is not known")
    except NotRunning:
        raise UnderwayError(f"{place.name} has stopped, and was not started again; its log says why") from None
    except UnderwayError as error:
        raise UnderwayError(f"{place.name} has stopped, and did not become ready again: {error}") from None
    if "failed" in answer:
        raise UnderwayError(f"{place.name} has stopped, and could not start again: {answer['failed']}")
    return 0


def _next(place: Place, old: Connection) -> Connection:
    """The node that comes after; its keeper holds the socket meanwhile, where we wait in the queue."""
    new = connect(place, TO_COME)
    if new.boot == old.boot:
        raise UnderwayError("the node was asked to stop and still answers")
    return new
