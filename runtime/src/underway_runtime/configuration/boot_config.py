"""The configuration of one boot: resolved, checked, installed, and written down for those who ask later.

Each boot writes ``run/NAME-VERSION-BOOT.config``, 0600, where BOOT is its own; files of other boots are removed, since
this one is the node and so they are dead, or leave. A successor writes its own when it accepts. It goes when the node
ends, unless that is killed. The node never reads its file again: it is what ``bin/NAME config`` shows, and a full disk
keeps no node from starting. With ``prune-runtime-sys-config-after-boot`` there is none.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..process.log import log
from ..process.settings import Settings
from ..release.boot_script import BootScript, Load
from ..release.display import one_line
from ..release.errors import UnderwayError
from ..release.filesystem import openat
from ..release.filesystem.atomic_files import replace
from . import resolution, schema
from .config import FORMAT, Values, install, merge
from .provenance import Origins, Setting, leaves
from .resolution import PRUNE, Resolved

_LARGEST = 16 << 20
"""Bytes of a configuration that are read."""


def write_down(settings: Settings, script: BootScript, resolved: Resolved) -> None:
    """Leave what this process is configured with for those who ask, in the place of what others have left.

    It is the node: it holds the lock, and others that do have handed over to it.
    """
    for old in settings.tmp.resolved_configs():
        with contextlib.suppress(OSError):
            old.unlink()
    if PRUNE in resolved.flags:
        return
    shown = with_boot_script(resolved, script)
    file = settings.tmp.resolved_config(settings.name, settings.version, os.urandom(4).hex())
    document = {
        "format": FORMAT,
        "environment": resolved.environment,
        "config": shown.values,
        "origins": shown.origins.to_json(),
    }
    try:
        replace(file, json.dumps(document) + "\n", 0o600)
    except OSError as error:
        log(
            f"{file} can't be written: {error.strerror}; the node goes on, and `config` will show what a start would have"
        )
    atexit.register(_remove, file, os.getpid())


def resolve(settings: Settings, script: BootScript, begin: resolution.Begin = resolution.unseen) -> Resolved:
    """Resolve what a boot is configured with, and make it what `config.get` answers. Writes nothing.

    Raises what `resolution.load` raises, and ConfigError with all that does not fit the applications' schemas.
    """
    resolved = resolution.load(settings.sys_config, begin)
    install(resolved.values, resolved.environment)  # for schemas: their modules are the applications'
    values = schema.check(resolved.values, resolved.origins, script.instructions, begin)
    install(values)
    return dataclasses.replace(resolved, values=values)


def of_other(settings: Settings, script: BootScript, environ: Mapping[str, str]) -> Resolved:
    """What another version of the same code would be configured with in this process; changes nothing here.

    `environ` is what its providers see. Raises what `resolve` raises.
    """
    resolved = resolution.load(settings.sys_config, other=(settings.place.python, environ))
    return dataclasses.replace(resolved, values=schema.check(resolved.values, resolved.origins, script.instructions))


def with_boot_script(resolved: Resolved, script: BootScript) -> Resolved:
    """With what the node takes from the boot script where configuration says nothing, to be shown."""
    stated: Values = {}
    for load in script.instructions:
        if isinstance(load, Load) and load.start is not None:
            known = {key: load.start[key] for key in ("listen", "args") if load.start.get(key)}
            stated |= {load.application: known} if known else {}
    origins = resolved.origins
    settings = [Setting(path, value, f"the boot script {script.name}") for path, value in leaves(stated)]
    return dataclasses.replace(
        resolved,
        values=merge(stated, resolved.values),
        origins=Origins([*settings, *origins.settings], origins.variables, origins.secrets),
    )


def of_running_node(settings: Settings) -> Resolved | None:
    """What the running node was configured with; None where it keeps no file, or has none yet.

    Raises UnderwayError when the file can't be read: it belongs to the user who runs the node.
    """
    run = settings.tmp.run
    try:
        with openat.directory(settings.tmp.path, run.name) as directory:
            for name in directory.names():
                if name.endswith(".config") and not name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        return _parsed(directory.read(name, _LARGEST, of_owner=True), run / name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        what = f"{error.filename or run} can't be read: {error.strerror}"
        raise UnderwayError(f"{what}; ask as the user who runs the node") from None
    return None


def _parsed(data: bytes, file: Path) -> Resolved:
    """A configuration that was written down; by the node, who may be of another user. Raises UnderwayError."""
    try:
        document = json.loads(data)
        values, environment = document["config"], document["environment"]
        if not isinstance(values, dict) or not all(isinstance(value, dict) for value in values.values()):
            raise ValueError("it is no configuration")
        if not isinstance(environment, str):
            raise ValueError("it names no environment")
        return Resolved(values, Origins.from_json(document["origins"]), environment)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        what = one_line(error, 200)
        raise UnderwayError(f"{file} can't be read: {what}; ask as the user who runs the node") from None


def _remove(file: Path, pid: int) -> None:
    """Remove it at the end of the process; not at that of a child made by fork."""
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            file.unlink()
