"""Loggers that nobody has configured: ``logging`` makes each when it is asked for, and keeps it, so that they may come at any time."""

from __future__ import annotations

from .compare import Difference
from .node import digest_of
from .picture import Picture

_UNCONFIGURED = {"level": 0, "propagate": True, "disabled": False}
"""Attributes of a logger that nobody has configured."""


def are_asked_for(difference: Difference, a: Picture, b: Picture) -> bool:
    """Whether pictures differ in nothing but such loggers that come or go, or stand in another order in the dict of all of them.

    A place in which no logger stands yet has those below it: they are in that dict too, and are told there.
    """
    if ".loggerMap" in difference.path:
        return ".loggerDict" in difference.path
    if ".loggerDict" not in difference.path[-2:]:
        return False
    sides = ((a, difference.a), (b, difference.b))
    both = difference.kind == "type"
    return difference.kind == "order" or all(_is_unconfigured(*side) for side in sides if both or side[1] is not None)


def _is_unconfigured(picture: Picture, number: int | None) -> bool:
    if number is None or picture.nodes[number].type not in ("logging.Logger", "logging.PlaceHolder"):
        return False
    edges = dict(picture.nodes[number].edges)
    plain = {f".{name}": digest_of(repr(value)) for name, value in _UNCONFIGURED.items()}
    lists = (picture.nodes[edges[name]] for name in (".handlers", ".filters") if name in edges)
    return all(picture.nodes[edges[name]].digest == told for name, told in plain.items() if name in edges) and not any(
        node.edges for node in lists
    )
