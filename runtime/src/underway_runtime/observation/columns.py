"""Two pictures of one version, settled in the columns of their files: most differ in some values, and need no nodes for that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import accumulate, pairwise

from . import canonical, encoded, noise
from .encoded import HAS_DIGEST, Document
from .node import DIGITS, Flag, hidden_label

_ALIKE = ("modules", "types", "names", "flags", "edges", "labels", "targets", "texts", "others")


def settled(one: Document, other: Document) -> Document:
    """What two documents of one version have in common, as `noise.settle` has it; what else was seen is that of the first."""
    values = _values(one, other)
    if values is None or any(one["edges"][n] or one["texts"][one["names"][n]] for n in values) or _orders(one, values):
        observation = encoded.of_document(one)
        picture = noise.settle(observation.picture, encoded.of_document(other).picture)
        return encoded.document(encoded.Observation(picture, observation.ran, observation.outside, observation.python))
    flags, digests, taken = list(one["flags"]), list[str](), set(values)
    for at, number in enumerate(_with_digest(one)):
        if number not in taken:
            digests.append(one["digests"][at * DIGITS : (at + 1) * DIGITS])
    for number in values:
        flags[number] = int(Flag.NOISE)
    paths = sorted(_paths(one, taken))
    missing = {**one["missing"], **other["missing"]}
    return {**one, "flags": flags, "digests": "".join(digests), "noise": paths, "missing": missing}


def hidden(document: Document, public: Callable[[str], bool]) -> Document:
    """The same, with keys as digests unless `public` says of their label that it may be told."""
    texts, labels = list(document["texts"]), document["labels"]
    elsewhere = {*document["types"], *document["names"]}
    moved = {}
    for number in set(labels):
        label = texts[number]
        if (told := hidden_label(label)) == label or public(label):
            continue
        if number in elsewhere:
            moved[number] = len(texts)
            texts.append(told)
        else:
            texts[number] = told
    if moved:
        labels = [moved.get(number, number) for number in labels]
    paths = sorted(
        [name, *(label if public(label) else hidden_label(label) for label in path)]
        for name, *path in document["noise"]
    )
    return {**document, "texts": texts, "labels": labels, "noise": paths}


def opaque_types(document: Document) -> list[str]:
    """The types of what nothing here can see into, sorted."""
    texts, types = document["texts"], document["types"]
    return sorted({texts[types[n]] for n, flags in enumerate(document["flags"]) if flags & Flag.OPAQUE})


def paths_of_other_values(one: Document, other: Document) -> list[list[str]] | None:
    """The paths at which two canonical documents differ; None where more than values and code do.

    As `compare` has it: a plain value is told at each path, an object by the shortest.
    """
    values = _values(one, other)
    if values is None:
        return None
    starts, targets, flags = _starts(one), one["targets"], one["flags"]
    texts, labels = one["texts"], one["labels"]
    plain = {n for n in values if starts[n] == starts[n + 1] and not flags[n] & Flag.MUTABLE}
    held = [
        (number, edge)
        for number, (start, end) in enumerate(pairwise(starts) if plain else ())
        for edge in range(start, end)
        if number + targets[edge] in plain
    ]
    objects = [number for number in values if number not in plain]
    wanted = dict.fromkeys([*objects, *(number for number, _ in held)])
    paths = dict(zip(wanted, _paths(one, wanted), strict=True))
    return [paths[number] for number in objects] + [[*paths[number], texts[labels[edge]]] for number, edge in held]


def _values(one: Document, other: Document) -> list[int] | None:
    """The nodes whose digests differ; None where anything else does."""
    if any(one[name] != other[name] for name in _ALIKE):
        return None
    a, b = one["digests"], other["digests"]
    if a == b:
        return []
    ends = range(0, len(a), DIGITS)
    return [n for n, at in zip(_with_digest(one), ends, strict=True) if a[at : at + DIGITS] != b[at : at + DIGITS]]


def _with_digest(document: Document) -> list[int]:
    return [number for number, flags in enumerate(document["flags"]) if flags & HAS_DIGEST]


def _orders(document: Document, values: Iterable[int]) -> bool:
    """Whether the values may have told the order of elements that have one label."""
    starts, labels, targets = _starts(document), document["labels"], document["targets"]
    wanted = set(values)
    near = {n for n, (at, end) in enumerate(pairwise(starts)) if end - at != len(set(labels[at:end]))}
    for _ in range(canonical.DEPTH + 1 if wanted else 0):
        near = {number + targets[edge] for number in near for edge in range(starts[number], starts[number + 1])}
        if not wanted.isdisjoint(near):
            return True
    return False


def _starts(document: Document) -> list[int]:
    """Where the edges of each node begin, and where the last end."""
    return list(accumulate(document["edges"], initial=0))


def _paths(document: Document, wanted: Collection[int]) -> list[list[str]]:
    """The shortest paths to some nodes, as `Picture.paths` finds them."""
    starts, targets, texts, labels = _starts(document), document["targets"], document["texts"], document["labels"]
    roots = {number: name for name, number in sorted(document["modules"], reverse=True)}
    came: dict[int, tuple[int, int]] = {}
    queue, left = sorted(roots), set(wanted)
    for number in queue:  # which grows meanwhile
        if not left:
            break
        for edge in range(starts[number], starts[number + 1]):
            to = number + targets[edge]
            if to not in came and to not in roots:
                came[to] = number, edge
                queue.append(to)
                left.discard(to)
    return [_path(number, roots, came, lambda edge: texts[labels[edge]]) for number in wanted]


def _path(
    number: int, roots: dict[int, str], came: dict[int, tuple[int, int]], label: Callable[[int], str]
) -> list[str]:
    labels: list[str] = []
    while number not in roots:
        number, edge = came[number]
        labels.append(label(edge))
    return [roots[number], *reversed(labels)]
