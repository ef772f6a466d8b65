"""Source that is being edited is compiled each time that it is imported: what is edited is what runs.

A pyc tells its source by whole seconds and size, and two edits of one size within a second are the same by that. The hook of
``underway run`` calls this in every process of the project, before anything of it is imported.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from typing import Any

from . import monkey_patching


def compile_always(projects: Sequence[str], environment: str) -> None:
    """Neither take nor write pycs of what is below these directories, but for what is in the virtual environment.

    What can't be patched says so, as it does in a release.
    """
    below, but = tuple(f"{project}/" for project in projects), f"{environment}/"
    ordinary = SourceFileLoader.path_stats

    def path_stats(self: SourceFileLoader, path: str) -> Any:
        if path.startswith(below) and not path.startswith(but):
            raise OSError("it is being edited")  # importlib goes on without a pyc
        return ordinary(self, path)

    finders: list[Any] = sys.meta_path
    finders.insert(0, monkey_patching.Finder())
    SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign]
