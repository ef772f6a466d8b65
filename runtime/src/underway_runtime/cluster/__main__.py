"""``python -m underway_runtime.cluster``, as the launcher calls it for ``bin/cluster``."""

import os
import sys

from ..release import standard
from ..release.display import many_lines
from ..release.errors import UnderwayError
from .cli import run


def end(status: int, message: str = "") -> None:
    """End with this status, also where nobody is there any more to be told: a terminal that was closed."""
    try:
        if message:
            print(message, file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
    sys.exit(status)


if __name__ == "__main__":
    standard.fill()
    standard.escape()
    try:
        done = run(sys.argv[1:], os.environ)
    except UnderwayError as error:
        end(error.exit_code, f"error: {many_lines(error)}")
    except KeyboardInterrupt:
        end(130)
    else:
        end(done)
