"""What a node and its keeper send each other, over the pair of sockets that they share: a class a message.

Each message is one datagram, of which ``datagram.py`` tells.

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

from .datagram import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

VARIABLE = "UNDERWAY_KEEPER"
"""Holds, for a moment, the number of the node's descriptor."""

KEPT = "*"
"""The `upgrade_id` of a successor that is to wait until it is wanted: for `Successor.timeout` seconds, as `check` has asked for."""

PROCESSES = "RELEASE_PROCESSES"
"""Holds how many processes there are to be, where that is not as configured."""


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
