"""Releases with two versions that run, and clients that go on while one hands over to the other."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_helpers import TIMEOUT, App, Node, Process, read_until

PAUSES = (0, 0, 0.01, 0.1, 0.5)
LONGER = (*PAUSES, 1.5, *([5] if os.environ.get("UNDERWAY_DRILLS") == "1" else []))
"""Seconds between two requests of a client; the longer ones for a server that keeps idle connections for longer."""

ASGI = """
import os

VERSION = "1"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": VERSION.encode()})
"""


def asgi(source: str = ASGI, **start: Any) -> App:
    """A web application that answers with its version."""
    return App("web", source, {"asgi": "web:app", "listen": ["tcp://127.0.0.1:0"], **start})


def start(node: Node, said: str = r"listening on tcp://127\.0\.0\.1:(\d+)", **how: Any) -> tuple[Process, int]:
    """Start the release in the foreground; the process of its keeper, and the port where it says that it listens."""
    process = node.spawn("start", stdout=subprocess.DEVNULL, **how)
    port = int(read_until(process.stderr, said)[1])
    vars(process)["reader"] = threading.Thread(target=_drain, args=(process,), daemon=True)
    vars(process)["reader"].start()
    return process, port


def all_said(process: Process) -> list[str]:
    """The lines that a release from `start` has said, which has ended; before its end the last ones may not have been read."""
    vars(process)["reader"].join(TIMEOUT)
    lines: list[str] = vars(process)["said"]
    return lines


def _drain(process: Process) -> None:
    assert process.stderr is not None
    lines = process.__dict__.setdefault("said", [])
    with contextlib.suppress(ValueError):
        lines.extend(process.stderr)


def children(process: Process) -> list[str]:
    """The pids of what a process has started and not waited for."""
    found = []
    for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            found += task.read_text().split()
    return found


def status(node: Node) -> dict[str, Any]:
    """What the node says of itself."""
    done = node.run("status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass
class Served:
    """What became of the requests of all clients."""

    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def clients(
    port: int,
    count: int = 4,
    seed: int = 0,
    *,
    short: int = 0,
    pauses: Sequence[float] = PAUSES,
) -> Iterator[Served]:
    """Clients that never retry, and pause between two requests: `count` that keep their connections, `short` that do not."""
    served, enough = Served(), threading.Event()

    def ask(number: int) -> None:
        choice = random.Random(seed + number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while not enough.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                served.answers.append(answer.read().decode())
                assert answer.status == 200
                if number >= count:
                    connection.close()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                served.failures.append(repr(error))
                connection.close()
            enough.wait(choice.choice(pauses))
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(count + short)]
    for thread in threads:
        thread.start()
    try:
        yield served
    finally:
        enough.set()
        for thread in threads:
            thread.join(TIMEOUT)


def may_raise_priority() -> bool:
    """Whether this user may take back that it has lowered the priority of a process: tried, without the product."""
    tried = "import os; os.setpriority(0, 0, os.nice(0) + 1); os.setpriority(0, 0, os.nice(0) - 1)"
    return subprocess.run([sys.executable, "-c", tried], capture_output=True, timeout=TIMEOUT).returncode == 0
