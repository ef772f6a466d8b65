"""What code prints that somebody runs in the node goes to that somebody; all other output of the node is not touched.

While a session runs, ``sys.stdout``, ``sys.stderr`` and ``sys.displayhook`` look at a context variable: it is set in the
tasks of the session and in what they start (tasks, ``to_thread``), and nowhere else. Threads that code makes itself, and
handlers of logging, write where the node writes.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

Stream: TypeAlias = Literal["out", "err"]
Write: TypeAlias = Callable[[Stream, str], None]

here: ContextVar[Output | None] = ContextVar("underway_output", default=None)


class Output:
    """Where the output of one session goes. `write` is None for the streams of the process itself."""

    def __init__(self, write: Write | None, namespace: dict[str, Any]) -> None:
        self.write = write
        self._namespace = namespace

    def close(self) -> None:
        """Let what tasks of the session print from now on go where the node prints.

        Contexts may hold this for long; what the session has named is not held any more.
        """
        self.write = None
        self._namespace = {}

    def display(self, value: object) -> None:
        """Do as sys.displayhook does, but ``_`` is the session's own."""
        if value is not None:
            self._namespace["_"] = value
            print(repr(value))


def install() -> None:
    """Make the streams of this process look at the context variable; for good, since others may hold them."""
    if not isinstance(sys.displayhook, _Display):
        sys.displayhook = _Display(sys.displayhook)
    if not isinstance(sys.stdout, _Routed):
        sys.stdout = _Routed(sys.stdout, "out")
    if not isinstance(sys.stderr, _Routed):
        sys.stderr = _Routed(sys.stderr, "err")
    if not isinstance(sys.stdin, _Input):
        sys.stdin = _Input(sys.stdin)


def _write() -> Write | None:
    output = here.get()
    return None if output is None else output.write


class _Display:
    def __init__(self, otherwise: Callable[[object], Any]) -> None:
        self._otherwise = otherwise

    def __call__(self, value: object) -> None:
        output = here.get()
        if output is None:
            self._otherwise(value)
        else:
            output.display(value)


class _Routed:
    """A stream of the process, and in a session that of the session."""

    def __init__(self, stream: Any, name: Stream) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # it stays
        self._name = name

    def write(self, text: str) -> int:
        if isinstance(text, str) and (write := _write()) is not None:
            write(self._name, text)
            return len(text)
        self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        return _write() is None and self._stream.isatty()

    def fileno(self) -> int:
        return _fileno(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Input:
    """Standard input of the process; for a session it is at its end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream or open(os.devnull, encoding="utf-8")  # noqa: SIM115  # it stays

    def read(self, size: int = -1) -> str:
        return "" if _write() else self._stream.read(size)

    def readline(self, size: int = -1) -> str:
        return "" if _write() else self._stream.readline(size)

    def isatty(self) -> bool:
        return _write() is None and self._stream.isatty()

    def fileno(self) -> int:
        return _fileno(self._stream)

    def __iter__(self) -> Any:
        return iter(self.readline, "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fileno(stream: Any) -> int:
    if _write():
        raise io.UnsupportedOperation("a session has no file for this")
    number: int = stream.fileno()
    return number
