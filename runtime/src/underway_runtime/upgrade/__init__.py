"""The live change, and what it rests on: the releases on disk. Room above `node`; it knows nothing of keeper or cluster."""

COMMANDS = (
    "releases",
    "unpack",
    "check",
    "install",
    "upgrade",
    "commit",
    "rollback",
    "remove",
    "create-releases",
)
"""The commands of ``bin/NAME`` that are in this room."""
