"""The keeper: it starts the node, holds what must outlive it, and decides what follows when it ends.

=====================================================  =================================================================
the node has ended, and                                then
=====================================================  =================================================================
the keeper was told to stop                            the keeper ends
it had asked for another                               the permanent release is started, at once
it was asked to stop, or ended with status 0           the keeper ends
it failed, there is a heart, and one was ready before  the permanent release is started, after a pause, until the limit
it failed, and had taken over and was not committed    the permanent release is started, at once
it failed otherwise                                    the keeper ends, with the node's status
=====================================================  =================================================================

Beside the node there may be one more: its successor, until that accepts, or the one before it, until that has left.
``release/channel.py`` has the words.
"""

from __future__ import annotations

import os
import select
import time

from . import lock, signals, sockets
from .child import Child
from .heart import Heart
from .logs import Log
from .systemd import Systemd

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Mapping, Sequence
else:
    import _signal

_CHUNKS = 16
"""How much is read where all is wanted: what a pipe holds, and not for ever what is printed meanwhile."""
_LONGEST = 3600.0
"""Seconds of one wait; poll takes no more than some weeks."""
_AGAIN = 1.0
"""Seconds until what is refused to the keeper itself is tried again."""
_MARGIN = 5.0
"""Seconds beyond its own deadline after which a node is said not to stop."""
_TO_ACCEPT = 300.0
"""Seconds for a successor that the node has not asked for."""


