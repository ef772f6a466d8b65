"""Members that come to an enumeration: a fragment makes the whole of it once more, and the live one takes those that it lacks.

Members that are there stay, whoever holds them. One that has got another value can't: who holds it would have the old one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import EnumMeta
from typing import Any

from ...observation import objects
from . import CannotSwap, guards
from .undo_log import Acts

KIND = EnumMeta
"""What enumerations are instances of."""


def with_live_members(value: Any, made: type, live: type) -> Any:
    """What the enumeration that a fragment has made holds, as the live one holds it. Raises CannotSwap for another value of a member."""
    kind = type(value)
    if kind is made:
        return _member(value, live)
    if kind is dict:
        return {key: with_live_members(item, made, live) for key, item in value.items()}
    if kind is list:
        return [with_live_members(item, made, live) for item in value]
    names = objects.names_of(value)
    if type(names.get("member")) is made:  # what finds a member that has the name of an attribute
        names["member"] = _member(names["member"], live)
    return value


def come(made: type, live: type, names: Iterable[str]) -> Acts:
    """What binds members that come, by name, so that they can be asked for; no old code knows of them."""
    result = Acts()
    for name in names:
        if name in objects.members(made) and name not in objects.members(live):
            result.member(live, name, with_live_members(objects.members(made)[name], made, live))
    return result


def _member(value: Any, live: type) -> Any:
    names = objects.names_of(value)
    member = objects.members(live)["_member_map_"].get(names["_name_"])
    if member is None:
        object.__setattr__(value, "__class__", live)
        names["__objclass__"] = live
        return value
    before = objects.names_of(member)["_value_"]
    if not guards.same(before, names["_value_"]):
        raise CannotSwap(
            [f"{objects.name_of(live)}.{names['_name_']} is {before!r}, and would be {names['_value_']!r}"]
        )
    return member
