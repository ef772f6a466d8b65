"""The first words between two nodes, before the engine has seen a byte: short JSON, and nothing that could run code.

::

    caller      {"underway": 1, "nonce": …}                       where there are no certificates: on the loopback
    answerer    {"underway": 1, "nonce": …}
    caller      {"proof": HMAC-SHA256(cookie, "caller" and all of the above, and both addresses)}
    answerer    {"proof": the same as "answerer"}                 or {"refused": true}, and the end
    caller      {"underway": 1, "name": …, "mode": …, "release": …, "engine": …, "interpreter": …}
    answerer    the same of itself; then each compares, see `admission`

Nonces are fresh at both ends, so nothing that was overheard can be said again; the role is in what is proved, so nothing can be
said back to who said it; the addresses are, so nobody can stand in between. With certificates TLS has proved more than that.
"""

from __future__ import annotations

import hmac
import json
import os
import struct
from collections.abc import Mapping
from typing import Any, Protocol

VERSION = 1
WITHIN = 5.0
"""Seconds that the handshake of TLS and all of this may take."""
_LONGEST = 8192
"""Bytes of what is said at once."""
_LONGEST_TEXT = 300
_NONCE = 16
_SIZE = struct.Struct(">I")

OTHER_COOKIE = "its cookie differs; give both the same, with --cookie-file or RELEASE_COOKIE"


class Stream(Protocol):
    """A connection."""

    async def read(self, size: int) -> bytes: ...
    async def write(self, data: bytes) -> None: ...


class Refused(Exception):
    """The other side is not who it has to be, and why."""


async def call(stream: Stream, facts: Mapping[str, Any], cookie: str | None, where: str) -> dict[str, str]:
    """Say who we are to whom we have connected; what it says of itself. With a cookie both prove that they have it.

    `where` are the addresses of the two, the caller's first. Raises Refused, and what the stream raises.
    """
    if cookie is not None:
        nonce = await _say(stream, underway=VERSION, nonce=os.urandom(_NONCE).hex())
        statement = [nonce["nonce"], _text(await _hear(stream), "nonce"), where]
        await _say(stream, proof=_proof(cookie, "caller", statement))
        _check(await _hear(stream), _proof(cookie, "answerer", statement))
    await _say(stream, underway=VERSION, **facts)
    return _facts(await _hear(stream))


async def answer(stream: Stream, facts: Mapping[str, Any], cookie: str | None, where: str) -> dict[str, str]:
    """Say the same to who has connected."""
    if cookie is not None:
        theirs = _text(await _hear(stream), "nonce")
        nonce = await _say(stream, underway=VERSION, nonce=os.urandom(_NONCE).hex())
        statement = [theirs, nonce["nonce"], where]
        try:
            _check(await _hear(stream), _proof(cookie, "caller", statement))
        except Refused:
            await _say(stream, refused=True)
            raise
        await _say(stream, proof=_proof(cookie, "answerer", statement))
    said_of_itself = _facts(await _hear(stream))
    await _say(stream, underway=VERSION, **facts)
    return said_of_itself


def _proof(cookie: str, role: str, statement: list[str]) -> str:
    return hmac.new(cookie.encode(), json.dumps([role, VERSION, *statement]).encode(), "sha256").hexdigest()


def _check(message: Mapping[str, Any], expected: str) -> None:
    given = message.get("proof")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
        raise Refused(OTHER_COOKIE)


async def _say(stream: Stream, **message: Any) -> dict[str, Any]:
    data = json.dumps(message).encode()
    await stream.write(_SIZE.pack(len(data)) + data)
    return message


async def _hear(stream: Stream) -> dict[str, Any]:
    (size,) = _SIZE.unpack(await stream.read(_SIZE.size))
    if size > _LONGEST:
        raise Refused("it does not answer as a node of this version does")
    try:
        message = json.loads(await stream.read(size))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Refused("it does not answer as a node of this version does")
    return message


def _text(message: Mapping[str, Any], key: str) -> str:
    if message.get("underway") != VERSION or not isinstance(value := message.get(key), str):
        raise Refused("it does not answer as a node of this version does")
    return value


def _facts(message: Mapping[str, Any]) -> dict[str, str]:
    """What a node says of itself, as texts for a log: short, in one line, and nothing that a terminal obeys."""
    if message.get("underway") != VERSION:
        raise Refused("it does not answer as a node of this version does")
    return {
        key: "".join(letter if letter.isprintable() else "?" for letter in value[:_LONGEST_TEXT])
        for key, value in message.items()
        if isinstance(value, str)
    }
