"""Gates, tried: see `underway_runtime.release.gates` for what they are."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..apps.controller import describe
from ..apps.sockets import short
from ..release.directory import VarDirectory
from ..release.errors import BootError, ConfigError, UnderwayError, listing
from ..release.gates import Gate
from ..release.references import find

_LONGEST_ANSWER = 1_000_000
"""Bytes of an answer that are looked at."""


@dataclass(frozen=True)
class Result:
    """What came of a gate."""

    gate: str
    passed: bool
    attempts: tuple[str, ...]
    """Each in order: "ok", or the reason."""


class Gates:
    """The gates of the version that a node runs, and the sockets over which they ask it."""

    def __init__(self, place: VarDirectory, root: Path) -> None:
        """`place` is where the sockets are, `root` where commands run."""
        self._place = place
        self._root = root
        self.wanted: tuple[Gate, ...] = ()
        self.private: Path | None = None
        """The directory of the sockets; None while nothing is to be asked there."""

    def open(self, wanted: tuple[Gate, ...]) -> None:
        """These are the gates. Makes the directory where there are any."""
        self.wanted = wanted
        if wanted:
            self.private = self._place.private(os.urandom(4).hex())
            self.private.mkdir(0o700)

    async def hold(self, wanted: Sequence[Gate]) -> None:
        """Try gates. Raises BootError listing those that do not hold, each with its attempts."""
        results = await run(wanted, self.private, self._root)
        if failed := [f"{each.gate}: {'; '.join(each.attempts)}" for each in results if not each.passed]:
            raise BootError(listing("gates do not hold:", failed))

    async def tried(self) -> list[dict[str, Any]]:
        """What comes of those of the version now, as plain data."""
        return [asdict(each) for each in await run(self.wanted, self.private, self._root)]

    def close_others(self) -> None:
        """Remove the sockets of nodes that are dead, or leave."""
        for other in self._place.privates():
            if other != self.private:
                shutil.rmtree(other, ignore_errors=True)

    def close(self) -> None:
        """Remove the sockets of this one."""
        if self.private is not None:
            shutil.rmtree(self.private, ignore_errors=True)


async def run(gates: Sequence[Gate], private: Path | None = None, root: Path | None = None) -> list[Result]:
    """Try all gates at once, and return what came of each.

    `private` is the directory of the applications' own sockets, `root` where commands run.
    """
    return list(await asyncio.gather(*(_pass(gate, private, root) for gate in gates)))


async def _pass(gate: Gate, private: Path | None, root: Path | None) -> Result:
    loop = asyncio.get_running_loop()
    pause = gate.soak / (gate.attempts - 1) if gate.soak and gate.attempts > 1 else gate.interval
    outcomes: list[str] = []
    for _ in range(gate.attempts):
        next_turn = loop.time() + pause
        outcomes.append(await _attempt(gate, private, root))
        held = outcomes.count("ok")
        certain = held >= gate.successes or len(outcomes) - held > gate.attempts - gate.successes
        if len(outcomes) == gate.attempts or (certain and not gate.soak):
            break
        await asyncio.sleep(max(0.0, next_turn - loop.time()))
    return Result(str(gate), outcomes.count("ok") >= gate.successes, tuple(outcomes))


async def _attempt(gate: Gate, private: Path | None, root: Path | None) -> str:
    try:
        async with asyncio.timeout(gate.timeout):
            if gate.http:
                await _http(gate, private)
            elif gate.tcp:
                _, writer = await _connect(gate.tcp)
                writer.close()
            elif gate.command:
                await _command(gate, root)
            else:
                await _function(gate)
    except TimeoutError:
        return f"nothing within {gate.timeout:g} s"
    except (Exception, SystemExit) as error:  # whatever a gate raises is its reason
        return describe(error)
    return "ok"


class _Missed(UnderwayError):
    """A gate was answered, and not as it should be."""


async def _http(gate: Gate, private: Path | None) -> None:
    url = urlsplit(gate.http)
    host = url.netloc or "localhost"
    address = f"{url.hostname}:{url.port or 80}" if url.netloc else f"unix://{_socket_of(gate, private)}"
    reader, writer = await _connect(address)
    try:
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        writer.write(f"{gate.method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(_LONGEST_ANSWER)
        while len(answer) < _LONGEST_ANSWER and (more := await reader.read(_LONGEST_ANSWER)):
            answer += more
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not (match := re.match(rb"HTTP/1\.[01] (\d{3})", head)):
        raise _Missed(f"no answer of HTTP: {head[:80]!r}")
    if int(match[1]) != gate.status:
        raise _Missed(f"status {int(match[1])}, not {gate.status}")
    if gate.contains.encode() not in _without_chunks(head, body):
        raise _Missed(f"{gate.contains!r} is not in the answer")


def _without_chunks(head: bytes, body: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0] or b"0", 16)
        whole, body = whole + rest[:length], rest[length + 2 :] if length else b""
    return whole


def _socket_of(gate: Gate, private: Path | None) -> Path:
    sockets = sorted(private.glob("*.sock")) if private is not None else []
    if gate.application:
        sockets = [each for each in sockets if each.stem == gate.application]
    if len(sockets) != 1:
        names = ", ".join(each.stem for each in sockets) or "none"
        raise ConfigError(f"which application is asked? there is {names}; `application` of the gate names one")
    return sockets[0]


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.startswith("unix://"):
        with short(Path(address.removeprefix("unix://"))) as name:
            return await asyncio.open_unix_connection(name)
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def _command(gate: Gate, root: Path | None) -> None:
    process = await asyncio.create_subprocess_exec(
        *gate.command,
        cwd=root,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode != 0:
        last = out.decode(errors="replace").strip().rpartition("\n")[2]
        raise _Missed(f"status {process.returncode}{f': {last}' if last else ''}")


async def _function(gate: Gate) -> None:
    function: Callable[[], Any] = find(gate.function)
    if inspect.iscoroutinefunction(function):
        value = await function()
    else:
        value = await asyncio.to_thread(function)
        if inspect.isawaitable(value):
            value = await value
    if value is False:
        raise _Missed("it returned False")