class Keeper:
    """One run of a keeper, from the first node to the end of the last."""

    def __init__(
        self,
        command: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        systemd: Systemd,
        log: Log | None,
        started: Callable[[], None],
    ) -> None:
        """`log` takes the output of the nodes, which otherwise is left alone; `started` is called at the first ready."""
        self._command = [command, "node", *arguments]
        self._environ = dict(environ)
        self._systemd = systemd
        self._log = log
        self._started = started
        self._sockets = sockets.Sockets(systemd.descriptors)
        self._name = os.path.basename(command)
        self._lock: lock.Lock | None = None
        self._heart: Heart | None = None
        self._heart_text = ""
        self._node: Child | None = None
        self._next: Child | None = None
        self._old: Child | None = None
        self._id, self._version, self._to_commit = "", "", 0.0  # of the successor
        self._temporary = False
        self._status: int | None = None
        self._told = False
        self._was_ready = False
        self._timers: dict[str, float] = {}
        self._stop_timeout = 60.0

    def run(self) -> int:
        """Keep a node running; the exit status. Called once."""
        hangup = _signal.getsignal(_signal.SIGHUP)
        self._hangup_ends = hangup != _signal.SIG_IGN  # as nohup leaves it
        self._signals = signals.catch()
        self._spawn()
        while self._status is None or self._next is not None or self._old is not None:
            self._wait()
            if self._next is not None and self._next.ended is not None:
                self._after_next(self._next, self._next.ended)
            if self._old is not None and self._old.ended is not None:
                self._after_old(self._old)
            if self._node is not None and self._node.ended is not None:
                self._after_node(self._node, self._node.ended)
        self._sockets.close_all()
        if self._lock is not None:
            self._lock.close()
        if self._log is not None:
            self._log.close()
        return self._status

    # -------------------------------------------------------------------------------------------------- the node

    def _spawn(self) -> None:
        """Start a node."""
        self._ready = self._restart = self._stopping = self._asked = self._temporary = False
        self._environ["RELEASE_STARTS"] = str(int(self._environ.get("RELEASE_STARTS", 0)) + 1)  # told by its metrics
        try:
            self._node = Child(self._command, self._environ, piped=self._log is not None)
        except OSError as error:
            self._say(f"error: {self._command[0]} can't be executed: {error.strerror}")
            self._status = 1
        self._environ.pop("RELEASE_VSN", None)  # what is started later is the permanent release
        self._speak_for_the_node()

    def _after_node(self, node: Child, died: int) -> None:
        """What follows when the node has ended."""
        self._finish(node)
        self._node, self._ready = None, False
        self._timers.clear()
        status = died if died >= 0 else 128 - died
        if self._next is not None:
            self._give_up(self._next, f"{self._name} has ended meanwhile")
        if self._told:
            self._status = 0 if died == -_signal.SIGTERM else status
            return
        if self._restart:
            self._say(f"{self._name} is started anew")
            self._systemd.reloading()
            self._spawn()
            return
        if died < 0:
            self._say(f"{self._name} was ended by signal {-died}")
        if self._temporary and status and not self._asked:
            self._say(
                f"{self._name} ended with status {status} and was not committed; the permanent version is started"
            )
            self._systemd.reloading()
            self._spawn()
            return
        if self._asked or died in (0, -_signal.SIGINT) or self._heart is None or not self._was_ready:
            self._status = status
            if self._old is not None:
                self._old.kill(_signal.SIGTERM)
            return
        pause = self._heart.pause(time.monotonic())
        if pause is None:
            self._say(
                f"{self._name} ended with status {status}; it was started again {self._heart.restarts} times within"
                f" {self._heart.within:g} s, which is the limit, and is not any more"
            )
            self._status = 1
            if self._old is not None:
                self._old.kill(_signal.SIGTERM)
            return
        self._say(f"{self._name} ended with status {status} and is started again in {pause:g} s")
        self._systemd.tell(f"STATUS=ended with status {status}; is started again")
        self._timers["spawn"] = time.monotonic() + pause
        self._speak_for_the_node()

    def _speak_for_the_node(self) -> None:
        """Until the next one is ready, the keeper gives the signs of life that systemd has been promised."""
        if self._was_ready and self._systemd.watchdog:
            self._timers["watchdog"] = time.monotonic()

    def _finish(self, node: Child) -> None:
        """What it has still said, in its last moments."""
        self._listen_to(node)
        self._read_output(node, _CHUNKS)
        node.close()
        self._sockets.forget(node.pid)

    # -------------------------------------------------------------------------------------------------- a handover

    def _begin(self, version: str, identity: str, within: float, to_commit: float) -> str:
        """Start a successor; returns why not."""
        if self._next is not None:
            return "another version is about to take over"
        if self._old is not None:
            return f"the version before (pid {self._old.pid}) has not left yet"
        if not self._ready or self._stopping or self._restart:
            return "it is starting, or stopping"
        self._id, self._version, self._to_commit = identity, version, to_commit
        environ = {**self._environ, "RELEASE_VSN": version} if version else self._environ
        try:
            self._next = Child(self._command[:3], environ, piped=self._log is not None)
        except OSError as error:
            return f"{self._command[0]} can't be executed: {error.strerror}"
        self._timers["successor"] = time.monotonic() + within
        return ""

    def _begin_unasked(self, identity: str, why: str) -> bool:
        self._systemd.reloading()
        if refused := self._begin("", identity, _TO_ACCEPT, 0):
            self._say(f"{why}: {self._name} can't hand over: {refused}")
            self._systemd.tell("READY=1")
            return False
        self._say(f"{why}: {self._name} hands over to the permanent version")
        return True

    def _give_up(self, successor: Child, reason: str) -> None:
        successor.failure = successor.failure or reason
        successor.kill(_signal.SIGKILL)

    def _after_next(self, successor: Child, died: int) -> None:
        """It has ended before it accepted, or was about to have."""
        self._listen_to(successor)
        if self._next is not successor:
            return  # its last word was that it accepts
        self._finish(successor)
        self._next = None
        self._timers.pop("successor", None)
        self._sockets.drop(successor.pid)
        reason = successor.failure or (
            f"it was ended by signal {-died}" if died < 0 else f"it ended with status {died}"
        )
        if self._node is not None and not self._told:
            self._say(f"the successor of {self._name} (pid {successor.pid}) has failed: {reason}")
            self._node.answer("successor", "failed", reason)
            self._systemd.tell("READY=1")

    def _accepting(self, new: Child, line: str) -> None:
        """The successor is the node from here on."""
        old, self._node, self._next = self._node, new, None
        self._old = old
        self._timers.clear()
        self._ready = self._restart = self._stopping = self._asked = False
        self._temporary = bool(self._version)
        if self._temporary and self._to_commit:
            self._timers["commit"] = time.monotonic() + self._to_commit
        if (heart := new.hello[-1]) != self._heart_text:
            self._heart_text, self._heart = heart, Heart.read(heart)
        if new.about:
            self._stop_timeout = float(new.about[1])
            self._write_lock(new.about[0])
        self._on_ready(line)
        if old is not None:
            old.answer("successor", "accepting")
        if self._told:
            new.kill(_signal.SIGTERM)

    def _after_old(self, old: Child) -> None:
        self._finish(old)
        self._old = None
        if self._node is not None:
            self._node.answer("left")

    # ------------------------------------------------------------------------------------------------ what happens

    @property
    def _children(self) -> list[Child]:
        return [child for child in (self._node, self._next, self._old) if child is not None]

    def _wait(self) -> None:
        now = time.monotonic()
        due = [*self._timers.values()]
        if self._log is not None and (alive := self._log.due()) is not None:
            due.append(alive)
        timeout = min(max(0.0, min(due) - now), _LONGEST) * 1000 + 1 if due else None
        poll = select.poll()
        for descriptor in (self._signals, *(each for child in self._children for each in child.descriptors)):
            poll.register(descriptor, select.POLLIN)
        poll.poll(timeout)
        for number, from_kernel in signals.caught(self._signals):
            self._on_signal(number, from_kernel)
        for child in self._children:
            self._listen_to(child)
            self._read_output(child, 1)
        now = time.monotonic()
        if self._log is not None:
            self._log.tick(now)
        for name in [name for name, at in self._timers.items() if at <= now]:
            del self._timers[name]
            self._on_timer(name, now)

    def _on_timer(self, name: str, now: float) -> None:
        match name:
            case "spawn":
                self._spawn()
            case "watchdog":
                self._systemd.tell("WATCHDOG=1")
                self._timers["watchdog"] = now + self._systemd.watchdog / 2
            case "beat" if self._node is not None:
                self._say(f"{self._name} (pid {self._node.pid}) gave no sign of life and is killed")
                self._node.kill(_signal.SIGKILL)
            case "successor" if self._next is not None:
                self._give_up(self._next, "it was not ready in time")
            case "commit":
                if not self._begin_unasked("uncommitted", "not committed in time"):
                    self._timers["commit"] = now + _AGAIN
            case "stop" if self._node is not None:
                self._say(
                    f"{self._name} (pid {self._node.pid}) was told to stop and has not within {self._stop_timeout:g} s"
                )

    def _on_signal(self, number: int, from_kernel: bool) -> None:
        if number == _signal.SIGCHLD:
            self._reap()
        elif number == _signal.SIGHUP and not (from_kernel and self._hangup_ends):
            self._begin_unasked("hangup", "SIGHUP")
        elif number in (_signal.SIGTERM, _signal.SIGHUP) or (number == _signal.SIGINT and self._node is None):
            self._told = True
            self._systemd.tell("STOPPING=1")
            if self._node is None:
                self._status = 0
                return
            for child in self._children:
                child.kill(_signal.SIGTERM)
            self._timers.setdefault("stop", time.monotonic() + self._stop_timeout + _MARGIN)
        elif self._node is not None and not (from_kernel and number == _signal.SIGINT):  # the terminal has told it too
            self._node.kill(number)

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

    def _listen_to(self, node: Child) -> None:
        for word, fields, descriptors in node.messages():
            try:
                if node is self._node:
                    self._obey(node, word, fields, descriptors)
                else:
                    self._obey_other(node, word, fields, descriptors)
            except (ValueError, TypeError, OverflowError) as error:
                self._say(f"{self._name} said {word!r}, which is not understood: {error}")
            for descriptor in descriptors:
                os.close(descriptor)

    def _obey_other(self, child: Child, word: str, fields: list[str], descriptors: list[int]) -> None:
        """What a successor says, or the one that leaves."""
        match word, fields:
            case "hello", [_, lock_path, *_]:
                child.hello = fields
                if self._lock is None or self._lock.path != lock_path:
                    child.answer("unwritable", "the node that hands over has another RELEASE_TMP")
                else:
                    child.answer("held", self._beat(), self._id, descriptors=[self._lock.descriptor])
            case "about", [_, _]:
                child.about = fields
                child.answer("noted")
            case "bind", asked:
                self._bind(child, asked)
            case "closed", asked:
                self._sockets.close(asked, child.pid, keep=True)
            case "failed", [reason]:
                child.failure = child.failure or reason
            case "prepared", _ if child is self._next and self._node is not None:
                self._node.answer("successor", "prepared")
            case "accepting", [line] if child is self._next and not child.failure:
                self._read_output(child, _CHUNKS)
                self._accepting(child, line)
            case "leaving", _ if child is self._old and self._node is not None:
                self._node.answer("state", descriptors=descriptors)

    def _obey(self, node: Child, word: str, fields: list[str], descriptors: list[int]) -> None:
        match word, fields:
            case "hello", [name, lock_path, pid_path, stem, generations, size, alive, heart]:
                self._name = name
                if heart != self._heart_text:
                    self._heart_text, self._heart = heart, Heart.read(heart)
                self._hello(node, lock_path, pid_path)
                if self._log is not None and self._lock is not None:
                    self._log.open(stem, int(generations), int(size), float(alive), time.monotonic())
            case "about", [document, stop_timeout]:
                self._stop_timeout = float(stop_timeout)
                self._write_lock(document)
                node.answer("noted")
            case "bind", asked:
                self._bind(node, asked)
            case "closed", asked:
                self._sockets.close(asked, node.pid, keep=self._another_follows())
            case "ready", [line]:
                self._read_output(node, _CHUNKS)  # who waits for this finds in the log what came before
                self._on_ready(line)
            case "beat", _ if self._ready:
                self._on_beat()
            case "status", [line]:
                self._systemd.tell(f"STATUS={line.splitlines()[0] if line else ''}")
            case "failed", [reason]:
                self._systemd.tell(f"STATUS=failed: {reason.splitlines()[0] if reason else ''}")
            case "successor", [version, identity, within, to_commit]:
                if refused := self._begin(version, identity, float(within), float(to_commit)):
                    node.answer("successor", "busy", refused)
            case "go", _ if self._next is not None:
                self._next.answer("accept", descriptors=descriptors)
            case "committed", _:
                self._temporary = False
                self._timers.pop("commit", None)
            case "restart", _:
                self._restart = True
            case "stopping", [why]:
                self._stopping, self._asked = True, why == "asked"
                self._timers.pop("beat", None)

    def _another_follows(self) -> bool:
        """Whether this node ends, and another may be started."""
        if self._restart or self._next is not None:
            return True
        failing = self._stopping or not self._ready
        return failing and not self._asked and not self._told and self._heart is not None and self._was_ready

    def _hello(self, node: Child, path: str, pid_path: str) -> None:
        if self._lock is None or self._lock.path != path:
            try:
                found = lock.acquire(path, pid_path)
            except OSError as error:
                node.answer("unwritable", error.strerror or str(error))
                return
            if isinstance(found, str):
                node.answer("busy", found)
                return
            if self._lock is not None:
                self._lock.close()
            self._lock = found
            try:
                found.write_pid()
            except OSError as error:
                self._say(f"{pid_path} can't be written: {error.strerror}")
        self._write_lock(f'{{"pid": {os.getpid()}, "node": {node.pid}}}')
        node.answer("held", self._beat(), "", descriptors=[self._lock.descriptor])

    def _beat(self) -> str:
        """Seconds between the signs of life of a node; of a successor too, whose own heart is not known yet."""
        periods = [self._systemd.watchdog / 2, self._heart.beat / 3 if self._heart is not None else 0]
        return str(min(filter(None, periods), default=0))

    def _write_lock(self, document: str) -> None:
        assert self._lock is not None
        try:
            self._lock.write(document)
        except OSError as error:
            self._say(f"{self._lock.path} can't be written: {error.strerror}")

    def _bind(self, node: Child, asked: list[str]) -> None:
        outcomes: list[str] = []
        descriptors: list[int] = []
        for text in asked:
            try:
                descriptors.append(self._sockets.give(text, node.pid).fileno())
                outcomes.append("")
            except (OSError, ValueError) as error:
                outcomes.append(sockets.reason(error))
        node.answer("bound", *outcomes, descriptors=descriptors)

    def _on_ready(self, line: str) -> None:
        self._ready = True
        self._timers.pop("watchdog", None)
        assert self._node is not None
        for text in self._sockets.close_unasked(self._node.pid):
            self._say(f"{self._name} does not listen on {text.replace(' ', ':')} any more")
        self._systemd.tell("READY=1", f"MAINPID={os.getpid()}", f"STATUS={line}")
        if self._log is not None:
            self._log.keeps_tail, self._log.tail = False, b""
        if not self._was_ready:
            self._was_ready = True
            self._started()
        self._on_beat()

    def _on_beat(self) -> None:
        if self._systemd.watchdog:
            self._systemd.tell("WATCHDOG=1")
        if self._heart is not None and self._heart.beat and not self._stopping:
            self._timers["beat"] = time.monotonic() + self._heart.beat

    # ------------------------------------------------------------------------------------------------ what it says

    def _say(self, line: str) -> None:
        if self._log is not None:
            self._log.add(f"{line}\n".encode(), time.monotonic())
            return
        try:
            os.write(2, f"{line}\n".encode())
        except OSError:
            pass
