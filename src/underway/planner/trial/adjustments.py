"""Parts of objects that bring what differs from a fresh start to nothing, as far as there are such.

A part is a value, an item or an order in an object that stays: what it was and what it becomes. It is looked up in the two processes
in which the releases were imported; what nobody can bring to nothing is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from underway_runtime.observation.align import NEARLY, Likeness, rows
from underway_runtime.observation.compare import Difference, compared
from underway_runtime.observation.node import Flag, Node, Path
from underway_runtime.observation.picture import Picture
from underway_runtime.release.instructions import Instruction
from underway_runtime.release.parts import Part, Step
from underway_runtime.release.relup import Row
from underway_runtime.upgrade.hot.rehearsed import Rehearsed

from ..graph import (
    Loads,
    Place,
    elements,
    is_fixed,
    label_of,
    labels_of,
    placed,
    places_in,
    step_of,
)
from ..releases import Opened
from ..rules.frameworks.pydantic import COMPILED


@dataclass(frozen=True)
class Proposal:
    """What the rules make of it, to be tried."""

    changes: Sequence[Row]
    loads: Loads
    instructions: Callable[[Loads], Sequence[Instruction]]
    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By module and name the line of the statement that binds it, in the newer release."""
    made: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """By module and name: under which names the fragment makes what is new in what that name is bound to."""


