"""Fresh starts of two versions on this host, compared in a process of its own, and what the node has to be like then.

Run with the python of the version that runs. One line of JSON on standard input asks, one on standard output answers: `Expected`, or
``unobservable`` with the reason. It ends with who asks: when its standard input does.

=====================  ================================================================================================
the older version      is imported, and a copy of it becomes the newer one
the newer one          is imported: what it has that the older one has not is what the node is to have
the older one again    is imported: what differs from the first time is noise
=====================  ================================================================================================
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...observation import compare, loggers
from ...observation.compare import Difference
from ...observation.node import Flag, Node, Path
from ...observation.picture import Picture
from ...release.directory import VersionDirectory
from ...release.instruction_json import from_json, to_json
from ...release.instructions import Instruction, Load
from .expected import WITHIN, Check, Excerpt, Expected, Surroundings
from .rehearsed import Unobservable, rehearsed

_NAMED = 5
"""Differences that a message lists."""

_CACHE = "functools._lru_cache_wrapper"

_UNTOLD = ("opaque", "alias")
"""What can't be told of a process by looking at one path."""


def main() -> None:
    """Answer one line."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    old, new = (_surroundings(asked[name]) for name in ("old", "new"))
    answer: dict[str, Any]
    try:
        answer = _compared(old, new, [*map(from_json, asked["instructions"])], asked["modules"]).as_json()
    except Unobservable as error:
        answer = {"unobservable": str(error)}
    print(json.dumps(answer), flush=True)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(1)


def _surroundings(document: Mapping[str, Any]) -> Surroundings:
    version = VersionDirectory(pathlib.Path(document["place"]))
    return Surroundings(version, document["environ"], document["configuration"])


def _compared(
    old: Surroundings, new: Surroundings, instructions: Sequence[Instruction], modules: Sequence[str]
) -> Expected:
    documents = [to_json(instruction) for instruction in instructions]
    before, become = _look(old, modules, new.place, documents)
    made = _made(before, instructions)
    if not isinstance(become, Picture):
        return Expected(made, Excerpt(()), tuple(become))
    wanted, _ = _look(new, modules)
    again, _ = _look(old, modules)
    noise: set[Any] = {difference.path for difference in compare.compare(before, again) if difference.kind != "opaque"}
    noise |= _counted(instructions)
    left = [
        difference
        for difference in compare.compare(become, wanted)
        if difference.kind != "opaque"
        and not _is_noise(difference, noise)
        and not loggers.are_asked_for(difference, become, wanted)
        and not _is_cache_of_others(difference, become, wanted, modules)
    ]
    problems = [
        f"in a trial on this host something differs from a fresh start: {_in_words(difference)}"
        for difference in left[:_NAMED]
    ]
    differences, stay = compare.compared(before, wanted)
    excerpt = _Excerpt(wanted, stay)  # what was there before: what that holds is compared where it changes
    changes = (
        change
        for change in differences
        if not loggers.are_asked_for(change, before, wanted)
        and not _is_cache_of_others(change, before, wanted, modules)
    )
    checks = _checks(wanted, [change for change in changes if not _is_noise(change, noise)], excerpt)
    return Expected(made, excerpt.of(checks), tuple(problems))


def _look(
    version: Surroundings, modules: Sequence[str], other: VersionDirectory | None = None, documents: Sequence[Any] = ()
) -> tuple[Picture, Picture | list[str]]:
    with rehearsed(version.place, version.environ, pathlib.Path.cwd(), WITHIN) as process:
        process.boot(modules, version.configuration)
        taken = process.picture(modules)
        return taken, taken if other is None else process.become(other, documents, modules)


def _counted(instructions: Sequence[Instruction]) -> set[tuple[str, ...]]:
    """The paths of numbers that never go back, and of rows in an order by chance."""
    return {
        (load.module, *(f".{of}" if kind == "attribute" else f"[{of!r}]" for kind, of in part.path))
        for load in instructions
        if isinstance(load, Load)
        for part in load.parts
        if part.kind in ("counted", "placed")
    }


def _in_words(difference: Difference) -> str:
    was, becomes = difference.was or "nothing", difference.becomes or "nothing"
    return f"{difference.path} ({difference.kind}: {was}, and not {becomes})"


def _is_cache_of_others(difference: Difference, one: Picture, other: Picture, modules: Collection[str]) -> bool:
    """Whether it is how much the cache of a function holds that is of none of these modules' packages: of `typing`."""
    packages = {name.partition(".")[0] for name in modules}
    if difference.kind != "value" or difference.a is None or difference.b is None:
        return False
    for picture, number in ((one, difference.a), (other, difference.b)):
        node = picture.nodes[number]
        wrapped = picture.nodes[dict(node.edges)["<wrapped>"]].name if node.type == _CACHE else ""
        if not wrapped or wrapped.partition(":")[0].partition(".")[0] in packages:
            return False
    return True


