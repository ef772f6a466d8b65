"""The second node of a keeper: the successor, until it accepts, and then the one before it, until that has left.

``release/channel.py`` has the words that go through the keeper meanwhile.
"""

from __future__ import annotations

import os
import time

from ..release import names
from ..release.filesystem import directories
from . import lock
from .child import Child
from .restart_policy import RestartPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from .keeper import Keeper
else:
    import _signal

_AGAIN = 1.0
"""Seconds until the permanent version is tried again where something is in its way."""
_LONGEST = 31 * 86400.0
"""Seconds that anything is waited for."""
_CHANCES = 2
"""The second one has what the node that leaves could not share."""
_TO_ACCEPT = 300.0
"""Seconds for a successor that the node has not asked for."""


class Asked:
    """What was asked for: a version, or the permanent one where that is empty; and the seconds to its commit, or 0."""

    def __init__(self, version: str, identity: str, to_commit: float) -> None:
        self.version, self.identity, self.to_commit = version, identity, to_commit


class Handover:
    """All handovers of one keeper; one at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.successor: Child | None = None
        self.leaving: Child | None = None
        self.trial: Asked | None = None
        """Of the node, where it has taken over and is not committed."""
        self._before: Asked | None = None  # of the node before it became another version in place
        self.replaced = ""
        """The file that says why one was replaced."""
        self._asked = Asked("", "", 0)  # of the successor
        self._of: Child | None = None  # the node that has the successor
        self._went = False  # it has let the successor accept
        self.chances = 0
        """How many more nodes are started, at once, where the one ends that a handover has left; none when that is over."""
        self._late = False  # the node was not committed in time
        self._patience = _patience()  # with the permanent version, where it fails to take over for that

    def begin(self, version: str, identity: str, within: float, to_commit: float) -> str:
        """Start a successor; returns why not."""
        keeper = self._keeper
        if in_the_way := self._in_the_way() or _wrong(keeper.root, version, identity, within, to_commit):
            return in_the_way
        self._asked = Asked(version, identity, to_commit)
        try:
            self.successor = keeper.start_second(version)
        except OSError as error:
            return f"{keeper.name} can't be executed: {error.strerror}"
        keeper.systemd.reloading()
        keeper.timers["successor"] = time.monotonic() + within
        self._of, self._went, self.chances, keeper.interrupted = keeper.node, False, _CHANCES, False
        return ""

    def _in_the_way(self) -> str:
        if self.successor is not None:
            return "another version is about to take over"
        if self.leaving is not None:
            return f"the version before (pid {self.leaving.pid}) has not left yet"
        return "" if self._keeper.serves else "it is starting, or stopping"

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
        elif self.trial is not None:
            self._late = True
            if self._in_the_way():
                self._keeper.timers["commit"] = now + _AGAIN
            elif not self.begin_unasked(self.trial.identity, "not committed in time"):
                self._try_again()

    def give_up(self, reason: str) -> None:
        """End a successor that has not accepted."""
        if self.successor is not None:
            self.successor.failure = self.successor.failure or reason
            self.successor.kill(_signal.SIGKILL)

    @property
    def goes_on(self) -> bool:
        """Whether the successor may accept, and so needs the node no more."""
        return self.successor is not None and self._went and not self.successor.failure

    def node_ended(self) -> None:
        """The node is gone; a successor that waits for its word goes too."""
        if not self.goes_on:
            self.give_up(f"{self._keeper.name} has ended meanwhile")

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
                keeper.holdings.admit_second(child, lock_path, keeper.beat, self._asked.identity)
            case "about", [_, _]:
                child.about = fields
                child.answer("noted")
            case "bind", asked:
                keeper.holdings.bind(child, asked)
            case "closed", asked:
                keeper.holdings.sockets.close(asked, child.pid, keep=True)
            case "failed", [reason]:
                child.failure = child.failure or reason
            case "prepared", waiting if child is self.successor and keeper.node is not None:
                keeper.node.answer("successor", "prepared", *waiting)
            case "accepting", [line] if child is self.successor and not child.failure:
                self._accepting(child, line)
            case "leaving", _ if child is self.leaving and keeper.node is not None:
                keeper.node.answer("state", descriptors=descriptors)

    def go(self, descriptors: list[int]) -> None:
        """The node has let go of what must not run twice; its successor may accept."""
        if self.successor is not None:
            self._went = True
            self.successor.answer("accept", descriptors=descriptors)

    def in_place(self, how: str, asked: list[str]) -> None:
        """The node is about to become another version, has become it, or is what it was."""
        keeper = self._keeper
        match how, asked:
            case "installing", [version, identity] if _wrong(keeper.root, version, identity, 0, 0):
                keeper.say(f"{keeper.name} said {how!r}, and {_wrong(keeper.root, version, identity, 0, 0)}")
            case "installing", [version, identity]:
                self._before, self.trial = self.trial, Asked(version, identity, 0)
            case "installed", [line, to_commit] if self.trial is not None:
                trial = Asked(self.trial.version, self.trial.identity, float(to_commit))
                if _wrong(keeper.root, "", trial.identity, 0, trial.to_commit):
                    raise ValueError(f"{to_commit} is not a number of seconds to wait for a commit")
                self.committed()
                self.trial = trial
                self._await_commit(trial.to_commit)
                keeper.systemd.tell(f"STATUS={line}")
            case "undone", _:
                self.trial = self._before

    def _await_commit(self, within: float) -> None:
        self._keeper.timers.pop("commit", None)
        if within:
            self._keeper.timers["commit"] = time.monotonic() + within

    def committed(self) -> None:
        """The node is of the permanent version."""
        if self._late and not self._asked.version:
            self.give_up("what it was to follow was committed meanwhile")
        self.trial, self._late, self._patience = None, False, _patience()
        self._keeper.timers.pop("commit", None)

    def note(self, reason: str) -> None:
        """Write down why the permanent version follows the one that was on trial: the ledger is not ours to write."""
        if self.trial is not None:
            try:
                directories.make(os.path.dirname(self.replaced))
                lock.replace(self.replaced, f"{self.trial.identity} {self.trial.version} {reason}\n")
            except OSError as error:
                self._keeper.say(f"{self.replaced} can't be written: {error.strerror}")

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
            if keeper.serves and keeper.node is not None and keeper.node.ended is None:
                self.chances = 0
            keeper.on_left()

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
        if keeper.told and keeper.node is not None:
            keeper.node.answer("stop")
        elif keeper.node is None:
            keeper.say(f"the successor of {keeper.name} (pid {successor.pid}) has failed: {reason}")
            keeper.follow_up(f"{keeper.name} has ended, and so has its successor")
        elif keeper.node is self._of:
            keeper.say(f"the successor of {keeper.name} (pid {successor.pid}) has failed: {reason}")
            keeper.node.answer("successor", "failed", reason)
            keeper.systemd.tell("READY=1")
            if self._late and not self._asked.version:
                self._try_again()

    def _try_again(self) -> None:
        """The permanent version could not replace one that is late; that serves until it can."""
        now = time.monotonic()
        if (pause := self._patience.pause(now)) is not None:
            self._keeper.timers["commit"] = now + pause
        else:
            self._keeper.say("the permanent version has failed too often, and is not tried again before a restart")

    def _accepting(self, new: Child, line: str) -> None:
        """The successor is the node from here on."""
        self.successor, self.leaving, asked = None, self._keeper.node, self._asked
        if self.trial is not None and self._late and not asked.version:
            self.note(f"it was not committed within {self.trial.to_commit:g} s")
        self.committed()
        self.trial = asked if asked.version else None
        self._keeper.follow(new, line)
        self._await_commit(asked.to_commit if asked.version else 0)
        if self.leaving is not None:
            self.leaving.answer("successor", "accepting")
        else:
            new.answer("left")
            self.chances = 0


def _wrong(root: str, version: str, identity: str, within: float, to_commit: float) -> str:
    """Why nothing is started that was asked for like this, whoever has asked; empty where it can be."""
    if version and not names.is_unpacked(root, version):
        return f"{names.shown(version)} is not a version that is unpacked in {root}"
    if not names.is_name(identity):
        return f"{names.shown(identity)} is not the id of an upgrade"
    if not (0 <= within <= _LONGEST and 0 <= to_commit <= _LONGEST):
        return f"{within:g} s and {to_commit:g} s are not times to wait"
    return ""


def _patience() -> RestartPolicy:
    """Eight tries, the first pause of 2 s and each twice as long as the last."""
    return RestartPolicy(7, 3600, 2)
