"""What of a release's tree belongs to which version.

=========================================  =============================================================================
``lib/NAME-V``, ``python-V``               units: of each version that lists files in them, with the same bytes in all of these
``releases/V``                             of one version, which is here when its manifest is
``bin/NAME``, ``releases/start.data``,     of any version that lists them; whoever came first has put them there
overlays elsewhere
=========================================  =============================================================================

While unpack or remove are at it, ``.transaction`` holds the manifest of the version that comes or goes, so that the
next transaction can clear what a dead one left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..release.archives import tar_layout
from ..release.directory import ReleaseDirectory
from ..release.errors import DamagedRelease, listing
from ..release.filesystem.atomic_files import sync_directory
from ..release.manifest import Manifest, ManifestEntry, read
from . import command_files


@dataclass(frozen=True)
class Known:
    """The versions that are here."""

    manifests: Mapping[str, Manifest]
    damaged: Mapping[str, str]
    """Those whose manifest can't be read, and why: nobody knows what else is theirs."""


def known(directory: ReleaseDirectory) -> Known:
    """The versions that are here, with their manifests."""
    manifests, damaged = {}, {}
    for file in sorted(directory.releases.glob("*/manifest.json")):
        try:
            manifests[file.parent.name] = read(file)
        except DamagedRelease as error:
            damaged[file.parent.name] = str(error)
    return Known(manifests, damaged)


def units(manifest: Manifest) -> list[str]:
    """The directories that a version shares with others as a whole, without ``releases/V``."""
    return [*by_unit(manifest)]


def by_unit(manifest: Manifest) -> dict[str, dict[str, ManifestEntry]]:
    """The same, each with what is in it."""
    units: dict[str, dict[str, ManifestEntry]] = {}
    for path, entry in manifest.files.items():
        if (name := unit(path)) is not None:
            units.setdefault(name, {})[path] = entry
    return dict(sorted(units.items()))


def shared_files(manifest: Manifest) -> list[str]:
    """The files of a version that are in no unit and not in ``releases/V``."""
    prefix = f"{version_unit(manifest)}/"
    return [path for path in manifest.files if unit(path) is None and not path.startswith(prefix)]


def version_unit(manifest: Manifest) -> str:
    """``releases/V``, from the root."""
    return os.path.dirname(tar_layout.manifest_path(manifest.version))


def unit(path: str) -> str | None:
    """The unit that a path is in; None for one that is in none."""
    top, *rest = path.split("/")
    if top == "lib" and rest:
        return f"{top}/{rest[0]}"
    return top if top.startswith("python-") else None


def move(source: Path, target: Path) -> None:
    """Rename, and see that it stays so."""
    _make(target.parent)
    os.rename(source, target)
    sync_directory(target.parent)


def _make(directory: Path) -> None:
    """Make a directory of the tree, with those above it that are missing: for others to read, whatever the umask, and not to write."""
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o755)


def discard(path: Path) -> None:
    """Delete a file, a link or a directory with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_known(here: Known, leaving: str = "") -> None:
    """Raise DamagedRelease where it is not known which files the versions have, but for one that is `leaving`."""
    if damaged := [why for name, why in here.damaged.items() if name != leaving]:
        raise DamagedRelease(listing("it can't be said which files are still in use:", damaged))


def only_of(manifest: Manifest, others: Mapping[str, Manifest]) -> list[str]:
    """The units and shared files of a version that no other has."""
    theirs = {name for other in others.values() for name in (*units(other), *shared_files(other))}
    return [name for name in (*units(manifest), *shared_files(manifest)) if name not in theirs]


def clear(directory: ReleaseDirectory) -> list[str]:
    """Finish what a dead unpack or remove has left; the versions that it was about.

    What it had brought in goes, unless a version that is here has it too; what it was taking out goes. A newer command of a
    version that is here takes its place, for which the unpack did not live. Deletes nothing while the manifest of a version
    can't be read: raises DamagedRelease then.
    """
    transaction = directory.transaction
    if not transaction.exists():
        return []
    about = []
    for file in sorted(transaction.glob("*/releases/*/manifest.json")):
        with suppress(DamagedRelease):  # it died while it was being deleted, after everything else
            manifest = read(file)
            delete(directory, manifest)
            about.append(manifest.version)
    command_files.bring_up_to_date(directory, transaction / "tree", known(directory).manifests.values())
    shutil.rmtree(transaction)
    return about


def delete(directory: ReleaseDirectory, manifest: Manifest) -> list[str]:
    """Delete what only this version has, which is no longer or not yet here; what was deleted. Raises DamagedRelease."""
    here = known(directory)
    check_known(here)
    deleted = [name for name in only_of(manifest, here.manifests) if os.path.lexists(directory.root / name)]
    for name in deleted:
        discard(directory.root / name)
        with suppress(OSError):  # until one is not empty
            for above in (directory.root / name).parents:
                if above == directory.root:
                    break
                above.rmdir()
    return deleted
