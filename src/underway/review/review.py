"""Two releases -> what a person has to know of the way between them: a value, from which text, JSON and the page are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from underway_runtime.release.instructions import CodeChange, Load
from underway_runtime.release.relup import RelupEntry, Row, Verdict

from ..planner.plan import plan
from ..planner.releases import Opened
from .causes import Change, changes
from .next_version import as_next
from .sides import Side
from .stubs import Stub, stubs

HELD = 0.02
HELD_A_FUNCTION = 1e-5
"""Seconds that a process does nothing else while it is changed, and for each function that changes: docs/reference/measurements.md."""


@dataclass(frozen=True)
class End:
    """One of the two releases."""

    version: str
    release_id: str
    source: str
    """As it was named on the command line, or what stands for nothing there."""
    opened: Opened


@dataclass(frozen=True)
class Application:
    """One that comes, goes or becomes another version; the version is empty where it is not there."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class Carried:
    """State that outlives the change, and how."""

    what: str
    how: str


@dataclass(frozen=True)
class Pause:
    """How long something waits while the change is made."""

    kind: str
    """``none``, ``held`` (the process does nothing else) or ``stopped`` (nothing runs)."""
    seconds: float | None
    """None where only the process, or the start of the new version, can tell."""
    text: str


@dataclass(frozen=True)
class Way:
    """What becomes of a node on one way."""

    verdict: Verdict
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Review:
    """The whole of it."""

    name: str
    old: End
    new: End
    applications: tuple[Application, ...]
    up: Way
    down: Way
    state: tuple[Carried, ...]
    stubs: tuple[Stub, ...]
    """What to begin with where the state of instances needs a ``code_change``."""
    pause: Pause
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """That of the way from the old release to the new one."""
        return self.up.verdict

    def application(self, row: Row) -> str:
        """Whose change it is; empty where it is of the release as a whole."""
        home = row.file.removeprefix("lib/").partition("/")[0] if row.file.startswith("lib/") else ""
        for end in (self.new, self.old):
            for name, directory in end.opened.homes.items():
                if home and directory == home:
                    return name
        return row.module if row.module in self.new.opened.rel else ""


def review(old: Side, new: Side) -> Review:
    """Compare two releases. Raises BuildError where there is no plan between them."""
    one, other, notes = old.opened, new.opened, list[str]()
    if new.built:
        other, notes = as_next(one, other)
    relup = plan(other, [one], [one])
    [up], [down] = relup.up, relup.down
    return Review(
        name=relup.name,
        old=End(one.manifest.version, up.id, old.name, one),
        new=End(other.manifest.version, relup.target_id, new.name, other),
        applications=tuple(_applications(one, other)),
        up=_way(up),
        down=_way(down),
        state=tuple(_state(up)),
        stubs=tuple(stubs(up.changes, one, other)),
        pause=_pause(up, one, other),
        notes=tuple(notes),
    )


def as_json(comparison: Review) -> dict[str, Any]:
    """As docs/reference/plan.md has it."""
    ends = {
        key: {"version": end.version, "release_id": end.release_id, "source": end.source}
        for key, end in (("from", comparison.old), ("to", comparison.new))
    }
    return {
        "name": comparison.name,
        "verdict": comparison.verdict,
        **ends,
        "applications": [
            {"name": application.name, "from": application.old, "to": application.new}
            for application in comparison.applications
        ],
        "changes": [_change(comparison, change) for change in comparison.up.changes],
        "state": [asdict(carried) for carried in comparison.state],
        "stubs": [asdict(stub) for stub in comparison.stubs],
        "back": {
            "verdict": comparison.down.verdict,
            "changes": [_change(comparison, change) for change in comparison.down.changes],
        },
        "pause": asdict(comparison.pause),
        "notes": list(comparison.notes),
    }


def _change(comparison: Review, change: Change) -> dict[str, Any]:
    document = {"verdict": change.verdict, **_row(comparison, change.row), "consequences": len(change.consequences)}
    return {
        **document,
        "follows": [
            {"verdict": consequence.verdict, **_row(comparison, consequence)} for consequence in change.consequences
        ],
    }


def _row(comparison: Review, row: Row) -> dict[str, Any]:
    texts = {key: getattr(row, key) for key in ("module", "definition", "change", "reason", "file", "line")}
    return {"application": comparison.application(row), **texts}


def _way(entry: RelupEntry) -> Way:
    return Way(entry.verdict, tuple(changes(entry.changes)))


def _applications(old: Opened, new: Opened) -> Iterator[Application]:
    for name in sorted({*old.rel, *new.rel}):
        was, now = (side.rel.get(name, ("",))[0] for side in (old, new))
        if was != now:
            yield Application(name, was, now)


def _state(entry: RelupEntry) -> Iterator[Carried]:
    """What the instructions say of what is alive."""
    if entry.verdict == "REFUSE":
        return
    if entry.verdict == "RESTART":
        yield Carried("listening sockets", "handed over; the old version answers what it has and leaves")
        yield Carried("what export_state of an application returns", "handed to its import_state in the new process")
        return
    loads = [instruction for instruction in entry.instructions if isinstance(instruction, Load)]
    asked = {
        module
        for instruction in entry.instructions
        if isinstance(instruction, CodeChange)
        for module, _ in instruction.modules
    }
    for load in loads:
        for name in load.code_change if load.module in asked else ():
            how = f"carried over by its code_change, on the way {_way_of(entry)}"
            yield Carried(f"instances of {load.module}:{name}" if name else f"globals of {load.module}", how)
        for name in load.values:
            yield Carried(f"{load.module}:{name}", "takes the new value, if it still has the one of the old version")
        for name in load.caches:
            yield Carried(f"the cache of {load.module}:{name}", "cleared")
    yield Carried("all else: connections, globals, instances", "stays as it is")


def _way_of(entry: RelupEntry) -> str:
    ways = {instruction.direction for instruction in entry.instructions if isinstance(instruction, CodeChange)}
    return next(iter(ways), "up")


def _pause(entry: RelupEntry, old: Opened, new: Opened) -> Pause:
    if entry.verdict == "REFUSE":
        return Pause("none", 0.0, "nothing is changed")
    if entry.verdict == "RESTART":
        alone = sorted(
            name
            for side in (old, new)
            for name, start in side.starts.items()
            if isinstance(start, dict) and start.get("overlap", True) is False
        )
        if alone:
            which = ", ".join(dict.fromkeys(alone))
            text = f"{which} may not run twice: connections wait from its stop to the start of the new version"
            return Pause("stopped", None, text)
        return Pause("none", 0.0, "the new version accepts on the same sockets before the old one leaves")
    changed = sum(len(instruction.changed) for instruction in entry.instructions if isinstance(instruction, Load))
    if any(isinstance(instruction, CodeChange) for instruction in entry.instructions):
        text = "new work waits while the code is exchanged and live instances are carried over; how many there are, the process knows"
        return Pause("held", None, text)
    seconds = round(HELD + HELD_A_FUNCTION * changed, 3)
    return Pause(
        "held", seconds, f"new work waits while {changed} functions are exchanged, about {1000 * seconds:.0f} ms"
    )
