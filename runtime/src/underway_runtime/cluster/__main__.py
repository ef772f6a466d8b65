"""``bin/cluster``; the launcher runs this file by its path, as ``python -I -S``, so that nothing of the release's wheels runs at its
start, as whoever types it. Of them it finds what makes certificates, and what archives take.
"""

import os
import sys

_LIBRARIES = ("backports-zstd", "cryptography", "cffi", "pycparser", "typing-extensions")


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
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from underway_runtime.cluster.cli import run
    from underway_runtime.code_server.named_libraries import find_libraries
    from underway_runtime.release import standard
    from underway_runtime.release.display import many_lines
    from underway_runtime.release.errors import UnderwayError

    find_libraries(os.environ["RELEASE_ROOT"], os.environ["RELEASE_VSN"], _LIBRARIES)
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
