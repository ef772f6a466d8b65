"""``python -m underway_runtime.cluster``, as the launcher calls it for ``bin/cluster``."""

import os
import sys

from ..release import standard
from ..release.display import many_lines
from ..release.errors import UnderwayError
from .script import run

if __name__ == "__main__":
    standard.fill()
    try:
        status = run(sys.argv[1:], os.environ)
    except UnderwayError as error:
        print(f"error: {many_lines(error)}", file=sys.stderr)
        status = error.exit_code
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
