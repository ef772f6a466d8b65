"""The end of other processes, asked for and waited for."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

_PAUSE = 0.05


def terminate(pid: int, is_still: Callable[[], bool], timeout: float) -> bool:
    """Send SIGTERM to a process, and return whether it has ended within `timeout` seconds. It is never killed.

    `is_still` tells whether the pid is still that of the process that is meant. Raises PermissionError for another user's.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except PermissionError:
        raise
    except (OSError, AttributeError):  # a system without it
        return _terminate_by_pid(pid, is_still, timeout)
    try:
        if not is_still():  # from here on the descriptor means one process
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for the exit status of a child; at once when it has ended, where `Popen.wait` with a timeout looks every 50 ms.

    Raises subprocess.TimeoutExpired.
    """
    has_ended(process, timeout)
    return process.wait(0)


def has_ended(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for the end of a child without taking its status, and return whether it has come: until that is taken, no other process and
    no other group has its pid."""
    try:
        ended = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return _has_ended_by_pid(process.pid, timeout)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(ended)


def _has_ended_by_pid(pid: int, timeout: float) -> bool:
    end = time.monotonic() + timeout
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(_PAUSE)
    return True


def _terminate_by_pid(pid: int, is_still: Callable[[], bool], timeout: float) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    end = time.monotonic() + timeout
    while is_still():
        if time.monotonic() >= end:
            return False
        time.sleep(_PAUSE)
    return True
