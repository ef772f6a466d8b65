"""One numbering of a picture: the same graph has the same, in whatever order an interpreter has found its objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .node import Flag, Node, digest_of
from .picture import Picture

DEPTH = 3
"""How many steps from an element of a set are looked at to tell it from another with the same label."""

WIDTH = 20
"""How many edges of a node count for that."""


def canonical(picture: Picture) -> Picture:
    """The same graph, numbered from its modules in the order of its edges, which is that of their labels where it means nothing."""
    nodes = picture.nodes
    modules = dict(sorted(picture.modules.items()))
    order = list(dict.fromkeys(modules.values()))
    numbers = {node: number for number, node in enumerate(order)}
    made: list[Node] = []
    for at in order:  # which grows meanwhile
        node = nodes[at]
        edges = []
        for label, to in _sorted(nodes, node):
            if (number := numbers.get(to)) is None:
                number = numbers[to] = len(order)
                order.append(to)
            edges.append((label, number))
        made.append(Node(node.type, node.name, node.digest, node.flags, tuple(edges)))
    return replace(picture, modules={name: numbers[node] for name, node in modules.items()}, nodes=made)


def _sorted(nodes: Sequence[Node], node: Node) -> Iterable[tuple[str, int]]:
    """The edges of a node by their labels, but for a row and for a dict, whose order can be seen.

    In what order a class has its members depends on a hash in some extensions. Elements of a set may have one label; they come in
    the order of what they lead to.
    """
    if node.flags & Flag.SEQUENCE or (node.flags & Flag.ORDERED and not node.flags & Flag.UNSETTLED):
        return node.edges
    if len(dict(node.edges)) == len(node.edges):
        return sorted(node.edges)
    return sorted(node.edges, key=lambda edge: (edge[0], _likeness(nodes, edge[1], DEPTH)))


def _likeness(nodes: Sequence[Node], number: int, depth: int) -> str:
    """A digest that is the same in each process, of a node and what is near to it."""
    node = nodes[number]
    below = [f"{label}{_likeness(nodes, to, depth - 1)}" for label, to in node.edges[:WIDTH]] if depth else []
    return digest_of("\n".join((node.type, node.name, node.digest, *below)))
