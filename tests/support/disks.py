"""Disks of a known size, for tests of what happens when one is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from projects import run


@contextmanager
def small_disk(place: Path, options: str) -> Iterator[Path]:
    """A disk in memory for as long as the block lasts; skips where none may be mounted."""
    place.mkdir()
    mount: list[str | Path] = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
    if os.geteuid() != 0 or run(mount).returncode != 0:
        pytest.skip("needs the right to mount a disk")
    try:
        yield place
    finally:
        run(["/bin/umount", place])
