"""What ends a deploy before its time: Ctrl-C, a signal, a terminal that hangs up. The first one is an exception, the others wait.

What a deploy has begun is taken back after the first, and that is not to be interrupted: each of its steps has a time limit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def once() -> Iterator[Callable[[], None]]:
    """Raise `Interrupted` in this block, in the main thread, at the first signal of those that end a process; none is raised for
    those that follow, or after the function that is given was called. What is ignored, as nohup has it, stays so."""
    over = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal over
        if not over:
            over = True
            raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in _NAMES}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, on_signal)

    def no_more() -> None:
        nonlocal over
        over = True

    try:
        yield no_more
    finally:
        over = True
        for number, handler in before.items():
            signal.signal(number, handler)


def own_prefix(what: str) -> str:
    """What the name of a temporary directory begins with that `sweep` clears when its process is gone."""
    return f"{what}{os.getpid()}-"


def sweep(directory: Path, what: str) -> None:
    """Clear the temporary directories of processes of this user that were killed."""
    for entry in directory.glob(f"{what}*-*"):
        pid = entry.name.removeprefix(what).partition("-")[0]
        with contextlib.suppress(OSError):
            status = entry.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
            if ours and pid.isdecimal() and not facts.is_there(pid):
                shutil.rmtree(entry, ignore_errors=True)
