"""A node that takes a question and never answers it keeps no command of root's that changes nothing, or only tells it something."""

from __future__ import annotations

import pytest

from forged_nodes import node_of_the_service
from grounds import OPERATOR, Ground

ASKED = {
    "status": "status", "metrics": "metrics", "restart": "restart", "remote": "shell", "commit 1": "committed",
    "check 2 --within 5": "status", "status --json": "status",
}  # fmt: skip
"""By command, what it asks the node."""


@pytest.mark.drill
def test_what_a_node_does_not_answer_has_an_end(ground: Ground) -> None:
    """Each command ends with a sentence, in the minute that a node has; `check` and `commit`, which do not need it, do their work."""
    node_of_the_service(ground, silent=[*ASKED.values()])
    waiting = {command: ground.spawn(OPERATOR, ground.inside / "bin/hello", *command.split()) for command in ASKED}
    for command, process in waiting.items():
        said, _ = process.communicate(timeout=100)
        assert "Traceback" not in said
        works = command.startswith(("commit", "check"))
        assert process.returncode == (0 if works else 1), (command, said)
        assert works or "does not answer" in said, (command, said)
