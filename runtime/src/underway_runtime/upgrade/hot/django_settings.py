"""Django copies the settings of a module when it is set up, and reads the copy: what the module has by then is copied once more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain, filterfalse
from typing import Any

from ...observation import objects
from .undo_log import Acts, nothing

_DEFAULTS = "django.conf.global_settings"


def copied(copy: dict[str, Any]) -> Acts:
    """What puts the settings of its module into a copy of them, by the names that come, stay and go in the module meanwhile.

    `copy` are the attributes of a ``django.conf.Settings``. What the process has set in it since then stays. The names are known only
    when it is done, in iterators of C: no act runs code of Python.
    """
    result = Acts()
    module, explicit = objects.module_names(copy.get("SETTINGS_MODULE", "")), copy.get("_explicit_settings")
    if not module or type(explicit) is not set:
        return result
    before, named = dict(copy), frozenset(explicit)
    taken = [name for name in named if name in copy and name in module and copy[name] is module[name]]

    def comes() -> Iterator[str]:
        return filterfalse(named.__contains__, filter(str.isupper, chain.from_iterable([module])))

    def stays() -> Iterator[str]:
        return filter(partial(dict.__contains__, module), taken)

    def goes() -> Iterator[str]:
        return filterfalse(partial(dict.__contains__, module), taken)

    result.add(nothing, partial(dict.update, copy, before))
    result.add(nothing, partial(dict.clear, copy))
    for names in (comes, stays):
        _put(result, copy, module, names(), names())
    defaults = objects.module_names(_DEFAULTS)
    has_default = partial(dict.__contains__, defaults)
    _put(result, copy, defaults, filter(has_default, goes()), filter(has_default, goes()))
    result.add(partial(deque, map(partial(dict.pop, copy), filterfalse(has_default, goes())), 0), nothing)
    result.add(partial(set.update, explicit, comes()), partial(set.update, explicit, named))
    result.add(partial(set.difference_update, explicit, goes()), partial(set.clear, explicit))
    return result


def _put(
    result: Acts, copy: dict[str, Any], source: dict[str, Any], names: Iterator[str], again: Iterator[str]
) -> None:
    """Copy these items, which both iterators name."""
    values = map(partial(dict.__getitem__, source), again)
    result.add(partial(dict.update, copy, zip(names, values, strict=False)), nothing)
