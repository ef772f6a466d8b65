"""A file that is changed as a whole: the new bytes are another file, for the old one may be a hard link to a cache's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def rewrite(path: Path, begins: bytes, change: Callable[[bytes], bytes]) -> bool:
    """Have `change` make new bytes of a file that begins with `begins`, and keep its mode; whether the bytes differ.

    Links are left alone, and so is what begins otherwise, of which nothing more is read.
    """
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        head = file.read(len(begins))
        if head != begins:
            return False
        content = head + file.read()
    if (changed := change(content)) == content:
        return False
    aside = path.with_name(f".{path.name}.underway")
    aside.write_bytes(changed)
    aside.chmod(path.stat().st_mode & 0o777)
    os.replace(aside, path)
    return True
