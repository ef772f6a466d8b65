"""Templates that Jinja has compiled, and keeps: it has put into them what a loader had, and what filters have made of constants."""

from __future__ import annotations

import sys
from typing import Any

from ...observation import objects
from . import heap
from .undo_log import Acts


def caches() -> Acts:
    """What gives each environment of Jinja an empty cache, of the size of its own: it loads its templates again."""
    result = Acts()
    jinja = sys.modules.get("jinja2.environment")
    names: dict[str, Any] = objects.names_of(jinja) if jinja is not None else {}
    environment: Any = names.get("Environment")
    emptied = names.get("copy_cache")
    if not objects.is_a(environment, type) or emptied is None:
        return result
    for _, found in heap.instances(heap.with_subclasses(environment), heap.all_objects()):
        for each in found:
            own = objects.own_dict(each)
            if own is not None and "cache" in own:
                result.item(own, "cache", emptied(own["cache"]))
    return result
