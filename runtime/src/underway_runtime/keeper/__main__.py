"""``python -I -S keeper/__main__.py BIN/NAME start|daemon [ARGS]``, as the launcher calls it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from underway_runtime.keeper import daemon  # found by the line before

os._exit(daemon.main(sys.argv[1], sys.argv[2:], os.environ))
