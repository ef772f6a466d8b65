"""What a picture can't know of an object of a framework: what that computes at run time and keeps, and what it refuses by then.

One file a framework; a new one is found here, by what it has:

===============================  ================================================================================
``RULES``                        attributes of objects, as below
``REMEMBERED``, ``BY_HASH``      what may be left out of a comparison
``check(world, edits, others)``  writes RESTART rows for what is read by others than the project
``propose(edits)``               adds statements, where what comes of them is compared with a fresh start
===============================  ================================================================================
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ...edit import ModuleDiff, PlannerContext


@dataclass(frozen=True)
class Rule:
    """One attribute of the objects of a class, and of those that inherit from it."""

    of: str
    """The class, ``module.name``."""
    attribute: str
    value: object
    kind: Literal["forgotten", "dropped", "meanwhile", "counted"]
    """What is done with it.

    ``forgotten``  it gets the value, and is computed again when it is asked for
    ``dropped``    it is taken out, unless a module has set it, and made again when it is asked for
    ``meanwhile``  it has the value while statements are run
    ``counted``    it says how often something has changed, for what is kept since, and never goes back
    """
    below: tuple[str, ...] = ()
    """The attributes below which something changes, where it follows from these alone."""


def rules() -> tuple[Rule, ...]:
    """Return those of all frameworks."""
    return tuple(rule for framework in _frameworks() for rule in getattr(framework, "RULES", ()))


def remembered() -> frozenset[str]:
    """Return the paths of functions that remember answers which depend on nothing but what they were asked."""
    return frozenset(path for framework in _frameworks() for path in getattr(framework, "REMEMBERED", ()))


def is_by_hash(path: Sequence[str]) -> bool:
    """Whether a path leads through what has hashes for keys, or is told by them, and so differs from process to process."""
    labels = frozenset(label for framework in _frameworks() for label in getattr(framework, "BY_HASH", ()))
    return not labels.isdisjoint((*path, "".join(path[:2])))


def check(world: PlannerContext, edits: Mapping[str, ModuleDiff], others: Mapping[str, Path]) -> None:
    """Have each framework write its rows; `others` are the files of modules that do not change."""
    for function in _named("check"):
        function(world, edits, others)


def propose(edits: Mapping[str, ModuleDiff]) -> None:
    """Have each framework add what a start would do besides."""
    for function in _named("propose"):
        function(edits)


def _named(name: str) -> Iterator[Any]:
    return (getattr(framework, name) for framework in _frameworks() if hasattr(framework, name))


def _frameworks() -> list[ModuleType]:
    return [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
