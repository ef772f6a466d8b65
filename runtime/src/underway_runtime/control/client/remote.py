"""``remote``: a Python shell in the node that runs."""

from __future__ import annotations

import contextlib
import os
import sys

from .. import answers
from ..line_editing import editor
from .client import TO_SAY, connect, tell_directory
from .stream_output import until_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .client import Connection, Place

_HISTORY = 1000


def run(place: Place) -> int:
    """Converse until Ctrl-D, or ``exit()``, whose status is returned. Raises UnderwayError when the node is gone."""
    connection = connect(place)
    try:
        tell_directory(place, connection)
        welcome = connection.ask({"do": "shell"}, TO_SAY)["welcome"]
        if not sys.stdin.isatty():
            return _converse(connection, lambda prompt: _line(sys.stdin.readline()))
        print(f"{welcome}\n`await` works at the prompt; Ctrl-D leaves, and the node runs on.", file=sys.stderr)
        with _edited(connection, place):
            return _converse(connection, input)
    finally:
        connection.close()


def _converse(connection: Connection, read: Callable[[str], str]) -> int:
    lines: list[str] = []
    while True:
        ended = False
        try:
            lines.append(read("... " if lines else ">>> "))
        except EOFError:
            if sys.stdin.isatty():
                print()
            if not lines:
                return 0
            lines.append("")  # which ends the block that was begun
            ended = True
        except KeyboardInterrupt:
            print("\nKeyboardInterrupt")
            lines.clear()
            continue
        connection.send({"push": "\n".join(lines)})
        match until_answer(connection, interrupts=3):
            case {"status": int(status)}:
                return status
            case {"more": False}:
                lines.clear()
        if ended:
            return 0


def _line(line: str) -> str:
    if not line:
        raise EOFError
    return line.rstrip("\n")


@contextlib.contextmanager
def _edited(connection: Connection, place: Place) -> Iterator[None]:
    """Lines are edited by readline, completed by the node, and kept for the next time."""
    readline = editor()
    if readline is None:
        yield
        return
    matches: list[str] = []

    def complete(text: str, number: int) -> str | None:
        nonlocal matches
        if number == 0:
            connection.send({"complete": text})
            matches = answers.texts(until_answer(connection)["matches"])
        return matches[number] if number < len(matches) else None

    file = _history_file(place)
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(_HISTORY)
    readline.set_completer(complete)
    try:
        yield
    finally:
        readline.set_completer(None)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
            before = os.umask(0o077)
            try:
                readline.write_history_file(file)
                os.chmod(file, 0o600)
            finally:
                os.umask(before)


def _history_file(place: Place) -> str:
    state = place.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "underway", f"{place.name}.history")
