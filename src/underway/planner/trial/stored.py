"""What the picture in a release says of it, without an interpreter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from underway_runtime.observation import columns, encoded
from underway_runtime.observation.compare import compare
from underway_runtime.observation.encoded import Document
from underway_runtime.observation.node import Flag
from underway_runtime.release.errors import DamagedRelease

from ..releases import Opened
from ..rules.frameworks import is_by_hash


class Pictures:
    """The pictures of two releases, each read when it is asked for, and once."""

    def __init__(self, one: Opened, other: Opened) -> None:
        self._releases = one, other
        self._known: dict[Path, Document | None] = {}

    def of(self, release: Opened) -> Document | None:
        """The picture that the build has taken; None where there is none that can be read, or it is of another interpreter."""
        file = release.place.picture
        if file not in self._known:
            self._known[file] = _read(release, file)
        return self._known[file]

    def holders(self, modules: Collection[str], libraries: Collection[str]) -> list[str]:
        """The modules, beyond these and those of these packages, in which the releases differ.

        They hold something of what changes, whoever has given it to them. None where a release has no picture.
        """
        return sorted(name for name in self._differing - set(modules) if name.partition(".")[0] not in libraries)

    @cached_property
    def _differing(self) -> frozenset[str]:
        """The modules that both have, by which the walk comes to a difference."""
        documents = [document for release in self._releases if (document := self.of(release)) is not None]
        if len(documents) < len(self._releases):
            return frozenset()
        with encoded.checked("the picture"):
            names = [{name for name, _ in document["modules"]} for document in documents]
            paths: Iterable[Sequence[str]] | None = columns.paths_of_other_values(*documents)
            if paths is None:
                one, other = (encoded.of_document(document).picture for document in documents)
                paths = [difference.path for difference in compare(one, other) if difference.kind != "opaque"]
        return frozenset({path[0] for path in paths if not is_by_hash(path)}.intersection(*names))


def _read(release: Opened, file: Path) -> Document | None:
    if file.relative_to(release.root).as_posix() not in release.manifest.files:
        return None
    try:
        document = encoded.unpack(file.read_bytes(), str(file))
    except (DamagedRelease, OSError):
        return None
    return document if document.get("python") == release.manifest.interpreter else None


def is_quiet(picture: Document, modules: Collection[str]) -> bool:
    """Whether nothing that can be reached from these modules differs between two imports of the release, as far as was seen.

    False where one of them is not in the picture. Functions and classes of other modules are told by their names in a trial, and are
    not entered; that here only those are left out which stand in their modules can only find more. Raises DamagedRelease.
    """
    with encoded.checked("the picture"):
        known: dict[str, int] = dict(picture["modules"])
        if not known.keys() >= set(modules):
            return False
        starts, flags, targets = list(accumulate(picture["edges"], initial=0)), picture["flags"], picture["targets"]
        elsewhere = _standing(picture, known, modules, starts)
        seen = {known[name] for name in modules}
        queue = list(seen)
        for number in queue:  # which grows meanwhile
            if flags[number] & (Flag.NOISE | Flag.UNSETTLED):
                return False
            reached = {number + to for to in targets[starts[number] : starts[number + 1]]} - seen - elsewhere
            seen |= reached
            queue += reached
        return True


def _standing(picture: Document, known: dict[str, int], modules: Collection[str], starts: list[int]) -> set[int]:
    """Other modules, and what stands in them under its own name."""
    texts, labels, targets, names = (picture[column] for column in ("texts", "labels", "targets", "names"))
    numbers = set()
    for name, number in known.items():
        if name in modules:
            continue
        numbers.add(number)
        for edge in range(starts[number], starts[number + 1]):
            to = number + targets[edge]
            if texts[names[to]] == f"{name}:{texts[labels[edge]][1:]}":
                numbers.add(to)
    return numbers
