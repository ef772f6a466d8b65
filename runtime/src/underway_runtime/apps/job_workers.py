"""Workers that take jobs from a queue, run by a `main` function: what becomes of their jobs when the node leaves.

SIGTERM tells each of them to take no more and to finish what it has begun. One whose jobs take longer than the time to drain, or six
tenths of the time to stop, is told once more, by means of its own, so that it gives back what it can before its process is ended:

==========  ============================================  ==============================================================
worker      told once more by                             then
==========  ============================================  ==============================================================
Celery      SIGQUIT, its cold shutdown                    jobs with ``acks_late`` are in the queue again
RQ          the end of its work horse                     RQ has the job fail, and tries again what was queued with ``Retry``
Dramatiq    a second SIGTERM                              its processes end; the broker has what they had not acknowledged
==========  ============================================  ==============================================================

A worker is known by the module of its handler for SIGTERM; none is imported here. What one of Celery holds is written down, in
``celery_jobs.py``, for the time when it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..frozen import Frozen
from .service import Log

BEFORE_THE_END = 0.6
"""The part of the time to stop after which a worker is told once more."""
TO_GIVE_BACK = 5.0
"""Seconds that it gets then, at a handover, before it is stopped."""


class JobWorker(Frozen):
    """One of the workers that are known."""

    name: str
    module: str
    """Where its handler for SIGTERM is."""
    does: str
    """What becomes of its jobs."""
    give_back: Callable[[Callable[[int], object], Any], object]
    """Tells it once more; is given what sends a signal to the main thread, and the handler."""


def watch(directory: Path | None, log: Log) -> None:
    """Have a worker that is about to begin write down what it holds, where its queue does not know in time that it was killed."""
    if directory is not None and "celery" in sys.modules:
        from . import celery_jobs

        celery_jobs.watch(directory, log)


def current() -> JobWorker | None:
    """The worker that handles SIGTERM in this process."""
    module = getattr(signal.getsignal(signal.SIGTERM), "__module__", None)
    return next((worker for worker in WORKERS if worker.module == module), None)


def give_back(send: Callable[[int], object]) -> str:
    """Tell the worker once more, from any thread; returns its name, or nothing where there is none that is known."""
    worker = current()
    if worker is None:
        return ""
    worker.give_back(send, signal.getsignal(signal.SIGTERM))
    return worker.name


def _end_horse(send: Callable[[int], object], handler: Any) -> None:
    """End the process that does the job, and not the worker, which then says so in the queue."""
    worker = getattr(handler, "__self__", None)
    if pid := getattr(worker, "_horse_pid", 0):
        os.kill(pid, signal.SIGKILL)


_FINISHES = "takes no more jobs, and finishes those that it has begun"

WORKERS = (
    JobWorker(
        "Celery",
        "celery.apps.worker",
        f"{_FINISHES}; at the deadline those with acks_late are given back",
        lambda send, handler: send(signal.SIGQUIT),
    ),
    JobWorker(
        "RQ",
        "rq.worker.base",
        f"{_FINISHES}; at the deadline its job fails, and is tried again where it was queued with Retry",
        _end_horse,
    ),
    JobWorker(
        "Dramatiq",
        "dramatiq.cli",
        f"{_FINISHES}; at the deadline the broker has the others, and gives them out again",
        lambda send, handler: send(signal.SIGTERM),
    ),
)
