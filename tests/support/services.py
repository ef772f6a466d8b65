"""Web services of well-known frameworks that are upgraded while they run, and compared with a fresh start."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, TypeAlias

from node_helpers import TIMEOUT, App

PROJECTS = Path(__file__).parents[1] / "projects"

Request: TypeAlias = tuple[str, str, Any]
"""Method, path, and what is sent as JSON; None for nothing."""


def source(project: str, version: str = "v1") -> str:
    """The module of a version of a project."""
    return (PROJECTS / project / version / "web.py").read_text(encoding="utf-8")


def service(text: str, kind: str = "asgi") -> App:
    """A module as an application that serves what it calls ``app``."""
    return App("web", text, {kind: "web:app", "listen": ["tcp://127.0.0.1:0"]})


def ask(port: int, *requests: Request) -> list[tuple[int, str]]:
    """The status and the body of each answer."""
    return [_ask(port, *request) for request in requests]


def _ask(port: int, method: str, path: str, sent: Any) -> tuple[int, str]:
    body = None if sent is None else json.dumps(sent).encode()
    headers = {"content-type": "application/json"} if body else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
