"""Leave out what only a debugger reads: symbols of binaries. What runs, and what RECORD says of it, stays true."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...packages import wheel_record
from . import elf

TIMEOUT = 300
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
    if command is None or path.is_symlink() or not elf.is_elf(path):
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
        loaded = elf.loaded(before)
        if len(after) >= len(before) or loaded is None or loaded != elf.loaded(after):
            return False
        shutil.copymode(path, copy)
        copy.replace(path)
        return True
    finally:
        copy.unlink(missing_ok=True)