def _is_noise(difference: Difference, noise: set[Any]) -> bool:
    return any(difference.path[:depth] in noise for depth in range(1, len(difference.path) + 1))


_DESCRIPTORS = ("builtins.staticmethod", "builtins.classmethod", "builtins.property")
"""Types of members that are what they hold."""


class _Excerpt:
    """Takes nodes of a picture, with all that they hold but for what stays; what stays is told by what it is.

    Those that are `whole` must hold no more than that.
    """

    def __init__(self, picture: Picture, stay: Iterable[int], whole: Collection[int] = ()) -> None:
        self._picture = picture
        self._stay = frozenset(stay)
        self._whole = whole
        self._numbers: dict[int, int] = {}

    def number(self, of: int) -> int:
        """The number that a node of the picture has in the excerpt."""
        return self._numbers.setdefault(of, len(self._numbers))

    def of(self, checks: Iterable[Check]) -> Excerpt:
        """The excerpt for some checks, whose nodes have their numbers in it."""
        asked = tuple(checks)
        nodes = []
        taken = list(self._numbers)
        for at in taken:  # which grows meanwhile
            node = self._picture.nodes[at]
            edges = () if at in self._stay else node.edges
            taken += dict.fromkeys(to for _, to in edges if to not in self._numbers)
            flags = node.flags | (Flag.WHOLE if at in self._whole else 0)
            nodes.append(node._replace(flags=flags, edges=tuple((label, self.number(to)) for label, to in edges)))
        return Excerpt(tuple(self._picture.modules), tuple(nodes), asked)


def _made(before: Picture, instructions: Sequence[Instruction]) -> Excerpt:
    """What is to be bound to something else; what can change in it is told by what it is, but for instances of what is made again.

    What functions remember is not told: it is made again, and compared with that, in the process.
    """
    loads = [load for load in instructions if isinstance(load, Load) and load.seen]
    remembering = {(load.module, guard.of) for load in loads for guard in load.guards if guard.kind == "remembered"}
    replaced = [(load.module, name) for load in loads for name in load.replaced]
    named = [pair for pair in replaced if pair not in remembering]
    paths = (Path((module, *(f".{part}" for part in name.split(".")))) for module, name in named)
    at = [(path, number) for path in paths if (number := before.at(path)) is not None]
    compared = _within(before, [number for _, number in at], {*_DESCRIPTORS, *map(".".join, named)})
    mutable = (number for number, node in enumerate(before.nodes) if node.flags & Flag.MUTABLE)
    excerpt = _Excerpt(before, (number for number in mutable if number not in compared), compared)
    return excerpt.of([Check("same", path, excerpt.number(number)) for path, number in at])


def _within(picture: Picture, numbers: Iterable[int], classes: Collection[str]) -> set[int]:
    """Those among some nodes that are instances of these classes, with all that they hold but for what has a name."""
    instances = [number for number in numbers if picture.nodes[number].type in classes]
    for number in instances:  # which grows meanwhile
        inner = (to for _, to in picture.nodes[number].edges if not picture.nodes[to].name)
        instances += [to for to in dict.fromkeys(inner) if to not in instances]
    return set(instances)


def _checks(wanted: Picture, differences: Iterable[Difference], excerpt: _Excerpt) -> Iterator[Check]:
    """What to look at in the node for each; once for all of a row."""
    rows = set()
    for difference in differences:
        above = Path(difference.path[:-1])
        row = wanted.at(above) if above else None
        if difference.kind in _UNTOLD:
            continue
        if row is not None and wanted.nodes[row].flags & Flag.SEQUENCE:
            if above not in rows:
                rows.add(above)
                yield Check("row", above, 0, _numbered(_elements(wanted.nodes[row]), excerpt))
        elif difference.kind == "removed":
            yield Check("gone", difference.path)
        elif difference.kind == "order" and difference.b is not None:
            yield Check("order", difference.path, 0, tuple((label, 0) for label, _ in wanted.nodes[difference.b].edges))
        elif difference.b is not None:
            yield Check("same", difference.path, excerpt.number(difference.b))


def _elements(node: Node) -> Iterator[tuple[str, int]]:
    return ((label, to) for label, to in node.edges if label[1:-1].isdecimal())


def _numbered(edges: Iterable[tuple[str, int]], excerpt: _Excerpt) -> tuple[tuple[str, int], ...]:
    return tuple((label, excerpt.number(to)) for label, to in edges)
