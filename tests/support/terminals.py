"""A terminal for a process of a test, seen from its other end."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time
from collections.abc import Iterator

from node_helpers import TIMEOUT


class Terminal:
    """The other end of a terminal that a process runs on."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.seen = ""

    def expect(self, text: str) -> None:
        """Read until the text appears, and forget what came before it."""
        end = time.monotonic() + TIMEOUT
        while text not in self.seen:
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"never {text!r}: {self.seen!r}"
            self.seen += os.read(self.descriptor, 4096).decode(errors="replace")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())


@contextlib.contextmanager
def open_terminal() -> Iterator[tuple[Terminal, int]]:
    """Our end, and the descriptor of the end for a process."""
    ours, theirs = pty.openpty()
    try:
        yield Terminal(ours), theirs
    finally:
        os.close(ours)
        os.close(theirs)
