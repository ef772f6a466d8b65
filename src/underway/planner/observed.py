"""What the rules propose is tried in an interpreter of the older release, and compared with a fresh start of the newer one.

::

    A, B            both releases, imported: what differs is what the upgrade has to change
    A becomes B     by the instructions as proposed: what still differs from B is brought to nothing by parts of objects
    A becomes B     with these: nothing differs, or the upgrade takes a fresh interpreter

Differences between two imports of one release are noise, and are left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from underway_runtime.observation.align import Likeness, rows
from underway_runtime.observation.compare import Difference, compare, partners
from underway_runtime.observation.node import Flag, Node
from underway_runtime.observation.picture import Picture
from underway_runtime.release import plain_values
from underway_runtime.release.instructions import Instruction, Load, Remove, to_json
from underway_runtime.release.parts import Part, Step
from underway_runtime.release.relup import Row
from underway_runtime.upgrade.hot.rehearsed import Rehearsed, Unobservable

from .rehearsals import versions
from .releases import Opened
from .rules.frameworks import Rule, rules

Loads: TypeAlias = Mapping[str, Load]
_SEEN = "; seen: "
_TOLD = 3
"""Differences that the reason of a row names."""

Place: TypeAlias = tuple[str, tuple[Step, ...]]
"""A module, and the way from it."""


@dataclass(frozen=True)
class Proposal:
    """What the rules make of the modules of two releases, to be tried."""

    loads: Loads
    instructions: Callable[[Loads], Sequence[Instruction]]
    modules: Sequence[str]
    """Those that are compared."""
    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By module and name the line of the statement that binds it, in the newer release."""
    made: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """By module and name: under which names the fragment makes what is new in what that name is bound to."""
    asked: frozenset[tuple[str, str]] = frozenset()
    """Modules and definitions of which only a look tells what becomes of them."""
    libraries: Sequence[str] = ()
    """Packages of others that may keep something of what is tried."""


@dataclass(frozen=True)
class Outcome:
    """What came of it: instructions that lead to what a fresh start has, or why none do."""

    loads: Loads
    changes: tuple[Row, ...] = ()
    """What is changed within objects, beyond what the rules have said."""
    problems: tuple[Row, ...] = ()


def settle(old: Opened, new: Opened, proposal: Proposal) -> Outcome:
    """Try a proposal, and add what it lacks."""
    try:
        with versions(old, new, old) as (before, after, again):
            return _Trial(before, after, again, new, proposal).run()
    except Unobservable as error:
        return Outcome({}, problems=(Row("", "", "observation", "RESTART", str(error)),))


def explained(changes: Sequence[Row], problems: Sequence[Row]) -> tuple[Row, ...]:
    """What the rules say, with what was seen: in the reason of the row of that definition, else of the first that is RESTART."""
    found = list(changes)
    restarting = [number for number, row in enumerate(found) if row.verdict == "RESTART"]
    for problem in problems:
        name = re.split(r"[.\[<]", problem.definition)[0]
        own = (n for n in restarting if (found[n].module, found[n].definition) == (problem.module, name))
        at = next(own, restarting[0])
        if found[at].reason.count(_SEEN) < _TOLD:
            where = ".".join(filter(None, (problem.module, problem.definition)))
            what = f"{where}: {problem.reason}" if where else problem.reason
            found[at] = replace(found[at], reason=f"{found[at].reason}{_SEEN}{what}")
    return tuple(found)


