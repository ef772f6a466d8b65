"""What is in each directory of code, for ``code.index``: so that a release finds its modules without looking for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from underway_runtime.release.directory import ReleaseDirectory, minor

from ..release import Release

Listing = Mapping[str, str]


def code_listing(release: Release) -> dict[str, Listing]:
    """Of every directory of code in the release, relative to its root with ``/``, what can be imported from it.

    That is the applications' and the standard library's, where the interpreter is in the release; both are there and compiled.
    """
    directory = ReleaseDirectory(release.path)
    applications = {application.directory for application in release.applications.values()}
    library = directory.interpreter(release.interpreter_version) / "lib" / f"python{minor(release.interpreter_version)}"
    places = [*(directory.lib / name for name in applications), library, library / "lib-dynload"]
    return list_code(release.path, places, f"cpython-{minor(release.interpreter_version).replace('.', '')}")


def list_code(root: Path, places: Iterable[Path], cache_tag: str) -> dict[str, Listing]:
    """What can be imported from these directories and the packages in them; those that are not there have nothing.

    Only what importlib would choose among all that is in the directory is listed, and only

    * ``modules`` and ``packages`` that are source with a pyc for `cache_tag`,
    * ``extensions``, as names of files; the interpreter knows whether it loads such a file.

    What is left out is found nevertheless, by looking for it.
    """
    listings = {}
    for top in sorted(places):
        for directory, listing in _walk(top, f".{cache_tag}.pyc"):
            listings[directory.relative_to(root).as_posix()] = listing
    return listings


def _walk(directory: Path, pyc: str) -> Iterator[tuple[Path, Listing]]:
    if not directory.is_dir():
        return
    with os.scandir(directory) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    compiled = _files(directory / "__pycache__")
    directories = [entry.name for entry in entries if entry.name.isidentifier() and entry.is_dir()]
    extensions: dict[str, list[str]] = {}
    sources: set[str] = set()
    for entry in entries:
        name, _, suffix = entry.name.partition(".")
        if not name.isidentifier() or not entry.is_file():
            continue
        if suffix == "so" or suffix.endswith(".so"):
            extensions.setdefault(name, []).append(entry.name)
        elif suffix == "py" and name != "__init__":
            sources.add(name)

    packages: set[str] = set()
    other: set[str] = set()
    for name in directories:
        files = _files(directory / name)
        if any(file.startswith("__init__.") and file.endswith(".so") for file in files):
            other.add(name)
        elif "__init__.py" in files:
            compiled_there = _files(directory / name / "__pycache__")
            (packages if f"__init__{pyc}" in compiled_there else other).add(name)
        elif "__init__.pyc" in files:
            other.add(name)
    taken = packages | other
    listing = {
        "modules": sorted(
            name for name in sources if name not in extensions and name not in taken and f"{name}{pyc}" in compiled
        ),
        "packages": sorted(packages),
        "extensions": sorted(
            files[0]
            for name, files in extensions.items()
            if len(files) == 1 and name not in taken  # of several only the interpreter knows which it loads
        ),
    }
    if any(listing.values()):
        yield directory, {kind: " ".join(names) for kind, names in listing.items() if names}
    for name in directories:
        if name != "__pycache__":
            yield from _walk(directory / name, pyc)


def _files(directory: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
