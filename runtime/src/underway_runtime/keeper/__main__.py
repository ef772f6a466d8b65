"""``python -I -S keeper/__main__.py BIN/NAME start|daemon [ARGS]``, as the launcher calls it."""

import __future__  # noqa: F401

import _socket  # noqa: F401
import fcntl  # noqa: F401
import os
import select  # noqa: F401
import sys

# All that the keeper needs of the standard library is imported by now: the listings of its directories, which the import system
# keeps, go before the memory that they have had is wanted for anything else.
sys.path_importer_cache.clear()
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from underway_runtime.keeper import daemon  # noqa: E402  # found by the line before

sys.path_importer_cache.clear()
os._exit(daemon.main(sys.argv[1], sys.argv[2:], os.environ))
