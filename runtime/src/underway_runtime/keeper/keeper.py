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

Next to the node there may be one more, of which ``handover.py`` tells; what all of them have from the keeper is in
``holdings.py``. ``release/channel.py`` has the words.
"""

from __future__ import annotations

import os
import select
import time

from . import signals
from .child import Child
from .handover import Handover
from .logs import Log
from .restart_policy import RestartPolicy
from .shared_resources import SharedResources
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
        log: Log | None,
        started: Callable[[str], None],
    ) -> None:
        """`log` takes the output of the nodes, which otherwise is left alone; `started` is called at the first ready, with what is
        to be said of it."""
        self.name = os.path.basename(command)
        self.systemd = systemd
        self.holdings = SharedResources(systemd.descriptors, self.say)
        self.handover = Handover(self)
        self.node: Child | None = None
        self.timers: dict[str, float] = {}
        """By name, when each is due, on the monotonic clock."""
        self.told = False
        """Whether this keeper was told to stop."""
        self.interrupted = False
        """Whether the node, and all that have the terminal, were, since the last handover began."""
        self._command = [command, "node", *arguments]
        self.root = os.path.dirname(os.path.dirname(command))
        """The release directory."""
        self._environ = dict(environ)
        self._log = log
        self._started = started
        self._heart: RestartPolicy | None = None
        self._heart_text = ""
        self._status: int | None = None
        self._was_ready = False
        self._when_left = ""
        self._stop_timeout = 60.0

    def run(self) -> int:
        """Keep a node running; the exit status. Called once."""
        hangup = _signal.getsignal(_signal.SIGHUP)
        self._hangup_ends = hangup != _signal.SIG_IGN  # as nohup leaves it
        self._signals = signals.catch()
        self._spawn()
        handover = self.handover
        while self._status is None or handover.successor is not None or handover.leaving is not None:
            self._wait()
            handover.look()
            if self.node is not None and self.node.ended is not None:
                self._after_node(self.node, self.node.ended)
        self.holdings.close()
        if self._log is not None:
            self._log.close()
        return self._status

    # -------------------------------------------------------------------------------------------------- the node

    def _spawn(self) -> None:
        """Start a node."""
        self._ready = self._restart = self._stopping = self._asked = False
        self.handover.committed()  # or about to be replaced by what is
        self._environ["RELEASE_STARTS"] = str(int(self._environ.get("RELEASE_STARTS", 0)) + 1)  # told by its metrics
        try:
            self.node = Child(self._command, self._environ, piped=self._log is not None)
        except OSError as error:
            self.say(f"error: {self._command[0]} can't be executed: {error.strerror}")
            self._status = 1
        self._environ.pop("RELEASE_VSN", None)  # what is started later is the permanent release
        self._speak_for_the_node()

    @property
    def serves(self) -> bool:
        """Whether the node is ready, and is to stay."""
        return self._ready and not (self._stopping or self._restart)

    def start_second(self, version: str) -> Child:
        """Start a node of a version, or of the permanent one, next to the one that runs. Raises OSError."""
        environ = {**self._environ, "RELEASE_VSN": version} if version else self._environ
        return Child(self._command[:3], environ, piped=self._log is not None)

    def follow(self, new: Child, line: str) -> None:
        """This one is the node from here on, and `line` is what it says of itself."""
        self._read_output(new, _CHUNKS)
        self.node = new
        self.timers.clear()
        self._ready = self._restart = self._stopping = self._asked = False
        self._read_heart(new.hello[-1])
        if new.about:
            self._stop_timeout = float(new.about[1])
            self.holdings.write(new.about[0])
        self._on_ready(line)
        if self.told:
            new.answer("stop")
            new.kill(_signal.SIGTERM)

    def _after_node(self, node: Child, died: int) -> None:
        """What follows when the node has ended."""
        self.finish(node)
        self.node, self._ready = None, False
        self.timers.clear()
        status = died if died >= 0 else 128 - died
        self.handover.node_ended()
        if self.told:
            self._status = 0 if died == -_signal.SIGTERM else status
            return
        if self._restart:
            self.say(f"{self.name} is started again")
            self.systemd.reloading()
            self._spawn()
            return
        if died < 0:
            self.say(f"{self.name} was ended by signal {-died}")
        if self.handover.goes_on:
            self.say(f"{self.name} ended with status {status}; its successor accepts")
            return
        if self.handover.trial is not None and not self._asked:
            self.say(f"{self.name} ended with status {status} and was not committed; the permanent version is started")
            how = f"was ended by signal {-died}" if died < 0 else f"ended with status {died}"
            self.handover.note(f"it {how} before it was committed")
            self.systemd.reloading()
            self._spawn()
            return
        if self.handover.chances and not self.interrupted:
            self.follow_up(f"{self.name} ended with status {status} while another version took over")
            return
        if self._asked or died in (0, -_signal.SIGINT) or self._heart is None or not self._was_ready:
            self._status = status
            self.handover.end_leaving()
            return
        pause = self._heart.pause(time.monotonic())
        if pause is None:
            self.say(
                f"{self.name} ended with status {status}; it was started again {self._heart.restarts} times within"
                f" {self._heart.within:g} s, which is the limit, and is not any more"
            )
            self._status = 1
            self.handover.end_leaving()
            return
        self.say(f"{self.name} ended with status {status} and is started again in {pause:g} s")
        self.systemd.tell(f"STATUS=ended with status {status}; is started again")
        self.timers["spawn"] = time.monotonic() + pause
        self._speak_for_the_node()

    def follow_up(self, why: str) -> None:
        """Start the permanent version, since the last handover has left nothing that runs."""
        if self.told:
            self._status = 0
            return
        self.handover.chances -= 1
        if self.handover.chances or self.handover.leaving is None:
            self.say(f"{why}; the permanent version is started")
            self.systemd.reloading()
            self._spawn()
            return
        self.handover.end_leaving()  # it may have what the permanent version needs
        self._when_left = f"{why}; the permanent version is started, when the one before has left"

    def on_left(self) -> None:
        """The node that has handed over has ended."""
        if self._when_left and self.node is None and not self.told:
            self.say(self._when_left)
            self._spawn()
        self._when_left = ""

    def _speak_for_the_node(self) -> None:
        """Until the next one is ready, the keeper gives the signs of life that systemd has been promised."""
        if self._was_ready and self.systemd.watchdog:
            self.timers["watchdog"] = time.monotonic()

    def finish(self, node: Child) -> None:
        """What it has still said, in its last moments."""
        self.listen_to(node)
        self._read_output(node, _CHUNKS)
        node.close()
        self.holdings.sockets.forget(node.pid)

    # ------------------------------------------------------------------------------------------------ what happens

    @property
    def _children(self) -> list[Child]:
        return [each for each in (self.node, self.handover.successor, self.handover.leaving) if each is not None]

    def _wait(self) -> None:
        now = time.monotonic()
        due = [*self.timers.values()]
        if self._log is not None and (alive := self._log.due()) is not None:
            due.append(alive)
        due.append(now + _LOOK)
        timeout = max(0.0, min(due) - now) * 1000 + 1
        poll = select.poll()
        for descriptor in (self._signals, *(each for child in self._children for each in child.descriptors)):
            poll.register(descriptor, select.POLLIN)
        for descriptor in (listening := self.holdings.sockets.listening()):
            poll.register(descriptor, 0)  # for a hangup
        happened = [descriptor for descriptor, _ in poll.poll(timeout) if descriptor in listening]
        for number, from_kernel in signals.caught(self._signals):
            self._on_signal(number, from_kernel)
        for text in self.holdings.sockets.listen_again(happened):
            self.say(f"{self.name}: {text}")
        for child in self._children:
            self.listen_to(child)
            self._read_output(child, 1)
        self.holdings.mend()
        now = time.monotonic()
        if self._log is not None:
            self._log.tick(now)
        for name in [name for name, at in self.timers.items() if at <= now]:
            del self.timers[name]
            self._on_timer(name, now)

    def _on_timer(self, name: str, now: float) -> None:
        match name:
            case "spawn":
                self._spawn()
            case "watchdog":
                self.systemd.tell("WATCHDOG=1")
                self.timers["watchdog"] = now + self.systemd.watchdog / 2
            case "beat" if self.node is not None:
                self.say(f"{self.name} (pid {self.node.pid}) gave no sign of life and is killed")
                self.node.kill(_signal.SIGKILL)
            case "successor" | "commit":
                self.handover.on_timer(name, now)
            case "stop" if self.node is not None:
                self.say(
                    f"{self.name} (pid {self.node.pid}) was told to stop and has not within {self._stop_timeout:g} s"
                )

    def _on_signal(self, number: int, from_kernel: bool) -> None:
        if number == _signal.SIGCHLD:
            self._reap()
        elif number == _signal.SIGHUP and not (from_kernel and self._hangup_ends):
            self.handover.begin_unasked("hangup", "SIGHUP")
        elif number in (_signal.SIGTERM, _signal.SIGHUP) or (number == _signal.SIGINT and self.node is None):
            self.told = True
            self.systemd.tell("STOPPING=1")
            for child in self._children:
                child.answer("stop")
                child.kill(_signal.SIGTERM)
            if self.node is None:
                self._status = 0
                return
            self.timers.setdefault("stop", time.monotonic() + self._stop_timeout + _MARGIN)
        elif self.node is not None:
            self.interrupted = self.interrupted or number == _signal.SIGINT
            if not (from_kernel and number == _signal.SIGINT):  # the terminal has told it too
                self.node.kill(number)

    def _reap(self) -> None:
        """All children: as the first process of a container this one has those of others too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in self._children:
                if pid == child.pid:
                    child.ended = os.waitstatus_to_exitcode(status)

    def _read_output(self, node: Child, chunks: int) -> None:
        for _ in range(chunks):
            if (data := node.output()) and self._log is not None:
                self._log.add(data, time.monotonic())

    # ---------------------------------------------------------------------------------------------- what it is told

    def listen_to(self, node: Child) -> None:
        for word, fields, descriptors in node.messages():
            try:
                if node is self.node:
                    self._obey(node, word, fields, descriptors)
                else:
                    self.handover.obey(node, word, fields, descriptors)
            except (ValueError, TypeError, OverflowError) as error:
                self.say(f"{self.name} said {word!r}, which is not understood: {error}")
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey(self, node: Child, word: str, fields: list[str], descriptors: list[int]) -> None:
        match word, fields:
            case "hello", [name, lock_path, pid_path, replaced, stem, generations, size, alive, heart]:
                self.name, self.handover.replaced = name, replaced
                self._read_heart(heart)
                if self.holdings.admit(node, lock_path, pid_path, self.beat) and self._log is not None:
                    self._log.open(stem, int(generations), int(size), float(alive), time.monotonic())
            case "about", [document, stop_timeout]:
                self._stop_timeout = float(stop_timeout)
                self.holdings.write(document)
                node.answer("noted")
            case "bind", asked:
                self.holdings.bind(node, asked)
            case "closed", asked:
                self.holdings.sockets.close(asked, node.pid, keep=self._another_follows())
            case "ready", [line, *notes]:
                self._read_output(node, _CHUNKS)  # who waits for this finds in the log what came before
                self._on_ready(line, "".join(notes))
            case "beat", _ if self._ready:
                self._on_beat()
            case "status", [line]:
                self.systemd.tell(f"STATUS={line.splitlines()[0] if line else ''}")
            case "failed", [reason]:
                self.systemd.tell(f"STATUS=failed: {reason.splitlines()[0] if reason else ''}")
            case "successor", [version, identity, within, to_commit]:
                if refused := self.handover.begin(version, identity, float(within), float(to_commit)):
                    node.answer("successor", "busy", refused)
            case "go", _:
                self.handover.go(descriptors)
            case "on", _:
                self.handover.chances = 0
            case "stays", [reason]:
                self.handover.give_up(reason)
            case ("installing" | "installed" | "undone") as how, asked:
                self.handover.in_place(how, asked)
            case "committed", _:
                self.handover.committed()
            case "restart", _:
                self._restart = True
            case "stopping", [why]:
                self._stopping, self._asked = True, why == "asked"
                self.timers.pop("beat", None)

    def _another_follows(self) -> bool:
        """Whether this node ends, and another may be started."""
        if self._restart or self.handover.successor is not None:
            return True
        failing = self._stopping or not self._ready
        return failing and not self._asked and not self.told and self._heart is not None and self._was_ready

    def _read_heart(self, text: str) -> None:
        if text != self._heart_text:
            self._heart_text, self._heart = text, RestartPolicy.read(text)

    @property
    def beat(self) -> str:
        """Seconds between the signs of life of a node; of a successor too, whose own heart is not known yet."""
        periods = [self.systemd.watchdog / 2, self._heart.beat / 3 if self._heart is not None else 0]
        return str(min(filter(None, periods), default=0))

    def _on_ready(self, line: str, note: str = "") -> None:
        self._ready = True
        self.timers.pop("watchdog", None)
        assert self.node is not None
        for text in self.holdings.sockets.permit(self.node.pid):
            self.say(f"{self.name}: who may connect to {text}")
        for text in self.holdings.sockets.close_unasked(self.node.pid):
            self.say(f"{self.name} does not listen on {text.replace(' ', ':')} any more")
        self.systemd.tell("READY=1", f"MAINPID={os.getpid()}", f"STATUS={line}")
        if self._log is not None:
            self._log.keeps_tail, self._log.tail = False, b""
        if self.handover.leaving is None and self.handover.successor is None:
            self.handover.chances = 0
        if not self._was_ready:
            self._was_ready = True
            self._started(note)
        self._on_beat()

    def _on_beat(self) -> None:
        if self.systemd.watchdog:
            self.systemd.tell("WATCHDOG=1")
        if self._heart is not None and self._heart.beat and not self._stopping:
            self.timers["beat"] = time.monotonic() + self._heart.beat

    # ------------------------------------------------------------------------------------------------ what it says

    def say(self, line: str) -> None:
        """Tell the operator, in the log of a daemon."""
        if self._log is not None:
            self._log.add(f"{line}\n".encode(), time.monotonic())
            return
        try:
            os.write(2, f"{line}\n".encode())
        except OSError:
            pass
