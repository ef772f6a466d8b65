"""Leave out what only a debugger reads: symbols of binaries. What runs, and what RECORD says of it, stays true."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...packages import wheel_record

MAGIC = b"\x7fELF"
TIMEOUT = 300
PT_LOAD, PT_DYNAMIC = 1, 2
WORKERS = 2


def strip(path: Path, options: bool | Mapping[str, bool] = True, only: Iterable[Path] | None = None) -> bool:
    """Strip a file, or every file below a directory (or `only` some), as the option ``strip`` says; whether anything changed.

    RECORDs of distributions in the directory are written again when files of theirs changed. With ``{ docstrings = true }``
    binaries are stripped as with True; the docstrings are left out by `compile_applications`. False strips nothing.
    """
    if options is False:
        return False
    if not path.is_dir():
        return strip_file(path)
    below = (Path(directory, file) for directory, _, files in os.walk(path) for file in files)
    files = list(below if only is None else only)
    with ThreadPoolExecutor(WORKERS) as pool:
        changed = {file for file, smaller in zip(files, pool.map(strip_file, files), strict=True) if smaller}
    for info in wheel_record.dist_infos(path) if changed else ():
        listed = wheel_record.paths(path, info)
        if any(path / file in changed for file in listed):
            wheel_record.write(path, info, listed)
    return bool(changed)


def strip_file(path: Path) -> bool:
    """Strip one binary of the symbols that nothing needs to run; whether that made it smaller.

    False, and nothing changed, for what is not a binary, is of another machine, or comes out damaged: some that were patched
    after they were linked do. Without binutils on PATH nothing is stripped. Other hard links to the file keep it as it was.
    """
    command = shutil.which("strip")
    if command is None or path.is_symlink() or not _begins_with_magic(path):
        return False
    descriptor, name = tempfile.mkstemp(prefix=".strip-", dir=path.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        done = subprocess.run(
            [command, "--strip-unneeded", "-o", name, str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
        )
        if done.returncode != 0:
            return False
        before, after = path.read_bytes(), copy.read_bytes()
        loaded = _loaded(before)
        if len(after) >= len(before) or loaded is None or loaded != _loaded(after):
            return False
        shutil.copymode(path, copy)
        copy.replace(path)
        return True
    finally:
        copy.unlink(missing_ok=True)


def _begins_with_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def _loaded(content: bytes) -> list[tuple[int, int, bytes]] | None:
    """What the loader makes of a binary: each segment's address and contents; None where it can't load it.

    All code and data and the dynamic section are in segments, symbols for debuggers are not: so but for the tables of
    contents themselves, which are blanked here, this is the same before and after.
    """
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    try:
        offset = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", content, 32 if wide else 28)[0]
        size, count = struct.unpack_from(f"{order}HH", content, 54 if wide else 42)
        blank = bytearray(content)
        blank[: 64 if wide else 52] = bytes(64 if wide else 52)
        blank[offset : offset + size * count] = bytes(size * count)
        segments = []
        for index in range(count):
            fields = struct.unpack_from(f"{order}{'IIQQQQQQ' if wide else 'IIIIIIII'}", content, offset + index * size)
            kind = fields[0]
            if wide:
                _, _, start, address, _, length, _, align = fields
            else:
                _, start, address, _, length, _, _, align = fields
            if kind == PT_LOAD and align > 1 and start % align != address % align:
                return None
            if kind in (PT_LOAD, PT_DYNAMIC):
                segments.append((kind, address, bytes(blank[start : start + length])))
    except struct.error:
        return None
    return segments or None
