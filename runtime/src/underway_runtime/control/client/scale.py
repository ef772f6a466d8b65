"""``scale N``: have so many processes of the release that runs, until its keeper ends."""

from __future__ import annotations

import contextlib

from ...release.errors import BusyError, UnderwayError, UndoneError, UsageError
from . import patience
from .client import check_directory, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Place

_MOST = 512


def run(place: Place, n: str) -> int:
    """Return 0 when `n` processes serve; who is one too many takes no more, and leaves when it has drained.

    Raises UsageError, BusyError while another version is installed, UndoneError where one could not start, and there are as many as
    before, and UnderwayError.
    """
    if not (n.isdecimal() and 1 <= int(n) <= _MOST):
        raise UsageError(f"scale takes a number of processes from 1 to {_MOST}, not {n!r}")
    with contextlib.closing(connect(place)) as node:
        check_directory(place.name, place.root, node.root, "scale")
        request = {"do": "scale", "processes": int(n)}
        answer = patience.ask(place, node, request, f"whether there are {n} processes is not known; `status` says it")
    if "busy" in answer:
        raise BusyError(f"{place.name} can't be scaled now: {answer['busy']}; try again when that is done")
    if "refused" in answer:
        raise UnderwayError(
            f"{place.name} can't be scaled: {answer['refused']}; [tool.underway] or the configuration of one says it"
        )
    if "failed" in answer:
        raise UndoneError(f"there are as many processes of {place.name} as before", answer["failed"])
    print(f"{place.name} runs in {answer['scaled']} processes")
    return 0
