"""Two pictures in step: what differs, and where.

=============  ====================================================================================================
kind           what it says
=============  ====================================================================================================
``module``     one of the pictures has no such module
``type``       an object of another type; what it holds is not compared
``name``       another module, class or function stands there
``code``       the same function with another code
``value``      another plain value
``added``      an element, attribute or member more
``removed``    one less
``order``      the same keys or elements in another order
``bases``      other bases of a class
``slots``      other slots of a class
``alias``      what is one object in one picture is two in the other
``opaque``     both are there, and nothing here can see whether they differ
=============  ====================================================================================================

Paths are those of the newer picture, but for what is only in the older. An object that is reached by several paths is
compared once, and told by the shortest of them; a plain value is compared at each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import objects
from .align import Likeness, rows
from .node import Flag, Node, Path
from .picture import Picture


@dataclass(frozen=True)
class Difference:
    """One thing in which two pictures differ."""

    path: Path
    kind: str
    was: str = ""
    """What it was, for a message: a value only where the picture has the objects."""
    becomes: str = ""
    a: int | None = None
    """The node in the first picture."""
    b: int | None = None
    other: Path | None = None
    """Of an alias the path by which the same object is reached too."""

    def __str__(self) -> str:
        change = " -> ".join(filter(None, (self.was, self.becomes)))
        also = "" if self.other is None else f", also {self.other}"
        return f"{self.path}: {self.kind}{f' {change}' if change else ''}{also}"


def compare(a: Picture, b: Picture) -> list[Difference]:
    """All in which two pictures differ, in the order in which a walk finds it."""
    return list(_Comparison(a, b).run())


class _Comparison:
    def __init__(self, a: Picture, b: Picture) -> None:
        self.a, self.b = a, b
        self.likeness = Likeness(a.nodes), Likeness(b.nodes)
        self.queue: deque[tuple[int, int, Path]] = deque()
        self.seen: set[tuple[int, int]] = set()
        self.partners: tuple[dict[int, tuple[int, Path]], ...] = ({}, {})

    def run(self) -> Iterator[Difference]:
        for name in sorted({*self.a.modules, *self.b.modules}):
            x, y = self.a.modules.get(name), self.b.modules.get(name)
            if x is None or y is None:
                was, becomes = ("" if each is None else "walked" for each in (x, y))
                yield Difference(Path((name,)), "module", was, becomes, x, y)
            else:
                self.queue.append((x, y, Path((name,))))
        while self.queue:
            x, y, path = self.queue.popleft()
            node = self.a.nodes[x]
            if node.edges or node.flags & Flag.MUTABLE:
                if (x, y) in self.seen:
                    continue
                self.seen.add((x, y))
            yield from self._pair(x, y, path)

    def _pair(self, x: int, y: int, path: Path) -> Iterator[Difference]:
        old, new = self.a.nodes[x], self.b.nodes[y]
        if (old.flags | new.flags) & Flag.NOISE:
            return
        if old.type != new.type:
            yield self._difference(path, "type", x, y)
        elif old.name != new.name:
            yield self._difference(path, "name", x, y)
        else:
            if old.digest != new.digest:
                yield self._difference(path, "code" if old.flags & Flag.CODE else "value", x, y)
            if (old.flags & new.flags) & Flag.OPAQUE:
                yield self._difference(path, "opaque", x, y)
            yield from self._aliases(x, y, path)
            yield from self._edges(x, y, path)

    def _aliases(self, x: int, y: int, path: Path) -> Iterator[Difference]:
        if not self.a.nodes[x].flags & Flag.MUTABLE:
            return
        for partners, one, other in ((self.partners[0], x, y), (self.partners[1], y, x)):
            known, first = partners.setdefault(one, (other, path))
            if known != other:
                yield self._difference(path, "alias", x, y, first)

    def _edges(self, x: int, y: int, path: Path) -> Iterator[Difference]:
        old, new = self.a.nodes[x], self.b.nodes[y]
        if old.edges == new.edges == ():
            return
        rows_differ = old.flags & Flag.SEQUENCE
        before, after = _by_label(old), _by_label(new)
        if rows_differ:
            yield from self._row(_elements(before), _elements(after), path)
        for label in [*before, *(label for label in after if label not in before)]:
            if not (rows_differ and _is_position(label)):
                yield from self._under(label, before.get(label, []), after.get(label, []), path)
        if old.flags & Flag.ORDERED and [key for key in before if key in after] != [
            key for key in after if key in before
        ]:
            yield self._difference(path, "order", x, y)

    def _under(self, label: str, before: Sequence[int], after: Sequence[int], path: Path) -> Iterator[Difference]:
        """What one label leads to, which in a set may be several."""
        if len(before) == len(after) == 1:
            self.queue.append((before[0], after[0], path / label))
            return
        if label.startswith("<key ") and not (before and after):
            return  # which is said of what it leads to
        for one, other in rows(before, after, *self.likeness):
            yield from self._partners(
                None if one is None else before[one], None if other is None else after[other], path / label
            )

    def _row(self, before: Sequence[int], after: Sequence[int], path: Path) -> Iterator[Difference]:
        for one, other in rows(before, after, *self.likeness):
            x, y = None if one is None else before[one], None if other is None else after[other]
            yield from self._partners(x, y, path / f"[{one if other is None else other}]")

    def _partners(self, x: int | None, y: int | None, path: Path) -> Iterator[Difference]:
        if x is not None and y is not None:
            self.queue.append((x, y, path))
        else:
            yield self._difference(path, "added" if x is None else "removed", x, y)

    def _difference(self, path: Path, kind: str, x: int | None, y: int | None, other: Path | None = None) -> Difference:
        if ".__slots__" in path:
            kind = "slots"
        elif path[-1].startswith("<base "):
            kind = "bases"
        return Difference(path, kind, shown(self.a, x), shown(self.b, y), x, y, other)


def shown(picture: Picture, number: int | None) -> str:
    """A node for a message: a plain value where the picture has the objects, else what it is."""
    if number is None:
        return ""
    if picture.objects:
        return objects.shown(picture.objects[number])
    node = picture.nodes[number]
    kind = node.type.removeprefix("builtins.")
    return f"{kind} {node.name or ''}".rstrip() + (f" #{node.digest[:8]}" if node.digest else "")


def _by_label(node: Node) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for label, number in node.edges:
        found.setdefault(label, []).append(number)
    return found


def _is_position(label: str) -> bool:
    return label[0] == "[" and label[1:-1].isdecimal()


def _elements(edges: dict[str, list[int]]) -> list[int]:
    return [numbers[0] for label, numbers in edges.items() if _is_position(label)]
