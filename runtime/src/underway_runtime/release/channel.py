"""What a node and its keeper send each other, over the pair of sockets that they share: a class a message.

Each message is one datagram of at most `LIMIT` bytes: its word and its fields in order, separated by NUL; some come with
descriptors. It is not JSON, because the keeper is to stay small, and so the classes are not dataclasses. The two may be of
different versions: what has a word that is not known is dropped, as are fields after those that are.

=====================================================  =================================================================
the node sends                                         the keeper answers, or does
=====================================================  =================================================================
`Hello`                                                `Held`, with the descriptor of the lock; `Busy` when another node has
                                                       it; or `Unwritable`
`About`                                                `Noted`: the document is in the lock file
`Bind`                                                 `Bound`, with a descriptor for each outcome that is empty; the other
                                                       outcomes are reasons
`Closed`                                               closes its own, unless another node is to follow
`Ready`                                                ends the start, and tells systemd and who waits for the start
`Status`, `Failed`                                     tells systemd
`Alive`                                                kills it where it starts, and does not say it again in that time
`Beat`                                                 counts it as a sign of life, at least each `Held.beat` seconds
`Restart`                                              starts another node when this one has ended
`Stopping`                                             expects the end
=====================================================  =================================================================

A handover, in this order. The old node may also be asked for one that it has not begun: by SIGHUP, or for want of a commit.

=====================================================  =================================================================
who sends                                              what follows
=====================================================  =================================================================
old: `Successor`                                       another node is started. It has so many seconds until it accepts, and
                                                       then to `Committed`. `SuccessorBusy` while there is another already
keeper to the new: `Held`                              it knows by the id that it is a successor
new: `Prepared`                                        `SuccessorPrepared` to the old one
old: `Go`, with a descriptor                           `Accept` to the new one, with it: the state of what it has let go
old: `Stays`                                           the new one is killed, as one that fails; the old one can't let go
new: `Accepting`                                       it is the node from here on; `SuccessorAccepting` to the old one
old: `Leaving`, with a descriptor                      `States` to the new one, with it: that of all the others
the old one ends                                       `Left` to the new one
the new one fails, or takes too long, before it        it is killed; `SuccessorFailed` to the old one
accepts
old: `GoesOn`                                          it has started again what it had let go
new, with the id `KEPT`: `Prepared` with that          it waits; `SuccessorPrepared` with its pid. `Held` again: it goes on
new, that had it: `Stays`                              another is started: this one is not what a start would be now
the old one ends before `Go`                           the new one is killed, and the permanent one started
the old one ends after `Go`                            the new one takes over all the same
the new one ends before the old one has left           the permanent one is started; where that fails, once more when the
                                                       old one has left
node: `Committed`                                      it is not temporary any more
a temporary one fails, or is not committed in time     the permanent one follows it, and the file `Hello.replaced` says why
node: `Installing`, `Installed`, `Undone`              it is temporary: it becomes another version; is that; is as before
=====================================================  =================================================================

The node may have further processes started by `Processes`; ``keeper/processes.py`` says what goes between them.

Where all is to stop the keeper sends `Stop` next to its signal, which a service may ignore. A socket is ``tcp4 HOST PORT``,
``tcp6 HOST PORT FLOW SCOPE`` or ``unix MODE PATH`` or ``unix MODE:GID PATH``, the mode in octal. Who sees the end of the
stream has lost the other.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, TypeVar, dataclass_transform

    M = TypeVar("M", bound="Message")
else:

    def dataclass_transform(**how):
        """For type checkers."""
        return lambda kind: kind


LIMIT = 65536

VARIABLE = "UNDERWAY_KEEPER"
"""Holds, for a moment, the number of the node's descriptor."""

KEPT = "*"
"""The `upgrade_id` of a successor that is to wait until it is wanted: for `Successor.timeout` seconds, as `check` has asked for."""

PROCESSES = "RELEASE_PROCESSES"
"""Holds how many processes there are to be, where that is not as configured."""

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


class FromNode(Message):
    """What a node sends."""

    __slots__ = ()
    by_word: ClassVar[dict[str, Any]] = {}


class FromKeeper(Message):
    """What a keeper sends."""

    __slots__ = ()
    by_word: ClassVar[dict[str, Any]] = {}


class Unasked(FromKeeper):
    """What a keeper sends without having been asked."""

    __slots__ = ()


