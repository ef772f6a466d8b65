"""A release is assembled next to its target and exchanged into place: at any moment the target is the old or the new one.

==============================  =======================  ================================================
a build that dies               leaves at the target     and next to it
==============================  =======================  ================================================
before the exchange             what was there           ``.NAME.partial``, cleared by the next build
between two renames, where      nothing                  the old release; the next build puts it back
the file system can't exchange
after it, before var/ moved     the new release          the old one with its var/; the next build moves it
after it                        the new release          ``.NAME.partial``, cleared by the next build
==============================  =======================  ================================================
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from underway_runtime.process.exchange import exchange
from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.errors import DamagedRelease

from ..errors import BuildError, BusyError, listing

REMOVERS = 4

ATTEMPTS = 100
"""How often a directory is made that others remove."""


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """A directory next to `target` to build in, held by this process alone and gone afterwards.

    Leftovers of a build that died are cleared. Directories made on the way to it are removed again when nothing was published.
    Raises BusyError while another build holds it, BuildError when it can't be made.
    """
    partial = target.with_name(f".{target.name}.partial")
    made: list[Path] = []
    try:
        held = _hold(partial, target, made)
        try:
            recover(partial, target)
            _clear(partial)
            yield partial
        finally:
            _remove(partial)
            os.close(held)
    finally:
        for directory in reversed(dict.fromkeys(made)):
            with suppress(OSError):
                directory.rmdir()


def check_target(target: Path, version: str, overwrite: bool) -> None:
    """Raise BuildError when a release can't or may not be put at `target`; looks only."""
    if not os.path.lexists(target):
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / "releases").is_dir()):
        raise BuildError(f"{target} is there and is not a release; choose another place with --path")
    if (pid := running(target)) is not None:
        raise BuildError(
            f"the release at {target} is running (pid {pid}); its code is not changed under it: stop it, or build"
            " elsewhere with --path"
        )
    if ReleaseDirectory(target).version(version).path.exists() and not overwrite:
        raise BuildError(f"version {version} is already at {target}; use --overwrite to build it again")


def running(target: Path) -> str | None:
    """The pid of the node that runs from the release at `target`, or None. A node elsewhere by RELEASE_VAR is not seen."""
    var = VarDirectory(target / "var")
    try:
        with var.lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(OSError):
            return var.pid.read_text(encoding="ascii").strip()
        return "unknown"
    except OSError:
        pass
    return None


def keep_other_versions(tree: Path, target: Path, version: str) -> list[str]:
    """Link the other versions of the release at `target` into the new `tree`; returns those that could not be kept.

    A version shares its applications with others. One whose files differ from those of the same name in the new tree, or that is
    damaged, can't be kept.
    """
    lost = []
    for file in sorted((target / "releases").glob("*/manifest.json")):
        other = file.parent.name
        if other == version:
            continue
        try:
            other_manifest = manifest.read(file)
            _link_version(other_manifest, file, target, tree)
        except (DamagedRelease, OSError, _Differs):
            shutil.rmtree(tree / "releases" / other, ignore_errors=True)
            lost.append(other)
    return lost


def publish(tree: Path, target: Path) -> None:
    """Put `tree` at `target` in one act, with the var/ of what was there. What was there ends where `tree` was."""
    if not target.exists():
        os.rename(tree, target)
        return
    exchange(tree, target)
    if (tree / "var").is_dir():
        os.rename(tree / "var", target / "var")


def recover(partial: Path, target: Path) -> None:
    """Finish a publication that died between its renames."""
    aside = partial / f"{target.name}.old"
    if aside.is_dir() and not os.path.lexists(target):
        os.rename(aside, target)
    left = partial / target.name / "var"
    if left.is_dir() and target.is_dir() and not (target / "var").exists():
        os.rename(left, target / "var")


class _Differs(Exception):
    """A file of another version is not the one of the same name in the new tree."""


def _link_version(other: manifest.Manifest, file: Path, target: Path, tree: Path) -> None:
    wanted = {**other.files, file.relative_to(target).as_posix(): None}
    existing = [path for path in wanted if os.path.lexists(tree / path)]
    surveyed = manifest.survey(tree, existing)
    shared_names = {path for path in existing if other.files.get(path) != surveyed[path]}
    replaced = {path for path in shared_names if path == "releases/start.data" or path.startswith("bin/")}
    if shared_names - replaced:
        raise _Differs
    for path in wanted.keys() - set(existing):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(target / path, tree / path, follow_symlinks=False)


def _remove(tree: Path) -> None:
    """Remove a tree from several ends at once: most of it is waiting for the disk."""
    with ThreadPoolExecutor(REMOVERS) as pool:
        for _ in pool.map(lambda part: shutil.rmtree(part, ignore_errors=True), [*_below(str(tree), 3)]):
            pass
    shutil.rmtree(tree, ignore_errors=True)


def _below(directory: str, depth: int) -> Iterator[str]:
    """The directories that are so many levels below one."""
    if depth == 0:
        yield directory
        return
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, depth - 1)


def _make_parents(directory: Path, made: list[Path]) -> None:
    missing = [d for d in (directory, *directory.parents) if not d.exists()]
    made += missing[::-1]
    directory.mkdir(parents=True, exist_ok=True)


def _hold(partial: Path, target: Path, made: list[Path]) -> int:
    """Make the working directory and lock it; those that it is in and that were not there are added to `made`.

    The lock is on the directory itself, so nothing is left to clean up.
    """
    for attempt in range(ATTEMPTS):
        try:
            _make_parents(partial.parent, made)
            partial.mkdir(exist_ok=True)
            descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            # Another build has just removed it, or one next to this one what both are in.
            if isinstance(error, FileNotFoundError | FileExistsError) and attempt < ATTEMPTS - 1:
                continue
            where = error.filename or partial
            raise BuildError(f"{where} can't be made: {error.strerror}; choose another place with --path") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(partial)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            break
        except FileNotFoundError:
            pass
        os.close(descriptor)
    raise BusyError(f"another build is making {target}; wait for it, or build elsewhere with --path")


def _clear(directory: Path) -> None:
    problems = []
    for entry in os.scandir(directory):
        try:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        except OSError as error:
            problems.append(f"{entry.path}: {error.strerror}")
    if problems:
        raise BuildError(listing(f"what a former build left in {directory} can't be removed:", problems))
