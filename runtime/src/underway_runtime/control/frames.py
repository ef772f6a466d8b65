"""A frame: four bytes of length, big-endian, and that many bytes of JSON, which is an object."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Message: TypeAlias = dict[str, Any]
else:
    Message = dict

HEADER = 4
FIRST = 4096
"""The most bytes in a frame of somebody who has not proved to have the cookie."""
LARGEST = 1 << 20
"""The most bytes in any other."""


class BadFrame(Exception):
    """What came is not a frame of this format."""


def encode(message: Message) -> bytes:
    """Return a message as a frame. Raises BadFrame when it is larger than any may be."""
    body = json.dumps(message).encode()
    if len(body) > LARGEST:
        raise BadFrame(f"{len(body)} bytes are more than the {LARGEST} that fit into a frame")
    return len(body).to_bytes(HEADER, "big") + body


def length(header: bytes, limit: int) -> int:
    """How many bytes follow this header. Raises BadFrame when it announces more than `limit`."""
    announced = int.from_bytes(header, "big")
    if announced > limit:
        raise BadFrame(f"a frame of {announced} bytes is announced; at most {limit} are allowed")
    return announced


def decode(body: bytes) -> Message:
    """Return the message in the bytes after a header, which may be any. Raises BadFrame."""
    try:
        message = json.loads(body, parse_constant=_refused, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a frame that is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise BadFrame("a frame that holds no object")
    return message


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> Message:
    """Of two fields of one name others might see the other one."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name is in it twice")
    return document
