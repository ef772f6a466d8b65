"""Lays a pair out as two versions of one release."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from code_server_helpers import RUNTIME, Distribution, Interpreter, compile_all
from pairs_layout import compiled_library, version_of

from .sources import INSIDE, Pair, Sources

SCRIPTS = ("bin", "share", "include")
"""What a wheel has next to its modules."""


@dataclass(frozen=True)
class Installed(Distribution):
    """A distribution as an installer has laid it out, with its own metadata."""

    info: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    """Below `info`."""

    @property
    def directory(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}"

    @cached_property
    def dist_info(self) -> str:
        return self.info

    def install(self, directory: Path) -> None:
        """Write all that there is."""
        for path, content in {
            **self.files,
            **{f"{self.info}/{name}": each for name, each in self.metadata.items()},
        }.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content.encode() if isinstance(content, str) else content)


def lay_out(root: Path, pair: Pair, sources: Sources, interpreter: Interpreter) -> None:
    """Make a release directory with both versions, called as the package's are."""
    lib = root / "lib"
    lib.mkdir(parents=True)
    (lib / RUNTIME).symlink_to(interpreter.runtime)
    (root / interpreter.directory.name).symlink_to(interpreter.directory)
    third = compiled_library(sources.libraries)
    (lib / "third-1.0").symlink_to(third.place)
    application = pair.package.name.replace("-", "_")  # as releases call them
    made = {version: installed(application, version, place) for version, place in sources.versions.items()}
    for each in made.values():
        each.install(lib / each.directory)
        compile_all(interpreter, lib / each.directory)
    for version, each in made.items():
        version_of(root, version, [each], interpreter, third)
    if pair.package.tests == INSIDE:  # where wheels may leave them out
        for package in (sources.tests / above / top for above in (".", "src") for top in pair.package.modules):
            if package.is_dir():
                shutil.copytree(package, lib / made[pair.new].directory / package.name, dirs_exist_ok=True)


def installed(name: str, version: str, place: Path) -> Installed:
    """What is in a directory that one wheel was installed into."""
    (info,) = place.glob("*.dist-info")
    files: dict[str, str | bytes] = {}
    metadata: dict[str, bytes] = {}
    for file in sorted(each for each in place.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        path = file.relative_to(place)
        if file.is_relative_to(info):
            metadata[file.relative_to(info).as_posix()] = file.read_bytes()
        elif path.parts[0] not in SCRIPTS and path.name != ".lock":
            files[path.as_posix()] = file.read_bytes()
    points = metadata.get("entry_points.txt", b"").decode()
    return Installed(name, version, files, points, info.name, metadata)
