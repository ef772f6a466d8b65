"""The signals that stop a node, and only the node: a child made by fork gets back what they did before."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object]

INTERRUPT = signal.SIGURG
"""Sent to the main thread to interrupt code of a session that may loop without end. Ignored by whoever does not expect it."""

STOPPING = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*STOPPING, INTERRUPT)

_held = threading.local()


class Stopping(SystemExit):
    """The node stops: ends what the main thread is doing, so that its ``finally`` blocks run.

    A SystemExit, because asyncio, thread pools and frameworks let only that and KeyboardInterrupt through.
    """


def install(handler: Handler) -> None:
    """Make `handler` that of this process for the signals that stop it or interrupt code; called in the main thread.

    A forked child would else hand the signal that is to end it to a node that it isn't.
    """
    inherited = {number: signal.signal(number, handler) for number in _HANDLED}

    # A signal that reaches the child before it has its handlers back waits until then.
    def hold() -> None:
        _held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)

    def let_go() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _held.mask)

    def give_back() -> None:
        for number, before in inherited.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, before)
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)
        let_go()

    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=give_back)
