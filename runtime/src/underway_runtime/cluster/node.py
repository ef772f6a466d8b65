"""One node of the cluster on this machine: from the options of ``bin/cluster`` to ``bin/NAME`` and its environment."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from ..process.settings import Settings
from ..release.directory import VarDirectory
from ..release.errors import UnderwayError, UsageError
from . import inventory

MODES = ("local", "master", "worker")

STARTING = {"start": ("start",), "s": ("start",), "S": ("start", "--shell"), "start_iex": ("start", "--shell")}
STARTING |= {"daemon": ("daemon",), "d": ("daemon",), "D": ("daemon", "--shell"), "daemon_iex": ("daemon", "--shell")}
"""How a node can be started, and the words for ``bin/NAME``."""

_OF_LAUNCHER = ("RELEASE_COMMAND", "RELEASE_PROG")


@dataclass(frozen=True)
class Wanted:
    """A node and what it is asked to do. None where nothing was said: then the environment says it, or its default."""

    mode: str
    command: tuple[str, ...]
    """The words for ``bin/NAME``."""
    name: str | None = None
    master: str | None = None
    workers: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    listen: str | None = None
    deploy: str | None = None
    timeout: float | None = None
    log: bool = True
    shutdown_with_master: bool = True
    shutdown_with_workers: bool = False
    working_dir: str | None = None
    cookie_file: str | None = None


def name_of(wanted: Wanted, environ: Mapping[str, str], release: str) -> str:
    """The full name of the node: as given, or after the release and its mode, at this host. Raises UsageError."""
    given = wanted.name or environ.get("RELEASE_NODE") or f"{release}_{wanted.mode}"
    name, _, host = given.partition("@")
    host = host or socket.gethostname()
    try:
        inventory.host(f"{name}@{host}")
    except ValueError as error:
        raise UsageError(f"{given!r} is not the name of a node: {error}") from None
    return f"{name}@{host}"


def environment(wanted: Wanted, node: str, var: VarDirectory) -> dict[str, str]:
    """The variables that make ``bin/NAME`` this node, next to those that are set already."""
    node_var = var.cluster_node(node)
    variables = {
        "CLUSTER_MASTER": wanted.master,
        "CLUSTER_WORKERS": " ".join(wanted.workers) or None,
        "CLUSTER_TAGS": " ".join(wanted.tags) or None,
        "CLUSTER_LISTEN": wanted.listen,
        "CLUSTER_DEPLOY": wanted.deploy,
        "CLUSTER_JOIN_TIMEOUT": None if wanted.timeout is None else f"{wanted.timeout:g}",
        "CLUSTER_LOG": None if wanted.log else "false",
        "CLUSTER_SHUTDOWN_WITH_MASTER": None if wanted.shutdown_with_master else "false",
        "CLUSTER_SHUTDOWN_WITH_WORKERS": "true" if wanted.shutdown_with_workers else None,
        "CLUSTER_CERTIFICATES": str(node_var.certificates) if node_var.certificates.is_dir() else None,
    }
    return {
        "CLUSTER_MODE": wanted.mode,
        "RELEASE_NODE": node,
        "RELEASE_TMP": str(node_var.path),
        **{key: value for key, value in variables.items() if value is not None},
    }


def become(wanted: Wanted, settings: Settings, environ: Mapping[str, str], *, dry_run: bool) -> int:
    """Go on as ``bin/NAME``, in this process; with `dry_run` print what that would be. Raises UnderwayError."""
    node = name_of(wanted, environ, settings.name)
    variables = environment(wanted, node, VarDirectory(settings.var.path.absolute()))
    command = [str(settings.directory.command(settings.name)), *wanted.command]
    working_dir = wanted.working_dir and os.path.expanduser(wanted.working_dir)
    if dry_run:
        where = f"cd {shlex.quote(working_dir)} && " if working_dir else ""
        words = [f"{key}={shlex.quote(value)}" for key, value in variables.items()]
        print(f"{where}{' '.join(words)} {shlex.join(command)}")
        return 0
    if wanted.cookie_file is not None:
        variables["RELEASE_COOKIE"] = read_cookie(wanted.cookie_file)
    try:
        if working_dir:
            os.chdir(working_dir)
        rest = {key: value for key, value in environ.items() if key not in _OF_LAUNCHER}
        os.execve(command[0], command, {**rest, **variables})
    except OSError as error:
        raise UnderwayError(f"{error.filename}: {error.strerror}") from error


def read_cookie(file: str) -> str:
    """Read the cookie in a file. Raises UnderwayError where there is none, or others could read it."""
    try:
        with open(os.path.expanduser(file), encoding="ascii") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise UnderwayError(f"{file} can be read by others than its owner: chmod 600")
            cookie = stream.read().strip()
    except (OSError, ValueError) as error:
        raise UnderwayError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if not cookie or "\n" in cookie:
        raise UnderwayError(f"{file} holds no cookie; it is one line")
    return cookie
