"""RECORD: which files a distribution brought, as its installer wrote it down, and how to write it again.

Paths here are relative to the prefix, as ``lib/python3.11/site-packages/click/core.py`` or ``bin/flask``: what a wheel
puts next to site-packages is in its RECORD as ``../../../bin/flask``.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError, listing

DEPTH = 3
"""Directories between the prefix and what is in site-packages: ``lib/python3.11/site-packages``."""

INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
"""What an installer adds to a dist-info. It tells of the machine that installed; none of it is in the wheel."""


@dataclass(frozen=True)
class WheelRow:
    """One file of a distribution."""

    path: str
    """Relative to site-packages with ``/``, normalized; begins with ``../`` for what is next to it."""
    digest: str
    """``sha256=...`` in the encoding of RECORD; empty for RECORD itself."""

    @property
    def is_outside(self) -> bool:
        """Whether it lies outside site-packages, elsewhere in the prefix."""
        return self.path.startswith("../")


def read(site_packages: Path, dist_info: str) -> tuple[WheelRow, ...]:
    """Read the files of one installed distribution, in the order of RECORD, each once.

    Left out are compiled modules in ``__pycache__``, which are made again, and what the installer added of its own. Raises
    BuildError, naming the distribution, when there is no RECORD, or it names what no wheel may hold: absolute paths, paths that leave the
    prefix, symbolic links, files that are not there.
    """
    problems: list[str] = []
    entries: dict[str, WheelRow] = {}
    real: dict[str, bool] = {}
    prefix = site_packages.parents[DEPTH - 1]
    home = site_packages.relative_to(prefix).as_posix()
    for written, *rest in _rows(site_packages, dist_info):
        path = posixpath.normpath(posixpath.join(home, written))
        if posixpath.isabs(written) or path.startswith("../"):
            problems.append(f"{written!r} is outside of the environment that it is installed into")
            continue
        directory, name = posixpath.split(path)
        if directory not in real:
            real[directory] = Path(os.path.realpath(prefix / directory)) == Path(os.path.realpath(prefix), directory)
        if not real[directory] or os.path.islink(prefix / path):
            problems.append(f"{written!r} is, or is reached by, a symbolic link")
            continue
        if "__pycache__" in directory.split("/") and name.endswith(".pyc"):
            continue
        if directory == f"{home}/{dist_info}" and name in INSTALLERS_OWN:
            continue
        if not os.path.isfile(prefix / path):
            problems.append(f"{written!r} is not there")
            continue
        relative = posixpath.relpath(path, home)
        entries.setdefault(relative, WheelRow(relative, rest[0] if rest else ""))
    if problems:
        raise BuildError(listing(f"{dist_info.removesuffix('.dist-info')} can't be released; of its files,", problems))
    return tuple(entries.values())


def paths(site_packages: Path, dist_info: str) -> list[str]:
    """The paths in a RECORD, as they stand there."""
    return [row[0] for row in _rows(site_packages, dist_info)]


def write(site_packages: Path, dist_info: str, files: Iterable[str]) -> None:
    """Write the RECORD of a distribution again, with the digests and sizes that its files have now, in sorted order.

    `files` are relative to `site_packages`; RECORD itself is always listed, as the specification has it.
    """
    record = f"{dist_info}/RECORD"
    lines = [(record, "", "")]
    for path in {*files} - {record}:
        content = (site_packages / path).read_bytes()
        lines.append((path, digest(content), str(len(content))))
    target = site_packages / record
    target.unlink(missing_ok=True)  # it may be a hard link to somebody else's
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(sorted(lines))
    target.chmod(0o644)


def digest(content: bytes) -> str:
    """A digest as RECORD writes it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _rows(site_packages: Path, dist_info: str) -> list[list[str]]:
    record = site_packages / dist_info / "RECORD"
    try:
        return [row for row in csv.reader(record.read_text(encoding="utf-8").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BuildError(f"the RECORD of {dist_info} can't be read: {error}") from None


def module_name(path: str) -> str | None:
    """The dotted name of the module that a file holds, ``chat`` for ``chat/__init__.py``; None where it holds none."""
    *parents, file = path.split("/")
    if (name := file_module(file)) is None:
        return None
    names = parents if name == "__init__" else [*parents, name]
    return ".".join(names) if names and all(part.isidentifier() for part in names) else None


def file_module(file: str) -> str | None:
    """The name under which a file is found in its directory; None where it is none that holds a module.

    Any name that has no dot can be imported, by importlib or from C: mypyc calls its own ``85cae5375ceb5d1ca6c6__mypyc``.
    """
    name, _, suffix = file.partition(".")
    return name if name and (suffix in ("py", "pyc") or file.endswith(".so")) else None


def dist_infos(site_packages: Path) -> Iterator[str]:
    """The names of the dist-info directories in site-packages, sorted."""
    yield from sorted(path.name for path in site_packages.glob("*.dist-info") if path.is_dir())