class Hello(FromNode, word="hello"):
    """A node begins: its name, where its lock, pid file, replaced file and log are; and its `RestartPolicy`, or nothing."""

    name: str
    lock: str
    pid: str
    replaced: str
    log: str
    generations: int
    size: int
    alive: float
    heart: str


class About(FromNode, word="about"):
    """What others are to know, as JSON, and the seconds that the node takes to stop."""

    document: str
    stop_timeout: float


class Bind(FromNode, word="bind"):
    """Sockets that the node wants."""

    sockets: tuple[str, ...]


class Closed(FromNode, word="closed"):
    """Sockets that the node has closed."""

    sockets: tuple[str, ...]


class Ready(FromNode, word="ready"):
    """All have started: a line for systemd, and a note for who waits for the start."""

    line: str
    note: str = ""


class Status(FromNode, word="status"):
    """A line for systemd."""

    line: str


class Failed(FromNode, word="failed"):
    """Why the node could not start."""

    reason: str


class Alive(FromNode, word="alive"):
    """The process lives, whatever its loop does; while it starts it says so again within so many seconds."""

    within: float


class Beat(FromNode, word="beat"):
    """The node's loop lives; of a successor, its applications have started."""


class Restart(FromNode, word="restart"):
    """Another node is to follow this one."""


class Stopping(FromNode, word="stopping"):
    """The node is about to end; `why` is ``asked``, or empty where that comes of what happened in it."""

    why: str


class Successor(FromNode, word="successor"):
    """A node is to take over: of a version, or of the permanent one where that is empty; in so many seconds, and to be committed
    in so many where that is not 0."""

    version: str
    upgrade_id: str
    timeout: float
    to_commit: float


class Prepared(FromNode, word="prepared"):
    """A successor could accept; it waits to start these."""

    applications: tuple[str, ...]


class Go(FromNode, word="go"):
    """The successor may accept."""


class Stays(FromNode, word="stays"):
    """Why the successor must not accept."""

    reason: str


class GoesOn(FromNode, word="on"):
    """The handover has failed, and nothing is missing here."""


class Accepting(FromNode, word="accepting"):
    """A successor accepts; a line for systemd."""

    line: str


class Leaving(FromNode, word="leaving"):
    """All is done here."""


class Committed(FromNode, word="committed"):
    """The version of the node is permanent."""


class Installing(FromNode, word="installing"):
    """The process is about to become a version."""

    version: str
    upgrade_id: str


class Installed(FromNode, word="installed"):
    """It is that, to be committed in so many seconds where that is not 0; a line for systemd."""

    line: str
    to_commit: float


class Undone(FromNode, word="undone"):
    """It is what it was."""


class Processes(FromNode, word="processes"):
    """So many processes of this version are to run, this one is the first."""

    wanted: int
    version: str


class Held(FromKeeper, word="held"):
    """The node has the lock, and gives a sign of life each `beat` seconds, unless that is 0; `upgrade_id` is that of the handover
    in which it succeeds another, or empty; `process` is its number from 1, and 0 of a keeper that knows of one only."""

    beat: float
    upgrade_id: str
    process: int = 0


class Busy(FromKeeper, word="busy"):
    """What the lock says of the node that has it."""

    document: str


class Unwritable(FromKeeper, word="unwritable"):
    """Why there can be no lock."""

    reason: str


class Noted(FromKeeper, word="noted"):
    """The answer to `About`."""


class Bound(FromKeeper, word="bound"):
    """What came of each socket."""

    outcomes: tuple[str, ...]


class SuccessorBusy(Unasked, word="successor\0busy"):
    """Why there is no successor."""

    reason: str


class SuccessorPrepared(Unasked, word="successor\0prepared"):
    """The successor waits to start these."""

    applications: tuple[str, ...]


class SuccessorAccepting(Unasked, word="successor\0accepting"):
    """The successor is the node."""


class SuccessorFailed(Unasked, word="successor\0failed"):
    """Why it has ended."""

    reason: str


class Accept(Unasked, word="accept"):
    """This successor may accept."""


class States(Unasked, word="state"):
    """What the old node had, is here."""


class Left(Unasked, word="left"):
    """There is no old node any more."""


class ProcessesStarted(Unasked, word="processes\0started"):
    """All of them are there; or why one is not."""

    reason: str = ""


class Scale(Unasked, word="scale"):
    """So many processes more, or fewer where it is negative."""

    by: int


class Stop(Unasked, word="stop"):
    """All is to stop."""


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
