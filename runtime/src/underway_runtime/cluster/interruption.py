"""What ends a deploy before its time: Ctrl-C, a signal, a terminal that hangs up. The first one is an exception, the others wait.

What a deploy has begun is taken back after the first, and that is not to be interrupted: each of its steps has a time limit.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from ..process import facts
from ..release.errors import UnderwayError

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "a hangup"}


class Interrupted(KeyboardInterrupt):
    """Somebody wants this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def __str__(self) -> str:
        return f"interrupted by {_NAMES.get(signal.Signals(self.number), str(self.number))}"


class Unfinished(UnderwayError):
    """What was interrupted, and how far it had come."""

    def __init__(self, interrupted: Interrupted, message: str) -> None:
        super().__init__(f"{interrupted}: {message}")
        self.exit_code = 128 + interrupted.number


class Attention:
    """Whether a signal is still heard."""

    over = False
    """To be set where nothing is to be interrupted any more; that is one instruction, in which no signal is taken."""


@contextlib.contextmanager
def once() -> Iterator[Attention]:
    """Raise `Interrupted` in this block, in the main thread, at the first signal of those that end a process; none is raised for
    those that follow. What is ignored, as nohup has it, stays so."""
    attention = Attention()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not attention.over:
            attention.over = True
            raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in _NAMES}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)

    try:
        yield attention
    finally:
        attention.over = True
        for number, handler in before.items():
            signal.signal(number, handler)


class OwnDirectory:
    """A new directory, for as long as the block lasts: `Interrupted` leaves nothing of it, provided that nobody raises it at the end of the
    block. Those of processes that were killed are cleared first."""

    def __init__(self, parent: Path, what: str) -> None:
        """It is in `parent`, and its name begins with `what`."""
        self._parent = parent
        self._what = what
        self.path = parent / f"{what}{os.getpid()}-{secrets.token_hex(4)}"

    def __enter__(self) -> Path:
        _sweep(self._parent, self._what)
        try:
            self.path.mkdir(0o700)
            return self.path
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(directory: Path, what: str) -> None:
    """Clear the temporary directories of processes of this user that were killed."""
    for entry in directory.glob(f"{what}*-*"):
        pid = entry.name.removeprefix(what).partition("-")[0]
        with contextlib.suppress(OSError):
            status = entry.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if ours and pid.isdecimal() and not facts.is_there(pid):
                shutil.rmtree(entry, ignore_errors=True)
