"""The last steps of a deploy: certificates, workers, the master, and the version that boots; and the way back."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace

from ..release.errors import UndoneError, listing
from . import commands
from .hosts import Host, address
from .looking import ask, bracketed, listening
from .plan import Look, OnlyPart, Plan, environ, everywhere, failures, here, named, on, own_node, runs_here, with_cookie
from .preflight import Facts
from .transport import Answer, Ssh


def start(plan: Plan, ssh: Ssh, facts: Look) -> None:
    """Start every worker, then the master. Raises UndoneError, or OnlyPart, when one does not start: the others are stopped."""
    listen = listening(plan, facts)
    certify(plan, ssh, facts, listen)
    started: list[Host] = []

    def begin(host: Host) -> Answer:
        worker = commands.worker(plan.there(facts[host]), host, listen, _of_worker(plan, facts[host]), plan.settings)
        answer = with_cookie(plan, ssh, host, worker)
        if answer.status == 0:
            started.append(host)
        return answer

    try:
        if failed := failures(everywhere(plan, plan.workers, begin)):
            _undo(plan, ssh, facts, started, listing("workers could not be started:", named(failed)))
        plan.report(f"{len(started)} workers are ready")
        names = [plan.node(host) for host in plan.workers]
        problem = _start_master(plan, ssh, facts, listen, names)
    except KeyboardInterrupt:
        _undo(plan, ssh, facts, started, "it was interrupted")
    if problem:
        _undo(plan, ssh, facts, started, f"the master could not be started: {problem}")


def certify(plan: Plan, ssh: Ssh, facts: Look, listen: str) -> None:
    """Give every node a certificate of this cluster's authority, whose key stays here. Raises OnlyPart.

    The key of a node is made where it runs, and stays there.
    """
    if importlib.util.find_spec("cryptography") is None:
        return  # `look` has seen that nothing leaves this machine
    from . import certificates

    authority = plan.var.authority
    if not plan.dry_run:
        certificates.make_authority(authority, plan.here.name)

    def give(host: Host) -> Answer:
        there, node = plan.there(facts[host]), plan.node(host)
        names = [*dict.fromkeys(name for name in (host.host.strip("[]"), facts[host].address) if name)]
        asked = on(plan, ssh, host, commands.request(there, node, names[0]))
        if asked.status or plan.dry_run:
            return asked
        leaf = certificates.sign(authority, asked.output.encode(), hosts=names, role=host.role)
        both = leaf.rstrip() + b"\n\n" + (authority / "ca.pem").read_bytes()
        return on(plan, ssh, host, commands.certify(there, node), feed=both)

    if failed := failures(everywhere(plan, plan.hosts, give)):
        raise OnlyPart(listing("certificates could not be given to every host; nothing was started:", named(failed)))
    if plan.master is None and not plan.dry_run:
        own, host = plan.var.cluster_node(own_node(plan)).certificates, address(listen)[0].strip("[]")
        asked = certificates.request(own, host)
        leaf = certificates.sign(authority, asked, hosts=[host, socket.gethostname()], role="master")
        certificates.install(own, leaf, (authority / "ca.pem").read_bytes())


def stop(plan: Plan, ssh: Ssh) -> dict[str, object]:
    """Stop every node that runs: the master first, so that it misses nobody. Raises OnlyPart naming each that did not."""
    failed: dict[str, str] = {}
    if plan.master is None and runs_here(plan):
        done = here(plan, commands.stop(plan.here, "master", own_node(plan)))
        if done.status:
            failed["master"] = done.reason
    facts, unknown = ask(plan, ssh)
    running = [host for host, each in facts.items() if plan.node(host) in each.nodes]
    for some in ([host for host in running if host.role == role] for role in ("master", "worker")):
        failed |= {host.host: reason for host, reason in stop_nodes(plan, ssh, facts, some).items()}
    if failed or unknown:
        problems = [*unknown, *(f"{host}: {reason}" for host, reason in failed.items())]
        raise OnlyPart(listing("not every node could be stopped:", problems))
    return {"stopped": [plan.node(host) for host in running]}


def commit(plan: Plan, ssh: Ssh, facts: Look) -> None:
    """Make the version the one that boots, where another version was. Raises OnlyPart."""
    version = plan.here.version
    others = [host for host, each in facts.items() if {*each.releases} - {version}]

    def make(host: Host) -> Answer:
        return on(plan, ssh, host, commands.commit(plan.there(facts[host]), host.role, plan.node(host)))

    if failed := failures(everywhere(plan, others, make)):
        heading = f"{version} runs everywhere, and is not what boots on every host:"
        raise OnlyPart(listing(heading, named(failed)))


def _start_master(plan: Plan, ssh: Ssh, facts: Look, listen: str, workers: list[str]) -> str | None:
    """Start the master, there or here, and make the version permanent where it is not. What went wrong, or None."""
    if plan.master is not None:
        there, node = plan.there(facts[plan.master]), plan.node(plan.master)
        command = commands.master(there, node, "daemon", listen, workers, plan.settings)
        answer = with_cookie(plan, ssh, plan.master, command)
    elif plan.mode == "daemon" or plan.dry_run:
        command = commands.master(plan.here, own_node(plan), plan.mode, listen, workers, plan.settings)
        answer = here(plan, command)
    else:
        command = commands.master(plan.here, own_node(plan), plan.mode, listen, workers, plan.settings)
        return _in_the_foreground(plan, ssh, facts, command)
    if answer.status:
        return answer.reason
    commit(plan, ssh, facts)
    plan.report(f"the master is ready, and {len(workers)} workers have joined")
    return None


def _in_the_foreground(plan: Plan, ssh: Ssh, facts: Look, command: list[str]) -> str | None:
    """The master as a child of this process, until it ends."""
    asked = commands.status(plan.here, "master", own_node(plan))
    ready = False
    with subprocess.Popen(command, env=environ(plan)) as child:
        while child.poll() is None:
            try:
                child.wait(None if ready else 1.0)
            except subprocess.TimeoutExpired:
                said = here(plan, asked)
                if said.status == 0 and json.loads(said.output)["state"] == "running":
                    ready = True
                    commit(plan, ssh, facts)
            except KeyboardInterrupt:
                continue  # the child has had it too, and stops
    return f"it ended with status {child.returncode}" if child.returncode else None


def _undo(plan: Plan, ssh: Ssh, facts: Look, started: list[Host], why: str) -> None:
    """Stop the workers that were started; always raises."""
    if left := stop_nodes(plan, ssh, facts, started):
        raise OnlyPart(f"{why}\n{listing('and these run on, for they could not be stopped:', named(left))}")
    raise UndoneError("the workers that were started are stopped again", why)


def stop_nodes(plan: Plan, ssh: Ssh, facts: Look, hosts: Sequence[Host]) -> dict[Host, str]:
    """Stop the nodes of these hosts; those that run on, and why. One that has ended by itself meanwhile has stopped."""

    def end(host: Host) -> Answer:
        return on(plan, ssh, host, commands.stop(plan.there(facts[host]), host.role, plan.node(host)))

    failed = failures(everywhere(plan, hosts, end))
    now, _ = ask(replace(plan, fleet=replace(plan.fleet, hosts=tuple(failed))), ssh)
    return {host: why for host, why in failed.items() if host not in now or plan.node(host) in now[host].nodes}


def _of_worker(plan: Plan, facts: Facts) -> str:
    return f"{bracketed(facts.address or '127.0.0.1')}:{plan.fleet.worker_port}"
