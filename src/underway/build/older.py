"""How a node comes to a release from older ones, planned while that is built, and put into it.

==============================  ====================================================================
``upgrade-from``                a relup leads from, and back to
==============================  ====================================================================
is not given                    the version that stands at the release's path; where that is the one
                                that is built again, those that its own relup leads from
names archives and releases     each of them
``[]``                          nothing, and there is none
==============================  ====================================================================

Where the project has a ``relup`` for the very release that is built, as ``underway relup`` makes it, that is what is put in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from underway_runtime.release import manifest, relup
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.errors import DamagedRelease, UnderwayError, listing
from underway_runtime.release.manifest import Manifest
from underway_runtime.release.relup import Relup

from ..errors import BuildError
from ..planner.plan import plan
from ..planner.releases import Opened, open_release, standing
from ..release import Release
from ..steps.manifest import seal


@dataclass
class Older:
    """The releases that a relup is to lead from, and what becomes of it."""

    opened: Sequence[Opened]
    named: bool
    """Whether the project names them: then a way that can't be planned stops the build."""
    report: Callable[[str], None] = lambda _: None
    notes: list[str] = field(default_factory=list)
    """What a person should know although nothing failed."""
    planned: Relup | None = None
    """What was planned; None where there was nothing to come from, or the project has its own."""

    def seal(self, release: Release) -> Manifest:
        """Seal a release as `steps.manifest.seal` does, with its relup in it. Raises BuildError."""
        sealed = seal(release)
        version_directory = ReleaseDirectory(release.path).version(release.version)
        if not self.opened or self.planned or version_directory.relup.is_file():
            return sealed
        self.report(f"planning the way from {', '.join(side.manifest.version for side in self.opened)}")
        try:
            self.planned = _plan(Opened(release.path, sealed, 0, release.path.parent), self.opened)
        except UnderwayError as error:
            if self.named:
                raise
            self.notes.append(f"there is no way planned from what stands at the path: {error}")
            self.opened = ()
            return sealed
        if any(entry.verdict == "REFUSE" for entry in (*self.planned.up, *self.planned.down)):
            self.notes.append("the release has no relup, since a change is refused; `underway plan` says which")
            return sealed
        version_directory.relup.write_text(relup.dump(self.planned), encoding="utf-8")
        return seal(release)


def older(
    name: str,
    version: str,
    target: Path,
    given: Sequence[str] | None,
    cleanup: ExitStack,
    report: Callable[[str], None],
) -> Older:
    """The releases from which a node comes to `version` of the release `name`, which is to stand at `target`.

    `given` is the option; what is unpacked for it goes with `cleanup`. Raises BuildError for what is given and is not a release of
    this name, or another build of this version, and DamagedRelease or UsageError for what is not a release at all.
    """
    if given is None:
        return _standing(name, version, target, cleanup, report)
    opened = [open_release(Path(path), cleanup) for path in given]
    problems = [
        problem
        for path, release in zip(given, opened, strict=True)
        for problem in _problems(os.path.relpath(path), release, name, version)
    ]
    if problems:
        raise BuildError(
            listing("upgrade-from names releases that none of this name and version comes from:", problems)
        )
    return Older(opened, named=True, report=report)


def _problems(path: str, opened: Opened, name: str, version: str) -> Iterator[str]:
    other = opened.manifest
    if other.name != name:
        yield f"{path} is {other.name} {other.version}, and this is {name}"
    elif other.version == version:
        yield f"{path} is {name} {version} too; a relup leads from another version"


def _standing(name: str, version: str, target: Path, cleanup: ExitStack, report: Callable[[str], None]) -> Older:
    """What stands at the target; where there is no way from it, a note says why: that never stops a build."""
    if not os.path.lexists(target / "releases"):
        return Older((), named=False)
    try:
        opened = open_release(standing(target), cleanup)
        if opened.manifest.name != name:
            raise BuildError(f"it is {opened.manifest.name} {opened.manifest.version}, and this is {name}")
    except UnderwayError as error:
        where = os.path.relpath(target)
        return Older((), named=False, notes=[f"there is no way planned from what stands at {where}: {error}"])
    if opened.manifest.version != version:
        return Older([opened], named=False, report=report)
    return Older(list(_before(opened, cleanup)), named=False, report=report)


def _before(again: Opened, cleanup: ExitStack) -> Iterator[Opened]:
    """What the relup of a release that is built again leads from, as far as it is there still."""
    if not again.place.relup.is_file():
        return
    for entry in relup.read(again.place.relup).up:
        version_directory = ReleaseDirectory(again.root).version(entry.version)
        if version_directory.manifest.is_file():
            yield open_release(version_directory.path, cleanup)


def _plan(target: Opened, opened: Sequence[Opened]) -> Relup:
    """Plan the ways from releases that are as their manifests say, in so far as that is looked at. Raises DamagedRelease too."""
    for release in opened:
        if damaged := sorted(_damaged(release, target)):
            raise DamagedRelease(listing(f"{release.root} is not as its manifest says; build it again:", damaged))
    return plan(target, opened, opened)


def _damaged(old: Opened, new: Opened) -> Iterator[str]:
    """The files of an older release that are not as they were sealed: of what differs from the newer one, which is what is read."""
    prefix = f"{old.place.path.relative_to(old.root).as_posix()}/"
    homes = {f"lib/{home}/" for home in set(old.homes.values()) - set(new.homes.values())}
    for path, entry in old.manifest.files.items():
        if path.startswith((prefix, *homes)):
            try:
                if manifest.survey(old.root, [path])[path] != entry:
                    yield path
            except (OSError, KeyError):
                yield path
