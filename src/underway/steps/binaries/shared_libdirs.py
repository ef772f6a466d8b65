"""Which applications have to be in one directory, because their binaries look for each other by relative paths.

A wheel may count on what another puts next to it in site-packages: torch looks for libraries of nvidia-cublas in
``$ORIGIN/../../nvidia/cublas/lib``. With a directory for each application that place is empty.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping

from underway_runtime.release.directory import application_directory

from ...packages import wheel_record
from ...release import Application
from . import elf


def together(applications: Mapping[str, Application]) -> dict[str, str]:
    """The directory in ``lib`` of each application that shares one with others; all others have their own.

    Looks at the applications as they are installed. The name of the directory, ``torch-2.9.0+1f0c3a92`` after one that nobody
    looks for, depends on who is in it and in which versions, so releases that differ there don't share it. Raises
    BuildError for damaged binaries.
    """
    files = {
        name: [entry.path for entry in wheel_record.read(app.source, app.dist_info)]
        for name, app in applications.items()
        if app.dist_info
    }
    owners = {path: name for name, paths in files.items() for path in paths}
    in_directory: dict[str, set[str]] = defaultdict(set)
    for path, name in owners.items():
        if ".so" in os.path.basename(path):
            in_directory[os.path.dirname(path)].add(name)

    wanted = {name: set(_looks_for(applications[name], paths, owners, in_directory)) for name, paths in files.items()}
    places = {}
    for members in _groups(wanted):
        looked_for = set().union(*(wanted[name] for name in members))
        leader = applications[min(members - looked_for or members)]
        text = "\n".join(f"{name}-{applications[name].version}" for name in sorted(members))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        places.update(dict.fromkeys(members, f"{application_directory(leader.name, leader.version)}+{digest}"))
    return dict(sorted(places.items()))


def _looks_for(
    application: Application, paths: list[str], owners: Mapping[str, str], in_directory: Mapping[str, set[str]]
) -> Iterator[str]:
    """The other applications in whose directories a binary of this one looks."""
    for path in paths:
        file = application.source / path
        if ".so" not in os.path.basename(path) and not os.access(file, os.X_OK):
            continue
        if not elf.is_elf(file):
            continue
        binary = elf.read(file)
        for entry in (*binary.rpath, *(binary.runpath or ())):
            if not entry.startswith("$ORIGIN/"):
                continue
            directory = os.path.normpath(os.path.join(os.path.dirname(path), entry.removeprefix("$ORIGIN/")))
            # Next to the packages lie extension modules of anybody: there, what is needed by name is meant.
            named = {owners[name] for name in binary.needed if name in owners}
            meant = named if directory == "." else in_directory.get(directory, set())
            yield from meant - {application.name}


def _groups(wanted: Mapping[str, set[str]]) -> list[set[str]]:
    """Those that hang together, directly or not; without those that are by themselves."""
    groups: list[set[str]] = []
    for name, others in wanted.items():
        if others:
            joined = {name, *others}.union(*(group for group in groups if group & {name, *others}))
            groups = [*(group for group in groups if not group & joined), joined]
    return groups
