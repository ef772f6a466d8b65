"""Gates: what must be true for a version to stand, as a project writes it, a release holds it and a node tries it.

A gate is a table with the key of one kind, keys that only that kind has, and those of `Gate`, which say how often and how long:

==============================  =======================================================================================
``http = "/health"``            a request; also ``"http://127.0.0.1:8000/health"``. A path alone is asked of the
                                application over the socket that gates have for themselves. With
                                ``method``, ``status`` (200) and ``contains``, a text
``tcp = "127.0.0.1:5432"``      a connection; also ``"unix:///path"``
``command = ["bin/smoke"]``     a process that ends with status 0
``function = "chat:ready"``     a function in the node, ``async`` or not, that raises nothing and does not return false
==============================  =======================================================================================

A new kind is a class here, in `KINDS`, and a row in docs/reference/gates.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias
from urllib.parse import urlsplit

from ..frozen import Frozen
from . import addresses, references
from .decode import Invalid, Problem, Reader, Rule, decode
from .errors import ConfigError, DamagedRelease, UnderwayError, for_thread, listing

_LONGEST_ANSWER = 1_000_000
"""Bytes of an answer that are looked at."""

_NOT_HTTP = "not an answer of HTTP: {!r}"

_TEXT = Rule("a text", bool)
_TIMES = Rule("a number from 1", lambda number: number > 0)
_SECONDS = Rule("a number of seconds", lambda seconds: seconds >= 0)


class Missed(UnderwayError):
    """A gate was answered, and not as it should be."""


class GateContext(Frozen):
    """What a gate is tried with."""

    sockets: Path | None = None
    """The directory of the sockets over which gates reach the applications; None where there are none."""
    root: Path | None = None
    """Where commands run."""


class Gate(Frozen, ABC, kw_only=True):
    """What is tried, and how often it must pass."""

    kind: ClassVar[str]
    """The key that says what is tried."""

    timeout: Annotated[float, _SECONDS] = 5.0
    """Seconds for one attempt."""
    attempts: Annotated[int, _TIMES] = 3
    """How many attempts are made at most."""
    successes: Annotated[int, _TIMES] = 1
    """How many of them must pass."""
    interval: Annotated[float, _SECONDS] = 1.0
    """Seconds between the beginnings of two attempts."""
    soak: Annotated[float, _SECONDS] = 0.0
    """Seconds over which all attempts are spread evenly, instead; with 0 they end as soon as the outcome is certain."""

    def __post_init__(self) -> None:
        if self.successes > self.attempts:
            raise ValueError(f"{self.successes} of {self.attempts} attempts can't pass")

    def __str__(self) -> str:
        target = getattr(self, self.kind)
        return f"{self.kind} {' '.join(target) if isinstance(target, tuple) else target}"

    @property
    def reference(self) -> str | None:
        """The ``module:function`` that it calls, where it does."""
        return None

    @property
    def needs_socket(self) -> bool:
        """Whether it reaches an application over the socket that gates have for themselves."""
        return False

    def problem(self, web: Collection[str]) -> str | None:
        """Return why it can't pass where these web applications are served; None where it might."""
        return None

    @abstractmethod
    async def attempt(self, context: GateContext) -> None:
        """Try it once. Raises what is the matter; to give up in time is the caller's."""


def _is_url(text: str) -> bool:
    if text.startswith("/"):
        return True
    url = urlsplit(text)
    with contextlib.suppress(ValueError):
        return url.scheme == "http" and bool(addresses.split(url.netloc, 80))
    return False


