"""What the system tells of a process that is not ours to ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from projects import TIMEOUT
from underway_runtime.process import facts


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
