"""The further processes of a release that runs in several: nodes too, each of the version of a first one, below the same keeper.

=====================================  =================================================================================
a further process                      then
=====================================  =================================================================================
has failed before it served            the first is told, and the others of that start are killed
has ended after that                   another is started, after a pause, until the limit; then all end
is one too many, or of a version that  it leaves, as a node does that hands over, and nobody follows it
has been taken over from
is of a first one that has ended       goes on, and the next first one takes it if that is of the same version
=====================================  =================================================================================

The node, or a successor, is the first of them.

=====================================================  =================================================================
who sends                                              what follows
=====================================================  =================================================================
first: `Processes`                                     the keeper starts those that are missing, as the first was started;
                                                       who is one too many gets `SuccessorAccepting`, and leaves
keeper to a further one: `Held`                        it knows by the number which one it is
further one: `Prepared`                                `Accept`, at once where the first serves, else when that accepts
further one: `Accepting`                               it serves
all serve, or of a successor: all are prepared         `ProcessesStarted` to the first
one can't start                                        the same, with the reason
one ends that has served                               another is started, of the version of the first
a successor has taken over, and its others accept      `SuccessorAccepting` to those of the node before
=====================================================  =================================================================
"""

from __future__ import annotations

import time

from ..release import channel
from . import phases
from .child import SECOND_LOOK, Child
from .restart_policy import RestartPolicy
from .yielding import SECONDS, Yielding

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator

    from .nodes import Nodes
    from .shared_resources import SharedResources
    from .signs_of_life import SignsOfLife
else:
    import _signal

_RESTARTS = (5, 60.0, 1.0)
"""The limit of a release that has no heart."""


class Group:
    """The further processes of one first node."""

    def __init__(self, first: Child, version: str, upgrade_id: str, policy: RestartPolicy) -> None:
        """`upgrade_id` is of the handover in which they begin; empty where the first does not take over from another."""
        self.first = first
        self.version = version
        self.upgrade_id = upgrade_id
        self.policy = policy
        self.wanted = 1
        """How many processes there are to be, the first included."""
        self.accepts = not upgrade_id
        """Whether who is prepared may accept."""
        self.awaited = False
        """Whether the first waits for them."""
        self.ends = False
        """Whether all are to end, and nobody follows."""
        self.members: dict[int, Child] = {}
        """By number, from 2."""
        self.prepared: set[Child] = set()
        self.leaving: list[Child] = []
        self.due: dict[int, float] = {}
        """When the next of a number is started, where one has ended."""
        self.yielding: dict[Child, tuple[Yielding, float]] = {}
        """Those of a successor that boot, and until when they have a lower priority at most."""
        self.beats: dict[Child, float] = {}
        """Until when each has to give its next sign of life."""

    def yield_no_more(self, child: Child) -> None:
        """Give one the priority that all others have."""
        if (yielding := self.yielding.pop(child, None)) is not None:
            yielding[0].end()

    def __iter__(self) -> Iterator[Child]:
        yield from self.members.values()
        yield from self.leaving

    def number(self, child: Child) -> int:
        """That of a member; 0 for one that leaves."""
        return next((number for number, member in self.members.items() if member is child), 0)

    @property
    def is_there(self) -> bool:
        """Whether all that are wanted serve, or are prepared to."""
        numbers = range(2, self.wanted + 1)
        return all(number in self.members and self._is_there(self.members[number]) for number in numbers)

    def _is_there(self, child: Child) -> bool:
        return child.phase == phases.RUNNING or (child in self.prepared and not self.accepts)


