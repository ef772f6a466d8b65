"""The state of the service: rooms, what was said in them, and who listens. All of it is in memory."""

from __future__ import annotations

from asyncio import Queue
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from .limits import BACKLOG, HISTORY, SHOWN

Event = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """What somebody said. Numbers count up within a room."""

    number: int
    name: str
    text: str
    at: str


@dataclass(eq=False)
class Member:
    """Somebody who listens in a room."""

    name: str
    events: Queue[Event | None] = field(default_factory=lambda: Queue(BACKLOG + 1))
    """What is still to be sent; None says that nothing more will come."""


@dataclass(eq=False)
class Room:
    """What was said in a room, and who is there."""

    name: str
    said: int = 0
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=HISTORY))
    members: list[Member] = field(default_factory=list)

    def say(self, name: str, text: str) -> Message:
        """Keep a message and tell everyone who is there."""
        self.said += 1
        message = Message(self.said, name, text, datetime.now(UTC).isoformat(timespec="milliseconds"))
        self.messages.append(message)
        self.tell({"type": "message", **asdict(message)})
        return message

    def join(self, name: str) -> Member:
        """Add a member. The first event is the history; the others see the newcomer."""
        member = Member(name)
        member.events.put_nowait({"type": "history", "room": self.name, "messages": self.latest()})
        self.members.append(member)
        self.tell({"type": "joined", "name": name, "members": self.present})
        return member

    def latest(self) -> list[Event]:
        """The last messages, the oldest first."""
        return [asdict(message) for message in list(self.messages)[-SHOWN:]]

    def leave(self, member: Member) -> None:
        """Remove a member, and say so; nothing happens if it has left already."""
        if member in self.members:
            self.members.remove(member)
            self.tell({"type": "left", "name": member.name, "members": self.present})

    def tell(self, event: Event) -> None:
        """Queue an event for every member, without waiting for the slowest."""
        for member in list(self.members):
            if member.events.qsize() >= BACKLOG:
                self.members.remove(member)
                member.events.put_nowait(None)
            else:
                member.events.put_nowait(event)

    @property
    def present(self) -> list[str]:
        """The names of those who are there, in the order in which they came."""
        return [member.name for member in self.members]


rooms: dict[str, Room] = {}


def room(name: str) -> Room:
    """The room of this name; it comes into being when it is first asked for."""
    return rooms.setdefault(name, Room(name))
