"""A wall clock that jumps while a release runs: a year forward and back, in keeper, node and commands."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Count
from control_helpers import raw, receive
from node_helpers import DIES_AT_ONCE, TIMEOUT, App, MakeNode, Node, eventually, finish, recorder
from ports import free_port
from sources import source
from test_keeper import ask
from underway_runtime.control import frames, handshake

YEAR = 365 * 86400

WEB = source("slow_to_stop/v1/web.py")


class Clock:
    """The wall clock of a release; the monotonic one stays what it is, as with a clock that somebody sets."""

    def __init__(self, file: Path, shared: str) -> None:
        [library] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self._file = file
        self.jump(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_SHARED": shared,
        }

    def jump(self, years: int) -> None:
        """To so many years from now."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{years * YEAR:+d}\n")
        new.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    # Without this process each of the others would make shared memory of its own, and many would leave it.
    with subprocess.Popen(
        ["faketime", "-f", "+0", "/bin/sh", "-c", 'echo "$FAKETIME_SHARED"; read -r _'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        yield Clock(tmp_path / "clock", holder.stdout.readline().strip())


def logged(node: Node) -> str:
    files = sorted((node.var / "log").iterdir(), key=lambda file: int(file.suffix[1:]))
    return "".join(file.read_text() for file in files)


@pytest.mark.timeout(300)
@pytest.mark.needs_tool("faketime", "faketime")
def test_a_clock_that_jumps_is_not_noticed(make: MakeNode, clock: Clock, tmp_path: Path, count: Count) -> None:
    """HTTP, rpc, restart, deadlines of control, heart's beat, limit and back-off, the log and `stop` are as ever."""
    port = free_port()
    node = make(App("web", WEB, {"asgi": "web:app", "listen": [f"tcp://127.0.0.1:{port}"]}), libraries=("uvicorn",))
    (node.version / "heart").write_text('{"restarts": 2, "within": 3600, "delay": 0.2, "beat": 30}')
    (may_stop := tmp_path / "may stop").touch()
    node.environ |= {"MAY_STOP": str(may_stop), "RELEASE_LOG_SIZE": "20000", "RELEASE_LOG_GENERATIONS": "3"}
    node.environ |= clock.environ
    assert node.run("daemon").returncode == 0
    first, keeper, now, _ = ask(port)

    refused: list[OSError] = []
    answers: list[list[int]] = []
    enough = threading.Event()

    def client() -> None:
        while not enough.is_set():
            try:
                answers.append(ask(port))
            except OSError as error:
                refused.append(error)
            enough.wait(0.002)

    asking = threading.Thread(target=client)
    asking.start()

    for years in (1, -1, 0) * count(1, 8):
        with raw(node.var / "run/control") as waiting:
            greeting = receive(waiting)
            clock.jump(years)
            # Within 5 s of the clock that counts, and a year late on the other.
            waiting.sendall(frames.encode(handshake.answer((node.var / "COOKIE").read_text().strip(), greeting)))
            assert "proof" in receive(waiting)
        eventually(lambda: ask(port)[2] // YEAR - now // YEAR == years, "the node sees it")  # noqa: B023 # called here
        assert node.run("rpc", "import asyncio; await asyncio.sleep(0.05); 1").stdout == "1\n"
        assert json.loads(node.run("status", "--json").stdout)["uptime"] < YEAR
    assert ask(port)[0] == first
    assert "=====" not in logged(node).split("\n", 1)[1]  # neither ALIVE nor the time before what comes late

    for years in (1, -1):
        before = ask(port)[0]
        clock.jump(years)
        assert node.run("restart").returncode == 0
        assert ask(port)[0] != before
    for number, years in enumerate((1, -1)):
        before = ask(port)[0]
        ask(port, "/crash")
        eventually(lambda: logged(node).count("is started again in") == number + 1, "it waits")  # noqa: B023
        clock.jump(years)
        eventually(lambda: answers[-1] and answers[-1][0] != before, "another node")  # noqa: B023
    enough.set()
    asking.join(TIMEOUT)
    assert refused == []
    assert {parent for _, parent, _, _ in filter(None, answers)} == {keeper}

    assert "again in 0.2 s" in logged(node)
    assert "again in 0.4 s" in logged(node)

    for years in (1, -1, 0):
        clock.jump(years)
        ask(port, "/print")
    may_stop.unlink()
    stop = node.spawn("stop")
    [newest] = eventually(
        lambda: [f for f in (node.var / "log").iterdir() if f.read_text().endswith("stops\n")], "a stop"
    )
    clock.jump(1)
    may_stop.touch()
    assert finish(stop)[0] == 0
    assert re.search(r"^stops\n===== ENDED .*\n\Z", newest.read_text(), re.MULTILINE)
    assert {file.stat().st_size <= 20_000 for file in (node.var / "log").iterdir()} == {True}
    assert len(list((node.var / "log").iterdir())) == 2  # of three, one is always the gap


@pytest.mark.needs_tool("faketime", "faketime")
def test_a_clock_that_jumps_makes_no_storm(make: MakeNode, clock: Clock) -> None:
    """A node that always dies, and each time another year: the limit counts the starts of all of them."""
    jumps = "file = __import__('pathlib').Path(__import__('os').environ['FAKETIME_TIMESTAMP_FILE'])"
    node = make(recorder("one", start=f"{jumps}; file.write_text(f'{{-int(file.read_text()):+d}}'); {DIES_AT_ONCE}"))
    (node.version / "heart").write_text('{"restarts": 3, "within": 3600, "delay": 0.01}')
    node.environ |= clock.environ
    clock.jump(1)

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start one\n" * 4)
