"""The garbage collector of a node: what is set aside, and again after an upgrade."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc
from underway_runtime.process import garbage_collector as collector
collector.set_aside_again()
told = [gc.get_freeze_count()]
collector.postpone(); collector.settle()
told.append(gc.get_freeze_count() > 0)
collector.thaw(); collector.thaw()
told.append(gc.get_freeze_count())
collector.set_aside_again()
told.append(gc.get_freeze_count() > 0)
print(told)
"""


def test_what_was_set_aside_is_set_aside_again() -> None:
    """After all objects were looked at; where nothing was set aside, nothing is."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[0, True, 0, True]"
