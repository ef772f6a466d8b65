"""Releases that hold nothing but the source of one application, to be compared: made in a moment, and never started."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from code_server_helpers import Distribution, index_of
from underway.planner.releases import Opened
from underway.review.review import Review, review
from underway.review.sides import Side
from underway_runtime.release import manifest
from underway_runtime.release.boot_script import BootScript, Load, dump


def opened(
    root: Path, version: str, modules: Mapping[str, str], *, name: str = "shop", own: str | None = None
) -> Opened:
    """A release hello of one application called `name`, of the same version unless it has its `own`."""
    own = own or version
    files = {f"{module.replace('.', '/')}.py": source for module, source in modules.items()}
    distribution = Distribution(name, own, files)
    distribution.install(root / "lib" / distribution.directory)
    place = root / "releases" / version
    (place / "bin").mkdir(parents=True)
    (place / "bin/python").symlink_to(sys.executable)
    rel = {"applications": [{"name": name, "version": own, "mode": "permanent"}]}
    script = BootScript("start", "hello", version, (Load(name, own, (), None),))
    for file, text in {
        "code.index": json.dumps(index_of([distribution])),
        "hello.rel": json.dumps(rel),
        "start.script": dump(script),
        "sys.config": "{}",
    }.items():
        (place / file).write_text(text)
    (root / "releases/start.data").write_text(f"{platform.python_version()} {version}\n")
    paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    sealed = manifest.Manifest("hello", version, "any", platform.python_version(), manifest.survey(root, sorted(paths)))
    (place / "manifest.json").write_text(manifest.dump(sealed))
    return Opened(root, sealed, 0, root.parent)


def reviewed(place: Path, old: Mapping[str, str], new: Mapping[str, str]) -> Review:
    """The review of version 1 and version 2 of these modules."""
    sides = [
        Side(f"version {version}", opened(place / version, version, modules), built=False)
        for version, modules in (("1", old), ("2", new))
    ]
    return review(*sides)
