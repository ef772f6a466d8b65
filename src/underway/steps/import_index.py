"""What can be imported from one directory: the part of code.index that is an application's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..packages import wheel_record

REGULAR, MODULE, NAMESPACE = 0, 1, 2
"""Ranks: of several places of one name a regular package is asked first, then a module, then what adds to a namespace."""

STARTUP = (".pth", ".start")
"""Endings of the files that Python reads in site-packages when it starts; of the second since 3.15 (PEP 829)."""


def importable(directory: Path) -> dict[str, Any]:
    """Top-level names and the packages below them, each with its rank, and the files that Python reads when it starts; all sorted.

    A directory whose name has a dot is none that can be imported.
    """
    top: list[tuple[str, int]] = []
    packages: list[tuple[str, int]] = []
    pth = []
    for entry in _entries(directory):
        if entry.is_dir():
            if "." not in entry.name and entry.name != "__pycache__":
                inside = _entries(entry.path)
                top.append((entry.name, _rank(inside)))
                packages += _packages(inside, entry.name)
        elif (module := wheel_record.file_module(entry.name)) is not None:
            top += [(module, MODULE)] if module != "__init__" else []
        elif entry.name.endswith(STARTUP) and not entry.name.startswith("."):
            pth.append(entry.name)
    return {"top": top, "packages": packages, "pth": pth}


def _packages(inside: list[os.DirEntry[str]], dotted: str) -> Iterator[tuple[str, int]]:
    """The packages in a directory, and those inside of them."""
    for entry in inside:
        if entry.is_dir() and "." not in entry.name and entry.name != "__pycache__":
            name, below = f"{dotted}.{entry.name}", _entries(entry.path)
            yield name, _rank(below)
            yield from _packages(below, name)


def _rank(inside: list[os.DirEntry[str]]) -> int:
    return REGULAR if any(entry.name in ("__init__.py", "__init__.pyc") for entry in inside) else NAMESPACE


def _entries(directory: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)
