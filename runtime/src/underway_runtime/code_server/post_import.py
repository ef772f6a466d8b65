"""Modules that need a word when they have been imported; the code server asks here for those alone."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder

from . import monkey_patching, pkg_resources_hook
from .finder import CodeServer


def find_spec(fullname: str, path: Sequence[str] | None, server: CodeServer) -> ModuleSpec | None:
    """Find the spec that the path finder has, with a loader that says it."""
    spec = PathFinder.find_spec(fullname, path)
    if spec is not None and spec.loader is not None:
        if fullname == pkg_resources_hook.NAME:
            pkg_resources_hook.hook(spec.loader, server)
        else:
            monkey_patching.hook(spec.loader)
    return spec
