"""The second node of a keeper: the successor, until it accepts, and then the one before it, until that has left.

``release/channel`` has the messages that go through the keeper meanwhile.
"""

from __future__ import annotations

import os
import time

from ..release import channel, names
from ..release.filesystem import directories
from . import lock, phases
from .child import Child
from .kept import Kept
from .restart_policy import RestartPolicy
from .yielding import SECONDS, Yielding

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from .nodes import Nodes
    from .shared_resources import SharedResources
    from .systemd_notify import Systemd
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

    def __init__(self, version: str, upgrade_id: str, to_commit: float) -> None:
        self.version, self.upgrade_id, self.to_commit = version, upgrade_id, to_commit


class Handover:
    """All handovers of one keeper; one at a time."""

    def __init__(
        self, nodes: Nodes, root: str, resources: SharedResources, systemd: Systemd, log: Callable[[str], object]
    ) -> None:
        """`root` is the release directory."""
        self._nodes = nodes
        self._root = root
        self._resources = resources
        self._systemd = systemd
        self._log = log
        self.successor: Child | None = None
        self.leaving: Child | None = None
        self._kept: Kept | None = None  # what may be kept, where that was ever asked for
        self._was_kept: Child | None = None  # the successor, where it was that
        self.trial: Asked | None = None
        """Of the node, where it has taken over and is not committed."""
        self._before: Asked | None = None  # of the node before it became another version in place
        self.replaced = ""
        """The file that says why one was replaced."""
        self._asked = Asked("", "", 0)  # of the successor
        self._of: Child | None = None  # the node that has the successor
        self._went = False  # it has let the successor accept
        self._yielding: Yielding | None = None  # the successor, to the node
        self.chances = 0
        """How many more nodes are started, at once, where the one ends that a handover has left; none when that is over."""
        self._follows_when_left = ""  # why the permanent version is to be started then
        self.interrupted = False
        """Whether the node, and all that have the terminal, were, since the last handover began."""
        self._late = False  # the node was not committed in time
        self._patience = _patience()  # with the permanent version, where it fails to take over for that

    def begin(self, version: str, upgrade_id: str, timeout: float, to_commit: float) -> str:
        """Start a successor; returns why not."""
        nodes, name = self._nodes, "kept" if upgrade_id == channel.KEPT else upgrade_id
        if in_the_way := self._in_the_way() or _wrong(self._root, version, name, timeout, to_commit):
            return in_the_way
        if upgrade_id == channel.KEPT:
            return self._keep(version, timeout)
        self._asked = Asked(version, upgrade_id, to_commit)
        self._was_kept = None if self._kept is None else self._kept.take(version)
        if self._was_kept is not None:
            self.successor = self._was_kept
            self._was_kept.send(channel.Held(nodes.beat, upgrade_id))
        elif refused := self._start(version):
            return refused
        self._systemd.reloading()
        nodes.timers["successor"] = time.monotonic() + timeout
        self._of, self._went, self.chances, self.interrupted = nodes.node, False, _CHANCES, False
        return ""

    def _start(self, version: str) -> str:
        """Start a successor, which yields to the node; returns why not."""
        nodes = self._nodes
        try:
            self.successor = nodes.start_second(version)
        except OSError as error:
            return f"{nodes.name} can't be executed: {error.strerror}"
        self._yielding = Yielding(self.successor.pid)
        nodes.timers["yielding"] = time.monotonic() + SECONDS
        return ""

    def _keep(self, version: str, seconds: float) -> str:
        self._kept = self._kept or Kept(self._nodes, self._resources, self._log)
        return self._kept.begin(version, seconds)

    @property
    def kept(self) -> Child | None:
        """A node that waits to be wanted, or is on its way to that."""
        return None if self._kept is None else self._kept.child

    def end_kept(self, reason: str) -> None:
        """End that, where there is one."""
        if self._kept is not None:
            self._kept.end(reason)

    def _start_afresh(self, waited: Child, reason: str) -> None:
        """Replace a successor that was kept, and is not what a start would be now."""
        self._log(f"what was kept (pid {waited.pid}) is not used: {reason}")
        waited.kill(_signal.SIGKILL)
        waited.close()
        self._resources.sockets.drop(waited.pid)
        if refused := self._start(self._asked.version):
            waited.failure = refused  # its end is that of the successor

    def _in_the_way(self) -> str:
        if self.successor is not None:
            return "another version is about to take over"
        if self.leaving is not None:
            return f"the version before (pid {self.leaving.pid}) has not left yet"
        return "" if self._serves else "it is starting, or stopping"

    @property
    def _serves(self) -> bool:
        node = self._nodes.node
        return node is not None and node.phase == phases.RUNNING

    def begin_unasked(self, upgrade_id: str, why: str) -> bool:
        """Have the permanent version take over, because the keeper wants it; whether that has begun."""
        name = self._nodes.name
        if refused := self.begin("", upgrade_id, _TO_ACCEPT, 0):
            self._systemd.reloading()
            self._log(f"{why}: {name} can't hand over: {refused}")
            self._systemd.send("READY=1")
            return False
        self._log(f"{why}: {name} hands over to the permanent version")
        return True

    def on_timer(self, name: str, now: float) -> None:
        """Do what follows where a successor, or a commit, is late."""
        if name == "successor":
            self.give_up("it was not ready in time")
        elif name == "yielding":
            self._yield_no_more()
        elif name == "kept":
            self.end_kept("its time is over")
        elif self.trial is not None:
            self._late = True
            if self._in_the_way():
                self._nodes.timers["commit"] = now + _AGAIN
            elif not self.begin_unasked(self.trial.upgrade_id, "not committed in time"):
                self._try_again()

    def _yield_no_more(self) -> None:
        self._nodes.timers.pop("yielding", None)
        if self._yielding is not None:
            self._yielding.end()
            self._yielding = None

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
        """End a successor that waits for the word of the node, which is gone."""
        self.end_kept(f"{self._nodes.name} has ended")
        if not self.goes_on:
            self.give_up(f"{self._nodes.name} has ended meanwhile")

    def end_leaving(self) -> None:
        """Nobody follows: the one that leaves is to hurry."""
        self.end_kept("nothing runs any more")
        if self.leaving is not None:
            self.leaving.kill(_signal.SIGTERM)

    def follow_up(self, why: str) -> None:
        """Have the permanent version started, since this handover has left nothing that runs; at once, or where that was tried
        as soon as the node before has left, which may have what it needs."""
        self.chances -= 1
        if self._nodes.told or self.chances or self.leaving is None:
            self._nodes.start_permanent(f"{why}; the permanent version is started")
            return
        self.end_leaving()
        self._follows_when_left = f"{why}; the permanent version is started, when the one before has left"

    def obey(self, child: Child, message: channel.FromNode, descriptors: list[int]) -> None:
        """Do what a successor sends, or the one that leaves."""
        node, resources = self._nodes.node, self._resources
        if self._kept is not None and child is self.kept:
            self._kept.obey(child, message)
            return
        match message:
            case channel.Stays(reason) if child is self._was_kept and child is self.successor:
                self._start_afresh(child, reason)
            case channel.Hello():
                child.hello = message
                resources.admit_second(child, message.lock, self._nodes.beat, self._asked.upgrade_id)
            case channel.About():
                child.about = message
                child.send(channel.Noted())
            case channel.Bind(wanted):
                resources.bind(child, wanted)
            case channel.Closed(closed):
                resources.sockets.close(closed, child.pid, keep=True)
            case channel.Failed(reason):
                child.failure = child.failure or reason
            case channel.Beat() if child is self.successor:  # its applications have started
                self._yield_no_more()
            case channel.Processes() if child is self.successor:
                self._nodes.want(child, message, self._asked.upgrade_id)
            case channel.Prepared(waiting) if child is self.successor and node is not None:
                node.send(channel.SuccessorPrepared(waiting))
            case channel.Accepting(line) if child is self.successor and not child.failure:
                self._accepting(child, line)
            case channel.Leaving() if child is self.leaving and node is not None:
                node.send(channel.States(), descriptors)

    def obey_node(self, node: Child, message: channel.FromNode, descriptors: list[int]) -> None:
        """Do what the node sends of a handover, or of an install in place."""
        match message:
            case channel.Successor(version, upgrade_id, timeout, to_commit):
                if refused := self.begin(version, upgrade_id, timeout, to_commit):
                    node.send(channel.SuccessorBusy(refused))
            case channel.Go():
                self.go(descriptors)
            case channel.GoesOn():
                self.chances = 0
            case channel.Stays(reason):
                self.give_up(reason)
            case channel.Installing(version, upgrade_id):
                self.installing(version, upgrade_id)
            case channel.Installed(line, to_commit):
                self.installed(line, to_commit)
            case channel.Undone():
                self.undone()
            case channel.Committed():
                self.committed()

    def go(self, descriptors: list[int]) -> None:
        """Let the successor accept: the node has let go of what must not run twice."""
        if self.successor is not None:
            self._went = True
            self._yield_no_more()
            self.successor.send(channel.Accept(), descriptors)

    def installing(self, version: str, upgrade_id: str) -> None:
        """Note that the node is about to become a version in place."""
        if wrong := _wrong(self._root, version, upgrade_id, 0, 0):
            self._log(f"{self._nodes.name} sent 'installing', and {wrong}")
            return
        self.end_kept("a version is put in place")
        self._before, self.trial = self.trial, Asked(version, upgrade_id, 0)

    def installed(self, line: str, to_commit: float) -> None:
        """It is that version, to be committed in so many seconds where that is not 0. Raises ValueError."""
        if self.trial is None:
            return
        trial = Asked(self.trial.version, self.trial.upgrade_id, to_commit)
        if _wrong(self._root, "", trial.upgrade_id, 0, trial.to_commit):
            raise ValueError(f"{to_commit} is not a number of seconds to wait for a commit")
        self.committed()
        self.trial = trial
        self._await_commit(trial.to_commit)
        self._systemd.send(f"STATUS={line}")

    def undone(self) -> None:
        """It is the version that it was."""
        self.trial = self._before

    def _await_commit(self, timeout: float) -> None:
        self._nodes.timers.pop("commit", None)
        if timeout:
            self._nodes.timers["commit"] = time.monotonic() + timeout

    def committed(self) -> None:
        """Note that the node is of the permanent version."""
        if self._late and not self._asked.version:
            self.give_up("what it was to follow was committed meanwhile")
        self.trial, self._late, self._patience = None, False, _patience()
        self._nodes.timers.pop("commit", None)

    def note(self, reason: str) -> None:
        """Write down why the permanent version follows the one that was on trial: the ledger is not ours to write."""
        if self.trial is not None:
            try:
                directories.make(os.path.dirname(self.replaced))
                lock.replace(self.replaced, f"{self.trial.upgrade_id} {self.trial.version} {reason}\n")
            except OSError as error:
                self._log(f"{self.replaced} can't be written: {error.strerror}")

    def look(self) -> None:
        """Do what follows where one of them has ended; all that it has sent has been obeyed."""
        nodes = self._nodes
        if self._kept is not None:
            self._kept.look()
        if self.successor is not None and self.successor.ended is not None:
            self._after_successor(self.successor, self.successor.ended)
        if self.leaving is not None and self.leaving.ended is not None and not nodes.processes.has(self.leaving):
            nodes.finish(self.leaving)
            self.leaving = None
            if nodes.node is not None:
                nodes.node.send(channel.Left())
                if self._serves and nodes.node.ended is None:
                    self.chances = 0
            follows, self._follows_when_left = self._follows_when_left, ""
            if follows and nodes.node is None and not nodes.told:
                nodes.start_permanent(follows)

    def _after_successor(self, successor: Child, died: int) -> None:
        """It has ended, and had not accepted."""
        nodes = self._nodes
        nodes.finish(successor)
        self.successor = self._yielding = None
        nodes.timers.pop("successor", None)
        nodes.timers.pop("yielding", None)
        self._resources.sockets.drop(successor.pid)
        reason = successor.failure or (
            f"it was ended by signal {-died}" if died < 0 else f"it ended with status {died}"
        )
        if nodes.told and nodes.node is not None:
            nodes.node.send(channel.Stop())
        elif nodes.node is None:
            self._log(f"the successor of {nodes.name} (pid {successor.pid}) has failed: {reason}")
            self.follow_up(f"{nodes.name} has ended, and so has its successor")
        elif nodes.node is self._of:
            self._log(f"the successor of {nodes.name} (pid {successor.pid}) has failed: {reason}")
            nodes.node.send(channel.SuccessorFailed(reason))
            self._systemd.send("READY=1")
            if self._late and not self._asked.version:
                self._try_again()

    def _try_again(self) -> None:
        """Have the permanent version replace one that is late after a pause; that serves until it can."""
        now = time.monotonic()
        if (pause := self._patience.pause(now)) is not None:
            self._nodes.timers["commit"] = now + pause
        else:
            self._log("the permanent version has failed too often, and is not tried again before a restart")

    def _accepting(self, new: Child, line: str) -> None:
        """Take the successor for the node from here on."""
        self.successor, self.leaving, asked = None, self._nodes.node, self._asked
        if self.trial is not None and self._late and not asked.version:
            self.note(f"it was not committed within {self.trial.to_commit:g} s")
        self.committed()
        self.trial = asked if asked.version else None
        self._nodes.follow(new, line)
        self._await_commit(asked.to_commit if asked.version else 0)
        if self.leaving is not None:
            self.leaving.send(channel.SuccessorAccepting())
        else:
            new.send(channel.Left())
            self.chances = 0


def _wrong(root: str, version: str, upgrade_id: str, timeout: float, to_commit: float) -> str:
    """Why nothing is started that was asked for like this, whoever has asked; empty where it can be."""
    if version and not names.is_unpacked(root, version):
        return f"{names.shown(version)} is not a version that is unpacked in {root}"
    if not names.is_name(upgrade_id):
        return f"{names.shown(upgrade_id)} is not the id of an upgrade"
    if not (0 <= timeout <= _LONGEST and 0 <= to_commit <= _LONGEST):
        return f"{timeout:g} s and {to_commit:g} s are not times to wait"
    return ""


def _patience() -> RestartPolicy:
    """Eight tries, the first pause of 2 s and each twice as long as the last."""
    return RestartPolicy(7, 3600, 2)
