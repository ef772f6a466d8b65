"""The second node of a keeper: the successor, until it accepts, and then the one before it, until that has left.

``release/channel.py`` has the words that go through the keeper meanwhile.
"""

from __future__ import annotations

import time

from .child import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from .keeper import Keeper
else:
    import _signal

_AGAIN = 1.0
"""Seconds until what is refused to the keeper itself is tried again."""
_TO_ACCEPT = 300.0
"""Seconds for a successor that the node has not asked for."""


class Handover:
    """All handovers of one keeper; one at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.successor: Child | None = None
        self.leaving: Child | None = None
        self.temporary = False
        """Whether the node has taken over and is not committed."""
        self._was_temporary = False
        self._id, self._version, self._to_commit = "", "", 0.0  # of the successor

    def begin(self, version: str, identity: str, within: float, to_commit: float) -> str:
        """Start a successor; returns why not."""
        keeper = self._keeper
        if self.successor is not None:
            return "another version is about to take over"
        if self.leaving is not None:
            return f"the version before (pid {self.leaving.pid}) has not left yet"
        if not keeper.serves:
            return "it is starting, or stopping"
        self._id, self._version, self._to_commit = identity, version, to_commit
        try:
            self.successor = keeper.start_second(version)
        except OSError as error:
            return f"{keeper.name} can't be executed: {error.strerror}"
        keeper.systemd.reloading()
        keeper.timers["successor"] = time.monotonic() + within
        return ""

    def begin_unasked(self, identity: str, why: str) -> bool:
        """Have the permanent version take over, because the keeper wants it; whether that has begun."""
        keeper = self._keeper
        if refused := self.begin("", identity, _TO_ACCEPT, 0):
            keeper.systemd.reloading()
            keeper.say(f"{why}: {keeper.name} can't hand over: {refused}")
            keeper.systemd.tell("READY=1")
            return False
        keeper.say(f"{why}: {keeper.name} hands over to the permanent version")
        return True

    def on_timer(self, name: str, now: float) -> None:
        """A successor, or a commit, is late."""
        if name == "successor":
            self.give_up("it was not ready in time")
        elif not self.begin_unasked("uncommitted", "not committed in time"):
            self._keeper.timers["commit"] = now + _AGAIN

    def give_up(self, reason: str) -> None:
        """End a successor that has not accepted."""
        if self.successor is not None:
            self.successor.failure = self.successor.failure or reason
            self.successor.kill(_signal.SIGKILL)

    def end_leaving(self) -> None:
        """Nobody follows: the one that leaves is to hurry."""
        if self.leaving is not None:
            self.leaving.kill(_signal.SIGTERM)

    def obey(self, child: Child, word: str, fields: list[str], descriptors: list[int]) -> None:
        """What a successor says, or the one that leaves."""
        keeper = self._keeper
        match word, fields:
            case "hello", [_, lock_path, *_]:
                child.hello = fields
                keeper.holdings.admit_second(child, lock_path, keeper.beat, self._id)
            case "about", [_, _]:
                child.about = fields
                child.answer("noted")
            case "bind", asked:
                keeper.holdings.bind(child, asked)
            case "closed", asked:
                keeper.holdings.sockets.close(asked, child.pid, keep=True)
            case "failed", [reason]:
                child.failure = child.failure or reason
            case "prepared", _ if child is self.successor and keeper.node is not None:
                keeper.node.answer("successor", "prepared")
            case "accepting", [line] if child is self.successor and not child.failure:
                self._accepting(child, line)
            case "leaving", _ if child is self.leaving and keeper.node is not None:
                keeper.node.answer("state", descriptors=descriptors)

    def go(self, descriptors: list[int]) -> None:
        """The node has let go of what must not run twice; its successor may accept."""
        if self.successor is not None:
            self.successor.answer("accept", descriptors=descriptors)

    def in_place(self, how: str, asked: list[str]) -> None:
        """The node is about to become another version, has become it, or is what it was."""
        keeper = self._keeper
        match how, asked:
            case "installing", _:
                self._was_temporary, self.temporary = self.temporary, True
            case "installed", [line, to_commit]:
                self._await_commit(float(to_commit))
                keeper.systemd.tell(f"STATUS={line}")
            case "undone", _:
                self.temporary = self._was_temporary

    def _await_commit(self, within: float) -> None:
        self._keeper.timers.pop("commit", None)
        if within:
            self._keeper.timers["commit"] = time.monotonic() + within

    def committed(self) -> None:
        """The node is permanent."""
        self.temporary = False
        self._keeper.timers.pop("commit", None)

    def look(self) -> None:
        """What follows where one of them has ended."""
        keeper = self._keeper
        if self.successor is not None and self.successor.ended is not None:
            keeper.listen_to(self.successor)  # its last word may be that it accepts
            if self.successor is not None:
                self._after_successor(self.successor)
        if self.leaving is not None and self.leaving.ended is not None:
            keeper.finish(self.leaving)
            self.leaving = None
            if keeper.node is not None:
                keeper.node.answer("left")

    def _after_successor(self, successor: Child) -> None:
        """It has ended, and had not accepted."""
        keeper, died = self._keeper, successor.ended
        assert died is not None
        keeper.finish(successor)
        self.successor = None
        keeper.timers.pop("successor", None)
        keeper.holdings.sockets.drop(successor.pid)
        reason = successor.failure or (
            f"it was ended by signal {-died}" if died < 0 else f"it ended with status {died}"
        )
        if keeper.node is not None and not keeper.told:
            keeper.say(f"the successor of {keeper.name} (pid {successor.pid}) has failed: {reason}")
            keeper.node.answer("successor", "failed", reason)
            keeper.systemd.tell("READY=1")

    def _accepting(self, new: Child, line: str) -> None:
        """The successor is the node from here on."""
        self.successor, self.leaving = None, self._keeper.node
        self.temporary = bool(self._version)
        self._keeper.follow(new, line)
        self._await_commit(self._to_commit if self.temporary else 0)
        if self.leaving is not None:
            self.leaving.answer("successor", "accepting")
