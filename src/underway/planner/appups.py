"""What the applications of a release say of their own upgrades, and how that is put together with what the rules make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from underway_runtime import appup
from underway_runtime.appup import (
    AddModule,
    Advanced,
    DeleteModule,
    Keep,
    LoadModule,
    Pin,
    Reset,
    RestartApplication,
    Step,
    Update,
)
from underway_runtime.release import instructions as low
from underway_runtime.release.directory import ReleaseDirectory
from underway_runtime.release.errors import DamagedRelease
from underway_runtime.release.instructions import Load
from underway_runtime.release.relup import Row

from .releases import Opened


@dataclass(frozen=True)
class AppupDirectives:
    """The steps of each application that says something for one way."""

    steps: Mapping[str, tuple[Step, ...]]

    def _pairs(self, kind: type[Keep] | type[Reset]) -> frozenset[tuple[str, str]]:
        return frozenset(
            (step.module, step.name) for steps in self.steps.values() for step in steps if isinstance(step, kind)
        )

    @property
    def kept(self) -> frozenset[tuple[str, str]]:
        """Globals that keep their value, and files that are read each time."""
        return self._pairs(Keep)

    @property
    def reset(self) -> frozenset[tuple[str, str]]:
        """Globals that are made again."""
        return self._pairs(Reset)

    @property
    def pinned(self) -> frozenset[str]:
        """Modules that are never changed in place."""
        return frozenset(step.module for steps in self.steps.values() for step in steps if isinstance(step, Pin))

    def restarts(self) -> Iterator[Row]:
        """What is said to take a fresh interpreter."""
        for name, steps in self.steps.items():
            for step in steps:
                if isinstance(step, low.RestartEmulator | low.RestartNewEmulator | RestartApplication):
                    yield Row(name, "", "appup", "RESTART", "the appup says so", f"lib/{name}.appup")


def directives_of(newer: Opened, older: Opened, way: Literal["up", "down"]) -> AppupDirectives:
    """What the newer of two releases says of coming from the older one, or of going back. Raises DamagedRelease."""
    steps_of = {}
    for name, (version, _) in newer.rel.items():
        before = older.rel.get(name, (version, ""))[0]
        if before == version or name not in newer.homes:
            continue
        path = ReleaseDirectory(newer.root).appup(newer.homes[name], name)
        if not path.is_file():
            continue
        try:
            steps = appup.parse(path.read_text(encoding="utf-8")).steps(way, before)
        except (OSError, ValueError) as error:
            raise DamagedRelease(f"{path} is not an appup: {error}") from None
        if steps is not None:
            steps_of[name] = steps
    return AppupDirectives(steps_of)


def completed(steps: Sequence[Step], loads: Mapping[str, Load], generated: Iterable[Step]) -> list[Step]:
    """What is said of an application, and what the rules make for the modules of which nothing is.

    An update, or a load, of a module that defines ``code_change`` is one with it, whatever was said: the rules rely on that.
    """
    carrying = [_carrying(step, loads) for step in steps]
    named = {
        step.module
        for step in carrying
        if isinstance(step, Update | LoadModule | AddModule | DeleteModule | low.Load | low.Remove)
    }
    return [*carrying, *(step for step in generated if getattr(step, "module", None) not in named)]


def _carrying(step: Step, loads: Mapping[str, Load]) -> Step:
    load = loads.get(getattr(step, "module", ""))
    if load is None or not load.code_change:
        return step
    match step:
        case Update(change="soft"):
            return replace(step, change=Advanced())
        case LoadModule(module, deps, pre, post):
            return Update(module, Advanced(), deps, pre, post)
    return step
