"""Signals as things to read, with who sent them.

A Python handler is not told whether a SIGINT came from the terminal, in which case the node has had it too. So the signals
are blocked, and a thread waits for them; it does nothing else.
"""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

WAITED = (
    _signal.SIGCHLD,
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGTERM,
    _signal.SIGTTIN,
    _signal.SIGTTOU,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
)
_FROM_KERNEL = 128
_MOST = 64


def catch() -> int:
    """Wait for signals from now on; a descriptor that has something to read for each. Called once."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, WAITED)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)

    def wait() -> None:
        while True:
            information = _signal.sigwaitinfo(WAITED)
            os.write(writing, bytes((information.si_signo, information.si_code == _FROM_KERNEL)))

    _thread.start_new_thread(wait, ())
    return reading


def caught(descriptor: int) -> list[tuple[int, bool]]:
    """The signals since the last call: number, and whether it came from the terminal (or the kernel otherwise)."""
    try:
        pairs = os.read(descriptor, 2 * _MOST)
    except BlockingIOError:
        return []
    return [(number, bool(kernel)) for number, kernel in zip(pairs[::2], pairs[1::2], strict=True)]
