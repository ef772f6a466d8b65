"""Versions of a module as they are after import, and what a walk of two of them finds."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from underway_runtime.observation import encoded, picture
from underway_runtime.observation.compare import compare
from underway_runtime.observation.picture import Picture

NAME = "seen_shop"


def imported(source: str, name: str = NAME) -> ModuleType:
    """A module made of a text, as if it had been imported; it stands in ``sys.modules``."""
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(textwrap.dedent(source), f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    return module


def picture_of(source: str, keep: bool = True) -> Picture:
    """The picture of a module made of a text."""
    imported(source)
    try:
        return picture.take([NAME], keep=keep)
    finally:
        del sys.modules[NAME]


_CHILD = """
import sys
from pathlib import Path
from pictures import picture_of
from underway_runtime.observation import encoded
made = picture_of(sys.stdin.read(), keep=False)
Path(sys.argv[1]).write_bytes(encoded.dump(encoded.Observation(made)))
"""


def fresh_picture_of(source: str, seed: int, scratch: Path) -> Picture:
    """As `picture_of`, in an interpreter of its own with that hash seed; `scratch` is a directory for a file."""
    file = scratch / "picture"
    environ = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(
        [sys.executable, "-c", _CHILD, str(file)], input=source, text=True, env=environ, check=True, timeout=60
    )
    return encoded.read(file).picture


def find_differences(before: str, after: str) -> list[str]:
    """The differences of two versions of a module: kinds and paths, without the module's name."""
    differences = compare(picture_of(before), picture_of(after))
    return [f"{each.kind} {str(each.path).removeprefix(NAME)}" for each in differences]
