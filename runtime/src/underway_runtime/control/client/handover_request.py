"""Asking the node to hand over to another, and hearing from that one that it has."""

from __future__ import annotations

import time

from ...release.errors import BusyError, UnderwayError, UndoneError
from .. import answers
from . import patience
from .client import Denied, check_directory, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .client import Connection, Place


class NotInPlace(UndoneError):
    """What has failed is still in the process, which can't go back by itself."""


class TookOverAndEnded(UndoneError):
    """Its node, if it was seen, is gone before it was alone; whether that is its own fault is not known here."""

    def __init__(self, message: str, reason: str, node: Connection | None) -> None:
        super().__init__(message, reason)
        self.node = node


_TO_ANSWER = 30.0
"""Seconds in which a node that accepts, or is started again, is to be found at the control socket."""


def hand_over(place: Place, version: str, upgrade_id: str, to_commit: float) -> dict[str, Any]:
    """Make the node hand over to a version, or to the permanent one where that is empty.

    Returns the status of the new one, from itself, when the old one has left. Raises BusyError, UndoneError with what was
    the matter, and UnderwayError when the node can't be asked.
    """
    who = version or "the next node"
    old = connect(place)
    try:
        check_directory(place.name, place.root, old.root, "a handover")
        request = {"do": "hand over", "version": version, "id": upgrade_id, "to_commit": to_commit}
        answer = patience.ask(place, old, request, f"whether {who} takes over is not known")
    except (Denied, patience.GivenUp):
        raise
    except UnderwayError:
        answer = {"gone": True}  # it may have died after the other one accepted, or before
    finally:
        old.close()
    if "busy" in answer:
        raise BusyError(f"{place.name} can't hand over now: {answer['busy']}; try again when that is done")
    if "refused" in answer:
        raise UnderwayError(f"{who} was not started, and nothing has changed: {answer['refused']}")
    if "ended" in answer:
        raise _after_the_end(place, old, who, answer)
    if "failed" in answer:
        raise UndoneError(f"{who} has failed, and the version before runs on", answer["failed"])
    if "stays" in answer:
        raise UndoneError(f"{who} could not take over, and the version before runs on", answer["stays"], blamed=False)
    new = None
    try:
        new = next_node(place, old)
        ready = patience.ask(place, new, {"do": "ready"}, f"{who} had taken over, and was not known to run alone")
        status: dict[str, Any] = new.status()
    except patience.GivenUp:
        raise
    except UnderwayError as error:
        if "gone" in answer:
            raise UnderwayError(
                f"the node that ran has ended before {who} had taken over, and no other answers so far: {error};"
                f" bin/{place.name} status says whether the keeper has started one"
            ) from None
        raise TookOverAndEnded(f"{who} took over, and ended", str(error), new) from None
    if "gone" in answer and status.get("took_over") != upgrade_id:
        what = f"{who} has not taken over, and {status['version']} is started (pid {status['pid']})"
        raise UndoneError(what, "the node that ran has ended meanwhile", blamed=False)
    if "failed" in ready or status["state"] != "running" or version not in ("", status["version"]):
        raise UndoneError(f"{who} took over, and ended", f"{status['version']} is {status['state']}")
    return status


def _after_the_end(place: Place, old: Connection, who: str, answer: dict[str, Any]) -> UnderwayError:
    """What to say where neither the version that was to take over nor the one that ran goes on."""
    why = answer.get("failed") or answer["stays"]
    what = f"{who} has failed, and the version before could not go on and ends: {answer['ended']}"
    try:
        new = next_node(place, old)
        if failed := patience.ask(place, new, {"do": "ready"}, "whether it has started is not known").get("failed"):
            raise UnderwayError(failed)
        status = new.status()
    except UnderwayError:
        return UnderwayError(f"{what}; {who} had failed because of this: {why}")
    return UndoneError(
        f"{what}; {status['version']} is started (pid {status['pid']}), and {who} had failed because of this",
        why,
        blamed="failed" in answer,
    )


def next_node(place: Place, old: Connection) -> Connection:
    """The node that is not the old one, which may still take clients for a moment."""
    end = time.monotonic() + _TO_ANSWER
    while (new := connect(place, _TO_ANSWER)).boot == old.boot:
        new.close()
        if time.monotonic() > end:
            raise UnderwayError("the node that was there before still answers")
        time.sleep(0.02)
    return new


def install(place: Place, version: str, upgrade_id: str, to_commit: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the process that runs another version; the answer, and the process's status then, from itself.

    The answer has ``unfit`` with the reason where it takes a new interpreter, ``inside`` with who has not left what changes in time,
    and nothing has changed; else ``how`` it was done, for
    how many seconds new work was ``held``, and the ``old_code`` that somebody keeps. Raises BusyError, UndoneError with what was the
    matter, NotInPlace, and UnderwayError when the node can't be asked.
    """
    node = connect(place)
    try:
        check_directory(place.name, place.root, node.root, "an install")
        request = {"do": "install", "version": version, "id": upgrade_id, "to_commit": to_commit}
        answer = patience.ask(place, node, request, f"whether {version} is put in its place is not known")
        status: dict[str, Any] = node.status()
    except (Denied, patience.GivenUp):
        raise
    except UnderwayError as error:
        new = next_node(place, node).status()  # or none has come back, which that raises
        raise UndoneError(f"{version} ended the process, and {new['version']} is started", str(error)) from None
    finally:
        node.close()
    if "busy" in answer:
        raise BusyError(f"{place.name} can't change now: {answer['busy']}; try again when that is done")
    if "stays" in answer:
        raise NotInPlace(f"{version} has failed, and runs on: {answer['stays']}", answer["failed"])
    if "failed" in answer:
        raise UndoneError(f"{version} has failed, and the version before runs on", answer["failed"])
    if "unfit" not in answer and "inside" not in answer:
        answers.become(answer)
    return answer, status