class _Trial:
    def __init__(self, before: Rehearsed, after: Rehearsed, again: Rehearsed, new: Opened, proposal: Proposal) -> None:
        self._before, self._after, self._again = before, after, again
        self._new = new
        self._roots = tuple(f"{each.place.path.parents[1]}/" for each in (before, after))
        self._proposal = proposal
        self._loads = dict(proposal.loads)
        self._problems: list[Row] = []
        self._changes: list[Row] = []

    def run(self) -> Outcome:
        modules, libraries = self._proposal.modules, self._proposal.libraries
        for each in (self._before, self._after, self._again):
            each.boot(sorted({module for module, _ in self._proposal.asked}))
        self._old, self._wanted = (each.picture(modules, libraries) for each in (self._before, self._after))
        self._noise = {each.path for each in compare(self._old, self._again.picture(modules, libraries))}
        first = self._become(guarded=False)
        if first is None:
            return self._refused()
        self._touch(first)
        self._bring(first)
        for rule in rules():
            self._obey(rule)
        if self._problems:
            return self._refused()
        last = self._become()
        if last is not None:
            self._problems += (self._row(each, "it would be otherwise") for each in self._left(last))
        if self._problems:
            return self._refused()
        return Outcome({name: replace(load, seen=True) for name, load in self._loads.items()}, tuple(self._changes))

    def _refused(self) -> Outcome:
        return Outcome({}, problems=tuple(self._problems))

    def _become(self, *, guarded: bool = True) -> Picture | None:
        """The older release once it has become the newer one; first without guards, until it is known what is taken out."""
        instructions = [
            to_json(each if guarded or not isinstance(each, Load | Remove) else replace(each, guards=()))
            for each in self._proposal.instructions(self._loads)
        ]
        found = self._before.become(self._after.place, instructions, self._proposal.modules, self._proposal.libraries)
        if isinstance(found, Picture):
            return found
        self._problems += (Row("", "", "observation", "RESTART", each) for each in found)
        return None

    def _left(self, found: Picture) -> list[Difference]:
        """In what a picture differs from a fresh start, and that can be told of both."""
        return [
            each for each in compare(found, self._wanted) if not self._is_noise(each) and not self._is_same(each, found)
        ]

    def _is_noise(self, difference: Difference) -> bool:
        return any(difference.path[:depth] in self._noise for depth in range(1, len(difference.path) + 1))

    def _is_same(self, difference: Difference, found: Picture) -> bool:
        """What makes no difference: the order of a dict of attributes; an opaque object of what nothing was done to."""
        if difference.kind != "opaque":
            return False
        module, *labels = difference.path
        touched = {each for load in self._loads.values() for each in load.touches}
        concerned = {module_and_name[0] for module_and_name in self._proposal.asked if not module_and_name[1]}
        names = {(module, name.partition(".")[0]) for module, name in (*self._proposal.asked, *touched)}
        return module not in concerned and (module, labels[0][1:] if labels else "") not in names

    def _touch(self, found: Picture) -> None:
        """Note which objects the fragments have changed."""
        touched: dict[str, dict[tuple[str, str], None]] = {}
        for each in compare(self._old, found):
            if each.kind == "code" or len(each.path) < 3 or self._is_noise(each) or each.kind == "opaque":
                continue
            module, label = each.path[:2]
            if label[0] == "." and not self._is_of_load(module, label[1:], each.path):
                touched.setdefault(module, {})[module, label[1:]] = None
        for module, names in touched.items():
            if module in self._loads:
                self._loads[module] = replace(self._loads[module], touches=tuple(names))

    def _is_of_load(self, module: str, name: str, path: Sequence[str]) -> bool:
        """Whether the rules say so themselves: a member of a class, or what the name is bound to."""
        load = self._loads.get(module)
        if load is None:
            return False
        member = f"{name}{path[2]}"
        named = {*load.added, *load.removed, *load.replaced, *load.values, *load.refreshed, *load.rebind, *load.changed}
        return name in named or member in named

    def _bring(self, found: Picture) -> None:
        """Parts that bring what differs to nothing."""
        pairs = partners(found, self._wanted)
        places = _places(found, self._loads)
        rows_of: dict[int, list[Difference]] = {}
        for each in self._left(found):
            above = self._wanted.at(each.path[:-1]) if each.kind != "removed" else None
            x = pairs.get(above) if above is not None else _above(found, each.path)
            if x is not None and found.nodes[x].flags & Flag.SEQUENCE and each.kind in ("added", "removed"):
                rows_of.setdefault(x, []).append(each)
            elif each.kind == "order" and each.a is not None and each.a in places:
                self._ordered(each, places[each.a])
            elif x is None or x not in places or not self._single(each, places[x]):
                self._problems.append(self._row(each))
        for x, differences in rows_of.items():
            self._list(found, x, next(y for y, other in pairs.items() if other == x), differences, places)

    def _single(self, difference: Difference, above: Place) -> bool:
        """One attribute or item of an object that is there; whether something can be done about it."""
        step = _step(difference.path[-1])
        module, steps = above
        if step is None:
            return False
        kind = {"value": "value", "type": "value", "added": "added", "removed": "gone"}.get(difference.kind)
        if kind is None:
            return False
        path = (*steps, step)
        labels = (module, *map(_label, path))
        if kind == "gone":
            assert difference.a is not None
            node = self._old.at(labels)
            if node is None:
                return False
            self._add(difference, module, Part(kind, path, self._old.nodes[node].type))
            return True
        try:
            was = None if kind == "added" else self._before.value(labels)
            now = self._after.value(difference.path)
        except LookupError:
            return False
        part = _placed(self._roots, Part(kind, path, was, now))
        if part is not None:
            self._add(difference, module, part)
        return part is not None

    def _ordered(self, difference: Difference, place: Place) -> None:
        """The keys of a dict, in the order of a fresh start."""
        assert difference.b is not None
        labels = [label for label, _ in self._wanted.nodes[difference.b].edges if label[0] == "["]
        keys = [step[1] for label in labels if (step := _step(label)) is not None]
        module, path = place
        self._add(difference, module, Part("order", path, None, keys))

    def _list(
        self, found: Picture, x: int, y: int, differences: Sequence[Difference], places: Mapping[int, Place]
    ) -> None:
        """A list whose elements come, go or move: which of those that are there it gets, and what the fragment has made."""
        before, after = (_elements(picture.nodes[n]) for picture, n in ((found, x), (self._wanted, y)))
        likeness = Likeness(found.nodes), Likeness(self._wanted.nodes)
        kept = {b: a for a, b in rows(before, after, *likeness) if a is not None and b is not None}
        left = [a for a in range(len(before)) if a not in kept.values()]
        made = self._made(differences[0])
        items: list[Any] = []
        for b in range(len(after)):
            moved = next((a for a in left if likeness[0](before[a]) == likeness[1](after[b])), None)
            if b in kept:
                items.append(kept[b])
            elif moved is not None:
                left.remove(moved)
                items.append(moved)
            elif made:
                items.append(made.pop(0))
            else:
                self._problems += (self._row(each) for each in differences)
                return
        if x not in places or found.nodes[x].type != "builtins.list":
            self._problems += (self._row(each) for each in differences)
            return
        module, path = places[x]
        self._add(differences[0], module, Part("order", path, len(before), items))

    def _made(self, difference: Difference) -> list[str]:
        """The names under which the fragment has made what is new there."""
        return list(self._proposal.made.get(difference.path[0], {}).get(difference.path[1][1:], ()))

    def _obey(self, rule: Rule) -> None:
        """What a framework has computed since, for each of its objects that has to do with the change."""
        places = _places(self._old, self._loads)
        for number, node in enumerate(self._old.nodes):
            if number not in places or not _is_of(self._old, node, rule.of):
                continue
            attribute = self._old.at((*_labels(places[number]), f".{rule.attribute}"))
            module, path = places[number]
            if rule.kind == "forgotten" and not self._is_concerned(places[number], rule):
                continue
            if rule.kind == "meanwhile" and not any(load.touches for load in self._loads.values()):
                continue
            if attribute is not None or rule.kind == "forgotten":
                part = Part(rule.kind, (*path, ("attribute", rule.attribute)), None, rule.value)
                load = self._loads[module]
                self._loads[module] = replace(load, parts=(*load.parts, part))

    def _is_concerned(self, place: Place, rule: Rule) -> bool:
        here = _labels(place)
        changed = [each.path for each in compare(self._old, self._wanted) if each.path[: len(here)] == here]
        if not rule.below:
            return True
        return any(len(path) > len(here) and path[len(here)][1:] in rule.below for path in changed)

    def _add(self, difference: Difference, module: str, part: Part) -> None:
        load = self._loads[module]
        parts = sorted((*load.parts, part), key=lambda each: each.kind == "order")
        self._loads[module] = replace(load, parts=tuple(parts))
        what = {
            "value": f"{part.was!r} becomes {part.now!r}, if it is still that",
            "place": f"{part.was} becomes {part.now}, below the root of the release",
            "added": f"it becomes {part.now!r}",
            "gone": "it is taken out",
            "order": "it gets the elements of the newer version",
        }[part.kind]
        row = self._row(difference, what)
        self._changes.append(replace(row, definition=str(part), verdict="HOT", module=module))

    def _row(self, difference: Difference, what: str = "") -> Row:
        module, *labels = difference.path
        name = labels[0][1:] if labels else ""
        change = " -> ".join(filter(None, (difference.was, difference.becomes)))
        reason = (
            what or f"a fresh start has something else there ({difference.kind} {change}), and nothing puts it there"
        )
        file = self._new.modules.get(module, ("", ""))[1]
        line = self._proposal.lines.get(module, {}).get(name, 0)
        return Row(module, "".join(labels)[1:], difference.kind, "RESTART", reason, file, line)


