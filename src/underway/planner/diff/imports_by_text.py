"""What a module imports, by its text: quick, and rather too much than too little."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(
    r"^\s*(?:lazy\s+)?(?:from\s+(\S+)\s+import\s+(\([^)]*\)|[^#\n]+)|import\s+([^#\n]+))", re.MULTILINE
)


def imported_by(file: Path, module: str) -> set[str]:
    """What the module in a file imports."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return imported(file.read_text(encoding="utf-8", errors="replace"), package)


def imported(text: str, package: str) -> set[str]:
    """What a module of this text, in this package, imports, with the packages that this is in, and the names that may be submodules."""
    imports: set[str] = set()
    for source, names, plain in _IMPORT.findall(text):
        listed = {name.strip().partition(" ")[0] for name in (names or plain).strip("()").split(",")}
        above = absolute(source, package)
        imports |= {f"{above}.{name}" for name in listed} | {above} if above else listed
    parents = {".".join(name.split(".")[:depth]) for name in imports for depth in range(1, name.count(".") + 1)}
    return imports | parents


def absolute(source: str, package: str) -> str:
    """What ``from SOURCE import`` in a package names, or a text with dots in front."""
    name = source.lstrip(".")
    if name == source:
        return source
    above = package.split(".")
    return ".".join(filter(None, [*above[: len(above) + 1 - (len(source) - len(name))], name]))
