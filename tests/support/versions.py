"""Small real releases of several versions that run, with their manifests: on top of `node_helpers`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from code_server_helpers import RUNTIME, index_of
from node_helpers import INSTALLED, App, Node
from underway_runtime.release import manifest
from underway_runtime.release.boot_script import CodePath, read
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.manifest import Manifest, ManifestEntry

_interpreters: dict[str, dict[str, ManifestEntry]] = {}
"""By directory, what a manifest says of an interpreter: its files are the same in all releases of a run."""


def seal(node: Node, version: str = "1") -> None:
    """Write the manifest of a version, of all that is there for it. The interpreter becomes the release's own."""
    directory = ReleaseDirectory(node.root)
    [python] = node.root.glob("python-*")
    if python.is_symlink():
        original = python.resolve()
        python.unlink()
        shutil.copytree(original, python, symlinks=True, copy_function=os.link)
    if python.name not in _interpreters:
        _interpreters[python.name] = manifest.survey(node.root, _files(node.root, python.name))
    script = read(directory.version(version).boot_script("start"))
    paths = next(i.directories for i in script.instructions if isinstance(i, CodePath))
    tops = [f"lib/{path.removeprefix('$RELEASE_LIB/')}" for path in paths] + [f"releases/{version}"]
    tops += [f"lib/{INSTALLED}"] if (directory.lib / INSTALLED).exists() else []
    place = directory.version(version).manifest
    files = [path for top in tops for path in _files(node.root, top) if path != str(place.relative_to(node.root))]
    entries = {**manifest.survey(node.root, files), **_interpreters[python.name]}
    interpreter = python.name.removeprefix("python-")
    made = Manifest(node.name, version, "any", interpreter, dict(sorted(entries.items())))
    place.write_text(manifest.dump(made))


def add(node: Node, version: str, *apps: App, gates: Sequence[Mapping[str, Any]] = (), **config: Any) -> Path:
    """Another version next to the first; returns releases/V. `seal` comes when it is as it should be.

    Each of these applications is another version too; without any the code is that of the first.
    """
    first, root = node.version, node.root
    place = root / "releases" / version
    shutil.copytree(first, place, symlinks=True)
    (place / "manifest.json").unlink(missing_ok=True)
    launcher = (place / "launcher").read_text()
    (place / "launcher").write_text(launcher.replace('RELEASE_VSN:=1"', f'RELEASE_VSN:={version}"'))
    distributions = [app.distribution_of(f"{version}.0") for app in apps]
    for each in distributions:
        each.install(root / "lib" / each.directory)
    if apps:
        index, before = index_of(distributions), json.loads((place / "code.index").read_text())
        index["top"] |= {name: where for name, where in before["top"].items() if where[0] in (RUNTIME, INSTALLED)}
        (place / "code.index").write_text(json.dumps(index))
    saved = {name: (first / name).read_text() for name in ("start.script", "start_clean.script")}
    if apps:
        node.write_script(apps)
    for name, text in saved.items():
        written = (first / name).read_text().replace('"1"', f'"{version}"')
        for app in apps:
            written = written.replace(f"{app.name}-1.0", f"{app.name}-{version}.0")
        (place / name).write_text(written.replace('"1.0"', f'"{version}.0"') if apps else written)
        (first / name).write_text(text)
    if gates:
        (place / "gates.json").write_text(json.dumps(list(gates)))
    if config:
        (place / "sys.config").write_text(json.dumps({"format": 1, "config": config}))
    return place


def add_sealed(node: Node, version: str, *apps: App, **how: Any) -> Path:
    """As `add`, and both versions are as they should be."""
    place = add(node, version, *apps, **how)
    for each in ("1", version):
        seal(node, each)
    return place


def _files(root: Path, top: str) -> list[str]:
    if (root / top).is_symlink():
        return [top]
    found = []
    for directory, directories, names in os.walk(root / top):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        found += [os.path.relpath(os.path.join(directory, name), root) for name in (*names, *links)]
    return found
