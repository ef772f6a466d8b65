"""What a process that serves looks like, written by itself: `underway rehearse` has it compared with one that was started fresh."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

from . import encoded, picture


def write(file: str, applications: Collection[str], places: dict[str, str]) -> None:
    """Write the picture of all modules that this process has imported from these directories of ``lib``.

    `places` are directories that are this process's alone, with words that stand for them.
    """
    below = tuple(f"{os.environ['RELEASE_ROOT']}/lib/{name}/" for name in applications)
    modules = [
        name for name, module in list(sys.modules.items()) if str(vars(module).get("__file__")).startswith(below)
    ]
    seen = picture.take(modules, places=places)
    Path(file).write_bytes(encoded.dump(encoded.Observation(seen), level=1))
