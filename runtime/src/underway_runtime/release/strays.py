"""Files that no version has brought, in the directories that code is loaded from: what of them matters.

A command that collects static files, an editor's backup, a ``.pyc``: such a file is worth a word, and says nothing against a version.
Some can be code, though, for the import system looks into directories, and the launcher and the runtime for files by name:

==================================  =================================================================================
`Stray.instead_of`                  is loaded or read in the place of what the version has: an extension module or a package next to a
                                    module of that name, an ``__init__`` in a namespace package, a module next to the standard library, a
                                    pyc that is never compared with its source, a file of ``releases/V`` that is read where it is there
`Stray.is_code`                     could be imported by a name that is not taken: a module of a plugin directory, a migration
==================================  =================================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .display import one_line

_SUFFIX = re.compile(r"\.(py|pyc|so|[\w-]+\.so)")
_NAME = re.compile(r"[\w-]+")
"""What a module may be called by those who import it by a text, as migrations are."""
_CACHED = re.compile(r"(\w+)\.[\w-]+(?:\.opt-\w+)?\.pyc")
_UNCHECKED = b"\x01\x00\x00\x00"
"""Flags of a pyc that is never compared with its source."""
_SHOWN = 3
_READ_BY_NAME = re.compile(
    r"manifest\.json|sbom\.cdx\.json|code\.index|pyvenv\.cfg|glibc|heart|launcher|gates\.json|relup|cookie\.source|runtime\.py|env\.sh|"
    r"(sys|build)\.config|(remote\.)?python\.args|systemd\.(service|socket)|cluster\.(py|json)|[^/]+\.(script|rel)|bin/[\w.+-]+|.+\.pth"
)
"""What the launcher and the runtime read in ``releases/V`` where it is there."""


@dataclass(frozen=True)
class Stray:
    """A file or link that is in no manifest."""

    path: str
    """From the root."""
    instead_of: str = ""
    is_code: bool = False


class Judge:
    """Says of strays what they are, from the files that the versions have."""

    def __init__(self, root: Path, listed: Iterable[str]) -> None:
        """`listed` are the paths that are in a manifest, from the root."""
        self._root = root
        self._listed = {*listed}
        self._directories: set[str] = set()
        self._modules: dict[tuple[str, str], str] = {}
        for path in self._listed:
            directory, _, file = path.rpartition("/")
            if (module := _module(file)) is not None:
                self._modules.setdefault((directory, module[0]), path)
            while directory and directory not in self._directories:
                self._directories.add(directory)
                directory = directory.rpartition("/")[0]

    def stray(self, path: str) -> Stray:
        """What a path is that is in no manifest."""
        if instead := self._instead_of(path):
            return Stray(path, instead)
        return Stray(path, is_code=self._is_code(path))

    def _instead_of(self, path: str) -> str:
        top, _, rest = path.partition("/")
        directory, _, file = path.rpartition("/")
        if top == "releases" and _READ_BY_NAME.fullmatch(rest.partition("/")[2]):
            return "nothing, by what starts the version"
        if (
            file == "entry_points.txt"
            and directory.endswith((".dist-info", ".egg-info"))
            and directory in self._directories
        ):
            return f"nothing, by what looks for plugins in {directory}"
        if directory.endswith("/__pycache__"):
            return self._source_of(directory, file, path)
        if top.startswith("python-") and (name := self._beside_library(rest)):
            return f"any other {name}: it is next to the standard library, which is found first"
        if (module := _module(file)) is None:
            return self._linked(directory, file, path)
        name, suffix = module
        if name == "__init__" and (directory, "__init__") not in self._modules:
            above, _, package = directory.rpartition("/")
            return self._modules.get((above, package)) or (directory if directory in self._directories else "")
        if self._is_package(directory, name):
            return ""
        other = self._modules.get((directory, name), "")
        return other if suffix.endswith("so") or (suffix == "py" and other.endswith(".pyc")) else ""

    def _is_package(self, directory: str, name: str) -> bool:
        return (f"{directory}/{name}", "__init__") in self._modules

    def _source_of(self, directory: str, file: str, path: str) -> str:
        """The source that an unchecked pyc stands for."""
        match = _CACHED.fullmatch(file)
        source = f"{directory.rpartition('/')[0]}/{match[1]}.py" if match is not None else ""
        return source if source in self._listed and _head(self._root / path)[4:8] == _UNCHECKED else ""

    def _beside_library(self, rest: str) -> str:
        """The top-level module that a file of ``python-V`` is, or is in, if no version has such a one there."""
        match rest.split("/"):
            case ["lib", library, "lib-dynload", *parts] if parts:
                base = f"lib/{library}/lib-dynload"
            case ["lib", library, *parts] if parts and parts[0] != "site-packages":
                base = f"lib/{library}"
            case _:
                return ""
        top = next((path for path in self._directories if path.startswith("python-") and path.count("/") == 0), "")
        if (module := _module(parts[-1])) is None:
            return ""
        name = module[0] if len(parts) == 1 else parts[0]
        known = (f"{top}/{base}", name) in self._modules or f"{top}/{base}/{name}" in self._directories
        return "" if known or not name.isidentifier() else name

    def _linked(self, directory: str, file: str, path: str) -> str:
        """A link to a directory is a package."""
        if not file.isidentifier() or not (self._root / path).is_symlink() or not (self._root / path).is_dir():
            return ""
        return self._modules.get((directory, file), "")

    def _is_code(self, path: str) -> bool:
        """Whether it could be imported, by whatever name; at the top of an application the index knows all names."""
        parts = path.split("/")
        if "__pycache__" in parts or (parts[0] == "lib" and len(parts) <= 3):
            return False
        if not all(map(_NAME.fullmatch, parts[2:-1])) and parts[0] == "lib":
            return False
        link, module = self._root / path, _module(parts[-1])
        if module is not None and ("/".join(parts[:-1]), module[0]) in self._modules:
            return False  # that one comes first
        return module is not None or (link.is_symlink() and link.is_dir() and parts[-1].isidentifier())


def notes(strays: Sequence[Stray]) -> list[str]:
    """A line about all of them, and one about those that could be imported; for people."""
    plain = [stray.path for stray in strays if not stray.instead_of]
    code = [stray.path for stray in strays if stray.is_code]
    lines = []
    if plain:
        what = "1 file is" if len(plain) == 1 else f"{len(plain)} files are"
        lines.append(f"{what} here that no version has brought: {_some(plain)}; `verify` names them")
    if code:
        lines.append(f"of these {len(code)} could be imported: {_some(code)}")
    return lines


def damage(strays: Iterable[Stray]) -> Iterator[str]:
    """What speaks against a version: lines for those that are loaded instead of what it has."""
    for stray in strays:
        if stray.instead_of.startswith("nothing, "):
            yield f"{one_line(stray.path)} is in no manifest, and would be read {stray.instead_of.removeprefix('nothing, ')}; remove it"
        elif stray.instead_of:
            yield f"{one_line(stray.path)} is in no manifest, and would be loaded instead of {stray.instead_of}; remove it"


def _some(paths: Sequence[str]) -> str:
    return ", ".join(map(one_line, paths[:_SHOWN])) + (
        f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    )


def _module(file: str) -> tuple[str, str] | None:
    """The name and suffix of a file that can be imported; None for any other."""
    name, dot, suffix = file.partition(".")
    return (name, suffix) if _NAME.fullmatch(name) and _SUFFIX.fullmatch(dot + suffix) else None


def _head(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 16)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
