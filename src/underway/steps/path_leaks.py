"""No path of the machine that builds may be left in a release where it matters when it runs."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from underway_runtime.release.directory import ReleaseDirectory

from ..errors import BuildError, listing
from ..release import Release
from .binaries import elf
from .interpreter import SYSTEM_PREFIXES

log = logging.getLogger("underway")

WRITTEN_BY_HAND = ("sys.config", "runtime.py", "env.sh", "python.args", "remote.python.args")
"""Files of ``releases/V`` that hold what the project's author wrote or computed."""


def check_paths(release: Release, files: Iterable[str]) -> None:
    """Raise BuildError for every one of `files` that contains a path of the build machine; they are relative to the root.

    Anywhere but inside binaries that is the directory that the release is made in. In what is read when the release starts,
    which is all but the applications' own files, it is also the project's directory (the option ``project-path``), the place of
    the interpreter that was copied, and any absolute path where a relative one is needed: in ``.pth`` files, links, pyvenv.cfg. In
    what the author wrote himself the project's directory may be meant: there it is a warning in the log.
    """
    releases = ReleaseDirectory(release.path).version(release.version).path.relative_to(release.path).as_posix()
    by_hand = {f"{releases}/{name}" for name in WRITTEN_BY_HAND}
    here = release.path.parent
    places = _places(release)
    problems: list[str] = []
    for file in files:
        path = release.path / file
        if path.is_symlink():
            problems += _of_link(release, file)
            continue
        if not path.is_file() or elf.is_elf(path):
            continue
        content = path.read_bytes()
        if _names(content, here, compiled=file.endswith(".pyc")):
            problems.append(f"{file} names {here}, where the release is made")
        if (not file.startswith("lib/") or file.endswith(".pth")) and not file.endswith(".pyc"):
            leaks = [
                f"{file} names {directory}, {what}" for directory, what in places.items() if _names(content, directory)
            ]
            if file in by_hand:
                for problem in leaks:
                    log.warning("%s; a host may not have it", problem)
            else:
                problems += leaks
        problems += _where_relative(file, content)
    if problems:
        raise BuildError(listing("the release contains paths of the build machine:", problems))


def _places(release: Release) -> dict[Path, str]:
    places = {}
    if release.context.project.is_absolute():
        places[release.context.project] = "the project's directory"
    if release.interpreter_source is not None:
        places[release.interpreter_source.parents[1]] = "where the interpreter was copied from"
    return {directory: what for directory, what in places.items() if str(directory) not in SYSTEM_PREFIXES}


def _names(content: bytes, path: Path, compiled: bool = False) -> bool:
    """Whether a text names a directory or something in it. In compiled modules the length comes before a text."""
    directory = os.fsencode(path)
    if directory not in content:
        return False
    return compiled or bool(re.search(rb"(?<![\w.-])" + re.escape(directory) + rb"(?![\w.-])", content))


def _of_link(release: Release, file: str) -> Iterator[str]:
    to = os.readlink(release.path / file)
    if os.path.isabs(to):
        if release.interpreter_source is not None:
            yield f"{file} is a link to {to}"
    elif os.path.normpath(os.path.join(file, "..", to)).startswith("../"):
        yield f"{file} is a link that leaves the release, to {to}"


def _where_relative(file: str, content: bytes) -> Iterator[str]:
    name = file.rpartition("/")[2]
    lines = content.decode("utf-8", "replace").splitlines() if name.endswith(".pth") or name == "pyvenv.cfg" else []
    for line in lines:
        if name.endswith(".pth") and line.startswith("/"):
            yield f"{file} puts {line} on sys.path"
        if name == "pyvenv.cfg" and line.partition("=")[2].strip().startswith("/"):
            yield f"{file} says {line}"
    if name == "direct_url.json" and file.startswith("lib/"):
        yield f"{file} tells where this machine installed from"
