"""``bin/NAME`` and ``bin/cluster``: files that serve every version, so the highest revision of those that came is in place.

Each says in a line of its own, ``# revision N``, which it is; one from before that is the first. Whoever unpacks a version that
brings a higher one puts it in place when the version is: by a rename, so whoever starts meanwhile reads the one or the other.
An older version that is unpacked later never takes it back. `verify` takes the file of any version.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from ..release import verify
from ..release.directory import ReleaseDirectory
from ..release.filesystem.atomic_files import sync_directory, sync_tree
from ..release.manifest import Manifest

_REVISION = re.compile(rb"^# revision ([0-9]{1,6})$", re.MULTILINE)
_HEAD = 4096
"""Bytes in which that line is."""


def differing(directory: ReleaseDirectory, manifest: Manifest) -> list[str]:
    """The commands of a version that are here with other contents, from the root."""
    return [
        path
        for path in _paths(directory, manifest)
        if os.path.lexists(directory.root / path) and verify.verify_below(directory.root, path, manifest)
    ]


def bring_up_to_date(directory: ReleaseDirectory, source: Path, here: Iterable[Manifest]) -> list[str]:
    """Put the commands below `source` in place that are newer than those there, and of a version that is `here`; which they were."""
    done = []
    for manifest in here:
        for path in _paths(directory, manifest):
            new, old = source / path, directory.root / path
            if not verify.verify_below(source, path, manifest) and revision(new) > revision(old) > 0:
                sync_tree(new)
                os.rename(new, old)
                sync_directory(old.parent)
                done.append(path)
    return done


def revision(file: Path) -> int:
    """Which one a command is; 0 for what can't be read, or is not a file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return 0
        match = _REVISION.search(os.read(descriptor, _HEAD))
    finally:
        os.close(descriptor)
    return 1 if match is None else int(match[1])


def _paths(directory: ReleaseDirectory, manifest: Manifest) -> list[str]:
    """The commands that a version lists."""
    commands = (directory.command(name).relative_to(directory.root).as_posix() for name in (manifest.name, "cluster"))
    return [path for path in commands if path in manifest.files]
