"""A project that runs and is started again when its source changes.

==========================================  ===========================================================================
changed                                     what follows
==========================================  ===========================================================================
Python source                               ``restart``: a fresh node under the same keeper, which holds the sockets
pyproject.toml, uv.lock, config/, rel/      it is stopped, prepared again and started
anything, when it does not run              it is prepared again and started
==========================================  ===========================================================================
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from watchfiles import Change, DefaultFilter, watch

from ..errors import UnderwayError
from .development import PLACE, Prepared

LOOK = 500
"""Milliseconds between two looks at whether it still runs."""
TO_STOP = 60.0
"""Seconds that it may take to stop when it is told to; its own deadline is the node's."""


class _Sources(DefaultFilter):
    """What a person edits, and nothing that a build or a run writes."""

    def __init__(self, roots: Iterable[Path]) -> None:
        super().__init__(ignore_paths=[root / PLACE.parent for root in roots])

    def __call__(self, change: Change, path: str) -> bool:
        return super().__call__(change, path) and (path.endswith(".py") or _prepares(Path(path)))


def run_and_reload(
    prepared: Prepared, prepare: Callable[[], Prepared], environ: Mapping[str, str], tell: Callable[[str], None]
) -> int:
    """Run until SIGINT or SIGTERM; returns the exit status of what ran last.

    `prepare` makes what runs again. `tell` gets what a person should know.
    """
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    command = str(prepared.command)
    running: subprocess.Popen[bytes] | None = subprocess.Popen([command, "start"], env=environ)
    status = 0
    for changes in watch(
        *prepared.sources,
        watch_filter=_Sources(prepared.sources),
        stop_event=asked,
        rust_timeout=LOOK,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        if running is not None and (ended := running.poll()) is not None:
            running, status = None, ended
            tell(f"it has ended with status {status}; it starts again when its source changes")
        paths = [Path(path) for _, path in changes]
        if not paths:
            continue
        tell(f"changed: {', '.join(sorted(path.name for path in paths))}")
        if running is not None and not any(map(_prepares, paths)):
            subprocess.run([command, "restart"], env=environ, timeout=TO_STOP, check=False)  # says itself what failed
            continue
        try:
            if running is not None:
                status = _stop(running)
                running = None
            prepare()
        except UnderwayError as error:
            tell(f"error: {error}")
        else:
            running = subprocess.Popen([command, "start"], env=environ)
    return _stop(running) if running is not None else status


def _prepares(path: Path) -> bool:
    """Whether this file decides what is prepared, rather than what runs."""
    return path.name in ("pyproject.toml", "uv.lock", "pylock.toml") or path.parent.name in ("config", "rel")


def _stop(running: subprocess.Popen[bytes]) -> int:
    running.terminate()
    return running.wait(TO_STOP)
