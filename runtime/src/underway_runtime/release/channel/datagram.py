"""A message as one datagram: its word and its fields in order, separated by NUL; some come with descriptors.

It is not JSON, because the keeper is to stay small, and so the classes are not dataclasses. Who sends and who receives may be of
different versions: what has a word that is not known is dropped, as are fields after those that are.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar, dataclass_transform

    M = TypeVar("M", bound="Message")
else:

    def dataclass_transform(**how):
        """For type checkers."""
        return lambda kind: kind


LIMIT = 65536

BATCH = 64
"""How many sockets go into one message; Linux takes 253 descriptors."""

_READ: Mapping[str, Callable[[str], object]] = {"str": str, "int": int, "float": float}
"""By what a field is annotated with."""


class Kind(type):
    """Makes the class of a message from what that annotates, with slots and nothing else: a keeper has all of them, always."""

    word: str
    fields: tuple[str, ...]
    reads: tuple[Callable[[str], object] | None, ...]
    """Of each field, how it is read; None for one that has all the rest."""
    defaults: Mapping[str, object]
    by_word: dict[str, Any]

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], word: str = "") -> Any:
        if not word:
            return super().__new__(cls, name, bases, body)
        annotations = body.get("__annotations__", {})
        fields = (*annotations,)
        defaults = {field: body[field] for field in fields if field in body}
        reads = (*map(_READ.get, annotations.values()),)
        slots = {"__slots__": fields, "__match_args__": fields, "fields": fields}
        kind = super().__new__(cls, name, bases, {**slots, "word": word, "reads": reads, "defaults": defaults})
        kind.by_word[word] = kind
        return kind

    def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], word: str = "") -> None:
        super().__init__(name, bases, body)


@dataclass_transform(frozen_default=True)
class Message(metaclass=Kind):
    """One message: its fields are what a class annotates, in the order in which they are sent."""

    __slots__ = ()

    def __init__(self, *values: Any) -> None:
        kind = type(self)
        for index, name in enumerate(kind.fields):
            setattr(self, name, values[index] if index < len(values) else kind.defaults[name])


def receive(line: _socket.socket, limit: int = BATCH) -> tuple[bytes, list[int]]:
    """Read one message, to be decoded, and at most `limit` descriptors that came with it: they are the caller's, and what it starts
    does not get them. No bytes are the end. Raises OSError.

    Not by `socket.recv_fds`, which leaves out its flags: whatever the process executed would have the descriptors too.
    """
    size = _socket.CMSG_LEN(4 * limit)
    message, ancillary, _, _ = line.recvmsg(LIMIT, size, _socket.MSG_CMSG_CLOEXEC)
    rights = b"".join(data[: len(data) & ~3] for _, kind, data in ancillary if kind == _socket.SCM_RIGHTS)
    return message, memoryview(rights).cast("i").tolist()


def encode(message: Message) -> bytes:
    """Return a message as it is sent; what is beyond the limit is cut off."""
    kind = type(message)
    fields = [kind.word]
    for name in kind.fields:
        value = getattr(message, name)
        if isinstance(value, tuple):
            fields += [text.replace("\0", " ") for text in value]
        elif value != kind.defaults.get(name):  # what is at its default is left out
            fields.append(str(value).replace("\0", " "))
    return "\0".join(fields).encode("utf-8", "surrogatepass")[:LIMIT]


def decode(end: type[M], data: bytes) -> M | None:
    """Return the message that a node, or a keeper, has sent; None where it is of no kind that is known here.

    Raises ValueError, which names its word, where it has not the fields of its kind.
    """
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    word, *fields = text.split("\0")
    if fields and (both := f"{word}\0{fields[0]}") in end.by_word:
        word, fields = both, fields[1:]
    kind: type[M] | None = end.by_word.get(word)
    if kind is None:
        return None
    values: list[object] = []
    for name, read in zip(kind.fields, kind.reads, strict=True):
        if read is None:
            values.append((*fields,))
        elif fields:
            try:
                values.append(read(fields.pop(0)))
            except ValueError as error:
                raise ValueError(f"{word!r}, whose `{name}` is not understood: {error}") from None
        elif name not in kind.defaults:
            raise ValueError(f"{word!r}, which has no `{name}`")
    return kind(*values)
