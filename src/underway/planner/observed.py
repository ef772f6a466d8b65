"""What the rules propose is tried in an interpreter of the older release, and compared with a fresh start of the newer one.

::

    A, B            both releases, imported: what differs is what the upgrade has to change
    A becomes B     by the instructions as proposed: what still differs from B is brought to nothing by parts of objects
    A becomes B     with these: nothing differs, or the upgrade takes a fresh interpreter

Differences between two imports of one release are noise, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from underway_runtime.observation import loggers
from underway_runtime.observation.align import NEARLY, Likeness, rows
from underway_runtime.observation.compare import Difference, compare, compared
from underway_runtime.observation.node import Flag, Path
from underway_runtime.observation.picture import Picture
from underway_runtime.release.instruction_json import to_json
from underway_runtime.release.instructions import Guard, Instruction, Load, Remove
from underway_runtime.release.parts import Part, Step
from underway_runtime.release.relup import Row
from underway_runtime.upgrade.hot.caches import clears
from underway_runtime.upgrade.hot.rehearsed import Rehearsed, Unobservable

from .graph import (
    ALIASES,
    Loads,
    Place,
    elements,
    is_fixed,
    is_settled,
    keeps_something,
    label_of,
    labels_of,
    placed,
    places_in,
    step_of,
    types_of,
)
from .rehearsals import Trials
from .releases import Opened
from .rules.frameworks import is_by_hash, remembered, rules
from .rules.frameworks.obeyed import obey
from .rules.frameworks.pydantic import COMPILED
from .stored import Pictures, is_quiet

_ROUNDS = 3
"""How many times what still differs is brought to nothing: one object that two hold is told of one of them."""


@dataclass(frozen=True)
class Asked:
    """What the rules can't tell of the modules of two releases."""

    modules: Sequence[str]
    """Those that are compared."""
    definitions: frozenset[tuple[str, str]] = frozenset()
    """Modules and definitions of which only a look tells what becomes of them."""
    decorated: frozenset[tuple[str, str]] = frozenset()
    """Those among them that are functions with another body, in a decorator of which nobody knows what it does."""
    libraries: Sequence[str] = ()
    """Packages of others that may keep something of it."""
    kept: frozenset[tuple[str, str]] = frozenset()
    """Modules and globals that stay as they are, whatever a fresh start has."""


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


@dataclass(frozen=True)
class Outcome:
    """What came of it: instructions that lead to what a fresh start has, or why none do."""

    loads: Loads
    changes: tuple[Row, ...] = ()
    """What is changed within objects, beyond what the rules have said."""
    problems: tuple[Row, ...] = ()


def settle(
    old: Opened,
    new: Opened,
    asked: Asked,
    propose: Callable[[frozenset[tuple[str, str]]], Proposal],
    trials: Trials,
    pictures: Pictures,
) -> Outcome:
    """Try what the rules propose, and add what it lacks; `propose` is told which globals are to be made again."""
    try:
        return _Trial(trials, pictures, old, new, asked).run(propose)
    except Unobservable as error:
        return Outcome({}, problems=(Row("", "", "observation", "RESTART", str(error)),))


