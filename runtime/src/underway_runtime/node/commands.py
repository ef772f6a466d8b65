"""The commands of ``bin/NAME`` that need Python; each returns the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..process import facts, lock
from ..process.settings import STOP_TIMEOUT, Settings, from_environ
from ..release import command_line
from ..release.command_table import COMMANDS
from ..release.errors import UnderwayError, UsageError
from ..release.filesystem import openat

_MARGIN = 5.0
"""Seconds that a node may take beyond its stop deadline: to unwind the boot, and to end as a process."""


def run(arguments: Sequence[str], environ: Mapping[str, str], change: Callable[[Any], Any]) -> int:
    """Do what the command line asks for; `change` is for `Node`.

    Raises UsageError for what it can't understand, and any UnderwayError that the user has to be told.
    """
    settings = from_environ(environ)
    match list(arguments):
        case []:
            raise UsageError(f"no command; `{settings.prog} help` lists them")
        case ["node", ("start" | "daemon") as command, *rest]:
            given = command_line.parse(command, rest, settings.prog)
            return node(settings, change, shell=given["shell"] and command == "start")
        case [name, *rest] if name in COMMANDS:
            given = command_line.parse(name, rest, settings.prog)
            if COMMANDS[name].room != "node":
                raise UsageError(f"{name} is called by `{settings.prog} {name}` only")
            status: int = command_line.function_of(name)(settings, **given)
            return status
    raise command_line.unknown(arguments[0], settings.prog)


def node(settings: Settings, change: Callable[[Any], Any], *, shell: bool = False) -> int:
    """Run the node in this process until it stops; its keeper has started it."""
    from ..release import boot_script
    from . import keeper_client

    keeper = keeper_client.connect(os.environ)
    try:
        _refuse_var_of_others(settings)
        from .node import Node

        return Node(settings, boot_script.read(settings.boot_script), os.environ, keeper, change, shell=shell).run()
    except UnderwayError as error:
        keeper.failed(str(error))
        raise


def evaluate(settings: Settings, code: str, args: Sequence[str]) -> int:
    """Run code in this process, with the release's code and configuration and without starting an application.

    Obeys the clean boot script as far as that goes. Neither sees nor touches a running node; the use is journalled.
    """
    from ..configuration import config, resolution
    from ..control import console, cookie
    from ..process import usage_journal
    from ..release import boot_script

    cookie.hide(os.environ, settings)
    script = boot_script.read(settings.boot_script_clean)
    boot_script.check_code_paths(script, settings.directory.lib)
    resolved = resolution.load(settings.sys_config)
    config.install(resolved.values, resolved.environment)
    with usage_journal.journalled(settings.var.uses, "eval", code) as use:
        if not config.is_enabled("eval"):
            raise UnderwayError("eval is turned off in this release: `eval` of underway_runtime")
        use.outcome = "exit"
        status = console.evaluate(code, args)
        use.outcome = "raised" if status else "done"
    return status


def pid(settings: Settings) -> int:
    """Print the pid of the keeper of the running node, which stays the same for as long as it runs."""
    print(_running(settings).pid)
    return 0


def stop(settings: Settings) -> int:
    """Ask the running node to stop and return when it has; what it has left is named, or ended with its control group.

    It is never killed. Raises UnderwayError when it has not stopped within its deadline and a margin.
    """
    from ..process.leftovers import Family, notes
    from ..process.termination import terminate

    node = _running(settings)
    family = Family(node.pid)
    timeout = (STOP_TIMEOUT if node.stop_timeout is None else node.stop_timeout) + _MARGIN

    def is_still() -> bool:
        running = lock.find(settings.tmp, settings.name)
        return running is not None and running.pid == node.pid

    try:
        stopped = terminate(node.pid, is_still, timeout)
    except PermissionError:
        uid = facts.owner(node.pid)
        owner = "another user" if uid is None else f"user {uid}"
        raise UnderwayError(
            f"{settings.name} (pid {node.pid}) belongs to {owner}; stop it as that user or as root"
        ) from None
    if not stopped:
        raise UnderwayError(
            f"{settings.name} (pid {node.pid}) was asked to stop and has not within {timeout:g} s; its log says what it"
            f" waits for; `kill -KILL {node.pid}` ends it without that"
        )
    for line in notes(settings.name, family.left()):
        print(f"note: {line}", file=sys.stderr)
    return 0


def verify(settings: Settings, *, as_json: bool) -> int:
    """Compare every file of this version with its manifest; 1 when something is wrong. No node need run."""
    from ..release import verify

    return verify.run(settings.root, settings.version, as_json=as_json)


def _refuse_var_of_others(settings: Settings) -> None:
    """Refuse a `var` of another user's to a node of root's, which would trust it. Raises UnderwayError."""
    if os.geteuid() != 0:
        return
    for path in {settings.var.path, settings.tmp.path}:
        uid = 0
        try:
            with openat.directory(path) as directory:
                uid = directory.uid
        except (FileNotFoundError, NotADirectoryError):
            pass  # it is made, or what makes it says so
        except OSError as error:
            raise UnderwayError(f"{path} can't be read: {error.strerror}; RELEASE_VAR says where") from None
        if uid != 0:
            who = openat.user(uid)
            raise UnderwayError(
                f"{path} belongs to {who}, who would be root if a node of root's trusted what is in it: start it as"
                f" {who}, or give root's a RELEASE_VAR that belongs to root"
            )


def _running(settings: Settings) -> lock.RunningNode:
    from ..control.client.client import elsewhere

    node = lock.find(settings.tmp, settings.name)
    if node is None:
        raise UnderwayError(f"{settings.name} is not running")
    if where := elsewhere(settings.name, str(settings.root), lock.contents(settings.tmp).get("root")):
        print(f"note: {where}", file=sys.stderr)
    return node
