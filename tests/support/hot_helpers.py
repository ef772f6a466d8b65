"""Releases of a web application whose next version comes with a plan: what tests of hot upgrades share."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import py_compile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection

from handover_helpers import asgi
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually
from sources import source
from underway.planner.plan import plan
from underway.planner.releases import open_release
from underway_runtime.release import boot_script, relup
from underway_runtime.release.directory import ReleaseDirectory
from versions import add, seal

WEB = source("lobby/v1/web.py")
SECOND = source("lobby/v2/web.py")
BODY = ('def answer():\n    return "1"', 'def answer():\n    return "2"')


def changed(*edits: tuple[str, str], source: str = WEB) -> str:
    """The source, with each text replaced by another."""
    for before, after in edits:
        assert before in source, before
        source = source.replace(before, after)
    return source


def planned(node: Node, source: str | App, version: str = "2", *, back: bool = True, **how: Any) -> relup.Relup:
    """Another version of an application, of the web's where that is a text, with the plan that leads from the first there and back."""
    app = asgi(source) if isinstance(source, str) else source
    place = add(node, version, app, **how)
    for each in ("1", version):
        compiled(node, each, app.name)
        write_rel(node, each)
        seal(node, each)
    with ExitStack() as cleanup:
        old, new = (open_release(node.root / "releases" / each, cleanup) for each in ("1", version))
        made = plan(new, [old], [old] if back else [])
    (place / "relup").write_text(relup.dump(made))
    seal(node, version)
    return made


def wait_longer(node: Node, version: str = "2") -> None:
    """Have the plan of a version wait a minute for who is inside, not five seconds: the test decides when they leave."""
    place = node.root / "releases" / version / "relup"
    text = place.read_text()
    longer = text.replace('"timeout": "default"', '"timeout": 60')
    assert longer != text
    place.write_text(longer)
    seal(node, version)


def compiled(node: Node, version: str, name: str = "web") -> Path:
    """The compiled code of an application, which a build makes once."""
    source = node.root / "lib" / f"{name}-{version}.0" / f"{name}.py"
    place = Path(importlib.util.cache_from_source(str(source)))
    if not place.exists():
        py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return place


def write_rel(node: Node, version: str) -> None:
    """NAME.rel, by which the planner knows a version."""
    place = ReleaseDirectory(node.root).version(version)
    place.rel(node.name).write_text(json.dumps(rel(node, version)))


def rel(node: Node, version: str) -> dict[str, Any]:
    """What the build writes into NAME.rel."""
    instructions = boot_script.read(ReleaseDirectory(node.root).version(version).boot_script("start")).instructions
    modes = {each.application: each.mode for each in instructions if isinstance(each, boot_script.Start)}
    [python] = node.root.glob("python-*")
    applications = [
        {"name": each.application, "version": each.version, "mode": modes.get(each.application, "load")}
        for each in instructions
        if isinstance(each, boot_script.Load)
    ]
    interpreter = python.name.removeprefix("python-")
    return {
        "format": 1,
        "name": node.name,
        "version": version,
        "interpreter": interpreter,
        "applications": applications,
    }


def web(make: MakeNode) -> Node:
    """The first version."""
    return make(asgi(WEB), libraries=("uvicorn", "websockets"))


def run(node: Node, *arguments: str, status: int = 0) -> str:
    """What a command says; it ends with this status."""
    done = node.run(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def says(client: ClientConnection, text: str = "hello") -> str:
    """What is answered to a message."""
    client.send(text)
    return str(client.recv(timeout=TIMEOUT))


def state(node: Node) -> dict[str, Any] | None:
    """What the node says of itself, once it runs."""
    done = node.run("status", "--json")
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    return found if found.get("state") == "running" else None


def get(port: int, path: str = "/") -> str:
    """What is answered to a request."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=TIMEOUT) as answer:
        return str(answer.read().decode())


PARKED = changed(BODY, ('await parked.wait()\n    return "1"', 'await parked.wait()\n    return "2"'))
"""Changes what a request is in, which `GO_ON` lets go."""
INSIDE = "import web; print('park' if web.parked._waiters else '')"
GO_ON = "import web; web.parked.set()"


@contextlib.contextmanager
def parked(node: Node, port: int) -> Iterator[list[str]]:
    """A request is inside of what `PARKED` changes; the answer that it has in the end."""
    answers: list[str] = []
    asks = threading.Thread(target=lambda: answers.append(get(port, "/park")), daemon=True)
    asks.start()
    eventually(lambda: "park" in run(node, "rpc", INSIDE), "it is inside")
    yield answers
    asks.join(TIMEOUT)
