"""What is asked of a service: a file with an exchange a line, as JSON, recorded or written by hand. docs/reference/rehearse.md has it.

::

    {"method": "POST", "path": "/rooms/lobby/messages", "headers": {"content-type": "application/json"}, "body": "{}"}
    {"websocket": "/ws/lobby?name=bob", "messages": [{"receive": 2}, {"send": "hello"}, {"receive": 1}]}
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import ProjectError, listing

LONGEST = 64 << 20
"""Bytes of a file of traffic."""


@dataclass(frozen=True)
class Request:
    """One request over HTTP."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Send:
    """A message to the service."""

    message: str | bytes


@dataclass(frozen=True)
class Receive:
    """So many messages from the service are awaited."""

    count: int


@dataclass(frozen=True)
class Conversation:
    """What is said over one WebSocket."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    messages: tuple[Send | Receive, ...] = ()

    @property
    def name(self) -> str:
        return f"WebSocket {self.path}"


Exchange: TypeAlias = Request | Conversation


def read(file: Path) -> list[Exchange]:
    """Read the exchanges of a file, in order. Raises ProjectError with each line that is not one, and where there is none."""
    try:
        if file.stat().st_size > LONGEST:
            raise ProjectError(f"{file} is larger than {LONGEST >> 20} MiB")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} can't be read: {error}") from None
    exchanges, problems = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                exchanges.append(_exchange(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                problems.append(f"line {number}: {error}")
    if not (exchanges or problems):
        problems.append('it holds no exchange, such as {"method": "GET", "path": "/health"}')
    if problems:
        raise ProjectError(listing(f"{file} is not a file of traffic:", problems))
    return exchanges


def line(exchange: Exchange) -> str:
    """An exchange as a line of a file."""
    headers = {"headers": dict(exchange.headers)} if exchange.headers else {}
    if isinstance(exchange, Conversation):
        messages = [
            {"receive": m.count} if isinstance(m, Receive) else _content("send", m.message) for m in exchange.messages
        ]
        return json.dumps({"websocket": exchange.path, **headers, "messages": messages})
    body = _content("body", exchange.body) if exchange.body else {}
    return json.dumps({"method": exchange.method, "path": exchange.path, **headers, **body})


def _content(key: str, value: str | bytes) -> dict[str, str]:
    """As text where it is that: of a message that is bytes the key says so, a body is bytes anyhow."""
    if isinstance(value, bytes) and key == "body":
        try:
            return {key: value.decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {key: value} if isinstance(value, str) else {f"{key}_base64": base64.b64encode(value).decode("ascii")}


_KEYS = {
    "method": {"method", "path", "headers", "body", "body_base64"},
    "websocket": {"websocket", "headers", "messages"},
}


def _exchange(document: Any) -> Exchange:
    if not isinstance(document, dict) or not _KEYS.keys() & document.keys():
        raise ValueError('an exchange is an object with "method" and "path", or with "websocket"')
    kind = "websocket" if "websocket" in document else "method"
    if unknown := document.keys() - _KEYS[kind]:
        raise ValueError(
            f"{', '.join(map(repr, sorted(unknown)))} is unknown; there is {', '.join(sorted(_KEYS[kind]))}"
        )
    headers = document.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise ValueError("headers is an object of strings")
    if kind == "websocket":
        return Conversation(_path(document["websocket"]), headers, tuple(_messages(document.get("messages", []))))
    method = document["method"]
    if not (isinstance(method, str) and method.isalpha() and method.isupper()):
        raise ValueError(f"{method!r} is not a method, such as GET")
    if "path" not in document:
        raise ValueError(f"a {method} has a path")
    body = _value("body", document)
    return Request(method, _path(document["path"]), headers, body.encode() if isinstance(body, str) else body or b"")


def _messages(given: Any) -> Iterator[Send | Receive]:
    if not isinstance(given, list):
        raise TypeError("messages is a list")
    for item in given:
        if (
            isinstance(item, dict)
            and item.keys() == {"receive"}
            and type(item["receive"]) is int
            and item["receive"] > 0
        ):
            yield Receive(item["receive"])
        elif isinstance(item, dict) and len(item) == 1 and (message := _value("send", item)) is not None:
            yield Send(message)
        else:
            raise ValueError(
                f'{item!r} is not a message: {{"send": TEXT}}, {{"send_base64": DATA}} or {{"receive": COUNT}}'
            )


def _value(key: str, document: Mapping[str, Any]) -> str | bytes | None:
    value = document.get(key, document.get(f"{key}_base64"))
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{key} is a string")
    if value is None or key in document:
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{key}_base64 is not base64: {error}") from None


def _path(value: Any) -> str:
    if not (
        isinstance(value, str)
        and value.startswith("/")
        and value.isascii()
        and value.isprintable()
        and " " not in value
    ):
        raise ValueError(f"{value!r} is not a path, such as /health?all=1")
    return value


def write(file: Path, exchanges: Iterable[Exchange]) -> None:
    """Write a file that `read` reads. Raises OSError."""
    file.write_text("".join(f"{line(exchange)}\n" for exchange in exchanges), encoding="utf-8")
