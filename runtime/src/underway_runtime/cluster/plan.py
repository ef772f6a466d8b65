"""A deploy as a value, and the few ways in which it does something: on a host, on all at once, and here."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..node import lock
from ..release.directory import VarDirectory
from ..release.errors import EXIT_PART, UnderwayError
from ..release.manifest import Manifest
from . import commands
from .commands import Installed
from .hosts import Fleet, Host
from .preflight import Facts
from .transport import Answer, Ssh

T = TypeVar("T")
Look = Mapping[Host, Facts]


class OnlyPart(UnderwayError):
    """Some hosts are as was asked for, and some are not."""

    exit_code = EXIT_PART


@dataclass(frozen=True)
class Plan:
    """A deploy: what goes where, and what is started then."""

    fleet: Fleet
    settings: commands.Settings
    here: Installed
    manifest: Manifest
    var: VarDirectory
    mode: str = "daemon"
    """Of the master, as words for ``bin/NAME``."""
    starts: bool = True
    cookie: str | None = None
    ssh_config: str | None = None
    dry_run: bool = False
    report: Callable[[str], None] = lambda _: None

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

    def there(self, facts: Facts) -> Installed:
        return replace(self.here, directory=facts.directory)


def on(
    plan: Plan,
    ssh: Ssh,
    host: Host,
    command: list[str],
    *,
    feed: bytes | Path | None = None,
    within: float | None = None,
) -> Answer:
    if not plan.dry_run:
        return ssh.run(host, command, feed=feed, within=within)
    print(shlex.join(ssh.argv(host, command)) + (f" <{shlex.quote(str(feed))}" if isinstance(feed, Path) else ""))
    return Answer(0)


def with_cookie(plan: Plan, ssh: Ssh, host: Host, command: list[str]) -> Answer:
    within = plan.fleet.limits.start
    if plan.cookie is None:
        return on(plan, ssh, host, command, within=within)
    return on(plan, ssh, host, commands.with_cookie(command), feed=f"{plan.cookie}\n".encode(), within=within)


def here(plan: Plan, command: list[str]) -> Answer:
    if plan.dry_run:
        print(shlex.join(command))
        return Answer(0)
    within = plan.fleet.limits.start + (plan.settings.within or 0)
    try:
        done = subprocess.run(command, env=environ(plan), capture_output=True, text=True, timeout=within)
    except subprocess.TimeoutExpired:
        return Answer(1, errors=f"it took more than {within:g} s")
    return Answer(done.returncode, done.stdout, done.stderr)


def environ(plan: Plan) -> dict[str, str]:
    """For ``bin/cluster`` here: what this one's launcher has set is not passed on."""
    own = {"RELEASE_VAR": str(plan.var.path), **({"RELEASE_COOKIE": plan.cookie} if plan.cookie else {})}
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("RELEASE_") or key == "RELEASE_COOKIE"
    }
    return {**kept, **own}


def everywhere(plan: Plan, hosts: Iterable[Host], do: Callable[[Host], T]) -> dict[Host, T]:
    """Do something for all hosts at once, but for what `parallel` allows."""
    todo = list(hosts)
    if not todo:
        return {}
    with ThreadPoolExecutor(1 if plan.dry_run else min(len(todo), plan.fleet.limits.parallel)) as pool:
        return dict(zip(todo, pool.map(do, todo), strict=True))


def failures(answers: Mapping[Host, Answer]) -> dict[Host, str]:
    return {host: answer.reason for host, answer in answers.items() if answer.status}


def named(failed: Mapping[Host, str]) -> list[str]:
    return [f"{host.host}: {reason}" for host, reason in failed.items()]


def own_node(plan: Plan) -> str:
    return f"{plan.here.name}_master@{socket.gethostname()}"


def runs_here(plan: Plan) -> bool:
    return lock.find(plan.var.cluster_node(own_node(plan)), plan.here.name) is not None
