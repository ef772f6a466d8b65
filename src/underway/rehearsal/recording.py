"""A proxy on loopback that writes down what is asked of a service, as a file of traffic. Answers are passed on, and not kept."""

from __future__ import annotations

import http.client
import os
import selectors
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from .traffic import Conversation, Exchange, Receive, Request, Send, line

HEADERS = ("accept", "accept-language", "content-type")
"""The headers that are written down unless others are asked for: none that says who asks."""

PATIENCE = 60.0
"""Seconds that the service may take for an answer."""
PIECE = 1 << 16

_OF_THE_CONNECTION = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Recording:
    """The file that exchanges are written to, a line each, when they are over; it is for its owner's eyes only."""

    def __init__(self, file: Path, headers: Collection[str] = ()) -> None:
        self.headers = frozenset(name.lower() for name in (*HEADERS, *headers))
        self.count = 0
        self._lock = threading.Lock()
        self._lasting: dict[object, Callable[[], Exchange | None]] = {}
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def recorded_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Those of a request's headers that are written down."""
        return {name.lower(): value for name, value in headers.items() if name.lower() in self.headers}

    def add(self, exchange: Exchange) -> None:
        """Write an exchange down."""
        with self._lock:
            self._write(exchange)

    @contextmanager
    def during(self, exchange: Callable[[], Exchange | None]) -> Iterator[None]:
        """Write down what has been said when the block ends, or the recording."""
        key = object()
        self._lasting[key] = exchange
        try:
            yield
        finally:
            self._end(key)

    def close(self) -> None:
        """Write down what still lasts, and close the file."""
        for key in [*self._lasting]:
            self._end(key)
        with self._lock:
            self._file.close()

    def _end(self, key: object) -> None:
        with self._lock:
            exchange = self._lasting.pop(key, lambda: None)()
            if exchange is not None:
                self._write(exchange)

    def _write(self, exchange: Exchange) -> None:
        if not self._file.closed:
            self._file.write(f"{line(exchange)}\n")
            self._file.flush()
            self.count += 1


class Proxy(ThreadingHTTPServer):
    """Passes on what comes in at `listen`, on loopback, to the service at `service`, and has it recorded."""

    daemon_threads = True

    def __init__(self, listen: tuple[str, int], service: tuple[str, int], recording: Recording) -> None:
        self.service, self.recording = service, recording
        super().__init__(listen, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy
    timeout: ClassVar[float | None] = PATIENCE

    def log_message(self, *_: object) -> None:
        """Do nothing: the recording says it."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """What handles a method, whichever it is."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _handle(self) -> None:
        """Pass on one request, and what is said over it where it becomes a WebSocket."""
        try:
            if self.headers.get("upgrade", "").lower() == "websocket":
                self._converse()
            else:
                self._ask()
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            if not self.wfile.closed:
                self.send_error(502, f"the service does not answer: {type(error).__name__}")

    def _ask(self) -> None:
        body = b"".join(self._body())
        passed = [(name, value) for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION]
        service = http.client.HTTPConnection(*self.server.service, timeout=PATIENCE)
        try:
            service.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in passed:
                if name.lower() != "content-length":
                    service.putheader(name, value)
            if body or "content-length" in self.headers:
                service.putheader("Content-Length", str(len(body)))
            service.endheaders(body or None)
            answer = service.getresponse()
            headers = self.server.recording.recorded_headers(dict(self.headers.items()))
            self.server.recording.add(
                Request(self.command, self.path, headers, body)
            )  # before anybody knows the answer
            self._answer(answer)
        finally:
            service.close()

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
        empty = self.command == "HEAD" or answer.status in (204, 304)
        if not empty and answer.getheader("content-length") is None:
            self.send_header("Connection", "close")  # its end is the end of the connection
            self.close_connection = True
        self.end_headers()
        while piece := b"" if empty else answer.read1(PIECE):
            self.wfile.write(piece)

    def _body(self) -> Iterator[bytes]:
        """Of a request, whether its length is told beforehand or it comes in chunks."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            while size := int(self.rfile.readline(1024).partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline(1024)
            while self.rfile.readline(PIECE).strip():
                pass
        elif length := int(self.headers.get("content-length", "0")):
            yield self.rfile.read(length)

    def _converse(self) -> None:
        """Pass bytes on as they come, both ways, and read the frames in a copy of them; compressed ones could not be read."""
        self.close_connection = True
        heard = _Conversation()
        with socket.create_connection(self.server.service, timeout=PATIENCE) as service:
            lines = [f"{self.command} {self.path} HTTP/1.1"]
            lines += [
                f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "sec-websocket-extensions"
            ]
            service.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            headers = self.server.recording.recorded_headers(dict(self.headers.items()))

            def conversation() -> Conversation | None:
                return Conversation(self.path, headers, tuple(heard.messages)) if heard.upgraded else None

            with self.server.recording.during(conversation):
                _pass_on(self.connection, service, heard)


def _pass_on(client: socket.socket, service: socket.socket, heard: _Conversation) -> None:
    """Pass on what comes, until one of both ends."""
    with selectors.DefaultSelector() as selector:
        client.settimeout(None)
        service.settimeout(None)
        selector.register(client, selectors.EVENT_READ, (service, heard.sent))
        selector.register(service, selectors.EVENT_READ, (client, heard.received))
        while True:
            for key, _ in selector.select():
                other, listener = key.data
                assert isinstance(key.fileobj, socket.socket)
                if not (data := key.fileobj.recv(PIECE)):
                    return
                listener(data)  # before anybody can have heard it
                other.sendall(data)


class _Conversation:
    """What is said over a WebSocket, from copies of its bytes."""

    def __init__(self) -> None:
        self.messages: list[Send | Receive] = []
        self.upgraded = False
        self._head = b""
        self._sides = {side: Protocol(side, max_size=None) for side in (Side.SERVER, Side.CLIENT)}
        self._parts: dict[Side, list[Frame]] = {Side.SERVER: [], Side.CLIENT: []}

    def sent(self, data: bytes) -> None:
        for message in self._read(Side.SERVER, data):
            self.messages.append(Send(message))

    def received(self, data: bytes) -> None:
        if not self.upgraded:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self.upgraded = head.split(b" ", 2)[1:2] == [b"101"]
        if self.upgraded and data:
            for _ in self._read(Side.CLIENT, data):
                last = self.messages[-1] if self.messages else None
                if isinstance(last, Receive):
                    self.messages[-1] = Receive(last.count + 1)
                else:
                    self.messages.append(Receive(1))

    def _read(self, side: Side, data: bytes) -> Iterator[str | bytes]:
        protocol, parts = self._sides[side], self._parts[side]
        protocol.receive_data(data)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                parts.append(frame)
                if frame.fin:
                    whole = b"".join(bytes(part.data) for part in parts)
                    yield whole.decode("utf-8", "replace") if parts[0].opcode is Opcode.TEXT else whole
                    parts.clear()