class Processes:
    """All further processes of one keeper."""

    def __init__(
        self, nodes: Nodes, signs: SignsOfLife, resources: SharedResources, log: Callable[[str], object]
    ) -> None:
        """`signs` has the heart of the node."""
        self._nodes = nodes
        self._signs = signs
        self._resources = resources
        self._log = log
        self._groups: list[Group] = []

    @property
    def children(self) -> list[Child]:
        """All of them."""
        return [child for group in self._groups for child in group]

    def has(self, first: Child) -> bool:
        """Whether a first one has others."""
        return any(group.first is first and [*group] for group in self._groups)

    def due(self) -> Iterator[float]:
        """When something is to be done, on the monotonic clock."""
        for group in self._groups:
            yield from group.due.values()
            yield from group.beats.values()
            yield from (until for _, until in group.yielding.values())

    # ------------------------------------------------------------------------------------------------- what is wanted

    def want(self, first: Child, wanted: int, version: str, upgrade_id: str) -> None:
        """Have so many processes of the version of `first`; `upgrade_id` is not empty where that is a successor."""
        group = self._of(first) or (None if upgrade_id else self._orphan(version))
        if group is None:
            heart = self._signs.heart
            limit = _RESTARTS if heart is None else (heart.restarts, heart.period, heart.delay)
            group = Group(first, version, upgrade_id, RestartPolicy(*limit))
            self._groups.append(group)
        group.first, group.version, group.wanted, group.awaited = first, version, wanted, True
        for number in range(2, wanted + 1):
            if number not in group.members and number not in group.due:
                self._start(group, number)
        for number in [number for number in group.members if number > wanted]:
            self._leave(group, number)
        for number in [number for number in group.due if number > wanted]:
            del group.due[number]
        self._settle(group)

    def accept(self, first: Child) -> None:
        """Let those of a successor accept, which is the node now; then those of the node before leave."""
        if (group := self._of(first)) is not None:
            group.accepts, group.upgrade_id = True, ""
            for child in group.prepared:
                child.send(channel.Accept())
        self._relieve()

    def serves(self, first: Child) -> None:
        """End what no first one has taken, now that this one serves."""
        for group in self._groups:
            if group.first is not first and group.first.ended is not None and not group.ends:
                self._stop(group)

    def stop(self, first: Child | None = None) -> None:
        """Tell those of a first one, or all, to stop."""
        for group in self._groups:
            if first is None or group.first is first:
                self._stop(group)

    def first_ended(self, first: Child) -> None:
        """Kill those of a first one that has ended before it served: they have served nobody."""
        if (group := self._of(first)) is not None and not group.accepts:
            self._kill(group)

    # ---------------------------------------------------------------------------------------------------- what happens

    def obey(self, child: Child, message: channel.FromNode) -> bool:
        """Do what one of them sends; whether it is one of them."""
        group = next((group for group in self._groups if child in [*group]), None)
        if group is None:
            return False
        resources = self._resources
        match message:
            case channel.Hello():
                child.hello = message
                beat = self._nodes.beat
                resources.admit_second(child, message.lock, beat, group.upgrade_id, group.number(child))
            case channel.About():
                child.send(channel.Noted())
            case channel.Bind(wanted):
                resources.bind(child, wanted)
            case channel.Closed(closed):
                resources.sockets.close(closed, child.pid, keep=True)
            case channel.Alive(within):
                child.lives(within)
            case channel.Beat() if child.phase == phases.RUNNING:
                self._await_sign(group, child)
            case channel.Failed(reason):
                child.failure = child.failure or reason
            case channel.Prepared():
                group.prepared.add(child)
                group.yield_no_more(child)
                if group.accepts:
                    child.send(channel.Accept())
                self._settle(group)
            case channel.Accepting():
                group.prepared.discard(child)
                child.enter(phases.RUNNING)
                child.send(channel.Left())
                self._await_sign(group, child)
                self._settle(group)
                self._relieve()
            case channel.Stopping(why):
                child.enter(phases.STOPPING if why == "asked" else phases.FAILING)
                group.beats.pop(child, None)
        return True

    def look(self) -> None:
        """Do what follows where one has ended; all that it has sent has been obeyed."""
        for group in self._groups:
            for child in [child for child in group if child.ended is not None]:
                self._after(group, child)
        self._groups = [
            group for group in self._groups if [*group] or not (group.ends or group.first.ended is not None)
        ]

    def tick(self, now: float) -> None:
        """Do what is due."""
        for group in self._groups:
            for number in [number for number, at in group.due.items() if at <= now]:
                del group.due[number]
                self._start(group, number)
            for child in [child for child, (_, until) in group.yielding.items() if until <= now]:
                group.yield_no_more(child)
            for child in [child for child, at in group.beats.items() if at <= now]:
                del group.beats[child]
                self._log(f"{self._name(group, child)} gave no sign of life and is killed")
                child.kill(_signal.SIGKILL)

    def _after(self, group: Group, child: Child) -> None:
        """It has ended."""
        number, name = group.number(child), self._name(group, child)
        had_served = child.phase != phases.STARTING
        self._nodes.finish(child)
        group.prepared.discard(child)
        group.beats.pop(child, None)
        group.yielding.pop(child, None)
        if number:
            del group.members[number]
        else:
            group.leaving.remove(child)
        if group.ends or not number or self._nodes.told:
            if self._nodes.node is not None:  # else what it had may be for the next one
                self._resources.sockets.close_alone(child.pid)
            self._relieve()
            return
        died = child.ended or 0
        how = child.failure or (f"it was ended by signal {-died}" if died < 0 else f"it ended with status {died}")
        if group.awaited and not had_served:
            group.awaited = False
            group.wanted = min(group.wanted, max([1, *group.members]))
            group.first.send(channel.ProcessesStarted(f"process {number} (pid {child.pid}) could not start: {how}"))
            if group.first.phase == phases.STARTING:
                self._kill(group)
            return
        now = time.monotonic()
        if (pause := group.policy.pause(now)) is None:
            self._fail(
                f"{name} has ended: {how}; {group.policy.restarts} of its processes were started again within"
                f" {group.policy.period:g} s, which is the limit"
            )
            return
        self._log(f"{name} has ended: {how}; another is started in {pause:g} s, the others go on")
        group.due[number] = now + pause
        self._relieve()

    # ------------------------------------------------------------------------------------------------------- the parts

    def _fail(self, reason: str) -> None:
        """End all, since this can't be repaired."""
        self._log(f"error: {reason}")
        if (node := self._nodes.node) is None:
            self._nodes.end(1)
        else:
            node.failure = node.failure or reason
            node.send(channel.Stop())
            node.kill(_signal.SIGTERM)

    def _of(self, first: Child) -> Group | None:
        return next((group for group in self._groups if group.first is first and not group.ends), None)

    def _orphan(self, version: str) -> Group | None:
        """Those that serve, of the same version, whose first one has ended."""
        for group in self._groups:
            if group.first.ended is not None and group.version == version and group.accepts and not group.ends:
                return group
        return None

    def _name(self, group: Group, child: Child) -> str:
        return f"process {group.number(child) or 'that leaves'} of {self._nodes.name} (pid {child.pid})"

    def _start(self, group: Group, number: int) -> None:
        if self._nodes.told or group.ends:
            return
        try:
            child = group.members[number] = self._nodes.start_second(group.version)
        except OSError as error:
            reason = f"process {number} can't be executed: {error.strerror}"
            if group.awaited:
                group.awaited = False
                group.first.send(channel.ProcessesStarted(reason))
            else:
                self._fail(reason)
            return
        if group.upgrade_id:
            group.yielding[child] = Yielding(child.pid), time.monotonic() + SECONDS

    def _settle(self, group: Group) -> None:
        """Tell a first one that waits for it that all are there."""
        if group.awaited and group.is_there:
            group.awaited = False
            group.first.send(channel.ProcessesStarted())

    def _relieve(self) -> None:
        """Let those of the node before leave, once those of the node accept, but for what has ended meanwhile."""
        node = self._nodes.node
        current = None if node is None else self._of(node)
        if node is None or node.phase != phases.RUNNING or (current is not None and not current.accepts):
            return
        if current is not None and current.prepared:
            return
        for group in self._groups:
            if group.first is not node and group.accepts and not group.ends:
                group.ends = True
                group.due.clear()
                for number in [*group.members]:
                    self._leave(group, number)

    def _leave(self, group: Group, number: int) -> None:
        child = group.members.pop(number)
        group.leaving.append(child)
        group.beats.pop(child, None)
        if child.phase == phases.RUNNING:
            child.send(channel.SuccessorAccepting())
        else:
            child.kill(_signal.SIGKILL)

    def _stop(self, group: Group) -> None:
        group.ends = True
        group.due.clear()
        group.beats.clear()
        for child in group:
            child.send(channel.Stop())
            child.kill(_signal.SIGTERM)

    def _kill(self, group: Group) -> None:
        group.ends = True
        group.due.clear()
        for child in group:
            child.kill(_signal.SIGKILL)

    def _await_sign(self, group: Group, child: Child) -> None:
        heart = self._signs.heart
        if heart is not None and heart.beat:
            group.beats[child] = time.monotonic() + heart.beat + SECOND_LOOK
