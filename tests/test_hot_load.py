"""Many upgrades, up and down, of a node under load: nothing fails, nothing grows, and it is what a fresh start would be."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

import fresh
from handover_helpers import Served, asgi, clients, start, status
from hot_helpers import SECOND, WEB, planned, run, says
from node_helpers import TIMEOUT, MakeNode, Node, terminate

pytestmark = pytest.mark.in_place

EPHEMERAL = ("self.said.append(text)", "self.said[:] = [text]")
"""Rooms don't grow, so that whatever does can be seen."""

A_LEAK = 30e6
"""Bytes that no upgrade needs."""

KEPT = "/web/rooms:"
"""State, which a fresh start has not."""

DESCRIBE = """
import gc, json, types
from underway_runtime.process import garbage_collector
exec(open({fresh!r}).read(), names := {{"__name__": "fresh"}})
garbage_collector.thaw()  # what is set aside is alive too
gc.collect()
functions = [each for each in gc.get_objects() if type(each) is types.FunctionType]
own = [each for each in functions if each.__globals__.get("__name__") == "web"]
classes = [each for each in gc.get_objects() if isinstance(each, type)]
files = sorted({{each.__code__.co_filename.removeprefix({root!r}) for each in own}})
print(json.dumps([names["describe"]("web", below={root!r}), files, [len(own), len(functions), len(classes)]]))
del functions, own, classes
garbage_collector.set_aside_again()
"""


def described(node: Node) -> tuple[Any, list[str], list[int]]:
    """What the node has loaded of the application, the files that its functions are from, and how many are alive: its functions,
    all functions, all classes."""
    found, files, alive = json.loads(run(node, "rpc", DESCRIBE.format(fresh=fresh.__file__, root=str(node.root))))
    return found, files, alive


def fresh_start(node: Node, version: str) -> Any:
    """What a second node of the release has loaded, which was started as that version."""
    other = Node(node.root, environ={"RELEASE_VSN": version, "RELEASE_VAR": f"{node.root}/var-of-another-{version}"})
    process, _ = start(other)
    try:
        return described(other)[0]
    finally:
        assert terminate(process)[0] == 0


@contextlib.contextmanager
def talkers(port: int, count: int, threads: int = 4) -> Iterator[tuple[list[ClientConnection], Served]]:
    """So many open WebSockets, over all of which messages go, one after the other, by a few threads."""
    served, enough = Served(), threading.Event()

    def talk(mine: list[ClientConnection]) -> None:
        while not enough.is_set():
            for client in mine:
                try:
                    served.answers.append(says(client)[0])
                except (OSError, WebSocketException) as error:
                    served.failures.append(repr(error))
                    return

    with ExitStack() as open_ones:
        opened = [
            open_ones.enter_context(connect(f"ws://127.0.0.1:{port}/", proxy=None, open_timeout=TIMEOUT))
            for _ in range(count)
        ]
        running = [threading.Thread(target=talk, args=(opened[at::threads],), daemon=True) for at in range(threads)]
        for each in running:
            each.start()
        try:
            yield opened, served
        finally:
            enough.set()
            for each in running:
                each.join(TIMEOUT)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("times", "sockets"), [(4, 20), pytest.param(20, 200, marks=[pytest.mark.drill, pytest.mark.timeout(900)])]
)
def test_upgrades_under_load_drop_nothing_and_are_as_a_fresh_start(make: MakeNode, times: int, sockets: int) -> None:
    """After each every module, function, class member and plain global is what a fresh start has; what is alive is as much as before."""
    first, second = (source.replace(*EPHEMERAL) for source in (WEB, SECOND))
    node = make(asgi(first), libraries=("uvicorn", "websockets"))
    planned(node, second)
    wanted = {version: fresh_start(node, version) for version in ("1", "2")}
    process, port = start(node)
    pid = status(node)["pid"]
    memory, alive = [], []
    with clients(port) as served, talkers(port, sockets) as (opened, talked):
        for at in range(1, times + 1):
            version = "21"[(at - 1) % 2]
            run(node, "install", version, "--at-least", "hot")
            found, files, objects = described(node)
            others = fresh.differences(found, wanted[version])
            assert [each for each in others if not each.startswith(KEPT)] == [], f"after upgrade {at}"
            assert files == [f"/lib/web-{version}.0/web.py"], "a function has old code"
            memory.append(resident(pid))
            alive.append(objects)
    assert not served.failures
    assert not talked.failures
    assert status(node)["pid"] == pid
    assert {*served.answers} == {*talked.answers} == {"1", "2"}
    assert len(opened) == sockets
    print(f"resident after each upgrade, in MB: {[round(each / 1e6, 1) for each in memory]}; alive: {alive}")
    early = times // 4 + times // 4 % 2 - 1  # when the version was the last one's too
    assert alive[early][0] == alive[-1][0], "functions of the application are kept"
    assert alive[-1][2] <= alive[early][2], "classes are kept"
    assert memory[-1] - memory[early] < A_LEAK
    assert terminate(process)[0] == 0
