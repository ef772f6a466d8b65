"""What frameworks keep, as parts of their objects that become something else: by the rules that there are for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from underway_runtime.observation.node import Path
from underway_runtime.observation.picture import Picture
from underway_runtime.release.instructions import Load
from underway_runtime.release.parts import Part

from ...graph import Loads, Place, labels_of, places_in, types_of
from . import Rule, rules


def obey(loads: Loads, picture: Picture, changed: Sequence[Path], *, touched: bool) -> dict[str, Load]:
    """The instructions, with what frameworks have computed of their objects in a picture, as far as these have to do with the change.

    `changed` are the paths of what is to become something else; `touched` says whether statements that run change objects.
    """
    result = dict(loads)
    places = places_in(picture, loads)
    for rule in rules():
        types = types_of(picture, rule.of)
        for number, place in places.items():
            if picture.nodes[number].type not in types:
                continue
            if touched if rule.kind == "meanwhile" else bool(changed) and _is_concerned(place, rule, changed):
                _add(result, picture, rule, place)
    return result


def _add(loads: dict[str, Load], picture: Picture, rule: Rule, place: Place) -> None:
    module, path = place
    attribute = picture.at((*labels_of(place), f".{rule.attribute}"))
    if rule.kind != "forgotten" and (attribute is None) != (rule.kind == "dropped"):
        return
    part = Part(rule.kind, (*path, ("attribute", rule.attribute)), None, rule.value)
    if part not in loads[module].parts:  # a class, and one that it inherits from, may have the same rule
        loads[module] = replace(loads[module], parts=(*loads[module].parts, part))


def _is_concerned(place: Place, rule: Rule, changed: Sequence[Path]) -> bool:
    """Whether something at these paths is below an object, where the rule is about that."""
    here = labels_of(place)
    below = (path[len(here)][1:] for path in changed if path[: len(here)] == here and len(path) > len(here))
    return not rule.below or any(attribute in rule.below for attribute in below)
