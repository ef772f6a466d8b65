import os
import sys

VERSION = "1"
PORT = int(os.environ["PORT"])


def says():
    print("listening on", PORT, file=sys.stderr, flush=True)
