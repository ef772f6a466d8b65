"""Pictures: the graph of all that can be reached from some modules, as it is now.

::

    before = picture.take(["shop", "shop.web"])          # of what is imported in this process
    for each in compare.compare(before, after):          # each says where, what it was and what it is
        print(each)

A picture has the nodes in the order in which they are found from the modules, which is the same for the same graph: a node's
number means nothing elsewhere. Values of the same plain type that are equal are one node. With ``keep=True`` the picture
has the objects themselves, by number, for who works in the same process; it is then never written to a file.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import objects
from .look import Looker
from .node import PLAIN, Flag, Node, Path


@dataclass(frozen=True)
class Picture:
    """The graph of objects that can be reached from modules."""

    modules: Mapping[str, int]
    """Each module that was walked, and its node."""
    nodes: Sequence[Node]
    objects: Sequence[Any] = ()
    """What each node was taken of; empty unless they were kept."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Modules that could not be walked, and why."""

    def at(self, path: Iterable[str]) -> int | None:
        """The node at a path, or None where there is none."""
        name, *labels = path
        number = self.modules.get(name)
        for label in labels:
            if number is None:
                return None
            number = dict(reversed(self.nodes[number].edges)).get(label)
        return number

    def paths(self) -> dict[int, Path]:
        """The shortest path to each node."""
        found: dict[int, Path] = {}
        queue = deque((number, Path((name,))) for name, number in self.modules.items())
        while queue:
            number, path = queue.popleft()
            if number not in found:
                found[number] = path
                queue.extend((other, path / label) for label, other in self.nodes[number].edges)
        return found

    @property
    def opaque(self) -> Sequence[int]:
        """The nodes whose state nothing here can see."""
        return [number for number, node in enumerate(self.nodes) if node.flags & Flag.OPAQUE]


def take(modules: Iterable[str], *, keep: bool = False) -> Picture:
    """Look at what can be reached from modules of ``sys.modules``, which are entered; all else is told by name.

    `keep` says that the picture has the objects too. Modules that are not there are `missing`. No code of the objects runs. Other
    threads should do nothing to them meanwhile: a container is read at once, and two are not.
    """
    wanted = sorted(set(modules))
    there = [name for name in wanted if name in sys.modules]
    missing = {name: "it is not imported" for name in wanted if name not in sys.modules}
    collecting = gc.isenabled()
    gc.disable()
    try:
        walk = _Walk(Looker(frozenset(there)))
        roots = {name: walk.number(sys.modules[name]) for name in there}
        walk.run()
    finally:
        if collecting:
            gc.enable()
    return Picture(roots, walk.nodes, walk.found if keep else (), missing)


_BY_VALUE = frozenset(map(id, (*PLAIN, type(NotImplemented))))


class _Walk:
    """Gives each object that is found a number, and looks at it."""

    def __init__(self, look: Looker) -> None:
        self.look = look
        self.nodes: list[Node] = []
        self.found: list[Any] = []  # which keeps alive what was made only to be looked at: no address is used twice
        self.numbers: dict[int, int] = {}
        self.values: dict[tuple[str, str], int] = {}
        self.types: dict[int, str] = {}

    def number(self, value: Any) -> int:
        """The number of an object; of one that is new the next."""
        if (known := self.numbers.get(id(value))) is not None:
            return known
        if id(type(value)) in _BY_VALUE:
            return self._number_of_plain(value)
        number = self.numbers[id(value)] = len(self.found)
        self.found.append(value)
        return number

    def _number_of_plain(self, value: Any) -> int:
        seen, kind = self.look(value), self._type(type(value))
        number = self.values.setdefault((kind, seen.digest), len(self.found))
        if number == len(self.found):
            self.found.append(value)
        return number

    def run(self) -> None:
        """Look at all that was found, and all that this finds; a type lives as long as an object of it."""
        while (at := len(self.nodes)) < len(self.found):
            value = self.found[at]
            seen = self.look(value)
            edges = tuple((label, self.number(each)) for label, each in seen.edges)
            self.nodes.append(Node(self._type(type(value)), seen.name, seen.digest, int(seen.flags), edges))

    def _type(self, kind: type) -> str:
        if (name := self.types.get(id(kind))) is None:
            name = self.types[id(kind)] = objects.name_of(kind)
        return name
