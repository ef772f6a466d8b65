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
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import objects
from .look import Looker
from .node import PLAIN, Flag, Node, Path, digest_of, plain_text


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
    noise: tuple[Path, ...] = ()
    """The paths of what differs between two imports of this version, sorted."""

    def at(self, path: Iterable[str]) -> int | None:
        """The node at a path, or None where there is none."""
        name, *labels = path
        number = self.modules.get(name)
        for label in labels:
            if number is None:
                return None
            number = dict(reversed(self.nodes[number].edges)).get(label)
        return number

    def paths(self, numbers: Iterable[int]) -> dict[int, Path]:
        """The shortest paths to some nodes."""
        parents: dict[int, tuple[int, str]] = {}
        roots = {number: name for name, number in sorted(self.modules.items(), reverse=True)}
        queue = deque(sorted(roots))
        while queue:
            number = queue.popleft()
            for label, other in self.nodes[number].edges:
                if other not in parents and other not in roots:
                    parents[other] = number, label
                    queue.append(other)
        paths = {}
        for number in numbers:
            labels, at = [], number
            while at in parents:
                at, label = parents[at]
                labels.append(label)
            if at in roots:
                paths[number] = Path((roots[at], *reversed(labels)))
        return paths

    @property
    def opaque(self) -> Sequence[int]:
        """The nodes whose state nothing here can see."""
        return [number for number, node in enumerate(self.nodes) if node.flags & Flag.OPAQUE]


def take(modules: Iterable[str], *, keep: bool = False, places: Mapping[str, str] = {}) -> Picture:
    """Look at what can be reached from modules of ``sys.modules``, which are entered; all else is told by name.

    `keep` says that the picture has the objects too. `places` are directories that are elsewhere for each picture, with words that
    stand for them in texts. Modules that are not there are `missing`. No code of the objects runs. Other
    threads should do nothing to them meanwhile: a container is read at once, and two are not.
    """
    wanted = sorted(set(modules))
    imported = [name for name in wanted if name in sys.modules]
    missing = {name: "it is not imported" for name in wanted if name not in sys.modules}
    collecting = gc.isenabled()
    gc.disable()
    try:
        walk = _Walk(Looker(frozenset(imported)), places)
        roots = {name: walk.number(sys.modules[name]) for name in imported}
        walk.run()
        walk.forget_addresses()
    finally:
        if collecting:
            gc.enable()
    return Picture(roots, walk.nodes, walk.found if keep else (), missing)


_ADDRESS = re.compile(r"(?<![0-9a-f])(?:0x[0-9a-f]{5,16}|[0-9]{7,19})(?![0-9a-f])")
"""What may be the address of an object, in a text or a key; that of a program which is not moved may have seven digits."""


def without_addresses(text: str, word: Callable[[int, str], str]) -> str:
    """A text with words in the place of the addresses in it; `word` is given what may be one, and how it is written."""
    return _ADDRESS.sub(lambda match: word(int(match[0], 16 if match[0][:2] == "0x" else 10), match[0]), text)


def word_for(kind: str, name: str) -> str:
    """What stands for the address of an object in a text: its type and name, as its node has them."""
    return f"@{kind} {name}"


_BY_VALUE = frozenset(map(id, (*PLAIN, type(NotImplemented))))


class _Walk:
    """Gives each object that is found a number, and looks at it."""

    def __init__(self, look: Looker, places: Mapping[str, str]) -> None:
        self.look = look
        self.places = places
        self.nodes: list[Node] = []
        self.found: list[Any] = []  # which keeps alive what was made only to be looked at: no address is used twice
        self.numbers: dict[int, int] = {}
        """By address."""
        self.texts: dict[str, int] = {}
        self.values: dict[tuple[type, str], int] = {}
        """Of other plain values than texts."""
        self.plain: dict[int, Node] = {}
        """The nodes of plain values, which hold nothing."""
        self.types: dict[int, str] = {}

    def number(self, value: Any) -> int:
        """The number of an object; of one that is new the next."""
        if (known := self.numbers.get(id(value))) is not None:
            return known
        kind = type(value)
        number = len(self.found)
        if kind is str:
            if (known := self.texts.setdefault(value, number)) != number:
                return known
            self.plain[number] = Node(self._type(kind), "", digest_of(value), 0, ())
        elif id(kind) in _BY_VALUE:
            if (known := self.values.setdefault((kind, plain_text(value)), number)) != number:
                return known
            self.plain[number] = Node(self._type(kind), "", self.look(value).digest, 0, ())
        self.numbers[id(value)] = number
        self.found.append(value)
        return number

    def run(self) -> None:
        """Look at all that was found, and all that this finds; a type lives as long as an object of it."""
        look, nodes, numbers = self.look, self.nodes, self.numbers
        for number, value in enumerate(self.found):  # which grows meanwhile
            if (node := self.plain.get(number)) is None:
                seen = look(value)
                edges = []
                for label, target in seen.edges:
                    known = numbers.get(id(target))
                    edges.append((label, self.number(target) if known is None else known))
                node = Node(self._type(type(value)), seen.name, seen.digest, seen.flags, tuple(edges))
            nodes.append(node)

    def forget_addresses(self) -> None:
        """Have texts, numbers and keys that name the address or the place of an object say which it is.

        Schemas of pydantic and many a registry are full of ``id(cls)``, which is another number in each process.
        """
        for number, value in enumerate(self.found):
            node = self.nodes[number]
            if type(value) is str:
                if (told := self._without_addresses(value)) != value:
                    self.nodes[number] = node._replace(digest=digest_of(told))
            elif type(value) is int:
                if word := self._word(value):
                    self.nodes[number] = node._replace(digest=digest_of(word))
            elif any(map(_ADDRESS.search, labels := [label for label, _ in node.edges if label[0] in "[{"])):
                told_labels = {label: self._without_addresses(label) for label in labels}
                edges = tuple((told_labels.get(label, label), to) for label, to in node.edges)
                self.nodes[number] = node._replace(edges=edges)

    def _without_addresses(self, text: str) -> str:
        for path, word in self.places.items():
            if path in text:
                text = text.replace(path, word)
        return without_addresses(text, self._word)

    def _word(self, address: int, otherwise: str = "") -> str:
        """What stands for the address of an object that was found; `otherwise` for any other number."""
        number = self.numbers.get(address)
        if number is None or number in self.plain:
            return otherwise
        node = self.nodes[number]
        return word_for(node.type, node.name)

    def _type(self, kind: type) -> str:
        if (name := self.types.get(id(kind))) is None:
            name = self.types[id(kind)] = objects.name_of(kind)
        return name
