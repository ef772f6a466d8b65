"""Which files of a project are read, and which directories are projects of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..project.project import document_of

NOT_READ = frozenset(
    (
        "__pycache__",
        "build",
        "demo",
        "demos",
        "dist",
        "doc",
        "docs",
        "env",
        "example",
        "examples",
        "node_modules",
        "samples",
        "site-packages",
        "target",
        "test",
        "testing",
        "tests",
        "var",
        "vendor",
        "venv",
    )
)
"""Directories in which nothing is that starts the project, or that are made by tools."""
_SHOWN = frozenset(["demo", "demos", "example", "examples", "samples"])
"""Those of them that are read where the root itself is not a project."""

MOST = 4000
"""Files that are read at most."""
LARGEST = 1_000_000
"""Bytes of a file that is read."""
_PROJECT_FILES = ("pyproject.toml", "requirements.txt", "setup.py")


@dataclass
class Tree:
    """The files of a project that are read, by their path in it."""

    root: Path
    texts: dict[str, str] = field(default_factory=dict)
    below: list[str] = field(default_factory=list)
    """Directories that are projects of their own; nothing in them is read."""
    unread: list[str] = field(default_factory=list)

    @property
    def document(self) -> Mapping[str, Any]:
        """The project's pyproject.toml, empty where there is none that can be read."""
        try:
            return document_of(self.texts.get("pyproject.toml", ""))
        except ValueError:
            return {}

    @property
    def bases(self) -> tuple[str, ...]:
        """The directories that modules are imported from, with a slash at the end; the root is the empty text."""
        tool = self.document.get("tool", {})
        wheel = _at(tool, "hatch", "build", "targets", "wheel")
        stated = [str(path).rpartition("/")[0] for path in wheel.get("packages", []) if isinstance(path, str)]
        where = _at(tool, "setuptools", "packages", "find").get("where", [])
        stated += [path for path in where if isinstance(path, str)] if isinstance(where, list) else []
        directory = _at(tool, "setuptools", "package-dir").get("")
        stated += [directory] if isinstance(directory, str) else []
        src = [] if "src/__init__.py" in self.texts else ["src"]
        directories = {path.strip("./") for path in (*stated, *src)}
        return (*(f"{path}/" for path in sorted(directories, key=lambda path: (-len(path), path)) if path), "")

    def module_of(self, path: str) -> str:
        """The name that a file is imported by; empty where it has none."""
        base = next(base for base in self.bases if path.startswith(base))
        parts = path.removeprefix(base).removesuffix(".py").split("/")
        parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
        return ".".join(parts) if all(part.isidentifier() for part in parts) else ""

    @property
    def is_project(self) -> bool:
        """Whether the root is a project itself, and not only a place for some."""
        return any((self.root / name).is_file() for name in _PROJECT_FILES)

    def path_of(self, module: str) -> str | None:
        """The file of a module, or None where the project has none of that name."""
        stem = module.replace(".", "/")
        candidates = (f"{base}{stem}{end}" for base in self.bases for end in (".py", "/__init__.py"))
        return next((path for path in candidates if path in self.texts), None)


def _at(table: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def read(root: Path) -> Tree:
    """Read what may say how the project in `root` is started. What can't be read is in `unread`; it follows no links."""
    tree = Tree(root)
    is_project = tree.is_project
    not_read = NOT_READ if is_project else NOT_READ - _SHOWN
    for file in _walk(root, tree, is_project, not_read):
        if len(tree.texts) >= MOST:
            tree.unread.append(f"more than {MOST} files; the rest was not read")
            break
        path = file.relative_to(root).as_posix()
        try:
            if file.stat().st_size > LARGEST:
                tree.unread.append(f"{path}: larger than {LARGEST:,} bytes")
                continue
            tree.texts[path] = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            tree.unread.append(f"{path}: not in UTF-8")
        except OSError as error:
            tree.unread.append(f"{path}: {error.strerror}")
    return tree


def _walk(root: Path, tree: Tree, is_project: bool, not_read: Set[str]) -> Iterator[Path]:
    for top, directories, names in os.walk(root):
        here = Path(top)
        listing = set(names)
        if here != root and _is_project(here, listing, is_project):
            tree.below.append(here.relative_to(root).as_posix())
            directories.clear()
            continue
        directories[:] = sorted(
            name
            for name in directories
            if not name.startswith(".")
            and name not in not_read
            and not (here / name / "pyvenv.cfg").exists()
            and not (here / name / "CACHEDIR.TAG").exists()
            and not (here / name / "releases" / "start.data").exists()
        )
        yield from (here / name for name in sorted(names) if _is_read(name) and not (here / name).is_symlink())


def _is_project(directory: Path, names: set[str], is_project: bool) -> bool:
    if "pyproject.toml" in names:
        try:
            document = document_of((directory / "pyproject.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return "project" in document or "poetry" in document.get("tool", {})
    return not is_project and not names.isdisjoint(_PROJECT_FILES)


def _is_read(name: str) -> bool:
    low = name.lower()
    if low.endswith(".py"):
        return not (
            low.startswith("test_") or low.endswith("_test.py") or low in ("conftest.py", "noxfile.py", "setup.py")
        )
    return (
        low in ("pyproject.toml", "makefile", "alembic.ini", "setup.cfg", "justfile")
        or low.startswith(("procfile", "dockerfile", "containerfile", ".env", ".flaskenv"))
        or low.endswith((".dockerfile", ".service", ".sh", ".socket"))
        or (low.endswith((".yml", ".yaml")) and "compose" in low)
        or (low.endswith((".conf", ".ini")) and ("supervis" in low or "uwsgi" in low))
    )
