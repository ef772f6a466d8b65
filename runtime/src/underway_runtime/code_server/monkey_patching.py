"""gevent and eventlet replace locks, threads and sockets of the process: a node, which has threads, says so instead of hanging.

What a node keeps for itself runs in threads of its own, with locks that were made before. Patched under them it would wait for
ever, or fail with "cannot release un-acquired lock", in whichever thread imports next. In a child of the node, a worker of
gunicorn's say, there is nothing of it, and patching is what it is elsewhere.
"""

from __future__ import annotations

import threading
from functools import wraps
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PATCHES = ("gevent.monkey", "eventlet.patcher")
"""The modules that have what patches."""

NODE = frozenset({"control", "keeper", "node"})
"""Threads that only a node has."""

_PATCHING = ("monkey_patch", "patch_all", "patch_select", "patch_socket", "patch_thread")


class Finder:
    """Hooks what patches where no code server does, which is in `underway run`."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find the spec that the path finder has of what patches, None of all else."""
        spec = PathFinder.find_spec(fullname, path) if fullname in PATCHES else None
        if spec is not None and spec.loader is not None:
            hook(spec.loader)
        return spec


def hook(loader: Any) -> None:
    """Have this loader make the functions that patch look at which process they are in, when it has loaded them."""
    ordinary = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        ordinary(module)
        for name in _PATCHING:
            if (patching := vars(module).get(name)) is not None:
                setattr(module, name, _elsewhere(module, patching))

    loader.exec_module = exec_module


def _elsewhere(module: ModuleType, patching: Any) -> Any:
    @wraps(patching)
    def guarded(*arguments: Any, **options: Any) -> Any:
        if any(thread.name in NODE for thread in threading.enumerate()):
            raise RuntimeError(
                f"{module.__name__.partition('.')[0]} can't patch the process of a node, which has threads of its own: let"
                f" `main` start what is patched as a child process, as the documentation of a closed world shows"
            )
        return patching(*arguments, **options)

    return guarded
