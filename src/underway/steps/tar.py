"""The archive: what the manifest lists, in one order, with one date and one owner."""

from __future__ import annotations

import os
from pathlib import Path

from underway_runtime.release import manifest
from underway_runtime.release.archives import archive, signature, tar_layout
from underway_runtime.release.directory import ReleaseDirectory

from ..release import Release


def tar(release: Release) -> Release:
    """Pack the assembled release into ``NAME-VERSION.tar.zst`` next to it, or ``.tar.gz`` with the option ``tar = "gz"``.

    The archive holds what ``manifest.json`` lists, and the manifest first, so that a reader can check the rest as it
    comes; the same release and SOURCE_DATE_EPOCH give the same bytes. With the option sign-key it is signed too. Raises
    ArchiveRefused for what no node would unpack, and OSError when it can't be written.
    """
    sealed = manifest.read(ReleaseDirectory(release.path).version(release.version).manifest)
    archive.write(archive_path(release), release.path, sealed, tar_layout.source_date(os.environ))
    if key := release.options.sign_key:
        signature.sign(archive_path(release), sealed, Path(key))
    return release


def archive_path(release: Release) -> Path:
    """Where ``tar`` puts the archive: next to the root of the release."""
    return archive.path(release.path.parent, release.name, release.version, release.options.tar)
