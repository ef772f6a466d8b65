"""``rpc CODE``: run code in the node that runs; print what it prints and what its last expression is."""

from __future__ import annotations

import os

from .. import answers
from .client import connect, tell_directory
from .stream_output import until_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Place


def run(place: Place, code: str) -> int:
    """Run it, and return the exit status: 0, 7 when the code raised, 130 when it was interrupted, or what it chose by SystemExit.

    `code` ``-`` reads it from standard input. Raises UnderwayError.
    """
    if code == "-":
        with open(0, "rb", closefd=False) as file:
            code = os.fsdecode(file.read())
    connection = connect(place)
    try:
        tell_directory(place, connection)
        connection.send({"do": "rpc", "code": code})
        return answers.exit_status(until_answer(connection)["status"])
    finally:
        connection.close()
