"""Certificates of TLS that a web server of ours shows: read again when their files change, for connections from then on.

======================================  ===============================================================================
the files                               what follows
======================================  ===============================================================================
are as they were                        nothing; a look is one ``stat`` for each
are not as the last look found them     nothing yet: somebody may be writing
are as the last look found them         they are read, and where they go together new connections have them
do not go together, can't be read       the old ones go on, and one line says why; they are read when they change again
======================================  ===============================================================================

What is open keeps what it began with. A server is given a context of TLS once, so that one stands for whichever is read last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .service import Log

LOOK = 2.0
"""Seconds between two looks: what is put in place is shown within twice as many."""

_FILES = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")

_NOT_ASKED_FOR = " "
"""Given for a password that nobody has configured: without one OpenSSL would ask for it at a terminal, and all else would wait."""


class CurrentContext(ssl.SSLContext):
    """What a server has for as long as it listens; each connection begins with the context that is `current` then."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        return self.current.wrap_socket(*arguments, **named)


class Certificate:
    """The certificate of one application, and what its files were when it was read."""

    def __init__(self, application: str, options: Mapping[str, Any], log: Log) -> None:
        """`options` are those of its server. To be made before the server reads the files."""
        self._files = [Path(value) for name in _FILES if isinstance(value := options.get(name), (str, os.PathLike))]
        self._who = application
        self._log = log
        self._read = self._seen = self._look()
        self._refused = self._ends = ""
        self._make: Callable[[], ssl.SSLContext | None] = lambda: None
        self.context = CurrentContext(ssl.PROTOCOL_TLS_SERVER)

    def shown(self, first: ssl.SSLContext, make: Callable[[], ssl.SSLContext | None]) -> CurrentContext:
        """Begin with what the server has made, and return what it is to have instead. `make` makes another of the files."""
        self.context.current, self._make = first, make
        self._ends = _end(self._files[0])
        return self.context

    def describe(self) -> str:
        """Say which certificate new connections have, until when it holds, and why not another where one is there."""
        return f"{self._files[0]}{self._ends}" + (
            f"; what is there now can't be used: {self._refused}" * bool(self._refused)
        )

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Read the files where they have changed and are whole; never raises for what is in them."""
        now = self._look()
        if now == self._read or now != self._seen:
            self._seen = now
            return
        refused, context = "", None
        try:
            if problems := [
                f"{file} {what}" for file, what in zip(self._files, now, strict=True) if isinstance(what, str)
            ]:
                raise OSError("; ".join(problems))
            context = self._make()
        except (OSError, ValueError, SystemExit) as error:
            refused = _reason(error)
        if self._look() != now:
            return  # it was written while it was read: what the next look finds counts
        self._read, self._refused = now, refused
        if context is None:
            names = " and ".join(map(str, self._files))
            self._log(f"{self._who}: {names} can't be used for TLS, the old certificate goes on: {refused}")
            return
        self.context.current = context
        self._ends = _end(self._files[0])
        self._log(f"{self._who}: new connections have the certificate that is in {self._files[0]} now{self._ends}")

    def _look(self) -> list[object]:
        """Return what tells each file from what it was; a text where it can't be read, which says why."""
        return [_identity(file) for file in self._files]


def tls_of_uvicorn(uvicorn: Any, options: Mapping[str, Any]) -> ssl.SSLContext | None:
    """Make what uvicorn makes of its options for TLS. Nothing of the application is called; raises what reading the files raises."""

    async def nobody(scope: Any, receive: Any, send: Any) -> None:
        """Serve nobody."""

    asked = {} if options.get("ssl_keyfile_password") else {"ssl_keyfile_password": _NOT_ASKED_FOR}
    config = uvicorn.Config(nobody, **{**options, "factory": False, **asked})
    config.load()
    context: ssl.SSLContext | None = config.ssl
    return context


def _identity(file: Path) -> object:
    try:
        status = file.stat()
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"  # a FIFO would keep the node until somebody writes
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if isinstance(error, ssl.SSLError):
        return f"they are not whole, or the key is encrypted with another password ({reason or error})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _end(file: Path) -> str:
    """When the certificate of a file ends, as it is said; nothing where that can't be told."""
    # By a private function: ssl has no other for a certificate of one's own, and the end is only shown.
    with contextlib.suppress(Exception):
        seconds = ssl.cert_time_to_seconds(ssl._ssl._test_decode_cert(str(file))["notAfter"])  # type: ignore[attr-defined]
        return f", until {datetime.fromtimestamp(seconds, UTC).isoformat(sep=' ', timespec='minutes')}"
    return ""