def _placed(roots: Sequence[str], part: Part) -> Part | None:
    """A part that says where the release is, as one that does so below its root; None for one that does so in another way."""
    texts = [json.dumps(plain_values.encode(each)) for each in (part.was, part.now)]
    if not any(root[:-1] in text for root in roots for text in texts):
        return part
    was, now = part.was, part.now
    if part.kind != "value" or not isinstance(was, str) or not isinstance(now, str):
        return None
    if not was.startswith(roots[0]) or not now.startswith(roots[1]):
        return None
    return replace(part, kind="place", was=was.removeprefix(roots[0]), now=now.removeprefix(roots[1]))


def _above(picture: Picture, path: Sequence[str]) -> int | None:
    return picture.at(path[:-1])


def _places(picture: Picture, loads: Loads) -> dict[int, Place]:
    """By the number of an object: the shortest way to it that can be followed in a process, from a module that changes."""
    found: dict[int, Place] = {}
    queue = deque((number, (name, ())) for name, number in picture.modules.items() if name in loads)
    waiting: deque[tuple[int, Place]] = deque(queue)
    while waiting:
        number, (module, steps) = waiting.popleft()
        if number in found:
            continue
        found[number] = module, steps
        for label, to in picture.nodes[number].edges:
            if to not in found and (step := _step(label)) is not None:
                waiting.append((to, (module, (*steps, step))))
    return found


