"""What can be set."""

TRIES = 2
RATES = {"mail": 5, "print": 1}
SENDER = "robot"
