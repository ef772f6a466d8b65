"""A table added to a pyproject.toml, every byte of which stays as it is; or nothing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underway_runtime.release.filesystem.atomic_files import alone, replace

from ..errors import BuildError, ProjectError, place_of
from ..project.project import document_of


def text_of(table: Mapping[str, Any]) -> str:
    """[tool.underway] as TOML: texts and lists of them.

    >>> print(text_of({"asgi": "chat:app", "listen": ["tcp://[::]:80"]}))
    [tool.underway]
    asgi = "chat:app"
    listen = ["tcp://[::]:80"]
    """
    return "\n".join(["[tool.underway]", *(f"{key} = {_value(value)}" for key, value in table.items())])


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(_value, value))}]"


def add(root: Path, table: Mapping[str, Any]) -> Path:
    """Write [tool.underway] at the end of the project's pyproject.toml and return its path.

    Raises ProjectError where it has that table already, or where another follows from the file than is meant, and BuildError where
    it can't be written; then nothing has changed.
    """
    path = (root / "pyproject.toml").resolve()
    try:
        with alone(path.parent):  # another `underway init` of the same project waits until this one has written
            with path.open(encoding="utf-8", newline="") as file:
                before = file.read()
            after = _with(before, table, path)
            status = path.stat()
            replace(path, after, stat.S_IMODE(status.st_mode))
            if os.geteuid() == 0:
                os.chown(path, status.st_uid, status.st_gid)
    except (OSError, UnicodeDecodeError) as error:
        what = (
            f"{place_of(error)} can't be written: {error.strerror}"
            if isinstance(error, OSError)
            else f"{path} is not in UTF-8"
        )
        raise BuildError(what) from error
    return path


def _with(before: str, table: Mapping[str, Any], path: Path) -> str:
    end = "\r\n" if "\r\n" in before else "\n"
    gap = "" if not before else end if before.endswith(("\n", "\r\n")) else end * 2
    after = before + gap + text_of(table).replace("\n", end) + end
    try:
        old = document_of(before)
        if "underway" in old.get("tool", {}):
            raise ProjectError(f"{path} has a [tool.underway] by now; nothing is changed")
        wanted = {**old, "tool": {**old.get("tool", {}), "underway": dict(table)}}
        if document_of(after) == wanted:
            return after
    except ValueError:
        pass
    raise ProjectError(
        f"[tool.underway] can't be put at the end of {path}; write it there yourself:\n\n{text_of(table)}"
    )