class HttpGate(Gate, kw_only=True):
    """A request that is answered as it should be."""

    kind = "http"
    http: Annotated[str, Rule('"/path" or "http://host:port/path"', _is_url)]
    method: Annotated[str, _TEXT] = "GET"
    status: Annotated[int, _TIMES] = 200
    contains: Annotated[str, _TEXT] = ""
    application: Annotated[str, _TEXT] = ""
    """Whose own socket a path is asked over; the only web application where it is empty."""

    @property
    def needs_socket(self) -> bool:
        return self.http.startswith("/")

    def problem(self, web: Collection[str]) -> str | None:
        if not self.needs_socket or self.application in web or (not self.application and len(web) == 1):
            return None
        return f"the gate {self} asks a web application that is not there; there is {', '.join(web) or 'none'}"

    async def attempt(self, context: GateContext) -> None:
        url = urlsplit(self.http)
        if self.needs_socket:
            with addresses.short_path(self._socket(context.sockets)) as path:
                reader, writer = await asyncio.open_unix_connection(path)
        else:
            reader, writer = await asyncio.open_connection(*addresses.split(url.netloc, 80))
        try:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            host = url.netloc or "localhost"
            writer.write(f"{self.method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            status, body = await _response(reader, self.method)
        finally:
            _hang_up(writer)
        if status != self.status:
            raise Missed(f"status {status}, not {self.status}")
        if self.contains.encode() not in body:
            raise Missed(f"{self.contains!r} is not in the answer")

    def _socket(self, directory: Path | None) -> Path:
        sockets = sorted(directory.glob("*.sock")) if directory is not None else []
        if self.application:
            sockets = [socket for socket in sockets if socket.stem == self.application]
        if len(sockets) != 1:
            names = ", ".join(socket.stem for socket in sockets) or "none"
            raise ConfigError(f"which application is asked? there is {names}; `application` of the gate names one")
        return sockets[0]


def _hang_up(writer: asyncio.StreamWriter) -> None:
    addresses.hang_up(writer.get_extra_info("socket"))
    writer.close()


async def _response(reader: asyncio.StreamReader, method: str) -> tuple[int, bytes]:
    """Status and body of an answer, as soon as it is whole. Raises Missed where it is none of HTTP's."""
    received, ended = b"", False
    while not ended:
        piece = await reader.read(_LONGEST_ANSWER)
        received += piece
        ended = not piece or len(received) >= _LONGEST_ANSWER
        if (response := _parsed(received, method, ended)) is not None:
            return response
    raise Missed(_NOT_HTTP.format(received[:80]))


class _Received(io.BytesIO):
    """Bytes that were received, as `http.client` takes them from a socket."""

    def makefile(self, *_: object) -> _Received:
        return self


def _parsed(received: bytes, method: str, ended: bool) -> tuple[int, bytes] | None:
    """Status and body of a whole answer, or of what there is of it where that has `ended`; None while it is not whole.

    Raises Missed for what is none of HTTP's.
    """
    from http.client import (  # only where there is such a gate
        HTTPException,
        HTTPResponse,
        IncompleteRead,
        RemoteDisconnected,
    )

    if b"\r\n\r\n" not in received and b"\n\n" not in received:
        return None  # http.client would take half a head for a whole one
    response = HTTPResponse(_Received(received), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        lasts = response.length is None and not response.chunked  # until the connection is closed
        body = response.read()
    except IncompleteRead as error:
        return (response.status, error.partial) if ended else None
    except RemoteDisconnected:  # after a "100 Continue", the answer proper is to come
        return None
    except (HTTPException, ValueError):
        raise Missed(_NOT_HTTP.format(received[:80])) from None
    return None if lasts and not ended else (response.status, body)


def _is_tcp(text: str) -> bool:
    with contextlib.suppress(ValueError):
        if text.startswith("unix:"):
            return bool(addresses.socket_file(text))
        return bool(addresses.split(text.removeprefix("tcp://")))
    return False


class TcpGate(Gate, kw_only=True):
    """An address that takes a connection."""

    kind = "tcp"
    tcp: Annotated[str, Rule('"host:port" or "unix:///path"', _is_tcp)]

    async def attempt(self, context: GateContext) -> None:
        if (file := addresses.socket_file(self.tcp)) is not None:
            with addresses.short_path(file.path) as path:
                _, writer = await asyncio.open_unix_connection(path)
        else:
            _, writer = await asyncio.open_connection(*addresses.split(self.tcp.removeprefix("tcp://")))
        _hang_up(writer)


class CommandGate(Gate, kw_only=True):
    """A process that ends with status 0."""

    kind = "command"
    command: Annotated[tuple[str, ...], Rule("a list of texts, the program first", bool)]

    async def attempt(self, context: GateContext) -> None:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *self.command,
                cwd=context.root,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except (
            asyncio.CancelledError
        ):  # asyncio would wait for ever then, for the output of what the process has started
            with contextlib.suppress(OSError):
                await _kill(await starting)
            raise
        try:
            out, _ = await process.communicate()
        except BaseException:
            await _kill(process)
            raise
        if process.returncode != 0:
            last = out.decode(errors="replace").strip().rpartition("\n")[2]
            raise Missed(f"status {process.returncode}{f': {last}' if last else ''}")


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End a process that leads a session, and all that it has started in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


class FunctionGate(Gate, kw_only=True):
    """A function in the node, that raises nothing and does not return False."""

    kind = "function"
    function: Annotated[str, Rule('"module:function"', references.is_reference)]

    @property
    def reference(self) -> str | None:
        return self.function

    async def attempt(self, context: GateContext) -> None:
        function = references.find(self.function)
        if inspect.iscoroutinefunction(function):
            value = await function()
        else:
            value = await asyncio.to_thread(for_thread(function))
            if inspect.isawaitable(value):
                value = await value
        if value is False:
            raise Missed("it returned False")


KINDS: Mapping[str, type[Gate]] = {kind.kind: kind for kind in (HttpGate, TcpGate, CommandGate, FunctionGate)}


def gate_of(table: Any) -> Gate:
    """The gate that a table describes. Raises Invalid with everything that is wrong with it."""
    if not isinstance(table, Mapping):
        raise Invalid([Problem((), "wrong", table, "a table")])
    kinds = [kind for kind in KINDS if kind in table]
    if len(kinds) != 1:
        reason = f"a gate has one of {', '.join(KINDS)}, not {' and '.join(kinds) or 'none'}"
        raise Invalid([Problem((), "refused", table, reason)])
    return decode(KINDS[kinds[0]], table)


Gates: TypeAlias = tuple[Annotated[Gate, Reader(gate_of)], ...]
"""Those of a version, as its project lists them."""


def read(path: Path) -> tuple[Gate, ...]:
    """Read the gates of a version; none when it has no such file. Raises DamagedRelease when the file makes no sense."""
    try:
        return decode(Gates, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except Invalid as error:
        raise DamagedRelease(listing(f"{path} does not list gates:", map(str, error.problems))) from None
    except (OSError, ValueError) as error:
        raise DamagedRelease(f"{path} can't be read: {error}") from None
