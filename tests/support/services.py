"""Web services of well-known frameworks that are upgraded while they run, and compared with a fresh start."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any, TypeAlias

from hot_helpers import compiled, write_rel
from node_helpers import TIMEOUT, App, Node
from underway.planner.plan import plan
from underway.planner.releases import open_release
from underway_runtime.release import relup
from underway_runtime.release.relup import Relup
from versions import add, seal

Request: TypeAlias = tuple[str, str, Any]
"""Method, path, and what is sent as JSON; None for nothing."""


def service(text: str, kind: str = "asgi") -> App:
    """A module as an application that serves what it calls ``app``."""
    return App("web", text, {kind: "web:app", "listen": ["tcp://127.0.0.1:0"]})


def planned_in_a_row(node: Node, *apps: App) -> list[Relup]:
    """Versions 2 and on, each with the plan that leads to it from the one before, and back."""
    made = []
    for number, app in enumerate(apps, 2):
        versions = [str(number - 1), str(number)]
        place = add(node, versions[1], app)
        for each in versions:
            compiled(node, each, app.name)
            write_rel(node, each)
            seal(node, each)
        with ExitStack() as cleanup:
            old, new = (open_release(node.root / "releases" / each, cleanup) for each in versions)
            made.append(plan(new, [old], [old]))
        (place / "relup").write_text(relup.dump(made[-1]))
        seal(node, versions[1])
    return made


def ask(port: int, *requests: Request) -> list[tuple[int, str]]:
    """The status and the body of each answer, with the header that says who has answered, where it has that."""
    return [_ask(port, *request) for request in requests]


def _ask(port: int, method: str, path: str, sent: Any) -> tuple[int, str]:
    body = None if sent is None else json.dumps(sent).encode()
    headers = {"content-type": "application/json"} if body else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return answer.status, _text_of(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _text_of(error)


def _text_of(answer: Any) -> str:
    by = answer.headers.get("X-By")
    text: str = answer.read().decode()
    return text if by is None else f"{text}\nby {by}"
