"""The entry point of a release: ``python -m underway_runtime.boot COMMAND``, as the launcher calls it."""

from __future__ import annotations

import os
import sys

from .node import commands
from .release.errors import UnderwayError


def main() -> int:
    """Do what the command line asks for; the exit status of the process."""
    try:
        return commands.run(sys.argv[1:], os.environ)
    except UnderwayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
