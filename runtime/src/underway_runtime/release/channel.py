"""What a node and its keeper say to each other, over the pair of sockets that they share.

Each message is one datagram of at most `LIMIT` bytes: a word and the fields that belong to it, separated by NUL. It is not
JSON, because the keeper is to stay small.

=====================================================  =================================================================
the node says                                          the keeper answers, or does
=====================================================  =================================================================
hello NAME LOCK PID REPLACED LOG GENERATIONS SIZE      ``held BEAT ID``, with the descriptor of the lock; ``busy DOCUMENT``,
ALIVE HEART                                            when another node has it; ``unwritable REASON``
about DOCUMENT STOP-TIMEOUT                            ``noted``: the document is in the lock file
bind SOCKET...                                         ``bound OUTCOME...``, with a descriptor for each that is empty;
                                                       the other outcomes are reasons
closed SOCKET...                                       closes its own, unless another node is to follow
ready LINE NOTE                                        ends the start, and tells systemd; NOTE, where there is one, is for
                                                       who waits for the start
status LINE, failed REASON                             tells systemd
beat                                                   counts it as a sign of life, at least each BEAT seconds
restart                                                starts another node when this one has ended
stopping WHY                                           expects the end; WHY is ``asked`` or empty
=====================================================  =================================================================

A handover, in this order. The old node may also be asked for one that it has not begun: by SIGHUP, or for want of a commit.

=====================================================  =================================================================
who says                                               what follows
=====================================================  =================================================================
old: successor VERSION ID WITHIN COMMIT                another node is started, of this version or, where it is empty, of the
                                                       permanent one. It has WITHIN seconds until it accepts, and then
                                                       COMMIT seconds until ``committed``, where that is not 0.
                                                       ``successor busy REASON`` while there is another already
keeper to the new: held BEAT ID                        it knows by the ID that it is a successor
new: prepared APPLICATION...                           ``successor prepared APPLICATION...`` to the old one: the new one waits
                                                       to start these
old: go, with a descriptor                             ``accept`` to the new one, with it: the state of what it has let go
old: stays REASON                                      the new one is killed, as one that fails; the old one can't let go
new: accepting LINE                                    it is the node from here on; ``successor accepting`` to the old one
old: leaving, with a descriptor                        ``state`` to the new one, with it: that of all the others
the old one ends                                       ``left`` to the new one
the new one fails, or takes too long, before it        it is killed; ``successor failed REASON`` to the old one
accepts
old: on                                                it has started again what it had let go, and goes on
the old one ends before ``go``                         the new one is killed, and the permanent one started
the old one ends after ``go``                          the new one takes over all the same
the new one ends before the old one has left           the permanent one is started; where that fails, once more when the
                                                       old one has left
node: committed                                        it is not temporary any more
a temporary one fails, or is not committed in COMMIT   the permanent one follows it, and the file REPLACED says why
seconds

node: installing VERSION ID                            it is temporary: it becomes another version
node: installed LINE COMMIT                            it is that; COMMIT as above
node: undone                                           as before ``installing``
=====================================================  =================================================================

Where all is to stop the keeper says ``stop`` next to its signal, which a service may ignore. A SOCKET is ``tcp4 HOST
PORT``, ``tcp6 HOST PORT FLOW SCOPE`` or ``unix MODE PATH`` or ``unix MODE:GID PATH``, the mode in octal. Who sees the
end of the stream has lost the other.
"""

from __future__ import annotations

LIMIT = 65536

VARIABLE = "UNDERWAY_KEEPER"
"""Holds, for a moment, the number of the node's descriptor."""

NEWS = ("successor", "accept", "state", "left", "stop")
"""What the keeper says without having been asked."""

BATCH = 64
"""How many sockets go into one message; Linux takes 253 descriptors."""


def encode(word: str, *fields: str) -> bytes:
    """A message; what is beyond the limit is cut off."""
    text = "\0".join((word, *(field.replace("\0", " ") for field in fields)))
    return text.encode("utf-8", "surrogatepass")[:LIMIT]


def decode(message: bytes) -> tuple[str, list[str]]:
    """Its word and its fields, of any bytes; never raises."""
    try:
        text = message.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = message.decode("utf-8", "replace")
    word, *fields = text.split("\0")
    return word, fields
