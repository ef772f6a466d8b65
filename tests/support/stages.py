"""Stages for tests: what a project's lock holds, as finished applications, with a cache of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from underway.packages.stage import make_stage
from underway.project.lock import Lock, Wanted, read_lock
from underway.release import Application
from underway.steps import compiled_apps
from underway.toolchain import cached_tree, interpreters
from underway.toolchain.cache import Cache
from underway.toolchain.interpreters import Interpreter


def wanted_of(python: Interpreter) -> Wanted:
    """What a release takes from a lock by default."""
    return Wanted(python.executable, interpreters.markers(python), interpreters.tags(python))


def cache_in(directory: Path) -> Cache:
    """An empty cache, or the one that is there."""
    return Cache(directory / "cache", directory / "own")


def damaged(cache: Path) -> list[str]:
    """The files of a cache that are not bit for bit as they were made, or that nobody made."""
    return [str(path) for place in cache.glob("*/*/tree") if place.parts[-3] != "making" for path in _damaged(place)]


def _damaged(tree: Path) -> Iterator[Path]:
    entry = cached_tree.read(tree.parent)
    if entry is None:
        yield tree.parent / "record"
        return
    there = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_symlink() or not path.is_dir()}
    yield from (tree / path for path in there ^ {*entry.files, *entry.links})
    for path, file in entry.files.items():
        where = tree / path
        if path in there and not (file.is_still(where.lstat()) and cached_tree.digest(str(where)) == file.sha256):
            yield where


def stage_of(
    project: Path | Lock,
    directory: Path,
    python: Interpreter,
    prefer: tuple[str, ...] = (),
    *,
    kept: Cache | None = None,
    strip: bool | Mapping[str, bool] = True,
    report: Callable[[str], None] = lambda _: None,
    out: Collection[Path] = (),
    build_sdists: tuple[str, ...] = (),
) -> dict[str, Application]:
    """The stage of a project, made below `directory`, with a cache that is there too when none is given."""
    wanted = replace(wanted_of(python), build_sdists=build_sdists)
    lock = project if isinstance(project, Lock) else read_lock(project, "r", wanted)
    finisher = compiled_apps.finisher(kept or cache_in(directory), python, strip, directory)
    return make_stage(lock, directory / "stage", wanted.environment, finisher, prefer, report, out)
