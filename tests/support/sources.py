"""Applications of tests, which lie in tests/projects, their versions side by side: ``tests/projects/lobby/v1/web.py``."""

from __future__ import annotations

from pathlib import Path

PROJECTS = Path(__file__).resolve().parents[1] / "projects"


def source(file: str) -> str:
    """The text of a file of tests/projects, as ``source("lobby/v1/web.py")``."""
    return (PROJECTS / file).read_text(encoding="utf-8")


def package(name: str, project: str, *versions: str) -> dict[str, str]:
    """The files of a project as those of a package of this name; a version has what it changes, in place of those before it."""
    return {
        f"{name}/{file.name}": file.read_text(encoding="utf-8")
        for version in versions
        for file in sorted((PROJECTS / project / version).glob("*.py"))
    }
