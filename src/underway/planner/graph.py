"""Pictures as the planner reads them: the ways to objects that can be followed in a process, and what can be changed there."""

from __future__ import annotations

import ast
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from underway_runtime.observation.node import Flag, Node
from underway_runtime.observation.picture import Picture
from underway_runtime.release import plain_values
from underway_runtime.release.instructions import Load
from underway_runtime.release.parts import Part, Step

Loads: TypeAlias = Mapping[str, Load]
Place: TypeAlias = tuple[str, tuple[Step, ...]]
"""A module, and the way from it."""

_NEAR = 200
"""Objects that are looked at around a decorated function."""

CACHE = "functools._lru_cache_wrapper"
_KEEPING = ("builtins.set", CACHE, "weakref.WeakKeyDictionary", "weakref.WeakValueDictionary")

ALIASES = (
    *(
        "typing._GenericAlias",
        "typing._UnionGenericAlias",
        "typing._CallableGenericAlias",
        "typing._LiteralGenericAlias",
    ),
    *("types.GenericAlias", "types.UnionType", "typing.Union", "collections.abc._CallableGenericAlias"),
)
"""Types of what ``Callable[[X], Y]`` and the like make: another one is made of what its arguments become."""

_SETTLED = (
    *ALIASES,
    *("builtins.staticmethod", "builtins.classmethod", "builtins.property"),
    "decimal.Decimal",
    "fractions.Fraction",
    "re.Pattern",
    "logging.Logger",
    "uuid.UUID",
    "zoneinfo.ZoneInfo",
    "ipaddress.IPv4Network",
)
"""Types whose instances stay what they are, or are asked for by their name, beyond those of Python's own."""


def placed(roots: Sequence[str], part: Part) -> Part | None:
    """A part that says where the release is, as one that does so below its root; None for one that does so in another way."""
    texts = [json.dumps(plain_values.encode(value)) for value in (part.was, part.now)]
    if not any(root[:-1] in text for root in roots for text in texts):
        return part
    was, now = part.was, part.now
    if part.kind != "value" or not isinstance(was, str) or not isinstance(now, str):
        return None
    if not was.startswith(roots[0]) or not now.startswith(roots[1]):
        return None
    return replace(part, kind="place", was=was.removeprefix(roots[0]), now=now.removeprefix(roots[1]))


def is_settled(node: Node) -> bool:
    """Whether nothing can change an object, so that another one is bound instead."""
    return not node.flags & Flag.MUTABLE or node.type in _SETTLED or node.type.startswith(("datetime.", "pathlib."))


def is_own_value(picture: Picture, number: int) -> bool:
    """Whether an object is a text, a number or the like of a class of its own, without attributes, and nothing else holds it."""
    node = picture.nodes[number]
    holding = sum(to == number for other in picture.nodes for _, to in other.edges)
    bare = all(label == "<class>" for label, _ in node.edges)
    return bool(node.digest) and bare and not node.flags & Flag.OPAQUE and holding == 1


def is_fixed(node: Node) -> bool:
    """Whether an object is a row that can't be changed."""
    return bool(node.flags & Flag.SEQUENCE and not node.flags & Flag.MUTABLE)


def places_in(picture: Picture, loads: Loads) -> dict[int, Place]:
    """By the number of an object: the shortest way to it that can be followed in a process, from a module that changes."""
    places: dict[int, Place] = {}
    queue = deque((number, (name, ())) for name, number in picture.modules.items() if name in loads)
    waiting: deque[tuple[int, Place]] = deque(queue)
    while waiting:
        number, (module, steps) = waiting.popleft()
        if number in places:
            continue
        places[number] = module, steps
        for label, to in picture.nodes[number].edges:
            if to not in places and (step := step_of(label, picture.nodes[number])) is not None:
                waiting.append((to, (module, (*steps, step))))
    return places


def step_of(label: str, holder: Node) -> Step | None:
    """The step that a label of an object stands for; None where that can't be followed in a process."""
    if label[0] == "." and label[1:].isidentifier():
        return "attribute", label[1:]
    if label[0] == "[" and label[1] != "#":
        try:
            return "item", ast.literal_eval(label[1:-1])
        except (ValueError, SyntaxError):
            alone = [other for other, _ in holder.edges].count(label) == 1
            return ("key", label[1:-1]) if alone and f"<key {label}>" in dict(holder.edges) else None
    return None


def label_of(step: Step) -> str:
    if step[0] == "key":
        return f"[{step[1]}]"
    return f".{step[1]}" if step[0] == "attribute" else f"[{step[1]!r}]"


def labels_of(place: Place) -> tuple[str, ...]:
    return (place[0], *map(label_of, place[1]))


def elements(node: Node) -> list[int]:
    return [number for label, number in node.edges if label[0] == "[" and label[1:-1].isdecimal()]


def types_of(picture: Picture, cls: str) -> set[str]:
    """The names of a class, and of those that inherit from it and are in the picture: of its instances' types."""
    above = {
        node.name.replace(":", "."): {*_bases(picture, node)} for node in picture.nodes if node.type == "builtins.type"
    }
    names = {cls}
    while more := {name for name, bases in above.items() if name not in names and bases & names}:
        names |= more
    return names


def _bases(picture: Picture, node: Node) -> Iterable[str]:
    return [picture.nodes[to].name.replace(":", ".") for label, to in node.edges if label.startswith("<base ")]


def keeps_something(picture: Picture, number: int) -> bool:
    """Whether what stands for a decorated function has a container of its own, in which may be what the function has returned."""
    seen, waiting = {number}, [number]
    while waiting and len(seen) < _NEAR:
        for label, to in picture.nodes[waiting.pop()].edges:
            node = picture.nodes[to]
            if to in seen or label in (".__wrapped__", "<globals>", ".__dict__") or node.flags & Flag.NAMED:
                continue
            if (node.flags & Flag.MUTABLE and node.flags & (Flag.ORDERED | Flag.SEQUENCE)) or node.type in _KEEPING:
                return True
            seen.add(to)
            if not node.type.startswith("builtins.type"):
                waiting.append(to)
    return False
