"""What the wheel of a project is made from, so that one from the same is not built again.

That is known of projects whose build backend reads nothing but the project's files: no build hooks, no setup.py, no
version from a repository, no path that leaves the project. Any other is built each time, as if it had never been.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

BACKENDS: Mapping[str, tuple[str, ...]] = {
    "hatchling.build": ("hatchling",),
    "setuptools.build_meta": ("setuptools", "wheel"),
    "uv_build": ("uv-build",),
}
"""Backend -> the distributions that it may require; any other may be a plugin, which may read anything. Not flit, which imports the
module for its version."""

UNSURE = (
    "build-system.backend-path",
    "tool.distutils",
    "tool.hatch.build.hooks",
    "tool.hatch.build.targets.custom",
    "tool.hatch.build.targets.wheel.hooks",
    "tool.hatch.metadata.hooks",
    "tool.hatch.version.source",
    "tool.setuptools-git-versioning",
    "tool.setuptools.cmdclass",
    "tool.setuptools.dynamic",
    "tool.setuptools.ext-modules",
    "tool.setuptools_scm",
)
"""Keys of a pyproject.toml with which more than the project's files may matter."""

FILES = ("setup.py", "setup.cfg", "hatch.toml", "hatch_build.py", "MANIFEST.in")
"""Files with which it may, too."""

VARIABLES = ("DISTUTILS_", "HATCH_", "SETUPTOOLS_", "SOURCE_DATE_EPOCH", "UV_", "XDG_CONFIG_HOME")
"""How the variables begin that backends read."""

AROUND = (".gitignore", ".hgignore", "pyproject.toml", "uv.toml")
"""What counts in the directories above: which files a backend packs, and how uv builds in a workspace."""

SETTINGS = ("/etc/uv/uv.toml", "~/.config/uv/uv.toml")
"""The same, for this machine and this user; XDG_CONFIG_HOME is among the variables."""

CACHE_TAG = "CACHEDIR.TAG"
MOST = 20_000
"""More files than this are not read: looking would take longer than building."""


@dataclass(frozen=True)
class Source:
    """What the wheel of a project is made from."""

    digest: str
    """Of all that it depends on, but for the versions of what builds it."""
    requires: tuple[str, ...]
    """What builds it: build-system.requires, sorted."""
    settings: str
    """A digest of what decides which versions of that are chosen."""


def document(project: Path) -> dict[str, Any]:
    """The pyproject.toml of a project; empty where there is none that can be read."""
    try:
        return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def builds(project: Path) -> bool:
    """Whether a project has something that builds it; one that has not only names dependencies, to uv."""
    table = document(project)
    made = "build-system" in table or (project / "setup.py").is_file()
    return bool(table.get("tool", {}).get("uv", {}).get("package", made))


def read(project: Path, out: Iterable[Path], environ: Mapping[str, str]) -> Source | None:
    """Read what the wheel of a project is made from, or None where that can't be told.

    Not of virtual environments, repositories and caches, nor of `out`: paths below the project that the release itself is made at.
    """
    try:
        document = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        if not _is_plain(document) or any((project / name).exists() for name in FILES):
            return None
        sums: dict[str, str] = {}
        for path in _files(str(project), {str(path_out) for path_out in out}):
            if path is None or len(sums) == MOST:
                return None
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o111
                sums[os.path.relpath(path, project)] = f"{hashlib.file_digest(file, 'sha256').hexdigest()} {mode:o}"
    except (OSError, ValueError):
        return None
    around = [directory / name for directory in project.parents for name in AROUND]
    around += [project / "uv.toml", *(Path(file).expanduser() for file in SETTINGS)]
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLES)}
    settings = _sum([[*map(_text, around)], variables, document.get("tool", {}).get("uv")])
    return Source(_sum([sums, settings]), tuple(sorted(document["build-system"].get("requires", []))), settings)


def _sum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _is_plain(document: Mapping[str, Any]) -> bool:
    """Whether nothing in a pyproject.toml lets the build read what is not in the project."""
    system = document.get("build-system", {})
    backend = system.get("build-backend")
    if backend not in BACKENDS or any(_has(document, keys) for keys in UNSURE):
        return False
    try:
        required = {canonicalize_name(Requirement(text).name) for text in system.get("requires", [])}
    except (InvalidRequirement, TypeError):
        return False
    return required <= {*BACKENDS[backend]} and not any(map(_leaves, _texts(document)))


def _has(document: Any, keys: str) -> bool:
    for name in keys.split("."):
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _leaves(text: str) -> bool:
    """Whether a text may be a path out of the project, or one of Hatch's fields that stands for something outside."""
    return text.startswith(("/", "~")) or bool(re.search(r"(^|/)\.\.(/|$)|\{(env|home|root)\b", text))


def _files(directory: str, out: set[str]) -> Iterator[str | None]:
    """The files below a directory, sorted; None in the place of what can't be told: links, and what is not a file."""
    entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    if "pyvenv.cfg" in names or CACHE_TAG in names:
        return
    for entry in entries:
        if entry.path in out or entry.name in (".git", ".hg", "__pycache__"):
            continue
        if entry.is_symlink():
            yield None
        elif entry.is_dir():
            yield from _files(entry.path, out)
        else:
            yield entry.path if entry.is_file() else None


def _text(file: Path) -> str:
    try:
        return file.read_bytes().hex()
    except OSError:
        return ""
