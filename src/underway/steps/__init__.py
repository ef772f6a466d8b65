"""The pipeline: each step takes a release and returns one.

``run`` obeys ``release.steps``. A step gets the release with itself already taken from ``steps``, so it can add, drop or
reorder what follows; a release that a step returns is checked before the next one sees it. The rules are
Mix.Release's: ``assemble`` exactly once, ``tar`` at most once and after it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from underway_runtime.release.display import many_lines
from underway_runtime.release.manifest import Manifest

from ..errors import StepError, UnderwayError, listing
from ..release import Release, Step, change, changed_read_only, type_problems
from .assemble import assemble
from .manifest import seal
from .tar import tar
from .upgrade import post_assemble, pre_assemble

__all__ = ["ASSEMBLE", "TAR", "assemble", "post_assemble", "pre_assemble", "run", "step_problems", "tar"]

POST_ASSEMBLE = "underway.steps:post_assemble"
ASSEMBLE = "underway.steps:assemble"
TAR = "underway.steps:tar"

_LINES = 50
"""Of what a step raises, those that are told."""

_BUILT_IN: dict[str, Step] = {
    "underway.steps:pre_assemble": pre_assemble,
    ASSEMBLE: assemble,
    POST_ASSEMBLE: post_assemble,
    TAR: tar,
}


def run(
    release: Release,
    resolve: Callable[[str], Step],
    report: Callable[[str], None] = lambda _: None,
    seal: Callable[[Release], Manifest] = seal,
) -> Release:
    """Run every step of a release, in order, and seal what came out with its manifest.

    `resolve` finds a custom step by its name and raises an UnderwayError where there is none; `report` is told the name of each
    step before it runs; `seal` is called before the archive is made, and at the end. Raises StepError, naming the step, for one that
    breaks the contract or raises.
    """
    check_steps(release.steps, resolve, assembled=False)
    assembled, packed = False, None
    while release.steps:
        name, rest = release.steps[0], release.steps[1:]
        report(name)
        if name == TAR:
            packed = seal(release)
        before = replace(release, steps=rest)
        release = _checked(name, before, _call(name, _find(name, resolve), before))
        assembled = assembled or name == ASSEMBLE
        if release.steps != rest:
            check_steps(release.steps, resolve, assembled)
    if packed not in (None, seal(release)):
        raise StepError(f"a step after {TAR!r} changed what is in the archive already; list it before {TAR!r}")
    return release


def check_steps(steps: tuple[str, ...], resolve: Callable[[str], Step], assembled: bool) -> None:
    """Raise StepError with everything that is wrong with a list of steps that are still to run."""
    problems = step_problems(steps, assembled)
    for name in dict.fromkeys(steps):
        try:
            _find(name, resolve)
        except UnderwayError as error:
            hint = {"assemble": ASSEMBLE, "tar": TAR}.get(name.rpartition(":")[2])
            problems.append(f"{error}{f'; did you mean {hint!r}?' if hint else ''}")
    if problems:
        raise StepError(listing(f"the steps {list(steps)} can't run:", problems))


def step_problems(steps: tuple[str, ...], assembled: bool = False) -> list[str]:
    """What is wrong with the order of steps that are still to run; `assembled` says that assemble has run already."""
    assembles, tars = steps.count(ASSEMBLE), steps.count(TAR)
    problems = []
    if assembles + assembled == 0:
        problems.append(f"there is no {ASSEMBLE!r}, which makes the release; list it exactly once")
    if assembles + assembled > 1:
        problems.append(
            f"{ASSEMBLE!r} is listed {'again' if assembled else f'{assembles} times'}; list it exactly once"
        )
    if tars > 1:
        problems.append(f"{TAR!r} is listed {tars} times; list it at most once")
    if tars and assembles and steps.index(TAR) < steps.index(ASSEMBLE):
        problems.append(f"{TAR!r} is before {ASSEMBLE!r}; there is nothing to pack yet")
    return problems


def _find(name: str, resolve: Callable[[str], Step]) -> Step:
    return _BUILT_IN.get(name) or resolve(name)


def _call(name: str, step: Step, release: Release) -> object:
    try:
        return step(release)
    except (UnderwayError, OSError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        raise StepError(
            f"the step {name!r} raised {type(error).__name__}: {many_lines(error, _LINES)}{where}"
        ) from error


def _checked(name: str, before: Release, after: object) -> Release:
    if not isinstance(after, Release):
        raise StepError(
            f"the step {name!r} returned {type(after).__name__}; a step returns the release it was given, or a changed one"
        )
    problems = [
        f"{field} was changed{change(getattr(before, field), getattr(after, field))}; a step may only read it"
        for field in changed_read_only(before, after)
    ]
    problems += type_problems(after)
    if problems:
        raise StepError(listing(f"the step {name!r} returned a release that can't be used:", problems))
    return after
