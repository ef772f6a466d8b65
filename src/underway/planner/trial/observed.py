"""What the rules propose is tried in an interpreter of the older release, and compared with a fresh start of the newer one.

::

    A, B            both releases, imported: what differs is what the upgrade has to change
    A becomes B     by the instructions as proposed: what still differs from B is brought to nothing by parts of objects
    A becomes B     with these: nothing differs, or the upgrade takes a fresh interpreter

Differences between two imports of one release are noise, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from underway_runtime.observation import loggers
from underway_runtime.observation.compare import Difference, compare
from underway_runtime.observation.node import Flag, Path
from underway_runtime.observation.picture import Picture
from underway_runtime.release.instruction_json import to_json
from underway_runtime.release.instructions import Guard, Load, Remove
from underway_runtime.release.relup import Row
from underway_runtime.upgrade.hot.caches import clears
from underway_runtime.upgrade.hot.rehearsed import Rehearsed, Unobservable

from ..graph import (
    ALIASES,
    CACHE,
    Loads,
    is_fixed,
    is_own_value,
    is_settled,
    keeps_something,
    types_of,
)
from ..releases import Opened
from ..rules.frameworks import is_by_hash, remembered, rules
from ..rules.frameworks.obeyed import obey
from .adjustments import Adjustments, Proposal
from .compiled import unseen
from .derived import Derived
from .rehearsals import Trials
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
    compiled: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Classes of which something may have been compiled, and whether only by what they come from: see `compiled`."""
    libraries: Sequence[str] = ()
    """Packages of others that may keep something of it."""
    kept: frozenset[tuple[str, str]] = frozenset()
    """Modules and globals that stay as they are, whatever a fresh start has."""


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
        self._asked = asked
        self._missing: frozenset[str] = frozenset()
        """Modules that a trial of one of the releases has not."""
        self._placed: set[Path] = set()
        """Rows in an order by chance that get another place."""

    def run(self, propose: Callable[[frozenset[tuple[str, str]]], Proposal]) -> Outcome:
        self._boot(self._before, self._after)
        self._leave_out(self._before, self._after)
        self._old, self._wanted = map(self._picture, (self._before, self._after))
        self._apart = compare(self._old, self._wanted)
        self._noise = set(self._of_itself())
        self._noise |= {Path((module, f".{name}")) for module, name in self._asked.kept}
        remade = frozenset(self._remade())
        self._proposal = propose(remade | frozenset(self._made_of(remade)))
        loads = {name: self._not_loaded(load) for name, load in self._proposal.loads.items()}
        pictures = self._old, self._wanted
        self._parts = Adjustments(self._proposal, loads, self._new, self._before, self._after, pictures)
        self._parts.problems += (row for row in self._proposal.changes if row.verdict in ("RESTART", "REFUSE"))
        for module, name in sorted(self._asked.decorated):
            at = Path((module, *(f".{part}" for part in name.split("."))))
            number = self._old.at(at)
            if number is None or keeps_something(self._old, number):
                problem = self._parts.row(Difference(at, "body"), "its decorator may keep what it has returned")
                self._parts.problems.append(problem)
        self._put_places()
        self._parts.problems += (*self._not_compiled(), *self._placed_noise())
        if self._parts.problems:
            return self._refused()
        first = self._tried()
        if first is None:
            return self._refused()
        ran = [difference for difference in compare(self._old, first) if not self._is_noise(difference)]
        self._touch(ran)
        self._parts.bring(first, self._left(first))
        changed = [difference.path for difference in (*self._apart, *ran)]
        self._parts.loads = obey(
            self._parts.loads, self._old, changed, touched=any(load.touches for load in self._parts.loads.values())
        )
        if self._parts.problems:
            return self._refused()
        self._bring_the_rest()
        self._look_for_derived([difference.path for difference in ran])
        if self._parts.problems:
            return self._refused()
        return Outcome(
            {name: replace(load, seen=True) for name, load in self._parts.loads.items()}, tuple(self._parts.changes)
        )

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
            compiled={of: by for of, by in self._asked.compiled.items() if of[0] not in self._missing},
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
            before = dict(self._parts.loads)
            self._parts.bring(result, left)
            if self._parts.problems or self._parts.loads == before:
                break
        self._parts.problems = [self._parts.row(difference, "it would be otherwise") for difference in left]

    def _look_for_derived(self, ran: Sequence[Path]) -> None:
        """Have the process look what objects have made of what changes in them."""
        derived = Derived(self._old_release, self._old, self._before)
        for module, parts in derived.asked(self._parts.loads, ran).items():
            load = self._parts.loads[module]
            self._parts.loads[module] = replace(load, parts=(*parts, *load.parts))
            self._parts.changes += (self._parts.untouched(module, part) for part in parts)
        self._parts.problems += (self._parts.row(Difference(at, "value"), why) for at, why in derived.problems)

    def _picture(self, version: Rehearsed) -> Picture:
        return version.picture(self._asked.modules, self._asked.libraries)

    def _remade(self) -> Iterator[tuple[str, str]]:
        """Globals of which nobody can tell what they are bound to, that differ, and that nobody can change."""
        apart = [difference for difference in self._apart if not self._is_noise(difference)]
        differing = {other.path[:depth] for other in apart for depth in range(2, len(other.path) + 1)}
        objects = {self._old.at(path) for path in differing}  # what has several names is told of one of them
        exchanged = {self._old.at(difference.path) for difference in apart if difference.kind in ("name", "type")}
        for module, name in self._asked.definitions:
            at = (module, *(f".{part}" for part in name.split(".")))
            before, after = self._old.at(at), self._wanted.at(at)
            if before is None or after is None:
                continue
            pairs, node = ((self._old, before), (self._wanted, after)), self._old.nodes[before]
            differs = at in differing or (before in objects and bool(node.edges or node.flags & Flag.MUTABLE))
            differs |= any(to in exchanged for _, to in node.edges)
            if differs and all(is_settled(picture.nodes[n]) or is_own_value(picture, n) for picture, n in pairs):
                yield module, name

    def _not_compiled(self) -> Iterator[Row]:
        """Yield a row for each class whose validator is not there yet: by the time that it is, nobody knows of what."""
        for at in unseen(self._asked.compiled, self._old, self._wanted):
            what = "nothing shows what is compiled of its annotations, or it is when it is first asked for"
            yield self._parts.row(Difference(at, "value"), what)

    def _put_places(self) -> None:
        """Have rows name another place that are in an order by chance, and compare these no more."""
        paths = (path for path in (*self._noise, *(difference.path for difference in self._apart)) if len(path) > 1)
        for path in sorted(
            {Path(path[:2]) for path in paths} - {Path((m, f".{name}")) for m, name in self._asked.kept}
        ):
            number = self._old.at(path)
            if number is not None and self._old.nodes[number].type == "builtins.tuple" and self._parts.put_place(path):
                self._placed.add(path)
        self._noise |= self._placed

    def _placed_noise(self) -> Iterator[Row]:
        """Yield a row for what is another at each start, and says where this version is: nobody could tell what it has to become."""
        homes = {*self._old_release.homes.values()} - {*self._new.homes.values()}
        directories = [str(self._before.place.path), *(f"/lib/{home}" for home in homes)]
        staying = {(module, f".{name}") for module, name in self._asked.kept}
        for path in sorted(path for path in self._noise - staying if Path(path[:2]) not in self._placed):
            try:
                value = self._before.value(path)
            except LookupError:
                continue
            if any(directory in str(value) for directory in directories):
                what = "it says where this version is, in an order that is another at each start"
                yield self._parts.row(Difference(path, "value"), what)

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
        return Outcome({}, problems=tuple(self._parts.problems))

    def _tried(self) -> Picture | None:
        """The older release once it has become the newer one by what the rules propose, without guards and what is to be forgotten."""
        loads = self._parts.loads
        self._parts.loads = obey(loads, self._old, (), touched=True)
        try:
            return self._become(guarded=False)
        finally:
            self._parts.loads = loads

    def _become(self, *, guarded: bool = True) -> Picture | None:
        """The older release once it has become the newer one; first without guards, until it is known what is taken out."""
        instructions = [
            to_json(
                instruction
                if guarded or not isinstance(instruction, Load | Remove)
                else replace(instruction, guards=())
            )
            for instruction in self._proposal.instructions(self._parts.loads)
        ]
        answer = self._before.become(self._after.place, instructions, self._asked.modules, self._asked.libraries)
        if isinstance(answer, Picture):
            return answer
        self._parts.problems += (Row("", "", "observation", "RESTART", problem) for problem in answer)
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
        if loggers.are_asked_for(difference, result, self._wanted) or self._is_cache_of_library(difference, result):
            return True
        if difference.kind != "opaque":
            return False
        module, *labels = difference.path
        touched = {touch for load in self._parts.loads.values() for touch in load.touches}
        concerned = {module_and_name[0] for module_and_name in self._asked.definitions if not module_and_name[1]}
        names = {(module, name.partition(".")[0]) for module, name in (*self._asked.definitions, *touched)}
        return module not in concerned and (module, labels[0][1:] if labels else "") not in names

    def _is_cache_of_library(self, difference: Difference, result: Picture) -> bool:
        """Whether it is how much the cache of a function of Python, or of an unchanged library, holds: of `typing`."""
        if difference.kind != "value" or difference.a is None or difference.b is None:
            return False
        for picture, number in ((result, difference.a), (self._wanted, difference.b)):
            node = picture.nodes[number]
            wrapped = picture.nodes[dict(node.edges)["<wrapped>"]].name if node.type == CACHE else ""
            if not wrapped or not self._is_unchanged(wrapped.partition(":")[0]):
                return False
        return True

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

    def _touch(self, ran: Iterable[Difference]) -> None:
        """Note which objects the fragments have changed."""
        touched: dict[str, dict[tuple[str, str], None]] = {}
        for difference in ran:
            if difference.kind in ("code", "opaque") or len(difference.path) < 3:
                continue
            module, label = difference.path[:2]
            if label[0] == "." and not self._is_of_load(module, label[1:], difference.path):
                touched.setdefault(module, {})[module, label[1:]] = None
        for module, names in touched.items():
            at = module if module in self._parts.loads else next(iter(self._parts.loads))
            load = self._parts.loads[at]
            self._parts.loads[at] = replace(load, touches=(*load.touches, *names))

    def _is_of_load(self, module: str, name: str, path: Sequence[str]) -> bool:
        """Whether the rules say so themselves: a member of a class, or what the name is bound to."""
        load = self._parts.loads.get(module)
        if load is None:
            return False
        member = f"{name}{path[2]}"
        named = {*load.added, *load.removed, *load.replaced, *load.values, *load.refreshed, *load.rebind, *load.changed}
        return name in named or member in named
