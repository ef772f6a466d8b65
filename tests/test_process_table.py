"""What is asked of the process table while processes come and go."""

from __future__ import annotations

import os
import subprocess
import sys

from underway_runtime.process.process_table import children, family, process_of, processes


def test_who_has_started_whom() -> None:
    """A child of a child is in the family, below what started it; both are in the table with the parent that they have."""
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        [grandchild] = children(child.pid)
        rows = processes()

        assert family(child.pid) == [child.pid, grandchild]
        assert (rows[grandchild].parent, rows[child.pid].parent) == (child.pid, os.getpid())
        child.stdin.close()


def test_one_that_has_ended_is_none() -> None:
    """A process that nobody has waited for is the child that it was, and lives no more; after the wait it is nowhere."""
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert (process_of(child.pid), child.pid in children(os.getpid())) == (None, True)
    assert (process_of(child.pid), children(child.pid), family(child.pid)) == (None, [], [child.pid])


def test_processes_that_end_while_they_are_looked_at() -> None:
    """A host on which processes end all the time is listed without an error, by whatever the system says of one that is gone."""
    churn = ["/bin/sh", "-c", "i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done"]
    with subprocess.Popen(churn) as child:
        while child.poll() is None:
            assert os.getpid() in processes()
            children(child.pid), family(os.getpid())
