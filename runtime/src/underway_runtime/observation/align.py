"""Which elements of two rows are the same: those that are alike stay partners wherever they have moved to.

Elements are matched by what they are, in rounds of less and less: all that is near, without code, by type and name alone. Each
round keeps the order (a longest common subsequence, as in a diff of text) and works on what the one before has left between its matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from .node import Flag, Node

Pair: TypeAlias = tuple[int | None, int | None]
"""Positions in the two rows; None where one has no partner."""

DEPTH = 3
"""How many steps from an element are looked at to tell it from others."""

NEARLY = ((DEPTH, True), (DEPTH - 1, True), (DEPTH - 1, False))
"""Steps and code of the likeness of what is one and the same, but for what is told of it elsewhere."""

WIDTH = 40
"""How many edges of a node count."""


class Likeness:
    """What nodes of one picture are, in short: equal for two nodes that are alike as far as one looks."""

    def __init__(self, nodes: Sequence[Node], modules: Mapping[str, int] = MappingProxyType({})) -> None:
        self.nodes = nodes
        self._followed = _followed(nodes, modules)
        self._known: dict[tuple[int, int, bool], int] = {}
        self._pairs: dict[tuple[int, int, int, Likeness], bool] = {}

    def __call__(self, number: int, depth: int = DEPTH, code: bool = True) -> int:
        """Of a node and what is `depth` steps from it; `code` says whether digests of code count."""
        key = (number, depth, code)
        if (known := self._known.get(key)) is None:
            node, followed = self.nodes[number], number in self._followed
            if not node.edges and code:
                return hash((node, followed)) if followed else hash(node)
            digest = node.digest if code or not node.flags & Flag.CODE else ""
            edges = () if depth == 0 else node.edges if node.flags & Flag.SEQUENCE else sorted(node.edges)
            inner = [(label, self(to, depth - 1, code)) for label, to in edges[:WIDTH]]
            below = tuple(inner if node.flags & Flag.SEQUENCE else sorted(inner))  # of a set several have one label
            known = self._known[key] = hash((node.type, node.name, digest, below, followed))
        return known

    def is_alike(self, number: int, other: Likeness, partner: int, depth: int = DEPTH) -> bool:
        """Whether a node is what one of another picture is, as far as one looks: what equal numbers for both say too, and faster."""
        node, also = self.nodes[number], other.nodes[partner]
        if (number in self._followed) != (partner in other._followed):
            return False
        if not (node.edges and also.edges):
            return node == also
        if node.type != also.type or node.name != also.name or node.digest != also.digest:
            return False
        key = number, partner, depth, other
        if depth and (known := self._pairs.get(key)) is not None:
            return known
        if not depth:
            return True
        edges, others = node.edges, also.edges
        if not (node.flags & also.flags & Flag.SEQUENCE):
            edges, others = tuple(sorted(edges)), tuple(sorted(others))
        alike = self._pairs[key] = min(len(edges), WIDTH) == min(len(others), WIDTH) and all(
            label == name and self.is_alike(x, other, y, depth - 1)
            for (label, x), (name, y) in zip(edges[:WIDTH], others[:WIDTH], strict=True)
        )
        return alike


def _followed(nodes: Sequence[Node], modules: Mapping[str, int]) -> frozenset[int]:
    """The functions and classes in whose place, under their name in their module, stands another of that name."""
    standing = {f"{module}:{label[1:]}": to for module, number in modules.items() for label, to in nodes[number].edges}
    return frozenset(
        number
        for number, node in enumerate(nodes)
        if node.name and (at := standing.get(node.name, number)) != number and nodes[at].name == node.name
    )


def rows(a: Sequence[int], b: Sequence[int], like_a: Likeness, like_b: Likeness) -> Iterator[Pair]:
    """Partners among the nodes `a` and `b`, each position once, in order; what has no partner is paired with None."""
    if len(a) == len(b) and (len(a) == 1 or all(like_a.is_alike(x, like_b, y) for x, y in zip(a, b, strict=True))):
        yield from zip(range(len(a)), range(len(b)), strict=True)
        return
    kinds = tuple([hash(like.nodes[number].type) for number in row] for like, row in ((like_a, a), (like_b, b)))
    rounds = [*_rounds(a, b, like_a, like_b), kinds]
    pairs: Iterable[Pair] = _match(rounds, 0, len(a), 0, len(b))
    for nearly in rounds[len(NEARLY) - 1 :: -1]:  # what is the same but for its code, then what is just the same
        pairs = _moved_apart([*pairs], *nearly)
    yield from pairs


def heaps(a: Sequence[int], b: Sequence[int], like_a: Likeness, like_b: Likeness) -> Iterator[Pair]:
    """As `rows`, of elements whose order means nothing; what is alike in nothing has no partner."""
    left, right = dict.fromkeys(range(len(a))), dict.fromkeys(range(len(b)))
    for first, second in _rounds(a, b, like_a, like_b):
        waiting: dict[int, list[int]] = {}
        for position in reversed(right):
            waiting.setdefault(second[position], []).append(position)
        for position in list(left):
            if partners := waiting.get(first[position]):
                partner = partners.pop()
                del left[position], right[partner]
                yield position, partner
    yield from ((position, None) for position in left)
    yield from ((None, position) for position in right)


def _moved_apart(pairs: Sequence[Pair], first: Sequence[int], second: Sequence[int]) -> Iterator[Pair]:
    """Pairs, but none of two that are not alike where one of them is like one that has moved past the other: it has gone, or come."""
    unlike = [(x, y) for x, y in pairs if x is None or y is None or first[x] != second[y]]
    moved = {first[x] for x, _ in unlike if x is not None} & {second[y] for _, y in unlike if y is not None}
    for x, y in pairs:
        if x is None or y is None or first[x] == second[y] or moved.isdisjoint((first[x], second[y])):
            yield x, y
        else:
            yield x, None
            yield None, y


def _rounds(
    a: Sequence[int], b: Sequence[int], like_a: Likeness, like_b: Likeness
) -> Iterator[tuple[list[int], list[int]]]:
    for depth, code in (*NEARLY, (1, False), (0, False)):
        yield [like_a(number, depth, code) for number in a], [like_b(number, depth, code) for number in b]


def _match(rounds: Sequence[tuple[list[int], ...]], a: int, a_end: int, b: int, b_end: int) -> Iterator[Pair]:
    while a < a_end and b < b_end and rounds and rounds[0][0][a] == rounds[0][1][b]:
        yield a, b
        a, b = a + 1, b + 1
    if not rounds and a_end - a == b_end - b:
        yield from zip(range(a, a_end), range(b, b_end), strict=True)  # others in the place of others
    elif not rounds or a == a_end or b == b_end:
        yield from ((number, None) for number in range(a, a_end))
        yield from ((None, number) for number in range(b, b_end))
    else:
        yield from _blocks(rounds, a, a_end, b, b_end)


def _blocks(rounds: Sequence[tuple[list[int], ...]], a: int, a_end: int, b: int, b_end: int) -> Iterator[Pair]:
    from difflib import SequenceMatcher  # which few that import this need

    first, second = (row[start:end] for row, start, end in zip(rounds[0], (a, b), (a_end, b_end), strict=True))
    at_a, at_b = a, b
    for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks():
        yield from _match(rounds[1:], at_a, a + block.a, at_b, b + block.b)
        yield from ((a + block.a + offset, b + block.b + offset) for offset in range(block.size))
        at_a, at_b = a + block.a + block.size, b + block.b + block.size
