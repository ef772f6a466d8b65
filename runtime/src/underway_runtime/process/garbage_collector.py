"""The garbage collector while a node boots, and after.

Hundreds of modules make hundreds of thousands of objects that stay, and the collector goes over them time and again. So
it works rarely until the node has started, and then sets aside what is there: it is as good as permanent, and no later
collection has to look at it::

    postpone()          first of all            rarely, so that what an application does at its start stays bounded
    set_aside()         after an import         what is there by now is set aside, and not counted among what is new
    settle()            when all has started    as often as before, without what is there by now
    thaw()              before a heap walk      all objects are the collector's again
    set_aside_again()   after such a walk       what is there by now is set aside, if something was before

What is set aside is freed when nothing refers to it any more, as ever; cycles in it are not collected. ``gc.get_objects``
and ``gc.get_referrers`` do not see it: who walks the heap calls ``thaw`` first.
"""

from __future__ import annotations

import gc

from . import memory

_RARELY = (100_000, 50, 100)
"""New objects before the youngest are collected; how many times that before older ones are, and the oldest."""

_before: list[tuple[int, int, int]] = []
"""The thresholds to go back to, while they are not in force."""
_thawed: list[bool] = []
"""Whether something was set aside that is not any more."""


def postpone() -> None:
    """Collect rarely, until ``settle``."""
    if not _before:
        _before.append(gc.get_threshold())
        gc.set_threshold(*_RARELY)


def set_aside() -> None:
    """Set aside what there is, after `postpone`: the modules of a few libraries are as many objects as start a collection."""
    if _before:
        gc.freeze()


def settle() -> None:
    """Set aside what there is and collect as often as before; without ``postpone`` it changes nothing.

    Where an application has set thresholds of its own meanwhile, or turned the collector off, that stays.
    """
    if not _before:
        return
    before = _before.pop()
    gc.freeze()
    if gc.get_threshold() == _RARELY:
        gc.set_threshold(*before)


def thaw() -> None:
    """Make all objects the collector's again. The next full collection looks at each of them."""
    if gc.get_freeze_count():
        _thawed.append(True)
    gc.unfreeze()


def set_aside_again() -> None:
    """Set aside what there is where `thaw` has given something back.

    Cycles that nobody refers to are collected first, and what that frees is the system's again.
    """
    if _thawed:
        _thawed.clear()
        gc.collect()
        memory.give_back()
        gc.freeze()
