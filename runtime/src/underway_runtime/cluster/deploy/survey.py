"""The first step of a deploy: every host is asked what it is like, and everything that speaks against it is listed."""

from __future__ import annotations

import importlib.util
import socket
import time
from dataclasses import replace
from pathlib import Path

from ...process import facts
from ...release.addresses import join, unbracketed
from ...release.errors import UnderwayError, listing
from .. import peer_auth
from ..inventory import PORT, Host, address
from . import preflight, remote_commands
from .copy import Store
from .plan import DeployPlan, Look, everywhere, own_node, runs_here, status_here
from .preflight import Facts
from .reached import believed
from .ssh import Ssh


def joining(plan: DeployPlan) -> DeployPlan:
    """The plan, of which only workers are left where its master runs here already."""
    if plan.master is not None or (running := runs_here(plan)) is None:
        return plan
    listen = facts.environment(running).get("CLUSTER_LISTEN")
    return replace(plan, joins=listen) if listen else plan


def to_start(plan: DeployPlan, facts: Look) -> list[Host]:
    """The workers that are to be started: all, or those that are not there yet."""
    return [host for host in plan.workers if not (plan.joins and plan.node(host) in facts[host].nodes)]


def look(plan: DeployPlan, ssh: Ssh) -> Look:
    """Find out what every host is like. Raises UnderwayError with everything that speaks against this deploy, on any of them."""
    facts, problems = ask(plan, ssh)
    store = Store(Path(plan.here.directory), plan.manifest, Path())
    for host, fact in [*facts.items()] if plan.starts else ():
        try:
            facts[host] = believed(fact, host, ssh)
        except ValueError as error:
            problems.append(f"{host.host}: {error}")
    port, speaks = 0, list[str]()
    if plan.starts and facts:
        try:
            where = address(listening(plan, facts))
            port, speaks = where[1], _here_problems(plan, where, facts)
        except UnderwayError as error:
            speaks = [str(error)]
    joins = not problems and bool(to_start(plan, facts))
    for host, known in facts.items():
        is_there = plan.manifest.release_id in known.releases.values()
        problems += [
            f"{host.host}: {problem}"
            for problem in preflight.problems(
                known,
                plan.manifest,
                host,
                needed=0 if is_there else preflight.size_of(plan.manifest, store.known(known)),
                port=port if host.role == "master" else plan.fleet.worker_port,
                starts=plan.starts and not (joins and plan.node(host) in known.nodes),
                limits=plan.fleet.limits,
            )
        ]
        reasons = [store.problem(known), other_authority(plan, host, known) if plan.starts else None]
        problems += [f"{host.host}: {reason}" for reason in reasons if reason is not None]
    if problems or speaks:
        raise UnderwayError(listing("it can't be deployed, and nothing was changed:", [*problems, *speaks]))
    return facts


def other_authority(plan: DeployPlan, host: Host, facts: Facts) -> str | None:
    """Why a host gets no certificate from here; None where it does."""
    try:
        authority = (plan.var.authority / peer_auth.CA).read_text(encoding="ascii")
    except (OSError, ValueError):
        authority = ""
    return preflight.of_another_authority(facts, plan.node(host), authority)


def ask(plan: DeployPlan, ssh: Ssh) -> tuple[dict[Host, Facts], list[str]]:
    """Ask the hosts what they are like; returns what they say of themselves, and those that say nothing."""
    loader = preflight.loader_of(Path(plan.here.directory), plan.here.version)
    command = remote_commands.preflight(plan.fleet.directory or plan.here.name, loader)

    def one(host: Host) -> Facts | str:
        before = time.time()
        answer = ssh.run(host, command)
        if answer.status:
            return answer.reason
        try:
            return preflight.read(answer.output, before, time.time())
        except ValueError as error:
            return str(error)

    replies = everywhere(plan, ssh, plan.hosts, one)
    facts = {host: reply for host, reply in replies.items() if isinstance(reply, Facts)}
    return facts, [f"{host.host}: {reply}" for host, reply in replies.items() if isinstance(reply, str)]


def listening(plan: DeployPlan, facts: Look) -> str:
    """Where the master listens. Raises UnderwayError when that has to be said."""
    if plan.joins or plan.fleet.listen:
        return plan.joins or plan.fleet.listen or ""
    if plan.master in facts:
        assert plan.master is not None
        return join(unbracketed(facts[plan.master].address or plan.master.host), PORT)
    seen = {host_facts.client for host_facts in facts.values() if host_facts.client}
    if len(seen) != 1:
        raise UnderwayError(
            f"the hosts see this machine at {' and '.join(sorted(seen)) or 'no address'}; say where the master listens: --listen"
        )
    return join(seen.pop(), PORT)


def _here_problems(plan: DeployPlan, listen: tuple[str, int], facts: Look) -> list[str]:
    """What speaks against the master here, or against a cluster over the network at all."""
    problems = []
    host, port = listen
    if importlib.util.find_spec("cryptography") is None and not host.startswith("127."):
        problems.append('certificates need `cryptography`; depend on "underway-runtime[cluster]"')
    if plan.master is None:
        if runs_here(plan) is not None:
            problems += _in_the_way_of_joining(plan, listen, facts)
        else:
            try:
                family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                with socket.socket(family, kind) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(target)
            except OSError as error:
                problems.append(
                    f"the master can't listen at {join(host, port)} here: {error.strerror}; --listen says where else"
                )
    return problems


def _in_the_way_of_joining(plan: DeployPlan, listen: tuple[str, int], facts: Look) -> list[str]:
    """What speaks against starting workers for the master that runs here."""
    node = own_node(plan)
    if plan.joins is None or not to_start(plan, facts):
        return [f"{node} runs here already; `deploy --stop` stops it"]
    problems = []
    if listen[0].startswith("127."):
        problems.append(f"{node} runs here already, and listens at {plan.joins}, which no other host reaches")
    version = (status_here(plan) or {}).get("version")
    if version != plan.here.version:
        problems.append(
            f"{node} runs here already, and is of {version or 'a version that is not known'}: no worker of"
            f" {plan.here.version} can join it; RELEASE_VSN says which version is deployed"
        )
    return problems
