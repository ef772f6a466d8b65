"""What can be set."""

LIMIT = 100
PREFIX = "relay"
TOPICS = {"news": 3, "jokes": 2}
