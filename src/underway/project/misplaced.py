"""Where a key belongs that stands in a table of pyproject.toml that has no such key.

=======================================  ==============================================================================
a key of                                 belongs
=======================================  ==============================================================================
an application's configuration           in ``config/config.py``: ``config("web", server={...})``
underway's own configuration             there too: ``config("underway_runtime", stop_timeout=10)``
``[tool.underway]`` only                 one level up
``heart``, ``strip``, ``cluster``, ...   in that table
a web server, and is taken over          nowhere: what to write instead
a release, where it is called that       in ``[tool.underway.releases.NAME]``
=======================================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from underway_runtime.cluster.inventory import Fleet
from underway_runtime.configuration.runtime_schema import Runtime
from underway_runtime.configuration.schema import READ_BY_THE_NODE
from underway_runtime.release.decode import fields_of
from underway_runtime.release.gates import KINDS
from underway_runtime.release.server_options import TAKEN_OVER

from .options import OPTIONS, TOP_ONLY

_IN_TABLES: Mapping[str, Collection[str]] = {
    "heart = { ... }": ("restarts", "within", "delay", "beat"),
    "strip = { docstrings = true }": ("docstrings",),
    "cluster = { ... }": [field.name for field in fields_of(Fleet).values()],
    "gates = [{ ... }]": tuple(KINDS),
    'version = { from-app = "NAME" }': ("from-app",),
}
"""The options that are tables, as they are written, and the keys within."""


def hint(key: str, value: Any, names: Collection[str] = ()) -> str:
    """Return what a message about the unknown `key` adds where it belongs elsewhere, or "".

    `names` are what releases and applications of the project may be called.
    """
    name = key.replace("-", "_")
    if key in TOP_ONLY:
        return "; it belongs in [tool.underway]"
    if name in READ_BY_THE_NODE:
        return f"; it is configuration of an application: config/config.py says config({_app(names)!r}, {name}=...)"
    if name in fields_of(Runtime):
        return f'; it is configuration of underway itself: config/config.py says config("underway_runtime", {name}=...)'
    for table, keys in _IN_TABLES.items():
        if key in keys:
            return f"; it belongs in {table}"
    if isinstance(value, dict) and key not in OPTIONS:
        return _table_hint(key, value, names)
    reasons = [taken[name] for taken in TAKEN_OVER.values() if name in taken]
    return f"; {reasons[0]}" if reasons else ""


def _table_hint(key: str, table: Mapping[str, Any], names: Collection[str]) -> str:
    """The same for a key that is a table: that of a release, or the configuration of an application."""
    if table and table.keys() <= OPTIONS.keys():
        return f"; options of one release belong in [tool.underway.releases.{key}]"
    if key in names or table.keys() & READ_BY_THE_NODE:
        return f"; configuration of an application is in config/config.py: config({key!r}, ...)"
    return ""


def _app(names: Collection[str]) -> str:
    return next(iter(names), "NAME")
