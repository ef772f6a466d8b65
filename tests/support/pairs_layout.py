"""Lays a pair of versions out as a release: directories, metadata, index, manifest and boot script, as a build does."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from code_server_helpers import (
    RUNTIME,
    TEMPLATE,
    Distribution,
    Interpreter,
    compile_all,
    index_of,
)
from underway_runtime.release import boot_script, manifest
from underway_runtime.release.boot_script import BootScript, Load, Start

MAIN = "shop"


@dataclass(frozen=True)
class Library:
    """Third-party distributions, all in one directory."""

    place: Path
    files: Mapping[str, manifest.ManifestEntry]
    """Below ``lib``."""
    homes: Mapping[str, str]
    """Distribution -> its metadata, below ``lib``."""
    top: tuple[str, ...]
    """What can be imported from it."""


def library(place: Path, interpreter: Interpreter) -> Library:
    """What is installed in a directory, compiled."""
    compile_all(interpreter, place)
    return compiled_library(place)


def compiled_library(place: Path) -> Library:
    """What is installed in a directory, and was compiled."""
    paths = [path.relative_to(place).as_posix() for path in place.rglob("*.py")]
    entries = manifest.survey(place, paths)
    infos = {each.name.rpartition("-")[0] and each.name.split("-")[0]: each.name for each in place.glob("*.dist-info")}
    top = (each.name.partition(".")[0] for each in place.iterdir() if each.suffix in ("", ".py", ".so"))
    return Library(
        place.resolve(),
        {f"lib/third-1.0/{path}": entry for path, entry in entries.items()},
        {re.sub(r"[-_.]+", "-", name).lower(): f"third-1.0/{info}" for name, info in infos.items()},
        tuple(sorted({name for name in top if name.isidentifier()})),
    )


def lay_out(
    root: Path, place: Path, numbers: Sequence[str], interpreter: Interpreter, third: Library | None = None
) -> None:
    """Make a release directory with all versions of a pair."""
    lib = root / "lib"
    lib.mkdir(parents=True)
    (lib / RUNTIME).symlink_to(interpreter.runtime)
    (root / interpreter.directory.name).symlink_to(interpreter.directory)
    if third is not None:
        (lib / "third-1.0").symlink_to(third.place)
    before: dict[str, Distribution] = {}
    versions = []
    for number in numbers:
        before = _distributions(place / number, number, before)
        versions.append((number, list(before.values())))
        for each in before.values():
            if not (lib / each.directory).exists():
                each.install(lib / each.directory)
    compile_all(interpreter, lib)
    for number, distributions in versions:
        version_of(root, number, distributions, interpreter, third)


def _distributions(place: Path, number: str, before: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """What is in the directory of a version; a distribution with the same files as before has its old version."""
    found: dict[str, dict[str, str | bytes]] = {MAIN: {}}
    points: dict[str, str] = {}
    for file in sorted(each for each in place.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        first, *others = file.relative_to(place).parts
        name, path = (first[:-1], "/".join(others)) if first.endswith("@") else (MAIN, "/".join((first, *others)))
        if path == "entry_points.txt":
            points[name] = file.read_text(encoding="utf-8")
        else:
            found.setdefault(name, {})[path] = file.read_bytes()
    made = {name: Distribution(name, f"{number}.0", files, points.get(name, "")) for name, files in found.items()}
    return {name: before[name] if _is_same(before.get(name), each) else each for name, each in made.items()}


def _is_same(one: Distribution | None, other: Distribution) -> bool:
    return one is not None and (one.files, one.entry_points) == (other.files, other.entry_points)


def version_of(
    root: Path, number: str, distributions: list[Distribution], interpreter: Interpreter, third: Library | None
) -> None:
    directory = root / "releases" / number
    site_packages = directory / f"lib/python{interpreter.minor}/site-packages"
    site_packages.mkdir(parents=True)
    (directory / "bin").mkdir()
    (directory / "bin/python").symlink_to(f"../../../{interpreter.directory.name}/bin/python{interpreter.minor}")
    (directory / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    (site_packages / "underway.pth").write_text(TEMPLATE.read_text().replace("@RUNTIME_DIRECTORY@", RUNTIME))
    index = index_of(distributions)
    index["top"]["underway_runtime"] = [RUNTIME]
    applications = {each.name: each.version for each in distributions}
    if third is not None:
        index["distributions"] |= third.homes
        index["top"] |= {name: ["third-1.0"] for name in third.top}
        applications = {name.replace("-", "_"): "1.0" for name in third.homes} | applications
    (directory / "code.index").write_text(json.dumps(index))
    own = {each.name for each in distributions}
    requires = _requires(distributions, [name for name in applications if name not in own])
    loads = [Load(name, version, requires.get(name, ())) for name, version in applications.items()]
    script = BootScript("start", "pairs", number, (*loads, *(Start(name, "permanent") for name in applications)))
    (directory / "start.script").write_text(boot_script.dump(script))
    rel = [{"name": name, "version": version, "mode": "permanent"} for name, version in applications.items()]
    (directory / "pairs.rel").write_text(json.dumps({"applications": rel}))
    homes = [root / "lib" / each.directory for each in distributions]
    paths = [path.relative_to(root).as_posix() for home in homes for path in home.rglob("*") if path.is_file()]
    entries = {**manifest.survey(root, paths), **(third.files if third else {})}
    made = manifest.Manifest("pairs", number, "here", interpreter.version, entries)
    (directory / "manifest.json").write_text(manifest.dump(made))


def _requires(distributions: Iterable[Distribution], libraries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What each requires: the other distributions whose modules it imports, and all `libraries`."""
    tops = {each.name: {path.partition("/")[0].partition(".")[0] for path in each.files} for each in distributions}
    found = {}
    for each in distributions:
        imported: set[str] = set()
        for path, content in each.files.items():
            if path.endswith(".py"):
                imported |= _imported(content)
        others = (name for name, top in tops.items() if name != each.name and top & imported)
        found[each.name] = (*others, *libraries)
    return found


def _imported(content: str | bytes) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names
