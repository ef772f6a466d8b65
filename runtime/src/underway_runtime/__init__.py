"""What an application imports of underway: ``from underway_runtime import Application, Down, config, env``.

Nothing is imported before it is asked for: this runs at the start of every process of a release, ``typing`` included.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .application import Application, Down
    from .configuration.config import config, env
    from .loops import looping

__all__ = ["Application", "Down", "__version__", "config", "env", "looping"]

__version__ = "0.1.0"

_PLACES = {
    "Application": ".application",
    "Down": ".application",
    "config": ".configuration.program",
    "env": ".configuration.program",
    "looping": ".loops",
}


def __getattr__(name: str) -> "Any":
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name], __name__), name)
