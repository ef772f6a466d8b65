"""What code prints in a node, shown where its command runs; and Ctrl-C there, told to the node."""

from __future__ import annotations

import os

from ...release.display import escaped, unwritable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType

    from ..frames import Message
    from .client import Connection
else:
    import _signal


def until_answer(connection: Connection, interrupts: int = 1) -> Message:
    """Write the output that comes to ours, until something else comes, and return that.

    Ctrl-C interrupts the code in the node, so many times; the next one raises KeyboardInterrupt here. Raises UnderwayError when
    the node is gone.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts -= 1
        if interrupts <= 0:
            _signal.signal(_signal.SIGINT, before)
        connection.send({"interrupt": True})

    before = _signal.signal(_signal.SIGINT, interrupt)
    try:
        while True:
            match message := connection.receive():
                case {"out": str(text)}:
                    _write(1, text, connection.is_ours)
                case {"err": str(text)}:
                    _write(2, text, connection.is_ours)
                case _:
                    return message
    finally:
        _signal.signal(_signal.SIGINT, before)


def _write(descriptor: int, text: str, is_ours: bool) -> None:
    """Write it as it is into a file or a pipe; what another user's node prints is not to do something at our terminal.

    Raises UnderwayError where it can't be written."""
    if not is_ours and os.isatty(descriptor):
        text = "".join(character if character in "\n\t" else escaped(character) for character in text)
    data = text.encode(errors="backslashreplace")
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise unwritable(error) from None
