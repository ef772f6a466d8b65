"""The keeper: it starts the node, holds what must outlive it, and decides what follows when it ends.

=====================================================  =================================================================
the node has ended, and                                then
=====================================================  =================================================================
the keeper was told to stop                            the keeper ends
it had asked for another                               the permanent release is started, at once
it was asked to stop, or ended with status 0           the keeper ends
it failed, there is a heart, and one was ready before  the permanent release is started, after a pause, until the limit
it was of a version that was not committed, and        the permanent release is started, at once, and why is noted
nobody had asked it to stop
another is taking over, or has just taken over         the permanent release is started, at once, and if that fails once
                                                       more when the one before has left
it failed otherwise                                    the keeper ends, with the node's status
=====================================================  =================================================================

Next to the node there may be one more, of which ``handover.py`` tells, and further processes, of which ``processes.py`` does;
what all of them have from the keeper is in ``shared_resources.py``. ``release/channel`` has the messages, ``phases.py`` the
phases of a node, ``signs_of_life.py`` how long a node may be silent.
"""

from __future__ import annotations

import os
import select
import time

from ..release import channel
from ..release.channel import datagram
from . import left_behind, phases, signals
from .child import Child, reap
from .handover import Handover
from .logs import Log, Terminal
from .processes import Processes
from .shared_resources import SharedResources
from .signs_of_life import SignsOfLife
from .systemd_notify import Systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Mapping, Sequence
else:
    import _signal

_CHUNKS = 16
"""How much is read where all is wanted: what a pipe holds, and not for ever what is printed meanwhile."""
_LOOK = 30.0
"""Seconds of one wait: so often, and whenever something happens, it is looked whether the lock file still says who runs."""
_MARGIN = 5.0
"""Seconds beyond its own deadline after which a node is said not to stop."""


