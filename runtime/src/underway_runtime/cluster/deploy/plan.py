"""A deploy as a value, and the few ways in which it does something: on a host, on all at once, and here."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...control.client.client import Place, connect
from ...process import lock
from ...release.directory import VarDirectory
from ...release.errors import EXIT_PART, UnderwayError
from ...release.manifest import Manifest
from ..answers import Answer
from ..inventory import Fleet, Host
from . import remote_commands
from .preflight import Facts
from .remote_commands import Installed
from .ssh import Ssh

T = TypeVar("T")
_PULSE = 0.1
"""Seconds until it is looked again for what an interruption has missed."""
Look = Mapping[Host, Facts]


class OnlyPart(UnderwayError):
    """Some hosts are as was asked for, and some are not."""

    exit_code = EXIT_PART


@dataclass(frozen=True)
class DeployPlan:
    """A deploy: what goes where, and what is started then."""

    fleet: Fleet
    settings: remote_commands.Settings
    here: Installed
    manifest: Manifest
    var: VarDirectory
    mode: str = "daemon"
    """Of the master, as words for ``bin/NAME``."""
    starts: bool = True
    cookie: str | None = None
    ssh_config: str | None = None
    allow_downgrade: bool = False
    dry_run: bool = False
    report: Callable[[str], None] = lambda _: None
    joins: str | None = None
    """Where the master listens that runs here already: then only workers are started, those that do not run."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    """Of what this deploy begins."""

    def tell(self, text: str) -> None:
        """Report what has happened; in a dry run nothing has."""
        if not self.dry_run:
            self.report(text)

    @property
    def hosts(self) -> tuple[Host, ...]:
        return self.fleet.hosts

    @property
    def workers(self) -> list[Host]:
        return [host for host in self.hosts if host.role == "worker"]

    @property
    def master(self) -> Host | None:
        """The host of the master; None for this one."""
        return next((host for host in self.hosts if host.role == "master"), None)

    def node(self, host: Host) -> str:
        return host.node(self.here.name)

    def installed_at(self, facts: Facts) -> Installed:
        return replace(self.here, directory=facts.directory)


def on(
    plan: DeployPlan,
    ssh: Ssh,
    host: Host,
    command: list[str],
    *,
    feed: bytes | Path | None = None,
    timeout: float | None = None,
) -> Answer:
    if not plan.dry_run:
        return ssh.run(host, command, feed=feed, timeout=timeout)
    print(shlex.join(ssh.argv(host, command)) + (f" <{shlex.quote(str(feed))}" if isinstance(feed, Path) else ""))
    return Answer(0)


def with_cookie(plan: DeployPlan, ssh: Ssh, host: Host, command: list[str], *, more: float = 0) -> Answer:
    """Start a node there, within `limits.start` and so many seconds more."""
    timeout = plan.fleet.limits.start + more
    if plan.cookie is None:
        return on(plan, ssh, host, command, timeout=timeout)
    command = remote_commands.with_cookie(command, plan.fleet.limits.command)
    return on(plan, ssh, host, command, feed=f"{plan.cookie}\n".encode(), timeout=timeout)


def here(plan: DeployPlan, command: list[str]) -> Answer:
    if plan.dry_run:
        print(shlex.join(command))
        return Answer(0)
    timeout = plan.fleet.limits.start + (plan.settings.timeout or 0)
    try:
        done = subprocess.run(
            command, env=environ(plan), capture_output=True, text=True, timeout=timeout, start_new_session=True
        )
    except subprocess.TimeoutExpired:
        return Answer(1, errors=f"it took more than {timeout:g} s")
    return Answer(done.returncode, done.stdout, done.stderr)


def environ(plan: DeployPlan) -> dict[str, str]:
    """For ``bin/cluster`` here: what this one's launcher has set is not passed on."""
    of_plan = {"RELEASE_VAR": str(plan.var.path), **({"RELEASE_COOKIE": plan.cookie} if plan.cookie else {})}
    variables = {
        key: value for key, value in os.environ.items() if not key.startswith("RELEASE_") or key == "RELEASE_COOKIE"
    }
    return {**variables, **of_plan}


def everywhere(plan: DeployPlan, ssh: Ssh, hosts: Iterable[Host], do: Callable[[Host], T]) -> dict[Host, T]:
    """Do something for all hosts at once, but for what `parallel` allows. When it is interrupted nothing more is begun, and what is
    under way is not waited for."""
    todo = list(hosts)
    if not todo:
        return {}
    with ThreadPoolExecutor(1 if plan.dry_run else min(len(todo), plan.fleet.limits.parallel)) as pool:
        futures = [pool.submit(do, host) for host in todo]
        try:
            return {host: future.result() for host, future in zip(todo, futures, strict=True)}
        except BaseException:
            for future in futures:
                future.cancel()
            while wait(futures, _PULSE).not_done:
                ssh.abort()
            raise


def failures(answers: Mapping[Host, Answer]) -> dict[Host, str]:
    return {host: answer.reason for host, answer in answers.items() if answer.status}


def named(failed: Mapping[Host, str]) -> list[str]:
    return [f"{host.host}: {reason}" for host, reason in failed.items()]


def own_node(plan: DeployPlan) -> str:
    return f"{plan.here.name}_master@{socket.gethostname()}"


def runs_here(plan: DeployPlan) -> int | None:
    """The pid of the master that runs here, which is its keeper's."""
    running = lock.find(plan.var.cluster_node(own_node(plan)), plan.here.name)
    return None if running is None else running.pid


def status_here(plan: DeployPlan) -> dict[str, Any] | None:
    """What the master here says of itself, right now; None where it does not answer."""
    cluster_node = plan.var.cluster_node(own_node(plan))
    known = {
        "ROOT": plan.here.directory,
        "NAME": plan.here.name,
        "VSN": plan.here.version,
        "TMP": str(cluster_node.path),
    }
    try:
        with closing(connect(Place({**environ(plan), **{f"RELEASE_{key}": known[key] for key in known}}), 1.0)) as node:
            return node.status()
    except UnderwayError:
        return None
