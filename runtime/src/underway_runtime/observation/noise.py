"""What differs between two pictures of one version is noise: an address, a time, an order that a hash has made.

Two imports with other hash seeds show it. It is taken out, so that the same version gives the same picture:

=========================  ==========================================================================================
what differs               what becomes of it
=========================  ==========================================================================================
a value, code, a name      a node that says so (`Flag.NOISE`) stands in its place; nothing below it is compared
an element more or less    it goes; what held it is `Flag.UNSETTLED`: what comes and goes there is not compared
an order                   what has it is `Flag.UNSETTLED`
an alias                   the object counts as one that can't be told from another
a module                   it goes, and is missing by name
=========================  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import replace

from .canonical import canonical
from .compare import Difference, compare
from .node import Flag, Node
from .picture import Picture


def settle(one: Picture, other: Picture) -> Picture:
    """What two canonical pictures of one version have in common, canonical too; `Picture.noise` says what was left out."""
    missing = {**one.missing, **other.missing}
    if (values := _values_only(one, other)) is not None:
        nodes = list(one.nodes)
        for number in values:
            nodes[number] = _noise(nodes[number])
        noise = one.paths(values).values()
        return canonical(replace(one, nodes=nodes, missing=missing, noise=tuple(sorted(noise)), objects=()))
    return _settled_by_walk(one, other, missing)


def _values_only(one: Picture, other: Picture) -> list[int] | None:
    """The nodes whose values differ, where nothing else does: what most pairs are. No walk finds that as fast."""
    if one.modules != other.modules or len(one.nodes) != len(other.nodes):
        return None
    pairs = enumerate(zip(one.nodes, other.nodes, strict=True))
    numbers = [number for number, (x, y) in pairs if x is not y and x != y]
    unlike = any(
        one.nodes[n].edges != other.nodes[n].edges or one.nodes[n].type != other.nodes[n].type for n in numbers
    )
    return None if unlike else numbers


def _settled_by_walk(one: Picture, other: Picture, missing: dict[str, str]) -> Picture:
    nodes, modules = list(one.nodes), dict(one.modules)
    noise = [difference for difference in compare(one, other) if difference.kind != "opaque"]
    for difference in noise:
        if difference.kind == "module":
            name = difference.path[0]
            modules.pop(name, None)
            missing.setdefault(name, "it is imported in one of two tries only")
        else:
            _take_out(nodes, difference)
    paths = tuple(sorted({difference.path for difference in noise}))
    return canonical(replace(one, modules=modules, nodes=nodes, missing=missing, noise=paths, objects=()))


def _noise(node: Node) -> Node:
    return Node(node.type, "", "", Flag.NOISE, ())


def _take_out(nodes: list[Node], difference: Difference) -> None:
    x, within = difference.a, difference.within
    if difference.kind == "alias" and x is not None:
        nodes[x] = nodes[x]._replace(flags=nodes[x].flags & ~Flag.MUTABLE)
    elif difference.kind == "order" and x is not None:
        nodes[x] = nodes[x]._replace(flags=nodes[x].flags | Flag.UNSETTLED)
    elif within is None:
        return
    elif x is None or difference.b is None:
        holder = nodes[within[0]]
        edges = tuple((label, to) for label, to in holder.edges if to != x)
        nodes[within[0]] = holder._replace(flags=holder.flags | Flag.UNSETTLED, edges=edges)
    else:
        holder, node = nodes[within[0]], nodes[x]
        nodes.append(_noise(node))
        edges = tuple((label, len(nodes) - 1 if to == x else to) for label, to in holder.edges)
        nodes[within[0]] = holder._replace(edges=edges)
