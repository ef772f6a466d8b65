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
from operator import itemgetter
from typing import NamedTuple

from . import objects
from .align import Likeness, heaps, rows
from .node import Flag, Node, Path, hidden_label
from .picture import Picture

_LABEL = itemgetter(0)


_OF_CLASS = "<cell __class__>"
"""In what a method has its class, for ``super()``: one that came later has a cell of its own, with the same class in it."""


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
    within: tuple[int, int] | None = None
    """The nodes in the two pictures that hold what differs; None of a module."""

    def __str__(self) -> str:
        change = " -> ".join(filter(None, (self.was, self.becomes)))
        also = "" if self.other is None else f", also {self.other}"
        return f"{self.path}: {self.kind}{f' {change}' if change else ''}{also}"


def compare(a: Picture, b: Picture) -> list[Difference]:
    """All in which two pictures differ, in the order in which a walk finds it."""
    return list(_Comparison(a, b).run())


def compared(a: Picture, b: Picture) -> tuple[list[Difference], dict[int, int]]:
    """The same, and by the number of an object in the second picture that of the one in the first that it was compared with."""
    comparison = _Comparison(a, b)
    return list(comparison.run()), {y: x for x, y in comparison.seen}


class _Step(NamedTuple):
    """A pair of nodes, and how the walk came to it."""

    x: int
    y: int
    label: str
    before: _Step | None

    def path(self) -> Path:
        labels, step = [], self
        while True:
            labels.append(step.label)
            if step.before is None:
                return Path(reversed(labels))
            step = step.before


class _Comparison:
    def __init__(self, a: Picture, b: Picture) -> None:
        self.a, self.b = a, b
        self.likeness = Likeness(a.nodes, a.modules), Likeness(b.nodes, b.modules)
        self.queue: deque[_Step] = deque()
        self.seen: set[tuple[int, int]] = set()
        self.partners: tuple[dict[int, _Step], dict[int, _Step]] = ({}, {})

    def run(self) -> Iterator[Difference]:
        for name in sorted({*self.a.modules, *self.b.modules}):
            x, y = self.a.modules.get(name), self.b.modules.get(name)
            if x is None or y is None:
                was, becomes = ("" if module is None else "walked" for module in (x, y))
                yield Difference(Path((name,)), "module", was, becomes, x, y)
            else:
                self._push(x, y, name, None)
        while self.queue:
            step = self.queue.popleft()
            old, new = self.a.nodes[step.x], self.b.nodes[step.y]
            if old != new or old.edges or old.flags & (Flag.OPAQUE | Flag.MUTABLE):
                yield from self._pair(step, old, new)

    def _push(self, x: int, y: int, label: str, before: _Step | None) -> None:
        """Have a pair compared, unless it was already, or is alike and holds nothing."""
        old = self.a.nodes[x]
        if old.edges or old.flags & Flag.MUTABLE:
            if (x, y) in self.seen:
                return
            self.seen.add((x, y))
        elif old == self.b.nodes[y] and not old.flags & Flag.OPAQUE:
            return
        self.queue.append(_Step(x, y, label, before))

    def _pair(self, step: _Step, old: Node, new: Node) -> Iterator[Difference]:
        if (old.flags | new.flags) & Flag.NOISE:
            return
        if old.type != new.type:
            yield self._difference(step, "type")
        elif old.name != new.name:
            yield self._difference(step, "name")
        else:
            if old.digest != new.digest:
                yield self._difference(step, "code" if old.flags & Flag.CODE else "value")
            if old.flags & new.flags & Flag.OPAQUE:
                yield self._difference(step, "opaque")
            if old.flags & Flag.MUTABLE and step.label != _OF_CLASS:
                yield from self._aliases(step)
            if old.edges or new.edges:
                yield from self._edges(step, old, new)

    def _aliases(self, step: _Step) -> Iterator[Difference]:
        first = self.partners[0].setdefault(step.x, step)
        if first.y != step.y:
            yield self._difference(step, "alias", first)
        first = self.partners[1].setdefault(step.y, step)
        if first.x != step.x:
            yield self._difference(step, "alias", first)

    def _edges(self, step: _Step, old: Node, new: Node) -> Iterator[Difference]:
        in_a_row = old.flags & Flag.SEQUENCE
        if not in_a_row and _have_the_same_labels(old, new):
            for (label, x), (_, y) in zip(old.edges, new.edges, strict=True):
                self._push(x, y, label, step)
            return
        if in_a_row and self._are_alike(old, new):
            return
        before, after = _by_label(old), _by_label(new)
        before, after = _with_known_keys(before, after), _with_known_keys(after, before)
        if in_a_row:
            yield from self._row(_elements(before), _elements(after), step)
        for label in [*before, *(label for label in after if label not in before)]:
            if not (in_a_row and _is_position(label)):
                yield from self._under(label, before.get(label, []), after.get(label, []), step)
        if (
            old.flags & Flag.ORDERED
            and not (old.flags | new.flags) & Flag.UNSETTLED
            and [key for key in before if key in after] != [key for key in after if key in before]
        ):
            yield self._difference(step, "order")

    def _are_alike(self, old: Node, new: Node) -> bool:
        """Whether two rows have the same, all of which holds nothing."""
        a, b = self.a.nodes, self.b.nodes
        return len(old.edges) == len(new.edges) and all(
            label == other
            and not (node := a[x]).edges
            and not node.flags & (Flag.MUTABLE | Flag.OPAQUE)
            and node == b[y]
            for (label, x), (other, y) in zip(old.edges, new.edges, strict=True)
        )

    def _under(self, label: str, before: Sequence[int], after: Sequence[int], step: _Step) -> Iterator[Difference]:
        """What one label leads to, which in a set may be several."""
        if len(before) == len(after) == 1:
            self._push(before[0], after[0], label, step)
        elif (before and after) or not label.startswith("<key "):  # of a key it is said of what it leads to
            for one, other in heaps(before, after, *self.likeness):
                x, y = None if one is None else before[one], None if other is None else after[other]
                yield from self._partners(x, y, label, step)

    def _row(self, before: Sequence[int], after: Sequence[int], step: _Step) -> Iterator[Difference]:
        for one, other in rows(before, after, *self.likeness):
            x, y = None if one is None else before[one], None if other is None else after[other]
            yield from self._partners(x, y, f"[{one if other is None else other}]", step)

    def _partners(self, x: int | None, y: int | None, label: str, step: _Step) -> Iterator[Difference]:
        if x is not None and y is not None:
            self._push(x, y, label, step)
        elif not (self.a.nodes[step.x].flags | self.b.nodes[step.y].flags) & Flag.UNSETTLED:
            path = step.path() / label
            kind = _kind(path, "added" if x is None else "removed")
            yield Difference(path, kind, shown(self.a, x), shown(self.b, y), x, y, within=(step.x, step.y))

    def _difference(self, step: _Step, kind: str, first: _Step | None = None) -> Difference:
        path, other = step.path(), first.path() if first is not None else None
        was, becomes = shown(self.a, step.x), shown(self.b, step.y)
        within = (step.before.x, step.before.y) if step.before is not None else None
        return Difference(path, _kind(path, kind), was, becomes, step.x, step.y, other, within)


