import os
import sys

VERSION = "1"
PORT = int(os.environ["PORT"])
WORKERS = 4


def who():
    """The version that this process has in memory, and its pid."""
    return f"{VERSION} {os.getpid()}"


def says():
    print("listening on", PORT, file=sys.stderr, flush=True)
