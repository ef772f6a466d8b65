"""What the system tells of a process that is not ours to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from projects import TIMEOUT
from underway_runtime.process import facts, termination


def test_a_process_is_known_by_what_it_was_started_with(tmp_path: Path) -> None:
    """Words, variables, user and directory are those of its start, as long as it lives; then nothing is told, and nothing raised."""
    words = [sys.executable, "-c", "print(flush=True); input()", "two words"]
    environ = {"ONE": "1", "TWO": "a=b"}

    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert facts.is_there(process.pid)
        assert facts.command_line(process.pid) == words
        assert facts.environment(process.pid) == environ
        assert {*facts.status(process.pid)["Uid"]} == {str(os.geteuid())}
        assert facts.owner(process.pid) == os.geteuid()
        assert os.path.realpath(facts.working_directory(process.pid) or "") == os.path.realpath(tmp_path)
        process.communicate(b"\n", timeout=TIMEOUT)

    assert (facts.command_line(process.pid), facts.environment(process.pid)) == ([], {})
    assert (facts.status(process.pid), facts.owner(process.pid)) == ({}, None)
    assert facts.working_directory(process.pid) is None
    assert not facts.is_there(process.pid)


UNNAMED = """
import ctypes
words, environ = [b"/bin/cat"], [b"=x", b"==y", b"nothing", b"A=b"]
ctypes.CDLL(None).execve(words[0], (ctypes.c_char_p * 2)(*words), (ctypes.c_char_p * 5)(*environ))
"""


def test_a_variable_has_a_name() -> None:
    """What the kernel lets a process be started with, and no process can be started with from here, is not among its variables."""
    words = [sys.executable, "-c", UNNAMED]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert facts.environment(process.pid) == {"A": "b"}
        process.communicate(timeout=TIMEOUT)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_the_pid_of_a_child_that_has_ended_is_its_own_until_its_status_is_taken(
    monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    """Who ends its group after it does that to nobody else's."""
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        assert not termination.has_ended(process, 0.01)
        assert process.stdin is not None
        process.stdin.close()

        assert termination.has_ended(process, TIMEOUT)

        os.killpg(process.pid, 0)
        assert process.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
