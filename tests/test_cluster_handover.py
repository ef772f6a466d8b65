"""Nodes of a cluster hand over to others, and the cluster goes on."""

from __future__ import annotations

import pytest

from cluster_helpers import Nodes
from node_helpers import App, MakeNode

WORDS = App(
    "words",
    """
    def deploy():
        print("words are deployed", flush=True)
    """,
    requires=("underway_runtime",),
)
"""A project without a start of its own, as that of the stream template."""


# ------------------------------------------------------------------------------- a project without a start of its own


@pytest.mark.parametrize("mode", ["local", "worker", "master"])
def test_a_project_without_a_start_of_its_own_is_handed_over(make: MakeNode, mode: str) -> None:
    """What it requires waits for the node before, and so does it: a graceful restart works in each mode, and again."""
    nodes = Nodes(make, WORDS)
    deploy = {} if mode == "worker" else {"deploy": "words:deploy"}
    node = nodes.start(nodes.section("node", "127.0.0.1", mode, **deploy))
    node.serving()
    first = node.node

    for _ in range(2):
        node.gracefully()

    assert node.node != first
    assert node.log.read_text().count("words are deployed") == (0 if mode == "worker" else 3)
