"""pkg_resources finds the distributions of a release. Imported when somebody imports that.

It asks the finder of each entry of ``sys.path`` what is there, by the finder's type, and knows no type but importlib's own. So it
is told of ours, and looks once more. In a site-packages all distributions have one location, which is on ``sys.path``; here each
has its own, and none is put there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from .finder import CodeServer, LibraryFinder

NAME = "pkg_resources"


def hook(loader: Any, server: CodeServer) -> None:
    """Have this loader, of pkg_resources, tell it of the release when it has loaded it."""
    ordinary = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        main = getattr(sys.modules.get("__main__"), "__dict__", {})
        required = {name: main.pop(name) for name in ("__requires__",) if name in main}  # it would look at once
        try:
            ordinary(module)
        finally:
            main.update(required)
        _register(module, server)

    loader.exec_module = exec_module


def _register(module: Any, server: CodeServer) -> None:
    class Distribution(module.DistInfoDistribution):  # type: ignore[misc]  # as it is in that module
        """One whose modules can be imported though its location is not on the path."""

        def insert_on(self, path: Any, loc: Any = None, replace: bool = False) -> None:
            if server.lib not in path:
                super().insert_on(path, loc, replace)

    def find(importer: Any, entry: str, only: bool = False) -> Iterator[Any]:
        for info in server.index.distributions.values():
            path = f"{server.lib}/{info}"
            metadata = module.PathMetadata(os.path.dirname(path), path)
            distribution = module.Distribution.from_location(
                os.path.dirname(path), os.path.basename(path), metadata, precedence=module.DEVELOP_DIST
            )
            distribution.__class__ = Distribution
            yield distribution

    module.register_finder(LibraryFinder, find)
    module._initialize_master_working_set()
