"""One connection of the control server: frames in, frames and output out, in order; never more in memory than its limits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from typing import Any

from . import frames
from .frames import HEADER, LARGEST, Message

PATIENCE = 60.0
"""Seconds after which a client that takes nothing of what waits for it is disconnected."""
MOST_OUTPUT = 16 << 20
"""Characters of output that may wait for one client."""
_CHUNK = 32768


class Gone(Exception):
    """The client is gone, or its connection was closed."""


class TooMuchOutput(Exception):
    """Raised in ``print``, in code whose output nobody takes as fast as it comes."""


class Connection:
    """One connection. All but `print` and `drop` belongs to the server's loop."""

    def __init__(self, connected: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._socket = connected
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._printed: deque[tuple[str, str]] = deque()
        self._waiting = 0
        self._lock = threading.Lock()
        self._printing: asyncio.Task[None] | None = None
        self.gone = False

    @classmethod
    async def of(cls, connected: socket.socket) -> Connection:
        connected.setblocking(False)
        return cls(connected, *await asyncio.open_unix_connection(sock=connected))

    async def read(self, limit: int = LARGEST) -> Message:
        """Read the next message. Raises BadFrame, and Gone at the end."""
        try:
            header = await self._reader.readexactly(HEADER)
            return frames.decode(await self._reader.readexactly(frames.length(header, limit)))
        except (asyncio.IncompleteReadError, OSError):
            raise Gone from None

    async def send(self, message: Message) -> None:
        """Send a message, after what was printed before. Raises Gone when the client does not take it."""
        async with self._sending:
            await self._send_printed()
            await self._write(message)

    async def last_words(self, error: str) -> None:
        """Say what is wrong."""
        await self.send({"error": error})
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def print(self, stream: str, text: str, *, in_any_case: bool = False) -> None:
        """Queue output; from any thread, and never waits.

        Raises TooMuchOutput when too much waits already; not where it is ours, and comes `in_any_case`.
        """
        with self._lock:
            if self._waiting and not in_any_case and self._waiting + len(text) > MOST_OUTPUT:
                raise TooMuchOutput(
                    f"{self._waiting} characters wait to be taken by whoever runs this, and no more are kept"
                )
            self._printed.append((stream, text))
            self._waiting += len(text)
            first = len(self._printed) == 1
        if first:
            with contextlib.suppress(RuntimeError):  # the server has closed
                self._loop.call_soon_threadsafe(self._start_printing)

    def abort(self) -> None:
        """End the connection at once."""
        self.gone = True
        if self._printing is not None:
            self._printing.cancel()
        self._writer.transport.abort()

    def drop(self) -> None:
        """Close our copy, in a child made by fork."""
        self._socket.close()

    def _start_printing(self) -> None:
        if self._printing is None or self._printing.done():
            self._printing = self._loop.create_task(self._print())

    async def _print(self) -> None:
        with contextlib.suppress(Gone):
            async with self._sending:
                await self._send_printed()

    async def _send_printed(self) -> None:
        while True:
            with self._lock:
                if not self._printed:
                    return
                stream, parts, size = self._printed[0][0], [], 0
                while self._printed and self._printed[0][0] == stream and size < _CHUNK:
                    parts.append(self._printed.popleft()[1])
                    size += len(parts[-1])
            text = "".join(parts)
            for start in range(0, len(text), _CHUNK):
                await self._write({stream: text[start : start + _CHUNK]})
            with self._lock:
                self._waiting -= len(text)

    async def _write(self, message: dict[str, Any]) -> None:
        if self.gone:
            raise Gone
        try:
            self._writer.write(frames.encode(message))
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except (TimeoutError, OSError):
            self.abort()
            raise Gone from None
