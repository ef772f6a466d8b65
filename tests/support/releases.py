"""Releases as values, for tests of single steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from underway.release import Application, Release

APPLICATIONS = {
    "underway_runtime": Application("underway_runtime", "0.1.0"),
    "anyio": Application("anyio", "4.0"),
    "chat": Application(
        "chat", "0.1.0", requires=("anyio",), modules=("chat", "chat.web"), start={"main": "chat:main", "args": []}
    ),
}


def make_release(root: Path, **fields: Any) -> Release:
    """A release of chat, to be assembled at ``root/chat``; its version path is there already."""
    path = root / "chat"
    release = Release(
        name="chat",
        version="0.1.0",
        path=path,
        version_path=path / "releases/0.1.0",
        applications=APPLICATIONS,
        interpreter_source=None,
        interpreter_version="3.11.2",
        boot_scripts={
            "start": (("underway_runtime", "permanent"), ("anyio", "permanent"), ("chat", "permanent")),
            "start_clean": (("underway_runtime", "permanent"), ("anyio", "load"), ("chat", "load")),
        },
    )
    release.version_path.mkdir(parents=True, exist_ok=True)
    return replace(release, **fields)
