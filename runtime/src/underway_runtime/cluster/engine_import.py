"""The import of the engine, which a release has only where its project asks for it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ..release.errors import ConfigError

EXTRA = "underway-runtime[cluster]"


def import_engine() -> Any:
    """Import the engine where nothing that the user has configured for it counts: not even at its import.

    Raises ConfigError where the release does not have it.
    """
    hidden = {name: value for name, value in os.environ.items() if name.startswith("DASK_") or name == "HOME"}
    try:
        for name in hidden:
            del os.environ[name]
        os.environ |= {"HOME": "/nonexistent", "DASK_ROOT_CONFIG": "/nonexistent"}
        return importlib.import_module(".engine", __package__)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this node is to be in a cluster, and the release has no {error.name}; add the engine to the project:"
            f" uv add '{EXTRA}'"
        ) from None
    finally:
        for name in ("HOME", "DASK_ROOT_CONFIG"):
            os.environ.pop(name, None)
        os.environ |= hidden