def _kind(path: Path, kind: str) -> str:
    if ".__slots__" in path:
        return "slots"
    return "bases" if path[-1].startswith("<base ") else kind


def shown(picture: Picture, number: int | None) -> str:
    """A node for a message: a plain value where the picture has the objects, else what it is."""
    if number is None:
        return ""
    if picture.objects:
        return objects.shown(picture.objects[number])
    node = picture.nodes[number]
    kind = node.type.removeprefix("builtins.")
    return f"{kind} {node.name or ''}".rstrip() + (f" #{node.digest[:8]}" if node.digest else "")


def _have_the_same_labels(old: Node, new: Node) -> bool:
    """Whether both have the same labels in the same order, each once."""
    if len(old.edges) != len(new.edges):
        return False
    labels = [*map(_LABEL, old.edges)]
    return labels == [*map(_LABEL, new.edges)] and len({*labels}) == len(labels)


def _by_label(node: Node) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for label, number in node.edges:
        numbers.setdefault(label, []).append(number)
    return numbers


def _with_known_keys(labels: dict[str, list[int]], other: dict[str, list[int]]) -> dict[str, list[int]]:
    """The same, with the keys that are digests as `other` tells them, where it does."""
    if not any(label[1:2] == "#" and label not in other for label in labels):
        return labels
    known = {hidden_label(label): label for label in other if label not in labels}
    return {known.get(label, label): numbers for label, numbers in labels.items()}


def _is_position(label: str) -> bool:
    return label[0] == "[" and label[1:-1].isdecimal()


def _elements(edges: dict[str, list[int]]) -> list[int]:
    return [numbers[0] for label, numbers in edges.items() if _is_position(label)]
