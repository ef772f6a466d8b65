"""Asks a service what a file of traffic holds, and keeps what it answers, as plain data that can be compared."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from .traffic import Conversation, Exchange, Receive, Request

PATIENCE = 10.0
"""Seconds that one answer, or one message, is awaited."""

COMPARED = ("content-type", "location")
"""Headers of an answer that are part of it."""

OWN = {"host", "content-length", "connection", "transfer-encoding", "upgrade"}
"""Headers that are those of the connection, and made for each."""


@dataclass(frozen=True)
class Deadline:
    """When all has to be over."""

    end: float
    clock: Callable[[], float] = time.monotonic

    def left(self, at_most: float) -> float:
        """Seconds that are left for something that takes no longer than that. Raises TimeoutError when it is over."""
        left = self.end - self.clock()
        if left <= 0:
            raise TimeoutError("the rehearsal takes longer than it may; --timeout gives it more")
        return min(left, at_most)


def play(exchanges: Iterable[Exchange], address: tuple[str, int], deadline: Deadline) -> list[dict[str, Any]]:
    """The answers of a service, one for each exchange; ``failed`` says why there is none. Raises TimeoutError."""
    answers = []
    for exchange in exchanges:
        patience = deadline.left(PATIENCE)
        try:
            answer = _answer(exchange, address, patience)
        except (OSError, http.client.HTTPException, WebSocketException) as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.append({"exchange": exchange.name, **answer})
    return answers


def _answer(exchange: Exchange, address: tuple[str, int], patience: float) -> dict[str, Any]:
    if isinstance(exchange, Conversation):
        return _converse(exchange, address, patience)
    return _ask(exchange, address, patience)


def _ask(request: Request, address: tuple[str, int], patience: float) -> dict[str, Any]:
    connection = http.client.HTTPConnection(*address, timeout=patience)
    try:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in OWN}
        body = request.body if request.body or request.method in ("POST", "PUT", "PATCH") else None
        connection.request(request.method, request.path, body=body, headers={"Connection": "close", **headers})
        answer = connection.getresponse()
        compared = {name: answer.getheader(name) for name in COMPARED if answer.getheader(name)}
        return {"status": answer.status, "headers": compared, "body": _plain(answer.read())}
    finally:
        connection.close()


def _converse(conversation: Conversation, address: tuple[str, int], patience: float) -> dict[str, Any]:
    headers = {
        name: value
        for name, value in conversation.headers.items()
        if name.lower() not in OWN and not name.lower().startswith("sec-websocket-")
    }
    received: list[Any] = []
    url = f"ws://{address[0]}:{address[1]}{conversation.path}"
    with connect(url, proxy=None, open_timeout=patience, close_timeout=patience, additional_headers=headers) as socket:
        for message in conversation.messages:
            if isinstance(message, Receive):
                received += [_plain(socket.recv(timeout=patience)) for _ in range(message.count)]
            else:
                socket.send(message.message)
    return {"received": received}


def _plain(content: str | bytes) -> Any:
    """What JSON says; other text as it is; of anything else the digest."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
    except UnicodeDecodeError:
        assert isinstance(content, bytes)
        return f"sha256 {hashlib.sha256(content).hexdigest()} of {len(content)} bytes"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
