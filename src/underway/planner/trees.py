"""Goes over trees of source, each once, however many rules ask.

Nodes are told from each other by their identity, and live as long as the process: what is asked for here must stay as it is, as
the trees of modules do.
"""

from __future__ import annotations

import ast
from functools import cache


@cache
def walk(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and all below it, in the order of `ast.walk`."""
    nodes = [node]
    for inner in nodes:  # which grows meanwhile
        nodes += children(inner)
    return tuple(nodes)


def children(node: ast.AST) -> list[ast.AST]:
    """Return what is right below a node, as `ast.iter_child_nodes` has it, in half of the time."""
    nodes: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            nodes.append(value)
        elif type(value) is list:
            nodes += [item for item in value if isinstance(item, ast.AST)]
    return nodes
