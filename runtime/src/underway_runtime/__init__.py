"""What a release carries and an application imports. Importing it costs nothing: names are loaded when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import Application
    from .node.config import config, env

__version__ = "0.1.0"
__all__ = ["Application", "__version__", "config", "env"]


def __getattr__(name: str) -> Any:
    if name == "Application":
        from .application import Application

        return Application
    if name in {"config", "env"}:
        from .node import config as configuration

        return getattr(configuration, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
