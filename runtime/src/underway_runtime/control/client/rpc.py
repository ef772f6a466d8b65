"""``rpc CODE``: run code in the node that runs; print what it prints and what its last expression is."""

from __future__ import annotations

import contextlib
import os

from ...release.errors import UnderwayError
from .. import answers
from .client import asked, connect, tell_directory
from .stream_output import until_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Place


def run(place: Place, code: str, *, in_all: bool = False) -> int:
    """Run it, and return the exit status: 0, 7 when the code raised, 130 when it was interrupted, or what it chose by SystemExit.

    `code` ``-`` reads it from standard input; `in_all` is in each process of the release, one after the other, and the status that of
    the first that has another than 0. Raises UnderwayError.
    """
    if code == "-":
        with open(0, "rb", closefd=False) as file:
            code = os.fsdecode(file.read())
    if in_all:
        return _in_all(place, code)
    connection = connect(place)
    try:
        tell_directory(place, connection)
        connection.send({"do": "rpc", "code": code})
        return answers.exit_status(until_answer(connection)["status"])
    finally:
        connection.close()


def _in_all(place: Place, code: str) -> int:
    """Run it in each process, with a line before the output of each; each is tried, whatever becomes of the others."""
    first = asked(place, lambda connection: connection.status())
    count = first["process"]["of"] if "process" in first else 1
    statuses: list[int] = []
    failures: list[str] = []
    for number in range(1, count + 1):
        try:
            with contextlib.closing(connect(place.of_process(number))) as connection:
                print(f"process {number} (pid {connection.status()['pid']}):", flush=True)
                connection.send({"do": "rpc", "code": code})
                statuses.append(answers.exit_status(until_answer(connection)["status"]))
        except UnderwayError as error:
            failures.append(f"process {number} was not asked: {error}")
    if failures:
        raise UnderwayError("; ".join(failures))
    return next((status for status in statuses if status), 0)
