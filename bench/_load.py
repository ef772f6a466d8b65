"""The load under which versions change: clients that count what they lose, and wrk, all against one port of this machine."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from _observe import Failed

PATIENCE = 10.0
"""Seconds for one answer; then it counts as failed."""

PROBES_EVERY = 0.02
"""Seconds from one new connection to the next."""

PAUSES = (0.1, 5.0)
"""Seconds between two requests of a client on one connection."""

_REQUEST = b"GET /health HTTP/1.1\r\nHost: bench\r\n\r\n"

_SCRIPT = """
local step = tonumber(os.getenv("STEP"))
if step > 0 then
  local ffi, turn = require("ffi"), 0
  ffi.cdef("typedef struct { long s, us; } moment; int gettimeofday(moment *, void *);")
  local clock = ffi.new("moment")
  function delay()
    ffi.C.gettimeofday(clock, nil)
    local now = 1e3 * tonumber(clock.s) + tonumber(clock.us) / 1e3
    turn = math.max(turn + step, now - 100)
    return math.max(turn - now, 0)
  end
end
function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"seconds": %.3f, "requests": %d, "p99": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}',
    summary.duration / 1e6, summary.requests, latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Answer:
    """A request that was answered whole, with 200; seconds of the monotonic clock."""

    began: float
    ended: float
    version: str


@dataclass
class Seen:
    """What became of all that the clients did."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    """When, and how: refused, reset, empty, short, late, or a status."""
    found_closed: int = 0
    """Connections that had been closed between two requests, which a client that does not look would have lost one with."""
    echoes: int = 0
    """What WebSockets heard; this and the next are known when the clients have ended."""
    websockets: Counter[str] = field(default_factory=Counter)
    """How WebSockets ended: closed with a code, reset, silent; and refused, where there came to be none."""


@asynccontextmanager
async def clients(port: int, patient: int, websockets: int) -> AsyncIterator[Seen]:
    """Clients for as long as the block lasts: connections that pause, one new connection after the other, WebSockets.

    None retries. The block begins when all WebSockets are open. Raises Failed when they don't open.
    """
    seen = Seen()
    async with _websockets(seen, port, websockets):
        tasks = [asyncio.create_task(_patient(seen, port, number)) for number in range(patient)]
        tasks.append(asyncio.create_task(_probe(seen, port)))
        try:
            yield seen
        finally:
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome


@asynccontextmanager
async def _websockets(seen: Seen, port: int, count: int) -> AsyncIterator[None]:
    """WebSockets of a process of their own, as they would keep this one from looking at its clock."""
    script = Path(__file__).with_name("_websockets.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, script, str(port), str(count)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            if not await process.stdout.readline():
                raise Failed(f"not all of {count} WebSockets could be opened")
        yield
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            said = await process.stdout.read()
            if await process.wait() != 0:
                raise Failed("the WebSockets of the bench have failed")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    told = json.loads(said)
    seen.echoes = told.pop("echoes", 0)
    seen.websockets.update(told)


async def _patient(seen: Seen, port: int, seed: int) -> None:
    pauses, connection = Random(seed), None
    while True:
        await asyncio.sleep(pauses.uniform(*PAUSES))
        if connection is not None and (connection[0].at_eof() or connection[0].exception()):
            connection[1].close()
            connection = None
            seen.found_closed += 1
        connection = await _ask(seen, port, connection)


async def _probe(seen: Seen, port: int) -> None:
    async def once() -> None:
        if connection := await _ask(seen, port, None):
            connection[1].close()

    async with asyncio.TaskGroup() as probes:
        while True:
            probes.create_task(once())
            await asyncio.sleep(PROBES_EVERY)


async def _ask(
    seen: Seen, port: int, connection: tuple[StreamReader, StreamWriter] | None
) -> tuple[StreamReader, StreamWriter] | None:
    """One request; the connection, if it may be used again."""
    began, heard = time.monotonic(), b""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = connection = connection or await asyncio.open_connection("127.0.0.1", port)
            writer.write(_REQUEST)
            heard = await reader.readuntil(b"\r\n\r\n")
            lines = heard.decode("latin-1").lower().split("\r\n")
            if (status := lines[0].split()[1]) != "200":
                raise Failed(f"status {status}")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
    except (OSError, asyncio.IncompleteReadError, Failed) as error:
        seen.failures.append((began, _reason(error, heard)))
        if connection is not None:
            connection[1].close()
        return None
    seen.answers.append(Answer(began, time.monotonic(), json.loads(body)["version"]))
    if headers.get("connection") == "close":
        writer.close()
        return None
    return connection


def _reason(error: Exception, heard: bytes) -> str:
    match error:
        case Failed():
            return str(error)
        case TimeoutError():
            return "late"
        case ConnectionRefusedError():
            return "refused"
        case asyncio.IncompleteReadError():
            return "short" if heard or error.partial else "empty"
    return "reset"


# ---------------------------------------------------------------------------------------------------------------- wrk

CONNECTIONS = 64


@dataclass(frozen=True)
class Bulk:
    """What wrk tells when it ends."""

    seconds: float
    requests: int
    p99: float
    """Milliseconds."""
    errors: dict[str, int]
    """`read` holds connections that were closed between two requests, too."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def need_wrk() -> str:
    """Where wrk is. Raises Failed where it is not."""
    if found := shutil.which("wrk"):
        return found
    raise Failed("wrk is missing; apt install wrk")


@asynccontextmanager
async def wrk(port: int, rate: float = 0.0) -> AsyncIterator[list[Bulk]]:
    """wrk for as long as the block lasts, at so many requests a second, or at as many as it gets; afterwards one Bulk is in
    the list. Raises Failed when it tells nothing.

    Each of its connections waits for its turn after an answer; turns are evenly spaced, and made up for within 100 ms.
    """
    told: list[Bulk] = []
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        script.flush()
        process = await asyncio.create_subprocess_exec(
            *(need_wrk(), "--threads=1", f"--connections={CONNECTIONS}", "--duration=1h", "--timeout=10s"),
            *("--script", script.name, f"http://127.0.0.1:{port}/health"),
            env={"STEP": str(1000 / rate if rate else 0)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield told
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(PATIENCE):
                _, said = await process.communicate()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        found = json.loads(said)
    except ValueError:
        raise Failed(f"wrk told nothing: {said.decode(errors='replace')[:200]}") from None
    errors = {name: found[name] for name in ("connect", "read", "write", "status", "timeout")}
    told.append(Bulk(found["seconds"], found["requests"], found["p99"] / 1000, errors))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