class Keeper:
    """One run of a keeper, from the first node to the end of the last."""

    def __init__(
        self,
        command: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        systemd: Systemd,
        log: Log | Terminal,
        started: Callable[[str], None],
    ) -> None:
        """`log` takes the output of the nodes, where they don't print on the terminal; `started` is called at the first ready, with what is
        to be said of it."""
        self.name = os.path.basename(command)
        self.node: Child | None = None
        self.timers: dict[str, float] = {}
        self.told = False
        """Whether this keeper was told to stop."""
        self._systemd = systemd
        self.signs = SignsOfLife(systemd, self.timers)
        self._resources = SharedResources(systemd.descriptors, log.line)
        self._handover = Handover(self, os.path.dirname(os.path.dirname(command)), self._resources, systemd, log.line)
        self._command = [command, "node", *arguments]
        self._environ = dict(environ)
        self._log = log
        self._started = started
        self._status: int | None = None
        self._was_ready = False
        self._stop_timeout = 60.0
        self._hangup_ends = _signal.getsignal(_signal.SIGHUP) != _signal.SIG_IGN  # as nohup leaves it
        self._signals = -1
        self.processes = Processes(self, self.signs, self._resources, log.line)
        """Those of the release besides the first."""
        self._follows = ""
        """Why the permanent version is to be started, when the last of the processes has ended."""

    def run(self) -> int:
        """Keep a node running; the exit status. Called once."""
        self._signals = signals.catch()
        self._spawn()
        handover = self._handover
        while self._status is None or [child for child in self._children if child is not self.node]:
            self._wait()
            self.processes.look()
            handover.look()
            if self.node is not None and self.node.ended is not None:
                self._after_node(self.node, self.node.ended)
            if self._follows and not self._children:
                follows, self._follows = self._follows, ""
                self.start_permanent(follows)
        self._resources.close()
        self._log.close()
        return self._status

    # -------------------------------------------------------------------------------------------------- the node

    def _spawn(self) -> None:
        """Start a node."""
        self._handover.committed()  # or about to be replaced by what is
        self._environ["RELEASE_STARTS"] = str(int(self._environ.get("RELEASE_STARTS", 0)) + 1)  # told by its metrics
        try:
            self.node = Child(self._command, self._environ, piped=self._log.is_piped)
        except OSError as error:
            self._log.line(f"error: {self._command[0]} can't be executed: {error.strerror}")
            self._status = 1
        self._environ.pop("RELEASE_VSN", None)  # what is started later is the permanent release
        if self._was_ready:
            self.signs.give_systemd()

    def start_second(self, version: str) -> Child:
        """Start a node of a version, or of the permanent one, next to the one that runs. Raises OSError."""
        environ = {**self._environ, "RELEASE_VSN": version} if version else self._environ
        return Child(self._command[:3], environ, piped=self._log.is_piped)

    def start_permanent(self, why: str) -> None:
        """Start the permanent version, unless all is to end; `why` is for the log."""
        if self.told:
            self._status = 0
            return
        self._log.line(why)
        self._systemd.reloading()
        self._spawn()

    def follow(self, new: Child, line: str) -> None:
        """Take this one for the node from here on; `line` is what it sends of itself."""
        self._read_output(new, _CHUNKS)
        self.node = new
        self.timers.clear()
        if new.hello is not None:
            self.signs.read_heart(new.hello.heart)
        if new.about is not None:
            self._stop_timeout = new.about.stop_timeout
            self._resources.write(new.about.document)
        self._on_ready(new, line)
        self.processes.accept(new)
        if self.told:
            new.send(channel.Stop())
            new.kill(_signal.SIGTERM)

    def _after_node(self, node: Child, died: int) -> None:
        """Do what follows when the node has ended: as in the table above, from the top."""
        handover = self._handover
        self.finish(node)
        self.node = None
        self.timers.clear()
        status = died if died >= 0 else 128 - died
        ended = f"{self.name} ended with status {status}"
        handover.node_ended()
        if self.told:
            self._status = 0 if died == -_signal.SIGTERM else status
            return
        if node.phase == phases.RESTARTING:
            self._follows = f"{self.name} is started again"  # when the other processes have ended too
            self.processes.stop()
            return
        if died < 0 and not node.failure:
            self._log.line(f"{self.name} was ended by signal {-died}")
        if handover.goes_on:
            self._log.line(f"{ended}; its successor accepts")
        elif handover.trial is not None and node.phase != phases.STOPPING:
            how = f"was ended by signal {-died}" if died < 0 else f"ended with status {died}"
            handover.note(f"it {how} before it was committed")
            self.processes.stop(node)
            self.start_permanent(f"{ended} and was not committed; the permanent version is started")
        elif handover.chances and not handover.interrupted:
            handover.follow_up(f"{ended} while another version took over")
        elif node.phase == phases.STOPPING or died in (0, -_signal.SIGINT) or not self._was_ready:
            if not self._was_ready and (text := left_behind.sentence(node, self.name, self._environ)):
                self._log.line(text)
            self.end(1 if node.failure else status)
        else:
            self._start_after_pause(status)

    def _start_after_pause(self, status: int) -> None:
        """Start the permanent version again, where there is a heart that allows it; else end."""
        if (heart := self.signs.heart) is None:
            self.end(status)
            return
        pause = heart.pause(time.monotonic())
        if pause is None:
            self._log.line(
                f"{self.name} ended with status {status}; it was started again {heart.restarts} times within"
                f" {heart.period:g} s, which is the limit, and is not any more"
            )
            self.end(1)
            return
        self._log.line(f"{self.name} ended with status {status} and is started again in {pause:g} s")
        self._systemd.send(f"STATUS=ended with status {status}; is started again")
        self.timers["spawn"] = time.monotonic() + pause
        self.signs.give_systemd()

    def end(self, status: int) -> None:
        """End with this status: nothing follows."""
        self._status = status
        self.processes.stop()
        self._handover.end_leaving()

    def want(self, first: Child, asked: channel.Processes, upgrade_id: str) -> None:
        """Have further processes of the version of a first one; `upgrade_id` is not empty where that is a successor."""
        if first.phase == phases.RUNNING:
            self._environ[channel.PROCESSES] = str(asked.wanted)  # for those that follow, of whatever version
            self._handover.end_kept("the number of processes has changed")
        self.processes.want(first, asked.wanted, asked.version, upgrade_id)

    def finish(self, node: Child) -> None:
        """Take what it has still sent and printed, in its last moments."""
        self.processes.first_ended(node)
        self._read_messages(node)
        self._read_output(node, _CHUNKS)
        node.close()
        self._resources.sockets.forget(node.pid)

    # ------------------------------------------------------------------------------------------------ what happens

    @property
    def _children(self) -> list[Child]:
        handover = self._handover
        nodes = (self.node, handover.successor, handover.leaving, handover.kept)
        return [*(node for node in nodes if node is not None), *self.processes.children]

    def _wait(self) -> None:
        now = time.monotonic()
        those_of_others = (self._log.due(), *(child.gone_at for child in self._children))
        known = (now + _LOOK, *self.timers.values(), *self.processes.due())
        due = [*known, *(at for at in those_of_others if at is not None)]
        timeout = max(0.0, min(due) - now) * 1000 + 1
        poll = select.poll()
        for descriptor in (self._signals, *(number for child in self._children for number in child.descriptors)):
            poll.register(descriptor, select.POLLIN)
        for descriptor in (listening := self._resources.sockets.listening()):
            poll.register(descriptor, 0)  # for a hangup
        happened = [descriptor for descriptor, _ in poll.poll(timeout) if descriptor in listening]
        for number, from_kernel in signals.caught(self._signals):
            self._on_signal(number, from_kernel)
        for text in self._resources.sockets.listen_again(happened):
            self._log.line(f"{self.name}: {text}")
        for child in self._children:
            self._read_messages(child)
            self._read_output(child, 1)
        self._resources.mend()
        now = time.monotonic()
        for child in self._children:
            if child is not self._handover.leaving and (text := child.strayed(now)):
                self._log.line(f"error: {self.name} (pid {child.pid}) {text}")
        self._log.tick(now)
        self.processes.tick(now)
        for name in [name for name, at in self.timers.items() if at <= now]:
            del self.timers[name]
            self._on_timer(name, now)

    def _on_timer(self, name: str, now: float) -> None:
        match name:
            case "spawn":
                self._spawn()
            case "watchdog" | "beat" | "second look":
                if self.signs.on_timer(name, now) and self.node is not None:
                    self._log.line(f"{self.name} (pid {self.node.pid}) gave no sign of life and is killed")
                    self.node.kill(_signal.SIGKILL)
            case "successor" | "commit" | "yielding" | "kept":
                self._handover.on_timer(name, now)
            case "stop" if self.node is not None:
                self._log.line(
                    f"{self.name} (pid {self.node.pid}) was told to stop and has not within {self._stop_timeout:g} s"
                )

    def _on_signal(self, number: int, from_kernel: bool) -> None:
        if number == _signal.SIGCHLD:
            reap(self._children)
        elif number == _signal.SIGHUP and not (from_kernel and self._hangup_ends):
            self._handover.begin_unasked("hangup", "SIGHUP")
        elif number in (_signal.SIGTERM, _signal.SIGHUP) or (number == _signal.SIGINT and self.node is None):
            self.told = True
            self._systemd.send("STOPPING=1")
            for child in self._children:
                child.send(channel.Stop())
                child.kill(_signal.SIGTERM)
            if self.node is None:
                self._status = 0
                return
            self.timers.setdefault("stop", time.monotonic() + self._stop_timeout + _MARGIN)
        elif number in (_signal.SIGTTIN, _signal.SIGTTOU):
            if self.node is not None and not from_kernel:  # else it is of a terminal
                self.node.send(channel.Scale(1 if number == _signal.SIGTTIN else -1))
        elif self.node is not None:
            self._handover.interrupted = self._handover.interrupted or number == _signal.SIGINT
            if not (from_kernel and number == _signal.SIGINT):  # the terminal has told it too
                for child in (self.node, *self.processes.children):
                    child.kill(number)

    def _read_output(self, node: Child, chunks: int) -> None:
        for _ in range(chunks):
            if data := node.output():
                self._log.add(data, time.monotonic())

    # ------------------------------------------------------------------------------------------------- its messages

    def _read_messages(self, node: Child) -> None:
        for data, descriptors in node.messages():
            try:
                if (message := datagram.decode(channel.FromNode, data)) is None:
                    pass  # of a version that knows more
                elif node is self.node:
                    self._obey(node, message, descriptors)
                elif not self.processes.obey(node, message):
                    self._handover.obey(node, message, descriptors)
            except (ValueError, TypeError, OverflowError) as error:
                self._log.line(f"{self.name} sent what is not understood: {error}")
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey(self, node: Child, message: channel.FromNode, descriptors: list[int]) -> None:
        """Do what the node sends."""
        match message:
            case channel.Hello():
                self._on_hello(node, message)
            case channel.About():
                self._stop_timeout = message.stop_timeout
                self._resources.write(message.document)
                node.send(channel.Noted())
            case channel.Bind(wanted):
                self._resources.bind(node, wanted)
            case channel.Closed(closed):
                self._resources.sockets.close(closed, node.pid, keep=self._another_follows(node))
            case channel.Ready(line, note):
                self._read_output(node, _CHUNKS)  # who waits for this finds in the log what came before
                self._on_ready(node, line, note)
            case channel.Alive(within):
                node.lives(within)
            case channel.Beat() if node.phase != phases.STARTING:
                self.signs.note()
            case channel.Status(line):
                self._systemd.send(f"STATUS={line.splitlines()[0] if line else ''}")
            case channel.Failed(reason):
                node.has_said_why = True
                self._systemd.send(f"STATUS=failed: {reason.splitlines()[0] if reason else ''}")
            case channel.Restart():
                node.enter(phases.RESTARTING)
                self.processes.stop()
            case channel.Processes():
                self.want(node, message, "")
            case channel.Stopping(why):
                node.enter(phases.STOPPING if why == "asked" else phases.FAILING)
                self.signs.await_none()
            case _:
                self._handover.obey_node(node, message, descriptors)

    def _on_hello(self, node: Child, hello: channel.Hello) -> None:
        self.name, self._handover.replaced = hello.name, hello.replaced
        self.signs.read_heart(hello.heart)
        if self._resources.admit(node, hello.lock, hello.pid, self.signs.period):
            self._log.open(hello.log, hello.generations, hello.size, hello.alive, time.monotonic())

    def _another_follows(self, node: Child) -> bool:
        """Whether this node ends, and another may be started."""
        if node.phase == phases.RESTARTING or self._handover.successor is not None:
            return True
        failing = node.phase in (phases.STARTING, phases.FAILING)
        return failing and not self.told and self.signs.heart is not None and self._was_ready

    @property
    def beat(self) -> float:
        """Seconds between the signs of life of a node, or 0."""
        return self.signs.period

    def _on_ready(self, node: Child, line: str, note: str = "") -> None:
        node.enter(phases.RUNNING)
        for text in self._resources.sockets.permit(node.pid):
            self._log.line(f"{self.name}: {text}")
        for text in self._resources.sockets.close_unasked(node.pid, *(child.pid for child in self.processes.children)):
            self._log.line(f"{self.name} does not listen on {text.replace(' ', ':')} any more")
        self._systemd.send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={line}")
        self._log.drop_tail()
        if self._handover.leaving is None and self._handover.successor is None:
            self._handover.chances = 0
        if not self._was_ready:
            self._was_ready = True
            self._started(note)
        self.signs.begin()
        self.processes.serves(node)