class Adjustments:
    """Adds parts to the instructions that are proposed."""

    def __init__(
        self,
        proposal: Proposal,
        loads: Loads,
        release: Opened,
        before: Rehearsed,
        after: Rehearsed,
        pictures: Sequence[Picture],
    ) -> None:
        self.loads = dict(loads)
        self.problems: list[Row] = []
        self.changes: list[Row] = []
        """What the parts change."""
        self._proposal, self._release = proposal, release
        self._before, self._after = before, after
        self._old, self._wanted = pictures
        self._roots = tuple(f"{version.place.path.parents[1]}/" for version in (before, after))
        self._made = {(m, n): list(made) for m, names in proposal.made.items() for n, made in names.items()}
        self._elements: dict[int, str] = {}
        """By its number in a fresh start of the newer release: under which name the fragment has made what is new in a list."""

    def put_place(self, path: Path) -> bool:
        """Have a row of texts that a module has name another place, whatever its order; whether that is all that it takes."""
        module, name = path[0], path[1][1:]
        if module not in self.loads:
            return False
        try:
            values = [version.value(path) for version in (self._before, self._after)]
        except LookupError:
            return False
        rows_of = [_below_roots(value, root) for value, root in zip(values, self._roots, strict=True)]
        gone, new = ([text for text in one if text not in other] for one, other in (rows_of, rows_of[::-1]))
        if len(rows_of[0]) != len(rows_of[1]) or len(gone) != 1 or len(new) != 1:
            return False
        if not (gone[0][0] and new[0][0]) or rows_of[0].count(gone[0]) != 1:
            return False
        part = Part("placed", (("attribute", name),), gone[0][1], new[0][1])
        self._add(Difference(path, "value"), module, part)
        return True

    def bring(self, result: Picture, left: Iterable[Difference]) -> None:
        """Add parts that bring what is left of differences to nothing, in a picture of what the older release has become."""
        _, pairs = compared(result, self._wanted)
        places = places_in(result, self.loads)
        rows_of: dict[int, list[Difference]] = {}
        for difference in dict.fromkeys(self._whole(difference, result) for difference in left):
            if len(difference.path) < 2 or COMPILED.intersection(
                difference.path
            ):  # a module that only one has imported; a schema
                self.problems.append(self.row(difference))
                continue
            above = self._wanted.at(difference.path[:-1]) if difference.kind != "removed" else None
            x = pairs.get(above) if above is not None else result.at(difference.path[:-1])
            if x is not None and result.nodes[x].flags & Flag.SEQUENCE and difference.kind in ("added", "removed"):
                rows_of.setdefault(x, []).append(difference)
            elif difference.kind == "order" and difference.a is not None and difference.a in places:
                self._ordered(difference, places[difference.a])
            elif self._settled(difference, result, places):
                continue
            elif x is not None and x in places and not is_fixed(result.nodes[x]):
                holder = result.nodes[x] if above is None else self._wanted.nodes[above]
                if (step := step_of(difference.path[-1], holder)) is None or not self._single(
                    difference, places[x], step
                ):
                    self.problems.append(self.row(difference))
            else:
                self.problems.append(self.row(difference))
        for x, differences in sorted(rows_of.items(), key=lambda row: not self._queue(row[1][0])):
            y = next((y for y, other in pairs.items() if other == x), None)
            if y is None:  # it goes, and something else stands there
                self.problems += map(self.row, differences)
            else:
                self._list(result, x, y, differences, places)

    def _whole(self, difference: Difference, result: Picture) -> Difference:
        """What differs within a row that can't be changed, or in a set, as a difference of all of it."""
        path = difference.path
        while len(path) > 2:
            a, b = result.at(path[:-1]), self._wanted.at(path[:-1])
            if a is None or b is None or not _is_one(result.nodes[a], self._wanted.nodes[b]):
                break
            path = Path(path[:-1])
            difference = Difference(path, "value", a=a, b=b)
        return difference

    def _single(self, difference: Difference, above: Place, step: Step) -> bool:
        """One attribute or item of an object that is there; whether something can be done about it."""
        module, steps = above
        kind = {"value": "value", "type": "value", "added": "added", "removed": "gone"}.get(difference.kind)
        if kind is None:
            return False
        path = (*steps, step)
        labels = (module, *map(label_of, path))
        if kind == "gone":
            assert difference.a is not None
            node = self._old.at(labels)
            if node is None:
                return False
            self._add(difference, module, Part(kind, path, self._old.nodes[node].type))
            return True
        if kind == "added" and not self._is_plain(difference.path) and (made := self._queue(difference)):
            self._add(difference, module, Part("made", path, None, made.pop(0)))
            return True
        try:
            was = None if kind == "added" else self._before.value(labels)
            now = self._after.value(difference.path)
        except LookupError:
            return False
        part = placed(self._roots, Part("elements" if type(was) is type(now) is set else kind, path, was, now))
        if part is not None:
            self._add(difference, module, part)
        return part is not None

    def _settled(self, difference: Difference, result: Picture, places: Mapping[int, Place]) -> bool:
        """A compiled pattern, or a path below the root of the release, that an object holds: another one is put in its place."""
        number = result.at(difference.path[:-1])
        place = places.get(number) if number is not None else None
        of = result.nodes[number].type if number is not None else ""
        kind, labels = ("pattern", ("<pattern>", "<flags>")) if of == "re.Pattern" else ("place", ("<text>",))
        if place is None or (kind == "place" and not of.startswith("pathlib.")):
            return False
        module, path = place
        if len(path) < 2 or any(part.path == path for part in self.loads[module].parts):
            return len(path) > 1
        try:
            was, now = (
                [version.value((*at, label)) for label in labels]
                for version, at in ((self._before, labels_of(place)), (self._after, difference.path[:-1]))
            )
        except LookupError:
            return False
        if kind == "pattern":
            self._add(difference, module, Part(kind, path, tuple(was), tuple(now)))
            return True
        part = placed(self._roots, Part("value", path, was[0], now[0]))
        if part is None or part.kind != "place":
            return False
        self._add(difference, module, part)
        return True

    def _ordered(self, difference: Difference, place: Place) -> None:
        """Put the keys of a dict in the order of a fresh start."""
        assert difference.b is not None
        node = self._wanted.nodes[difference.b]
        steps = [step_of(label, node) for label, _ in node.edges if label[0] == "["]
        keys = [step[1] for step in steps if step is not None and step[0] == "item"]
        module, path = place
        self._add(difference, module, Part("order", path, None, keys))

    def _list(
        self, result: Picture, x: int, y: int, differences: Sequence[Difference], places: Mapping[int, Place]
    ) -> None:
        """Give a list whose elements come, go or move those that are there, and what the fragment has made."""
        before, after = (elements(picture.nodes[n]) for picture, n in ((result, x), (self._wanted, y)))
        likeness = Likeness(result.nodes, result.modules), Likeness(self._wanted.nodes, self._wanted.modules)
        staying = {b: a for a, b in rows(before, after, *likeness) if a is not None and b is not None}
        left = [a for a in range(len(before)) if a not in staying.values()]
        made, above = self._queue(differences[0]), differences[0].path[:-1]
        items: list[Any] = []
        for b in range(len(after)):
            moved = next(
                (a for how in NEARLY for a in left if likeness[0](before[a], *how) == likeness[1](after[b], *how)), None
            )
            if b in staying:
                items.append(staying[b])
            elif moved is not None:
                left.remove(moved)
                items.append(moved)
            elif self._is_plain((*above, f"[{b}]")):
                items.append((self._after.value((*above, f"[{b}]")),))
            elif after[b] in self._elements or made:
                items.append(self._elements.setdefault(after[b], made[0] if made else ""))
                made[:] = [name for name in made if name != items[-1]]
            else:
                self.problems += (self.row(difference) for difference in differences)
                return
        if x not in places or result.nodes[x].type != "builtins.list":
            self.problems += (self.row(difference) for difference in differences)
            return
        module, path = places[x]
        self._add(differences[0], module, Part("order", path, len(before), items))

    def _is_plain(self, path: Sequence[str]) -> bool:
        try:
            self._after.value(path)
        except LookupError:
            return False
        return True

    def _queue(self, difference: Difference) -> list[str]:
        """The names under which the fragment has made what is new there, and that is not put anywhere yet."""
        return self._made.get((difference.path[0], difference.path[1][1:]), [])

    def _add(self, difference: Difference, module: str, part: Part) -> None:
        load = self.loads[module]
        if part in load.parts:
            return
        parts = sorted((*load.parts, part), key=lambda change: change.kind == "order")
        self.loads[module] = replace(load, parts=tuple(parts))
        if part.kind == "place" and part.was == part.now:
            return  # no change of the release: its versions have roots of their own in this trial
        what = {
            "value": f"{part.was!r} becomes {part.now!r}, if it is still that",
            "place": f"{part.was} becomes {part.now}, below the root of the release",
            "placed": f"{part.was} becomes {part.now}, below the root of the release, in the order that it has",
            "made": "it is made",
            "pattern": f"{part.was!r} becomes {part.now!r}, if it is still that",
            "added": f"it becomes {part.now!r}",
            "gone": "it is taken out",
            "elements": f"{part.was!r} become {part.now!r}, if it still has these",
            "order": "it gets the elements of the newer version",
        }[part.kind]
        row = self.row(difference, what)
        self.changes.append(replace(row, definition=str(part), verdict="HOT", module=module))

    def untouched(self, module: str, part: Part) -> Row:
        """Say that an object that changes must have made nothing of it yet."""
        names = ", ".join(part.was)
        reason = f"it changes in place, if what may be made of that ({names}) is still as the module has made it"
        row = self.row(Difference(Path((module, *map(label_of, part.path))), "value"), reason)
        return replace(row, definition=str(part), verdict="HOT", change="made")

    def row(self, difference: Difference, what: str = "") -> Row:
        module, *labels = difference.path
        name = labels[0][1:] if labels else ""
        change = " -> ".join(filter(None, (difference.was, difference.becomes)))
        reason = (
            what or f"a fresh start has something else there ({difference.kind} {change}), and nothing puts it there"
        )
        file = self._release.modules.get(module, ("", ""))[1]
        line = self._proposal.lines.get(module, {}).get(name, 0)
        return Row(module, "".join(labels)[1:], difference.kind, "RESTART", reason, file, line)


def _below_roots(value: object, root: str) -> list[tuple[bool, str]]:
    """The texts of a row, each with whether it is a place below a root, and then without that; empty for what is no such row."""
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        return []
    return [(text.startswith(root), text.removeprefix(root)) for text in value]


def _is_one(one: Node, other: Node) -> bool:
    """Whether two objects differ as a whole where something in them does: rows that can't be changed, and sets."""
    return (is_fixed(one) and is_fixed(other)) or one.type == other.type == "builtins.set"