class _Trial:
    def __init__(self, trials: Trials, pictures: Pictures, old: Opened, new: Opened, asked: Asked) -> None:
        self._trials, self._pictures = trials, pictures
        self._before, self._after = trials.of(old), trials.of(new)
        self._old_release, self._new = old, new
        self._roots = tuple(f"{version.place.path.parents[1]}/" for version in (self._before, self._after))
        self._asked = asked
        self._loads: dict[str, Load] = {}
        self._missing: frozenset[str] = frozenset()
        """Modules that a trial of one of the releases has not."""
        self._made: dict[tuple[str, str], list[str]] = {}
        self._elements: dict[int, str] = {}
        """By its number in a fresh start of the newer release: under which name the fragment has made what is new in a list."""
        self._problems: list[Row] = []
        self._changes: list[Row] = []

    def run(self, propose: Callable[[frozenset[tuple[str, str]]], Proposal]) -> Outcome:
        self._boot(self._before, self._after)
        self._leave_out(self._before, self._after)
        self._old, self._wanted = map(self._picture, (self._before, self._after))
        self._noise = set(self._of_itself())
        self._noise |= {Path((module, f".{name}")) for module, name in self._asked.kept}
        remade = frozenset(self._remade())
        self._proposal = propose(remade | frozenset(self._made_of(remade)))
        self._problems += (row for row in self._proposal.changes if row.verdict in ("RESTART", "REFUSE"))
        for module, name in sorted(self._asked.decorated):
            at = Path((module, *(f".{part}" for part in name.split("."))))
            number = self._old.at(at)
            if number is None or keeps_something(self._old, number):
                self._problems.append(self._row(Difference(at, "body"), "its decorator may keep what it has returned"))
        if self._problems:
            return self._refused()
        self._loads = {name: self._not_loaded(load) for name, load in self._proposal.loads.items()}
        self._made = {(m, n): list(made) for m, names in self._proposal.made.items() for n, made in names.items()}
        first = self._tried()
        if first is None:
            return self._refused()
        self._touch(first)
        self._bring(first)
        changed = [difference.path for difference in compare(self._old, self._wanted)]
        self._loads = obey(self._loads, self._old, changed, touched=any(load.touches for load in self._loads.values()))
        if self._problems:
            return self._refused()
        self._bring_the_rest()
        if self._problems:
            return self._refused()
        return Outcome({name: replace(load, seen=True) for name, load in self._loads.items()}, tuple(self._changes))

    def _boot(self, *versions: Rehearsed) -> None:
        with ThreadPoolExecutor() as pool:  # each waits for its own process
            list(pool.map(Rehearsed.boot, versions))

    def _leave_out(self, *versions: Rehearsed) -> None:
        """Ask nothing of modules that a process of one of these can't have: what can't be imported, and programs."""
        also = sorted({module for module, _ in self._asked.definitions})
        with ThreadPoolExecutor() as pool:
            self._missing = frozenset().union(*pool.map(lambda version: version.missing(also), versions))
        here = frozenset(pair for pair in self._asked.definitions if pair[0] not in self._missing)
        self._asked = replace(
            self._asked,
            modules=[name for name in self._asked.modules if name not in self._missing],
            definitions=here,
            decorated=self._asked.decorated & here,
        )

    def _not_loaded(self, load: Load) -> Load:
        """Have the process make sure of what nobody could look at that it was not imported."""
        if load.module not in self._missing:
            return load
        return Load(module=load.module, application=load.application, guards=(Guard("not_loaded", ""),))

    def _of_itself(self) -> Iterator[Path]:
        """What differs between two imports of the older release."""
        seen = self._pictures.of(self._old_release)
        if seen is not None and is_quiet(seen, self._old.modules):
            return
        again = self._trials.of(self._old_release, 1)
        self._boot(again)
        again.missing(sorted({module for module, _ in self._asked.definitions}))
        yield from (
            difference.path for difference in compare(self._old, self._picture(again)) if difference.kind != "opaque"
        )

    def _bring_the_rest(self) -> None:
        """Bring what is seen only once all else is as in a fresh start: what two hold is told of one of them."""
        for _ in range(_ROUNDS):
            result = self._become()
            left = [] if result is None else self._left(result)
            if result is None or not left:
                return
            before = dict(self._loads)
            self._bring(result)
            if self._problems or self._loads == before:
                break
        self._problems = [self._row(difference, "it would be otherwise") for difference in left]

    def _picture(self, version: Rehearsed) -> Picture:
        return version.picture(self._asked.modules, self._asked.libraries)

    def _remade(self) -> Iterator[tuple[str, str]]:
        """Globals of which nobody can tell what they are bound to, that differ, and that nobody can change."""
        differing = {
            difference.path[:depth]
            for difference in compare(self._old, self._wanted)
            if not self._is_noise(difference)
            for depth in range(2, len(difference.path) + 1)
        }
        for module, name in self._asked.definitions:
            at = (module, *(f".{part}" for part in name.split(".")))
            nodes = [picture.at(at) for picture in (self._old, self._wanted)]
            if at not in differing or None in nodes:
                continue
            if all(
                n is not None and is_settled(p.nodes[n]) for p, n in zip((self._old, self._wanted), nodes, strict=True)
            ):
                yield module, name

    def _made_of(self, remade: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Types with arguments, as globals of modules that are compared, that hold one of these globals."""
        at = (self._old.at((module, *(f".{part}" for part in name.split(".")))) for module, name in remade)
        held = {number for number in at if number is not None}
        if not held:
            return
        holders: set[int] = set()
        while more := {
            n for n in range(len(self._old.nodes)) if n not in held | holders and self._is_of(n, held | holders)
        }:
            holders |= more
        for module in self._asked.modules:
            for label, to in self._old.nodes[self._old.modules[module]].edges if module in self._old.modules else ():
                if to in holders and self._old.nodes[to].type in ALIASES:
                    yield module, label[1:]

    def _is_of(self, number: int, held: Collection[int]) -> bool:
        """Whether it is a type with arguments, or a row of such, and has one of these."""
        node = self._old.nodes[number]
        return (node.type in ALIASES or is_fixed(node) or node.type == "builtins.list") and any(
            to in held for _, to in node.edges
        )

    def _refused(self) -> Outcome:
        return Outcome({}, problems=tuple(self._problems))

    def _tried(self) -> Picture | None:
        """The older release once it has become the newer one by what the rules propose, without guards and what is to be forgotten."""
        loads = self._loads
        self._loads = obey(loads, self._old, (), touched=True)
        try:
            return self._become(guarded=False)
        finally:
            self._loads = loads

    def _become(self, *, guarded: bool = True) -> Picture | None:
        """The older release once it has become the newer one; first without guards, until it is known what is taken out."""
        instructions = [
            to_json(
                instruction
                if guarded or not isinstance(instruction, Load | Remove)
                else replace(instruction, guards=())
            )
            for instruction in self._proposal.instructions(self._loads)
        ]
        answer = self._before.become(self._after.place, instructions, self._asked.modules, self._asked.libraries)
        if isinstance(answer, Picture):
            return answer
        self._problems += (Row("", "", "observation", "RESTART", problem) for problem in answer)
        return None

    def _left(self, result: Picture) -> list[Difference]:
        """In what a picture differs from a fresh start, and that can be told of both."""
        return [
            difference
            for difference in compare(result, self._wanted)
            if not self._is_noise(difference) and not self._is_same(difference, result)
        ]

    def _is_noise(self, difference: Difference) -> bool:
        if is_by_hash(difference.path):
            return True
        return any(difference.path[:depth] in self._noise for depth in range(1, len(difference.path) + 1))

    def _is_same(self, difference: Difference, result: Picture) -> bool:
        """What makes no difference: a count of changes; an opaque object of what nothing was done to."""
        path = "".join(difference.path)
        if difference.kind in ("module", "removed") and self._is_imported_more(difference, result):
            return True
        if difference.kind == "value" and (path in remembered() or clears(path) or self._is_count(difference)):
            return True
        if loggers.are_asked_for(difference, result, self._wanted):
            return True
        if difference.kind != "opaque":
            return False
        module, *labels = difference.path
        touched = {touch for load in self._loads.values() for touch in load.touches}
        concerned = {module_and_name[0] for module_and_name in self._asked.definitions if not module_and_name[1]}
        names = {(module, name.partition(".")[0]) for module, name in (*self._asked.definitions, *touched)}
        return module not in concerned and (module, labels[0][1:] if labels else "") not in names

    def _is_imported_more(self, difference: Difference, result: Picture) -> bool:
        """Whether it is a module of a library that a fresh start has not imported, or its package's name for it."""
        package, *labels = difference.path
        node = result.nodes[difference.a] if difference.a is not None else None
        name = ".".join([package, *(label.strip(".[]'") for label in labels[-1:])])
        return (
            node is not None
            and (node.type, node.name) == ("builtins.module", name)
            and self._is_unchanged(package)
            and self._is_unchanged(name)
        )

    def _is_unchanged(self, module: str) -> bool:
        """Whether a module is the same, of the same distribution, in both releases, or of Python: it may be imported at any time."""
        sides = (self._old_release, self._new)
        files = [release.modules.get(module, ("", ""))[1] for release in sides]
        was, now = (release.manifest.files.get(file) for release, file in zip(sides, files, strict=True))
        return files[0] == files[1] and was == now

    def _is_count(self, difference: Difference) -> bool:
        above = self._wanted.at(difference.path[:-1])
        counted = [rule for rule in rules() if rule.kind == "counted" and difference.path[-1] == f".{rule.attribute}"]
        return above is not None and any(
            self._wanted.nodes[above].type in types_of(self._wanted, rule.of) for rule in counted
        )

    def _touch(self, result: Picture) -> None:
        """Note which objects the fragments have changed."""
        touched: dict[str, dict[tuple[str, str], None]] = {}
        for difference in compare(self._old, result):
            if (
                difference.kind == "code"
                or len(difference.path) < 3
                or self._is_noise(difference)
                or difference.kind == "opaque"
            ):
                continue
            module, label = difference.path[:2]
            if label[0] == "." and not self._is_of_load(module, label[1:], difference.path):
                touched.setdefault(module, {})[module, label[1:]] = None
        for module, names in touched.items():
            at = module if module in self._loads else next(iter(self._loads))
            load = self._loads[at]
            self._loads[at] = replace(load, touches=(*load.touches, *names))

    def _is_of_load(self, module: str, name: str, path: Sequence[str]) -> bool:
        """Whether the rules say so themselves: a member of a class, or what the name is bound to."""
        load = self._loads.get(module)
        if load is None:
            return False
        member = f"{name}{path[2]}"
        named = {*load.added, *load.removed, *load.replaced, *load.values, *load.refreshed, *load.rebind, *load.changed}
        return name in named or member in named

    def _bring(self, result: Picture) -> None:
        """Parts that bring what differs to nothing."""
        _, pairs = compared(result, self._wanted)
        places = places_in(result, self._loads)
        rows_of: dict[int, list[Difference]] = {}
        for difference in dict.fromkeys(self._whole(difference, result) for difference in self._left(result)):
            if len(difference.path) < 2 or COMPILED.intersection(
                difference.path
            ):  # a module that only one has imported; a schema
                self._problems.append(self._row(difference))
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
                    self._problems.append(self._row(difference))
            else:
                self._problems.append(self._row(difference))
        for x, differences in sorted(rows_of.items(), key=lambda row: not self._queue(row[1][0])):
            y = next((y for y, other in pairs.items() if other == x), None)
            if y is None:  # it goes, and something else stands there
                self._problems += map(self._row, differences)
            else:
                self._list(result, x, y, differences, places)

    def _whole(self, difference: Difference, result: Picture) -> Difference:
        """What differs within a row that can't be changed, as a difference of the whole row."""
        path = difference.path
        while len(path) > 2:
            a, b = result.at(path[:-1]), self._wanted.at(path[:-1])
            if a is None or b is None or not (is_fixed(result.nodes[a]) and is_fixed(self._wanted.nodes[b])):
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
        part = placed(self._roots, Part(kind, path, was, now))
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
        if len(path) < 2 or any(part.path == path for part in self._loads[module].parts):
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
        likeness = Likeness(result.nodes), Likeness(self._wanted.nodes)
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
                self._problems += (self._row(difference) for difference in differences)
                return
        if x not in places or result.nodes[x].type != "builtins.list":
            self._problems += (self._row(difference) for difference in differences)
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
        load = self._loads[module]
        if part in load.parts:
            return
        parts = sorted((*load.parts, part), key=lambda change: change.kind == "order")
        self._loads[module] = replace(load, parts=tuple(parts))
        if part.kind == "place" and part.was == part.now:
            return  # no change of the release: its versions have roots of their own in this trial
        what = {
            "value": f"{part.was!r} becomes {part.now!r}, if it is still that",
            "place": f"{part.was} becomes {part.now}, below the root of the release",
            "made": "it is made",
            "pattern": f"{part.was!r} becomes {part.now!r}, if it is still that",
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
