"""The releases that are compared: as archives or directories, and what is in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from underway_runtime.release import boot_script, ledger, manifest
from underway_runtime.release.archives import archive, tar_layout
from underway_runtime.release.boot_script import Load, Start
from underway_runtime.release.directory import ReleaseDirectory, VersionDirectory
from underway_runtime.release.errors import DamagedRelease, UsageError
from underway_runtime.release.manifest import Manifest, ManifestEntry

from ..toolchain.held import held

SCRATCH = "underway-relup-"
"""How the directories are called, among temporary files, into which archives are unpacked."""


@dataclass(frozen=True)
class Opened:
    """A release to read files of."""

    root: Path
    manifest: Manifest
    date: int
    parent: Path
    """The directory that the archive, or the release, is in."""

    @property
    def place(self) -> VersionDirectory:
        """Where the files of its version are."""
        return ReleaseDirectory(self.root).version(self.manifest.version)

    @cached_property
    def homes(self) -> Mapping[str, str]:
        """Application -> its directory in ``lib``; several may share one."""
        index = self._json(self.place.code_index)
        try:
            distributions = {name: str(path).partition("/")[0] for name, path in index["distributions"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedRelease(f"{self.place.code_index} is not an index: {error}") from None
        return {name.replace("-", "_"): home for name, home in distributions.items()}

    @cached_property
    def rel(self) -> Mapping[str, tuple[str, str]]:
        """Application -> version and mode, in the order of the start."""
        file = self.place.rel(self.manifest.name)
        try:
            entries = self._json(file)["applications"]
            return {entry["name"]: (entry["version"], entry["mode"]) for entry in entries}
        except (KeyError, TypeError) as error:
            raise DamagedRelease(f"{file} makes no sense: {error}") from None

    @cached_property
    def starts(self) -> Mapping[str, object]:
        """Application -> what starts it, of those that start."""
        script = boot_script.read(self.place.boot_script("start"))
        started = {instruction.application for instruction in script.instructions if isinstance(instruction, Start)}
        return {
            instruction.application: instruction.start
            for instruction in script.instructions
            if isinstance(instruction, Load) and instruction.application in started
        }

    @cached_property
    def schemas(self) -> Mapping[str, str]:
        """Application -> ``"module:Class"`` of its schema, where the release names one."""
        script = boot_script.read(self.place.boot_script("start"))
        loads = [instruction for instruction in script.instructions if isinstance(instruction, Load)]
        return {load.application: load.config_schema for load in loads if load.config_schema}

    @cached_property
    def requires(self) -> Mapping[str, tuple[str, ...]]:
        """Application -> those that it requires."""
        script = boot_script.read(self.place.boot_script("start"))
        return {
            instruction.application: instruction.requires
            for instruction in script.instructions
            if isinstance(instruction, Load)
        }

    @cached_property
    def below(self) -> Mapping[str, Mapping[str, ManifestEntry]]:
        """Directory in ``lib``, or whatever else is at the top -> its files, relative to it."""
        files: dict[str, dict[str, ManifestEntry]] = {}
        for path, entry in self.manifest.files.items():
            top, _, rest = path.partition("/")
            if top == "lib":
                top, _, rest = rest.partition("/")
            files.setdefault(top, {})[rest] = entry
        return files

    @cached_property
    def modules(self) -> Mapping[str, tuple[str, str]]:
        """Module -> its application, and its source below the root; of the whole release."""
        owner = {home: name for name, home in sorted(self.homes.items(), reverse=True)}
        origins = {}
        for home, name in sorted(owner.items()):
            for path in self.below.get(home, {}):
                module = module_name(path)
                if module and (
                    module not in origins or path.endswith("/__init__.py")
                ):  # before a file next to it of that name
                    origins[module] = (name, f"lib/{home}/{path}")
        return origins

    def texts(self, application: str) -> Iterator[tuple[str, str]]:
        """The modules of an application, each with its text."""
        for module, (name, file) in self.modules.items():
            if name == application:
                yield module, (self.root / file).read_text(encoding="utf-8", errors="replace")

    def _json(self, file: Path) -> dict[str, Any]:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedRelease(f"{file} can't be read: {error}") from None
        if not isinstance(document, dict):
            raise DamagedRelease(f"{file} makes no sense")
        return document


def open_release(path: Path, cleanup: ExitStack) -> Opened:
    """A release in an archive, in a directory, or in ``releases/VERSION`` within one; an archive is checked and unpacked.

    What was unpacked goes with `cleanup`. Raises UsageError for what is not a release or holds several versions.
    """
    if path.is_file():
        scratch = cleanup.enter_context(held(SCRATCH))
        extracted = archive.extract(path, scratch / "release")
        return Opened(scratch / "release", extracted.manifest, extracted.date, path.absolute().parent)
    path = path.resolve()
    version = (
        path if VersionDirectory(path).manifest.is_file() and path.parent.name == "releases" else only_version(path)
    )
    root = version.parent.parent
    return Opened(
        root, manifest.read(VersionDirectory(version).manifest), tar_layout.source_date(os.environ), root.parent
    )


def standing(root: Path) -> Path:
    """``releases/VERSION`` of what a fresh copy of a release directory would boot.

    Raises UsageError where no release stands there, and DamagedRelease where it can't be told which, or that is not whole.
    """
    directory = ReleaseDirectory(root)
    if not directory.releases.is_dir():
        raise UsageError(f"there is no release at {os.path.relpath(root)}")
    try:
        words = ledger.words_of(directory.start_data.read_bytes())
    except OSError as error:
        raise DamagedRelease(f"{directory.start_data} can't be read: {error.strerror}") from None
    if words is None:
        raise DamagedRelease(f"{directory.start_data} does not say what boots")
    version = directory.version(words[1])
    manifest.read(version.manifest)
    return version.path


def only_version(root: Path) -> Path:
    """The one version that a release directory holds. Raises UsageError when there is none, or more than one."""
    places = sorted(file.parent for file in ReleaseDirectory(root).releases.glob("*/manifest.json"))
    if not places:
        raise UsageError(f"{root} is neither an archive nor a release")
    if len(places) > 1:
        example = os.path.relpath(places[-1])
        raise UsageError(f"{root} holds {len(places)} versions; name the one that is meant, such as {example}")
    return places[0]


def module_name(path: str) -> str:
    """The name of the module whose source is at this path in an application; empty when it is not a module's."""
    if not path.endswith(".py"):
        return ""
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else ""
