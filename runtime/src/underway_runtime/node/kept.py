"""A node that `check` keeps for the next install: it has imported all and is configured, holds no socket, and runs no application.

When it is wanted it looks whether a start would be the same now: the files of its version, the file of variables and what the
providers of its configuration say. What a module has read besides, when it was imported, is as old as the check.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..apps.service import describe
from ..process.process_table import children
from ..release import channel
from ..release.errors import BootError, listing

if TYPE_CHECKING:
    from .in_place_install import Version
    from .keeper_client import KeeperClient

_TO_LOOK = 10.0
"""Seconds for the configuration; without an answer it counts as another."""
_OF_THE_SYSTEM = 3
"""Descriptors below this are given by who starts the keeper."""


def wait(keeper: KeeperClient, runs: Version, environ: Mapping[str, str]) -> None:
    """Wait until this node is wanted as a successor. `environ` is what it was started with.

    Raises BootError where what it has imported holds something that nobody would keep for it.
    """
    if problems := [
        *_connections(),
        *(f"a process runs that it has started: pid {pid}" for pid in children(os.getpid())),
    ]:
        raise BootError(listing("it can't be kept, because of what its modules do when they are imported:", problems))
    files = _files(runs, environ)
    match keeper.wait():
        case (channel.Held(_, upgrade_id), _):
            keeper.upgrade_id = upgrade_id
        case _:
            raise BootError("it was kept, and the keeper has ended")
    keeper.why_stale = _looking(runs, environ, files)


def _connections() -> list[str]:
    """What sockets the process has that somebody else has an end of, or may find."""
    sockets = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) < _OF_THE_SYSTEM or not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(name))) as held:
                if held.family != socket.AF_UNIX or held.getsockname() or _peer(held):
                    sockets.append(f"a socket is open: {held.getsockname() or _peer(held)}")
    return sockets


def _peer(held: socket.socket) -> object:
    with suppress(OSError):
        return held.getpeername()
    return None


def _files(runs: Version, environ: Mapping[str, str]) -> dict[str, tuple[int, ...] | None]:
    settings = runs.settings
    paths = [
        settings.place.path,
        settings.boot_script,
        settings.sys_config,
        Path(environ.get("RELEASE_ENVIRONMENT_FILE", "")),
    ]
    return {str(path): _stamp(path) for path in paths}


def _stamp(path: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        file = path.stat()
        return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns
    return None


def _looking(runs: Version, environ: Mapping[str, str], files: object) -> Callable[[], str]:
    """Look in a thread, while applications start; the result waits for it and says why another node is to be started."""
    answer = ["it could not be looked whether it is"]

    def look() -> None:
        from ..configuration import boot_config

        if _files(runs, environ) != files:
            answer[0] = "the files of its version, or the file of variables, have changed"
            return
        try:
            now = boot_config.of_other(runs.settings, runs.script, environ)
        except Exception as error:
            answer[0] = f"its configuration can't be read any more: {describe(error)}"
        else:
            answer[0] = "" if now.values == runs.resolved.values else "its configuration has changed"

    thread = threading.Thread(target=look, name="kept", daemon=True)
    thread.start()

    def why() -> str:
        thread.join(_TO_LOOK)
        return answer[0]

    return why
