"""The last steps of a deploy: certificates, workers, the master, and the version that boots; and the way back."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from ...release.addresses import join
from ...release.errors import UndoneError, listing
from .. import remembered
from ..answers import Answer
from ..interruption import Interrupted
from ..inventory import Host
from . import remote_commands
from .issuing import certify
from .plan import (
    DeployPlan,
    Look,
    OnlyPart,
    environ,
    everywhere,
    failures,
    here,
    named,
    on,
    own_node,
    runs_here,
    status_here,
    with_cookie,
)
from .preflight import Facts
from .ssh import Ssh
from .survey import ask, listening, to_start

_TO_JOIN = 60.0
_MEMBERS = "from underway_runtime import cluster; print(*(each.name for each in cluster.members()))"
_PULSE = 0.1
"""Seconds until a master in the foreground is asked again whether it is ready."""


def start(plan: DeployPlan, ssh: Ssh, facts: Look) -> None:
    """Start every worker, then the master. Raises UndoneError, or OnlyPart, when one does not start, or it is interrupted: what
    was begun is taken back, on every host."""
    listen = listening(plan, facts)
    certify(plan, ssh, facts, listen)
    begun: list[Host] = []

    def begin(host: Host) -> Answer:
        worker = remote_commands.worker(
            plan.installed_at(facts[host]), host, listen, _of_worker(plan, facts[host]), plan.settings
        )
        begun.append(host)
        return with_cookie(plan, ssh, host, remote_commands.begun(worker, plan.node(host), plan.mark))

    workers = to_start(plan, facts)
    names = [plan.node(host) for host in workers]
    problem: str | None = None
    try:
        if not plan.dry_run:
            remembered.remember(plan.var, plan.fleet)
        if failed := failures(everywhere(plan, ssh, workers, begin)):
            problem = listing("workers could not be started:", named(failed))
            _undo(plan, ssh, facts, begun, problem)
        plan.tell(f"{len(begun)} workers are ready")
        if plan.joins:
            _join(plan, ssh, facts, begun, names)
            return
        if plan.master is not None:
            begun.append(plan.master)
        if problem := _start_master(plan, ssh, facts, listen, names):
            _undo(plan, ssh, facts, begun, problem)
    except Interrupted as interrupted:
        plan.report(f"{interrupted}; what was started is stopped again")
        _undo(plan, ssh, facts, begun, problem or f"it was {interrupted}")


def _join(plan: DeployPlan, ssh: Ssh, facts: Look, begun: list[Host], names: list[str]) -> None:
    """Wait until these workers are members of the master that runs here. Raises as `start`."""
    end = time.monotonic() + (plan.settings.timeout or _TO_JOIN)
    asked = plan.here.cluster("master", "run", "--name", own_node(plan), "rpc", _MEMBERS)
    while not plan.dry_run:
        answer = here(plan, asked)
        missing = sorted({*names} - {*answer.output.split()})
        if answer.status == 0 and not missing:
            break
        if time.monotonic() > end:
            why = (
                answer.reason if answer.status else f"not joined: {', '.join(missing)}; the logs on both sides say why"
            )
            _undo(plan, ssh, facts, begun, f"the workers are not known to be members of {own_node(plan)}: {why}")
        time.sleep(_PULSE)
    with suppress(Interrupted):  # it is whole
        _commit_whole(plan, ssh, {host: facts[host] for host in begun})
    again = "; what --deploy says is not evaluated again" if plan.settings.deploy else ""
    plan.tell(f"{len(names)} workers have joined {own_node(plan)}, which runs already{again}")


def stop(plan: DeployPlan, ssh: Ssh, stopped: list[str]) -> dict[str, Any]:
    """Stop every node that runs: the master first, so that it misses nobody; whoever has stopped is put into `stopped`. Raises OnlyPart
    naming each that did not.

    Who runs is asked before, since workers may end with their master: those are stopped too.
    """
    failed = dict[str, str]()
    facts, unknown = ask(plan, ssh)
    if plan.master is None and runs_here(plan) is not None:
        done = here(plan, remote_commands.stop(plan.here, "master", own_node(plan)))
        if done.status:
            failed["master"] = done.reason
        else:
            stopped.append(own_node(plan))
    running = [host for host, known in facts.items() if plan.node(host) in known.nodes]
    for some in ([host for host in running if host.role == role] for role in ("master", "worker")):
        failed |= {host.host: reason for host, reason in _stop_nodes(plan, ssh, facts, some, stopped).items()}
    if not plan.dry_run:
        remembered.forget(plan.var, plan.fleet.directory, [host for host in facts if host.host not in failed])
    if failed or unknown:
        problems = [*unknown, *(f"{host}: {reason}" for host, reason in failed.items())]
        raise OnlyPart(listing("not every node could be stopped:", problems))
    return {}


def commit(plan: DeployPlan, ssh: Ssh, facts: Look) -> None:
    """Make the version the one that boots, where another version was. Raises OnlyPart."""
    version = plan.here.version
    others = [host for host, known in facts.items() if {*known.releases} - {version}]

    def command(host: Host) -> list[str]:
        return remote_commands.commit(plan.installed_at(facts[host]), host.role, plan.node(host))

    if failed := failures(everywhere(plan, ssh, others, lambda host: on(plan, ssh, host, command(host)))):
        problems = [
            f"{problem}\ntype there: {shlex.join(command(host))}"
            for host, problem in zip(failed, named(failed), strict=True)
        ]
        raise OnlyPart(listing(f"{version} runs everywhere, and is not what boots on every host:", problems))


def _start_master(plan: DeployPlan, ssh: Ssh, facts: Look, listen: str, workers: list[str]) -> str | None:
    """Start the master, there or here, and make the version permanent where it is not. What went wrong, or None."""
    if plan.master is not None:
        installed, node = plan.installed_at(facts[plan.master]), plan.node(plan.master)
        command = remote_commands.master(installed, node, "daemon", listen, workers, plan.settings)
        command = remote_commands.begun(command, node, plan.mark)
        answer = with_cookie(plan, ssh, plan.master, command, more=plan.settings.timeout or 0)
    else:
        command = remote_commands.master(plan.here, own_node(plan), plan.mode, listen, workers, plan.settings)
        command = remote_commands.begun(command, own_node(plan), plan.mark)
        if plan.mode != "daemon" and not plan.dry_run:
            return _in_the_foreground(plan, ssh, facts, command)
        answer = here(plan, command)
    if answer.status:
        return f"the master could not be started: {answer.reason}"
    with suppress(Interrupted):  # it is whole
        _commit_whole(plan, ssh, facts)
    plan.tell(f"the master is ready, and {len(workers)} workers have joined")
    return None


def _commit_whole(plan: DeployPlan, ssh: Ssh, facts: Look) -> None:
    """Commit it everywhere: all of it runs, and what makes it boot is not left half done."""
    try:
        commit(plan, ssh, facts)
    except Interrupted as interrupted:
        plan.report(f"{interrupted}; all of it runs, and is made to boot on every host first")
        commit(plan, ssh, facts)
        raise


def _in_the_foreground(plan: DeployPlan, ssh: Ssh, facts: Look, command: list[str]) -> str | None:
    """The master as a child of this process, until it ends. Raises Interrupted where that comes before it is ready."""
    ready = False
    part: OnlyPart | None = None
    child = subprocess.Popen(command, env=environ(plan))
    try:
        while child.poll() is None:
            try:
                child.wait(None if ready else _PULSE)
            except subprocess.TimeoutExpired:
                if ready := (status_here(plan) or {}).get("state") == "running":
                    try:
                        _commit_whole(plan, ssh, facts)
                    except OnlyPart as error:
                        part = error
                        plan.report(f"{part}")
                    stays = (
                        "its workers wait for the next"
                        if not plan.settings.shutdown_with_master
                        else "its workers with it"
                    )
                    plan.tell(f"the master is ready; Ctrl-C stops it, and {stays}")
    except Interrupted as interrupted:
        if not ready:
            raise  # it is ended with all else that was begun
        if interrupted.number != signal.SIGINT:  # which a terminal sends to both
            child.terminate()
        child.wait()
    if part is not None:
        raise part
    if not child.returncode:
        return None
    return f"the master {'has ended' if ready else 'could not be started: it ended'} with status {child.returncode}"


def _undo(plan: DeployPlan, ssh: Ssh, facts: Look, begun: Sequence[Host], why: str) -> NoReturn:
    """End what was begun on these hosts and here, wherever it has got to. Always raises."""
    timeout = plan.fleet.limits.start

    def end(host: Host) -> Answer:
        installed = plan.installed_at(facts[host])
        command = remote_commands.end(installed, facts[host].var, host.role, plan.node(host), plan.mark, timeout)
        return on(plan, ssh, host, command, timeout=timeout + plan.fleet.limits.command)

    left = failures(everywhere(plan, ssh, begun, end))
    problems = named(left)
    if plan.master is None and not plan.joins:
        command = remote_commands.end(plan.here, str(plan.var.path), "master", own_node(plan), plan.mark, timeout)
        if (done := here(plan, command)).status:
            problems.append(f"here: {done.reason}")
    if problems:
        text = listing("and these may run on, for they could not be stopped:", problems)
        raise OnlyPart(f"{why}\n{text}\n`deploy --stop` stops them when they can be reached")
    with suppress(OSError):
        remembered.forget(plan.var, plan.fleet.directory, begun)
    raise UndoneError("the workers that were started are stopped again", why)


def _stop_nodes(plan: DeployPlan, ssh: Ssh, facts: Look, hosts: Sequence[Host], stopped: list[str]) -> dict[Host, str]:
    """Stop the nodes of these hosts; those that run on, and why. One that has ended by itself meanwhile has stopped."""
    done: list[Host] = []

    def end(host: Host) -> Answer:
        installed = plan.installed_at(facts[host])
        if installed.version not in facts[host].releases:  # an older one runs there, and this one may go elsewhere
            installed = replace(installed, version="")
        answer = on(plan, ssh, host, remote_commands.stop(installed, host.role, plan.node(host)))
        if answer.status == 0:
            done.append(host)
        return answer

    try:
        failed = failures(everywhere(plan, ssh, hosts, end))
    finally:
        stopped += [plan.node(host) for host in hosts if host in done]
    now, _ = ask(replace(plan, fleet=replace(plan.fleet, hosts=tuple(failed))), ssh)
    left = {host: why for host, why in failed.items() if host not in now or plan.node(host) in now[host].nodes}
    stopped += [plan.node(host) for host in failed if host not in left]
    return left


def _of_worker(plan: DeployPlan, facts: Facts) -> str:
    return join(facts.address or "127.0.0.1", plan.fleet.worker_port)
