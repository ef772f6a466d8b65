"""The build id of a binary that was built here is made of what is in it, not of the place that it was built at.

The linker makes it of all that it has linked, debugging information included, which names the directory; and that is stripped.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ...toolchain.new_bytes import rewrite

_NOTE = re.compile(rb"\x04\x00\x00\x00([\x08-\x20])\x00\x00\x00\x03\x00\x00\x00GNU\x00")
"""Name of four bytes, an id of so many, type 3: NT_GNU_BUILD_ID, in little-endian order."""


def settle(path: Path) -> bool:
    """Make the build id of a binary that of its contents, in a new file; whether that changed it."""
    return rewrite(path, b"\x7fELF", settled)


def settled(content: bytes) -> bytes:
    """The same binary with its own build id; unchanged where it has none, or more than one."""
    notes = list(_NOTE.finditer(content))
    if len(notes) != 1 or content[5] != 1:
        return content
    size, begin = notes[0][1][0], notes[0].end()
    before, after = content[:begin], content[begin + size :]
    return before + hashlib.sha256(before + bytes(size) + after).digest()[:size] + after
