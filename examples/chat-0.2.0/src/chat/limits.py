"""How much there is of everything."""

HISTORY = 100
"""How many messages a room remembers."""

SHOWN = 50
"""How many of them are shown."""

BACKLOG = 100
"""How many events may wait for a member; one who falls further behind is dropped."""
