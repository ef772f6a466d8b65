"""What a release for a cluster imports before all other modules: those may import the engine too, and what it is set to is ours.

Where the engine is missing nothing is said here; who starts it says so.
"""

from __future__ import annotations

import contextlib

from ..release.errors import ConfigError
from .engine_import import import_engine

with contextlib.suppress(ConfigError):
    import_engine()
