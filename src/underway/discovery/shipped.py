"""Which distributions the project's lock brings into a release, as far as the files tell: no uv is run, and no marker is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..project.lock import workspace_members
from ..project.project import document_of

_BRINGS = {("fastapi", "standard"): {"uvicorn"}, ("fastapi", "all"): {"uvicorn"}}
"""What extras bring that are named in a project without a lock."""


@dataclass(frozen=True)
class Shipped:
    """What would be in the release besides the project."""

    lock: Path | None
    """None where there is no lock: then `names` are what the project depends on itself."""
    names: frozenset[str]


def shipped(root: Path, release: str, document: Mapping[str, Any]) -> Shipped:
    """Find the lock that a release of the project in `root` takes, and the names of what is in it."""
    above = [directory for directory in root.parents if root in workspace_members(directory).values()]
    for path in (root / f"pylock.{release}.toml", root / "pylock.toml", (above[0] if above else root) / "uv.lock"):
        try:
            table = document_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        packages = table.get("packages" if path.name != "uv.lock" else "package", ())
        if path.name != "uv.lock":
            return Shipped(path, frozenset(canonicalize_name(str(package.get("name", ""))) for package in packages))
        return Shipped(
            path, frozenset(_closure(packages, canonicalize_name(document.get("project", {}).get("name", ""))))
        )
    return Shipped(None, frozenset(_direct(document.get("project", {}).get("dependencies", ()))))


def _closure(packages: Iterable[Mapping[str, Any]], top: str) -> set[str]:
    """What a package needs, and what that needs, with the extras that are asked for."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for package in packages:
        by_name.setdefault(str(package.get("name", "")), []).append(package)
    names: set[str] = set()
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(top, ())]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        names.add(name)
        for package in by_name.get(name, ()):
            optional = package.get("optional-dependencies", {})
            needed = [*package.get("dependencies", ()), *(need for extra in extras for need in optional.get(extra, ()))]
            waiting += [(str(need.get("name", "")), tuple(need.get("extra", ()))) for need in needed]
    return names - {top}


def _direct(dependencies: Iterable[Any]) -> set[str]:
    names: set[str] = set()
    for text in dependencies:
        try:
            requirement = Requirement(str(text))
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        names.add(name)
        for extra in requirement.extras:
            names |= _BRINGS.get((name, extra), set())
    return names