def _step(label: str) -> Step | None:
    if label[0] == "." and label[1:].isidentifier():
        return "attribute", label[1:]
    if label[0] == "[" and label[1] != "#":
        try:
            return "item", ast.literal_eval(label[1:-1])
        except (ValueError, SyntaxError):
            return None
    return None


def _label(step: Step) -> str:
    return f".{step[1]}" if step[0] == "attribute" else f"[{step[1]!r}]"


def _labels(place: Place) -> tuple[str, ...]:
    return (place[0], *map(_label, place[1]))


def _elements(node: Node) -> list[int]:
    return [number for label, number in node.edges if label[0] == "[" and label[1:-1].isdecimal()]


def _is_of(picture: Picture, node: Node, cls: str) -> bool:
    """Whether a node is an instance of a class, or of one that inherits from it and is in the picture."""
    if node.type == cls:
        return True
    by_name = {each.name.replace(":", "."): each for each in picture.nodes if each.type == "builtins.type"}
    waiting = [node.type]
    for name in waiting:
        if name == cls:
            return True
        if name in by_name and len(waiting) < 100:
            waiting += _bases(picture, by_name[name])
    return False


def _bases(picture: Picture, node: Node) -> Iterable[str]:
    return [picture.nodes[to].name.replace(":", ".") for label, to in node.edges if label.startswith("<base ")]
