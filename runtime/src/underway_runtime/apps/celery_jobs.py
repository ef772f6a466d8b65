"""What a worker of Celery holds of its queue in Redis, in a file, so that the next one gives it back where this one is killed.

Redis keeps a message that a worker has taken until the worker says that it is done, and gives it out again when the visibility timeout
is over, an hour by default. Brokers that see the connection end, as RabbitMQ, do so at once and are left alone.

====================  ========================================================================================
a line of the file    means
====================  ========================================================================================
``["+", tag, id, n]``  the message with this tag was taken: a job with this id, of the task n
``["-", tag]``        it was acknowledged, or given back
``["=", id]``         the job is done, of which its process of the pool knows first
``["p", pid, began]``  a process of the pool
====================  ========================================================================================

Each is written before the next job can begin, and none is flushed to the disk: a process that is killed loses none of them. Where the
whole host goes down, the visibility timeout decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from ..process.process_table import process_of
from .service import Log

_LOOK = 5.0
"""Seconds between two looks for files of workers that are gone."""
_LARGE = 1 << 20
"""Bytes from which a file is written again, with what is still held."""


def watch(directory: Path, log: Log) -> None:
    """Have a worker that starts in this process keep such a file in a directory, and give back what those before it have left there."""
    signals = import_module("celery.signals")
    begun: list[Journal] = []

    def begin(instance: Any, **_: Any) -> None:
        if instance.app.connection_for_read().transport.driver_type != "redis" or begun:
            return
        begun.append(journal := Journal(directory, log))
        journal.take(sys.modules["kombu.transport.redis"])
        end_pools(directory, log)

    def ready(sender: Any, **_: Any) -> None:
        if begun:
            give_back(directory, sender.app, log)
            sender.timer.call_repeatedly(_LOOK, give_back, (directory, sender.app, log))

    def child(**_: Any) -> None:
        if begun:
            begun[0].write("p", os.getpid(), _began(os.getpid()))

    def done(sender: Any, **_: Any) -> None:
        if begun:
            begun[0].write("=", sender.request.id)

    for name, handler in (
        ("celeryd_init", begin),
        ("worker_ready", ready),
        ("worker_process_init", child),
        ("task_success", done),
    ):
        getattr(signals, name).connect(handler, weak=False, dispatch_uid="underway")


def _began(pid: int) -> int:
    process = process_of(pid)
    return process.started if process is not None else 0


class Journal:
    """The file of this process."""

    def __init__(self, directory: Path, log: Log) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"celery-{os.getpid()}-{_began(os.getpid())}"
        self._log = log
        self._lock = threading.Lock()
        self._failed = False

    def write(self, *line: Any) -> None:
        """Add a line. Never raises: a full disk does not stop the jobs."""
        try:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                is_large = file.tell() > _LARGE
            if is_large and line[0] == "-":
                self._write_again()
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log(
                    f"{self.path} can't be written, so what is killed comes back after the visibility timeout: {error.strerror}"
                )

    def _write_again(self) -> None:
        # what a process of the pool adds just now may be missing then: a job that is done would be done again
        held = Held(self.path)
        lines = [*(["p", *process] for process in held.pool), *(["+", tag, *job] for tag, job in held.jobs.items())]
        other = self.path.with_suffix(".new")
        other.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        other.replace(self.path)

    def take(self, module: Any) -> None:
        """Have the module for Redis tell what it takes from a queue, and what it is done with."""
        journal = self

        class QoS(module.QoS):  # type: ignore[misc]
            def append(self, message: Any, delivery_tag: str) -> None:
                headers = message.headers or {}
                journal.write("+", delivery_tag, str(headers.get("id", "")), str(headers.get("task", "")))
                super().append(message, delivery_tag)

            def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
                journal.write("-", delivery_tag)
                return super()._remove_from_indices(delivery_tag, pipe)

        module.Channel.QoS = QoS


class Held:
    """What a file says, of a worker that is gone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.jobs: dict[str, list[str]] = {}
        """By tag, the id of a job and its task."""
        self.done: set[str] = set()
        self.pool: list[list[int]] = []
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError, IndexError):  # the last one may not be whole
                kind, *rest = json.loads(text)
                match kind:
                    case "+":
                        self.jobs[rest[0]] = [str(rest[1]), str(rest[2])]
                    case "-":
                        self.jobs.pop(rest[0], None)
                    case "=":
                        self.done.add(str(rest[0]))
                    case "p":
                        self.pool.append([int(rest[0]), int(rest[1])])


def _left(directory: Path) -> list[tuple[int, Path]]:
    """The files of workers that are gone, with their pids."""
    files = []
    for path in directory.glob("celery-*"):
        pid, _, began = path.name.removeprefix("celery-").partition("-")
        if pid.isdecimal() and began.isdecimal() and _began(int(pid)) != int(began):
            files.append((int(pid), path))
    return files


def end_pools(directory: Path, log: Log) -> None:
    """End what goes on of the pools of workers that are gone: nobody hears of it when they are done."""
    for worker, path in _left(directory):
        with contextlib.suppress(OSError):
            for pid, began in Held(path).pool:
                if _began(pid) == began:
                    os.kill(pid, signal.SIGKILL)
                    log(f"pid {pid} is ended: its worker of Celery (pid {worker}) was killed")


def give_back(directory: Path, app: Any, log: Log) -> None:
    """Put what workers that are gone have held into the queue again, and name it. Never raises."""
    for worker, path in _left(directory):
        end_pools(directory, log)
        try:
            held = Held(path)
            if held.jobs:
                with app.connection_for_write() as connection:
                    _give_back(held, worker, connection.default_channel, log)
            path.unlink()
        except Exception as error:  # of the broker: there will be another look
            log(f"what pid {worker} held of Celery's jobs can't be given back yet: {error}")


def _give_back(held: Held, worker: int, channel: Any, log: Log) -> None:
    for tag, (job, task) in held.jobs.items():
        if channel.client.hget(channel.unacked_key, tag) is None:
            continue  # somebody else has
        if job in held.done:
            channel.qos.ack(tag)
            log(f"{task} {job} was done for a worker (pid {worker}) that was killed: it is not done again")
        else:
            channel.qos.restore_by_tag(tag)
            log(f"{task} {job} was held by a worker (pid {worker}) that was killed: it is in the queue again")
