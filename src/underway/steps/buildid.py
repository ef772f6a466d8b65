"""The build id of a binary that was built here is made of what is in it, not of the place that it was built at.

The linker makes it of all that it has linked, debugging information included, which names the directory; and that is stripped.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_NOTE = re.compile(rb"\x04\x00\x00\x00([\x08-\x20])\x00\x00\x00\x03\x00\x00\x00GNU\x00")
"""Name of four bytes, an id of so many, type 3: NT_GNU_BUILD_ID, in little-endian order."""


def settle(path: Path) -> bool:
    """Make the build id of a binary that of its contents, in a new file; whether that changed it."""
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
        file.seek(0)
        content = bytearray(file.read())
    notes = list(_NOTE.finditer(content))
    if len(notes) != 1 or content[5] != 1:
        return False
    size, begin = notes[0][1][0], notes[0].end()
    before = bytes(content)
    content[begin : begin + size] = bytes(size)
    content[begin : begin + size] = hashlib.sha256(content).digest()[:size]
    if bytes(content) == before:
        return False
    aside = path.with_name(f".{path.name}.underway")
    aside.write_bytes(content)
    aside.chmod(path.stat().st_mode & 0o777)
    os.replace(aside, path)
    return True
