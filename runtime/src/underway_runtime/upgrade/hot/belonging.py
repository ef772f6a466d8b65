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
        own = _alone(_reached(values, roots, self.classes), roots)
        self.ids = {id(each) for each in own}
        self.references = Counter(id(each) for one in own for each in gc.get_referents(one))
        """By the id of an object: how many of the references to it come from these."""


def _reached(values: Iterable[Any], roots: Counter[int], classes: set[int]) -> list[Any]:
    """The values, counted in `roots`, and what they refer to; the ids of classes among the values come into `classes`."""
    found: dict[int, Any] = {}
    for each in values:
        if objects.is_a(each, type):
            classes.add(id(each))
        if gc.is_tracked(each) and not objects.is_a(each, _OTHERS):
            roots[id(each)] += 1
            found[id(each)] = each
    waiting = list(found)
    while waiting and len(found) < MOST:
        for each in gc.get_referents(found[waiting.pop()]):
            if id(each) not in found and gc.is_tracked(each) and not objects.is_a(each, _OTHERS):
                found[id(each)] = each
                waiting.append(id(each))
    return list(found.values())


def _alone(found: list[Any], outside: Counter[int]) -> list[Any]:
    """Those of these to which nothing else refers; `outside`: known references, by id."""
    while True:
        known = outside + Counter(id(each) for one in found for each in gc.get_referents(one))
        alone = [sys.getrefcount(found[n]) <= _HERE + known[id(found[n])] for n in range(len(found))]
        if all(alone):
            return found
        found = list(compress(found, alone))
