"""The node as a process: started by ``bin/NAME``, with the line to it and, for a daemon, the pipe of its output."""

from __future__ import annotations

import _socket
import fcntl
import os
import sys
import time

from ..release import channel
from ..release.channel import datagram
from . import phases

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any
else:
    import _signal

_HIGH = (64, 10, 3)
"""The node's descriptor is not below the first of these that the limit of open files allows: a shell script may use the numbers that it
likes."""
_DESCRIPTORS = 12
"""So many are taken with a message of a node; it sends one at most."""
_TO_END = 2.0
"""Seconds in which a process that has closed the line ends; later it is none of ours any more."""
SECOND_LOOK = 1.0
"""Seconds that a silent process has once more, from when that is seen: both may have been stopped, or frozen, and go on only now."""
_SILENT = (
    "has given no sign of life for so long that its start has failed; start_timeout of underway_runtime gives it more"
)
_STRAYED = (
    "has let go of its keeper and runs on: it has become another program (`os.exec...`), or has closed descriptors that it has not"
    " opened; call the function of that program or start it as a child, and close only what is yours"
)


class Child:
    """One node, from its start until it has been waited for."""

    def __init__(self, command: list[str], environ: Mapping[str, str], *, piped: bool) -> None:
        """Start it; where it is `piped` its output is to be read here. Raises OSError."""
        self.ended: int | None = None
        """Its exit status, or the negative number of the signal."""
        self.phase = phases.STARTING
        self.hello: channel.Hello | None = None
        self.about: channel.About | None = None
        """What it has sent of itself."""
        self.has_said_why = False
        """Whether it has sent why it could not start, which it has printed."""
        self.has_begun = False
        self.failure = ""
        """Why it could not start, as it has sent it or as the keeper has found."""
        self.gone_at: float | None = None
        """When it counts as gone though it runs, on the monotonic clock: it has closed the line, or starts and says no more."""
        self._doubted = False
        self._line, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        self._output, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if piped else (-1, -1)
        number = -1
        try:
            if piped:
                os.set_blocking(writing, True)
            number = _high(theirs.fileno())
            self.pid = os.posix_spawn(
                command[0],
                command,
                {**environ, channel.VARIABLE: str(number)},
                file_actions=[(os.POSIX_SPAWN_DUP2, writing, target) for target in (1, 2) if piped],
                setsigmask=(),
                setsigdef=(_signal.SIGPIPE, _signal.SIGXFSZ),
                **_group(),
            )
        except BaseException:
            self.close()
            raise
        finally:
            if number >= 0:
                os.close(number)
            theirs.close()
            if piped:
                os.close(writing)

    @property
    def descriptors(self) -> list[int]:
        """What there may be something to read from, until it is at its end."""
        return [number for number in (self._line.fileno(), self._output) if number >= 0]

    def kill(self, number: int) -> None:
        """Send it a signal; its pid is its own until it has been waited for."""
        if self.ended is None:
            os.kill(self.pid, number)

    def enter(self, phase: str) -> None:
        """It is in another phase, where that may follow the one that it is in."""
        self.phase = phases.after(self.phase, phase)

    def messages(self) -> Iterator[tuple[bytes, list[int]]]:
        """What it has sent on the line, to be decoded, with the descriptors that came with it, which are the caller's."""
        while self._line.fileno() >= 0:
            try:
                message, descriptors = datagram.receive(self._line, _DESCRIPTORS)
            except (BlockingIOError, ConnectionResetError):
                return
            if not message:
                self._line.close()
                self.gone_at = time.monotonic() + _TO_END
                return
            yield message, descriptors

    def lives(self, within: float) -> None:
        """It says that it lives, and says so again within so many seconds while it starts."""
        self.has_begun, self._doubted = True, False
        self.gone_at = time.monotonic() + within

    def strayed(self, now: float) -> str:
        """Why it counts as gone, though it runs on; empty where it does not, or that has been told.

        One that was to become ready would never say so: it is killed."""
        if self.gone_at is None or self.ended is not None or now < self.gone_at:
            return ""
        if not self._doubted:
            self._doubted, self.gone_at = True, now + SECOND_LOOK
            return ""
        self.gone_at = None
        why = _SILENT if self._line.fileno() >= 0 else _STRAYED
        if self.phase == phases.STARTING:
            self.failure = self.failure or f"it {why}"
            self.kill(_signal.SIGKILL)
            return why
        return why if self.phase == phases.RUNNING and why is _STRAYED else ""

    def output(self) -> bytes:
        """Some of what it has printed; nothing when there is no more for now."""
        if self._output < 0:
            return b""
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return b""
        if not data:
            os.close(self._output)
            self._output = -1
        return data

    def send(self, message: channel.FromKeeper, descriptors: Sequence[int] = ()) -> None:
        """Send it a message. Never raises: where it has gone meanwhile, that is known soon."""
        rights = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            self._line.sendmsg([datagram.encode(message)], ancillary)
        except OSError:
            pass

    def close(self) -> None:
        """Close both; what a child of the node prints now, nobody reads."""
        self._line.close()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1


def reap(children: Iterable[Child]) -> None:
    """Note which of them have ended, and wait for all that has: the first process of a container has children of others too."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for child in children:
            if pid == child.pid:
                child.ended = os.waitstatus_to_exitcode(status)


def _group() -> dict[str, Any]:
    """Where no terminal has to reach both, a group of its own: what it sends to all of its group is not for the keeper."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return {"setpgroup": 0}
    return {}


def _high(descriptor: int) -> int:
    """Return a copy that a child inherits. Raises OSError where the process may open no more files."""
    for number in _HIGH:
        try:
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD, number)
        except OSError as error:
            import errno  # where something is wrong: from then on it is in memory

            if error.errno != errno.EINVAL:  # that is above the limit
                raise
    raise OSError(errno.EMFILE, "the limit of open files is too low")
