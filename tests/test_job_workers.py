"""What a worker of Celery writes down of the jobs that it holds, and what is read from it when it was killed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from node_helpers import TIMEOUT
from underway_runtime.apps import celery_jobs
from underway_runtime.apps.celery_jobs import Held, Journal, end_pools
from underway_runtime.process.process_table import process_of

GONE = 4_194_305
"""No process has this pid: it is above what the system gives."""


def quiet(message: str, error: BaseException | None = None) -> None:
    """Log nothing."""


def test_held_is_what_was_taken_and_not_acknowledged(tmp_path: Path) -> None:
    """A line that was not written to its end is none."""
    journal = Journal(tmp_path / "jobs", quiet)
    for line in (("+", "a", "1", "pay"), ("+", "b", "2", "pay\n"), ("-", "a"), ("=", "2"), ("p", 7, 8)):
        journal.write(*line)
    with journal.path.open("a") as file:
        file.write('["-", "b')

    held = Held(journal.path)

    assert (held.jobs, held.done, held.pool) == ({"b": ["2", "pay\n"]}, {"2"}, [[7, 8]])


def test_a_file_that_is_large_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has what is held, and the processes of the pool."""
    monkeypatch.setattr(celery_jobs, "_LARGE", 100)
    journal = Journal(tmp_path / "jobs", quiet)
    journal.write("p", 7, 8)
    journal.write("+", "kept", "0", "pay")
    for number in range(20):
        journal.write("+", f"tag {number}", str(number), "pay")
        journal.write("-", f"tag {number}")

    assert len(journal.path.read_text().splitlines()) < 10
    assert Held(journal.path).jobs == {"kept": ["0", "pay"]}
    assert Held(journal.path).pool == [[7, 8]]


def test_who_can_not_write_goes_on_and_says_so_once(tmp_path: Path) -> None:
    """A worker does its jobs where the disk is full."""
    said: list[str] = []
    journal = Journal(tmp_path / "jobs", lambda message, error=None: said.append(message))
    journal.path.mkdir()
    journal.write("-", "a")
    journal.write("-", "b")

    assert len(said) == 1
    assert "can't be written" in said[0]


def test_the_pool_of_a_worker_that_is_gone_is_ended_and_no_other(tmp_path: Path) -> None:
    """What has the pid of one of its processes now, and began at another time, is not meant."""
    said: list[str] = []
    orphan, stranger, ours = (subprocess.Popen(["sleep", str(TIMEOUT)]) for _ in range(3))
    try:
        began = {process.pid: row.started for process in (orphan, stranger, ours) if (row := process_of(process.pid))}
        (tmp_path / f"celery-{GONE}-1").write_text(
            f'["p", {orphan.pid}, {began[orphan.pid]}]\n["p", {stranger.pid}, {began[stranger.pid] - 1}]\n'
        )
        Journal(tmp_path, quiet).write("p", ours.pid, began[ours.pid])

        end_pools(tmp_path, lambda message, error=None: said.append(message))

        assert orphan.wait(TIMEOUT) == -signal.SIGKILL
        assert (stranger.poll(), ours.poll()) == (None, None)
        assert said == [f"pid {orphan.pid} is ended: its worker of Celery (pid {GONE}) was killed"]
    finally:
        for process in (orphan, stranger, ours):
            process.kill()
            process.wait()
