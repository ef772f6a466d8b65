"""What is compiled of the annotations of a class when it is made, as far as pictures show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from underway_runtime.observation.node import Flag, Path
from underway_runtime.observation.picture import Picture

from ..rules.frameworks.pydantic import COMPILES, VALIDATOR

_METACLASSES = ("builtins.type", "abc.ABCMeta", "typing._ProtocolMeta")
"""Metaclasses that ask a class for its annotations in no case."""
_ASKED = "__init_subclass__"
"""The method by which a class hears of those that come from it."""


def unseen(classes: Mapping[tuple[str, str], bool], *pictures: Picture) -> Iterator[Path]:
    """The validators of classes that are not compiled yet in these pictures, or that none shows.

    Of a class that is true by name, only what it comes from may have compiled something: where a picture shows that that
    has no way to hear of it, nothing was.
    """
    for (module, name), inherited in sorted(classes.items()):
        at = Path((module, *(f".{part}" for part in name.split("."))))
        if not all(_is_compiled(picture, at) or (inherited and _is_left_alone(picture, at)) for picture in pictures):
            yield at / VALIDATOR


def _is_compiled(picture: Picture, at: Path) -> bool:
    number = picture.at(at / VALIDATOR)
    return number is not None and picture.nodes[number].type in COMPILES


def _is_left_alone(picture: Picture, at: Path) -> bool:
    """Whether no metaclass, and no class that this one comes from, is told of it when it is made."""
    waiting = [picture.at(at)]
    for number in waiting:  # which grows meanwhile
        if number is None:
            return False
        node = picture.nodes[number]
        above = [to for label, to in node.edges if label.startswith("<base ")]
        if node.flags & Flag.NAMED:
            top = node.name.partition(":")[0].partition(".")[0]
            if top not in sys.stdlib_module_names or top == "ctypes":
                return False
        elif not above or node.type not in _METACLASSES or f".{_ASKED}" in dict(node.edges):
            return False
        waiting += above
    return True
