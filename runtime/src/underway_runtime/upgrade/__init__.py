"""The live change, and what it rests on: the releases on disk. Room above `node`; it knows nothing of keeper or cluster."""

from ..release.command_table import COMMANDS as _ALL

COMMANDS = tuple(name for name, row in _ALL.items() if row.room == "upgrade")
"""The commands of ``bin/NAME`` that are in this room."""
