"""The picture of a release: what its modules are after import, as ``underway_runtime.observation`` sees them, in ``releases/V/picture``.

The release's own interpreter takes it, in the sandbox that docs/reference/picture.md describes. It depends on the code alone: the
key under which it is kept is of every file that could be imported, so that a release whose code has not changed imports nothing.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from underway_runtime.release import boot_script
from underway_runtime.release.boot_script import CodePath
from underway_runtime.release.directory import ReleaseDirectory

from ..errors import BuildError
from ..release import Release
from ..toolchain import cache
from ..toolchain.cache import Cache
from ..toolchain.cached_tree import File, digest
from .boot import RUNTIME
from .manifest import list_files

log = logging.getLogger("underway")

KIND = "pictures"

TIMEOUT = 900.0
"""Seconds until it is given up: more than all tries of the sandbox together may take."""

_ARGUMENTS = ("-s", "-P", "-B", "-S")
"""Of the interpreter, which begins with nothing of the release."""
_TOLD = ("threads", "processes", "descriptors", "environment", "signals", "done")
"""What a build tells of what import does; the rest, which many a library does, is in the picture."""

_SHOWN = 5
"""Lines of each kind that a build tells."""


def write_picture(release: Release, placed: Mapping[str, File], store: Cache) -> dict[str, File]:
    """Write ``releases/V/picture``, unless the option ``picture`` is false; returns what is known of the file.

    `placed` says of files what they hold. Modules that can't be imported here, and what import does besides making objects, are words
    in the log. So is the reason where no picture can be taken: a release without one is upgraded by what its source says.
    """
    if not release.options.picture:
        return {}
    key = cache.key(KIND, release.version, dict(_code(release, placed)))
    try:
        entry = store.get(KIND, key, lambda tree: take(release.path, release.version, tree))
    except BuildError as error:
        log.warning("the release has no picture of its modules: %s", error)
        return {}
    for line in _words(entry.facts):
        log.warning("%s", line)
    file = ReleaseDirectory(release.path).version(release.version).picture
    files = entry.put_into(file.parent)
    return {file.relative_to(release.path).as_posix(): files[file.name]}


def _code(release: Release, placed: Mapping[str, File]) -> Iterator[tuple[str, str]]:
    """Each file that an import could read, with its digest."""
    directory = ReleaseDirectory(release.path)
    version = directory.version(release.version)
    script = version.boot_script("start").relative_to(release.path).as_posix()
    for path in list_files(release.path):
        if path == script or path.startswith(("lib/", "python-")):
            yield path, placed[path].sha256 if path in placed else digest(str(release.path / path))


def take(root: Path, version: str, directory: Path) -> Mapping[str, Any]:
    """Write the picture of a version of the release at `root` into a directory; returns the facts of its import. Raises BuildError."""
    at = ReleaseDirectory(root).version(version)
    program = _runtime_of(root, version) / "observation/starting.py"
    with tempfile.TemporaryDirectory(prefix="underway-picture-") as scratch:
        arguments = [str(os.getpid()), str(root), version, str(directory / at.picture.name), scratch]
        try:
            done = subprocess.run(
                [at.python, *_ARGUMENTS, program, *arguments],
                capture_output=True,
                text=True,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"it took more than {TIMEOUT:.0f} seconds") from None
    if done.returncode != 0:
        raise BuildError(done.stderr.strip().removeprefix("error: ") or f"it ended with status {done.returncode}")
    facts: Mapping[str, Any] = json.loads(done.stdout)
    return facts


def _runtime_of(root: Path, version: str) -> Path:
    """The package of the runtime that a version has; there may be those of others next to it."""
    directory = ReleaseDirectory(root)
    script = boot_script.read(directory.version(version).boot_script("start"))
    [names] = (instruction.directories for instruction in script.instructions if isinstance(instruction, CodePath))
    runtime = next(name for name in names if name.startswith(f"$RELEASE_LIB/{RUNTIME}-"))
    return directory.lib / runtime.removeprefix("$RELEASE_LIB/") / RUNTIME


def _words(facts: Mapping[str, Any]) -> Iterator[str]:
    """What a developer should know of the imports."""
    for module, why in facts["missing"].items():
        yield f"{module} can't be imported where the build looks at it, and is upgraded by what its source says: {why}"
    for kind in _TOLD:
        lines = facts["outside"].get(kind, ())
        if not lines:
            continue
        more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        yield f"import does more than define ({kind}): {'; '.join(lines[:_SHOWN])}{more}"
