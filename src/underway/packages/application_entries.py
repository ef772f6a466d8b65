"""Where a finished application is in the cache, and which of its files go where."""

from __future__ import annotations

import os

from ..release import Application
from ..toolchain import cache, cached_tree
from ..toolchain.cached_tree import TreeEntry
from . import wheel_record


def entry_of(application: Application) -> TreeEntry | None:
    """Return the entry of the cache that an application's source is in; None for one that was only installed."""
    if len(application.source.parents) <= wheel_record.DEPTH or not application.dist_info:
        return None
    tree = application.source.parents[wheel_record.DEPTH - 1]
    return cached_tree.read(tree.parent, cache.copied(os.environ)) if tree.name == "tree" else None


def parts(entry: TreeEntry) -> tuple[list[str], list[str]]:
    """Return the files of an entry: those of its ``lib/NAME-VERSION``, and those next to that."""
    home = entry.facts["home"]
    files = [path for path in entry.files if path.startswith(home)]
    return files, [] if len(files) == len(entry.files) else [path for path in entry.files if not path.startswith(home)]
