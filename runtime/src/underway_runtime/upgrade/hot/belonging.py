"""What belongs to something that goes away, and to nobody else: what an enum's members or a model's validators are to their class.

Told by counting: an object belongs if all references to it come from what belongs too.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import compress
from types import FunctionType, ModuleType
from typing import Any

from ...observation import objects

MOST = 10_000
"""Objects that are looked at; what has more belongs to somebody else for all one knows."""

_OTHERS = (type, ModuleType, FunctionType)
_HERE = 2
"""References to an object of a list while it is asked for: the list's, and the argument of getrefcount."""


class Belonging:
    """What belongs to these values, each of which is referred to once by what goes away, and by nobody who asks."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.classes: set[int] = set()
        """The ids of the classes among them, of each of which it is asked by itself who holds it."""
        roots: Counter[int] = Counter()
        alone = _alone(_reached(values, roots, self.classes), roots)
        self.ids = {id(value) for value in alone}
        self.references = Counter(id(referent) for one in alone for referent in gc.get_referents(one))
        """By the id of an object: how many of the references to it come from these."""


def _reached(values: Iterable[Any], roots: Counter[int], classes: set[int]) -> list[Any]:
    """The values, counted in `roots`, and what they refer to; the ids of classes among the values come into `classes`."""
    reached: dict[int, Any] = {}
    for value in values:
        if objects.is_a(value, type):
            classes.add(id(value))
        if gc.is_tracked(value) and not objects.is_a(value, _OTHERS):
            roots[id(value)] += 1
            reached[id(value)] = value
    waiting = list(reached)
    while waiting and len(reached) < MOST:
        for referent in gc.get_referents(reached[waiting.pop()]):
            if id(referent) not in reached and gc.is_tracked(referent) and not objects.is_a(referent, _OTHERS):
                reached[id(referent)] = referent
                waiting.append(id(referent))
    return list(reached.values())


def _alone(values: list[Any], outside: Counter[int]) -> list[Any]:
    """Those of these to which nothing else refers; `outside`: known references, by id."""
    while True:
        known = outside + Counter(id(referent) for one in values for referent in gc.get_referents(one))
        alone = [sys.getrefcount(values[n]) <= _HERE + known[id(values[n])] for n in range(len(values))]
        if all(alone):
            return values
        values = list(compress(values, alone))
