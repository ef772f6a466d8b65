"""What ``from underway_runtime import config`` imports.

An interpreter that ``bin/NAME run`` has become, or started, has its configuration resolved when it first asks for a value, and
not where it only imports this. A node, and whatever else boots, installs it before.
"""

from __future__ import annotations

import os

from .config import Values, config, env, resolve_when_asked

__all__ = ["config", "env", "of_program"]


def of_program() -> tuple[Values, str]:
    """Resolve configuration and environment as a node's.

    Providers run in a process of their own: a module that asks may just be imported. Raises what resolving raises.
    """
    from ..process.settings import from_environ
    from ..release import boot_script
    from . import boot_config

    settings = from_environ(os.environ)
    resolved = boot_config.of_other(settings, boot_script.read(settings.boot_script), os.environ)
    return resolved.values, resolved.environment


if os.environ.get("RELEASE_COMMAND") == "run":
    resolve_when_asked(of_program)
