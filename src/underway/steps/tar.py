"""The archive: what the manifest lists, in one order, with one date and one owner."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

from underway_runtime.release import manifest
from underway_runtime.release.directory import ReleaseDirectory

from ..release import Release

EARLIEST = 315532800
"""1980-01-01, what a zip can hold at the earliest; the date of every member unless SOURCE_DATE_EPOCH says another."""


def tar(release: Release) -> Release:
    """Pack the assembled release into ``NAME-VERSION.tar.gz`` beside it.

    The archive holds what ``manifest.json`` lists, and the manifest first, so that a reader can check the rest as it
    comes. Members are regular files and relative links. Raises OSError when it can't be written.
    """
    archive = archive_path(release)
    place = ReleaseDirectory(release.path).version(release.version)
    sealed = manifest.read(place.manifest)
    first = place.manifest.relative_to(release.path).as_posix()
    date = int(os.environ.get("SOURCE_DATE_EPOCH", EARLIEST))
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=date) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as members,
    ):
        for name in (first, *sorted(sealed.files)):
            _add(members, release.path / name, name, date)
    return release


def archive_path(release: Release) -> Path:
    """Where ``tar`` puts the archive: beside the root of the release."""
    return release.path.with_name(f"{release.name}-{release.version}.tar.gz")


def _add(members: tarfile.TarFile, path: Path, name: str, date: int) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = date
    if path.is_symlink():
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
        members.addfile(member)
        return
    with path.open("rb") as content:
        status = os.fstat(content.fileno())
        member.size, member.mode = status.st_size, 0o755 if status.st_mode & 0o111 else 0o644
        members.addfile(member, content)
