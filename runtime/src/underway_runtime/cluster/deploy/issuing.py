"""Certificates for the nodes of a cluster, and who has one no more: what a deploy gives, and what it brings to nodes that run.

Names and addresses in a certificate are those that the deploying machine saw, or was told by its user; see `reached`.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...release.addresses import unbracketed
from ...release.errors import UnderwayError, listing
from .. import peer_auth, revocation
from ..answers import Answer
from ..inventory import Host, address
from . import receive, remote_commands
from .plan import DeployPlan, Look, OnlyPart, everywhere, failures, named, on, own_node
from .preflight import Facts
from .reached import addresses, believed
from .ssh import Ssh
from .survey import ask, other_authority


def certify(plan: DeployPlan, ssh: Ssh, facts: Look, listen: str) -> None:
    """Give every node a certificate of this cluster's authority, whose key stays here. Raises OnlyPart.

    The key of a node is made where it runs, and stays there.
    """
    if importlib.util.find_spec("cryptography") is None:
        return  # `look` has seen that nothing leaves this machine
    from .. import certificates

    if not plan.dry_run:
        certificates.make_authority(plan.var.authority, plan.here.name)
    if failed := failures(everywhere(plan, ssh, plan.hosts, _giving(plan, ssh, facts))):
        raise OnlyPart(listing("certificates could not be given to every host; nothing was started:", named(failed)))
    if plan.master is None and not plan.dry_run:
        _give_here(plan, [address(listen)[0], socket.gethostname()])


def renew(plan: DeployPlan, ssh: Ssh, gone: Sequence[str] = ()) -> dict[str, Any]:
    """Give every node a new certificate and the list of removed hosts, to which `gone` are added; those that run take both up. Who was
    removed before gets none: a deploy takes a host back.

    Raises UnderwayError, and nothing was changed, where there is no authority or one of `gone` was never given a certificate;
    OnlyPart with each node that does not have them, or does not obey them.
    """
    from .. import certificates

    authority = plan.var.authority
    if not (authority / certificates.CA_KEY).exists():
        raise UnderwayError(f"there is no authority in {authority}; it is where the cluster was deployed from")
    removed = _removed(plan, ssh, gone) if gone else []
    if removed and not plan.dry_run:
        plan.tell(f"certificates for {', '.join(removed)} are refused, by every node that has the list")
    elif removed:
        print(f"# into {authority / revocation.REVOKED}: {', '.join(removed)}")
    named_out = {*map(revocation.name, gone), *removed}

    def is_out(host: Host) -> bool:
        own_name = revocation.name(unbracketed(host.host))
        return own_name in named_out or revocation.is_out(authority, own_name)

    staying = tuple(host for host in plan.hosts if not is_out(host))
    plan = replace(plan, fleet=replace(plan.fleet, hosts=staying))
    answers, problems = ask(plan, ssh)
    facts = dict[Host, Facts]()
    for host, answer in answers.items():
        try:
            facts[host] = _to_certify(plan, host, believed(answer, host, ssh))
        except ValueError as error:
            problems.append(f"{host.host}: {error}")
    problems += named(failures(everywhere(plan, ssh, facts, _giving(plan, ssh, facts))))
    try:
        certificates_here = plan.var.cluster_node(own_node(plan)).certificates
        if plan.master is None and (certificates_here / peer_auth.CERTIFICATE).exists() and not plan.dry_run:
            _give_here(plan, certificates.hosts_in(certificates_here))
            receive.taken_up(plan.var, own_node(plan), plan.here.name)
    except UnderwayError as error:
        problems.append(f"here: {error}")
    if problems:
        heading = "not every node has a new certificate and the list of removed hosts, and obeys them:"
        raise OnlyPart(listing(heading, problems) + "\nthe same command goes on where this ended")
    plan.tell(f"{len(facts)} hosts have new certificates; nodes that run have taken them up")
    nodes = [plan.node(host) for host in facts]
    if plan.dry_run:
        return {"would_renew": nodes, "would_remove": removed, "renewed": [], "removed": []}
    return {"renewed": nodes, "removed": removed}


def _removed(plan: DeployPlan, ssh: Ssh, gone: Sequence[str]) -> list[str]:
    """Put hosts on the list, by each of their names: also those whose certificates are older than the notes on what is in them."""
    authority, known = plan.var.authority, revocation.issued(plan.var.authority)
    older = dict[str, list[str]]()
    for host in plan.hosts:
        own_host = unbracketed(host.host)
        if own_host in gone and revocation.name(own_host) not in known:
            dialled = ssh.dials(host)
            names = (own_host, dialled, host.address or "", *addresses(dialled))
            older[revocation.name(own_host)] = [revocation.name(name) for name in names if name]
    if plan.dry_run:
        return revocation.all_names({**known, **older}, gone)
    if older:
        revocation.remember(authority, older)
    return revocation.remove(authority, gone)


def _giving(plan: DeployPlan, ssh: Ssh, facts: Look) -> Callable[[Host], Answer]:
    """What gives one host its certificate and the list."""
    from .. import certificates

    authority = plan.var.authority
    names = {host: _names(host, facts[host], ssh) for host in facts}
    if not plan.dry_run:
        revocation.remember(authority, {unbracketed(host.host): names[host] for host in facts})

    def give(host: Host) -> Answer:
        installed, node = plan.installed_at(facts[host]), plan.node(host)
        asked = on(plan, ssh, host, remote_commands.request(installed, node, names[host][0]))
        install = remote_commands.certify(installed, node, plan.fleet.limits.command)
        if asked.status or plan.dry_run:
            return asked if asked.status else on(plan, ssh, host, install)
        leaf = certificates.sign(authority, asked.output.encode(), hosts=names[host], role=host.role)
        sent = receive.Certificates(leaf.decode(), (authority / peer_auth.CA).read_text("ascii"), _list(authority))
        return on(plan, ssh, host, install, feed=sent.dump())

    return give


def _give_here(plan: DeployPlan, hosts: Sequence[str]) -> None:
    """Do the same for the master on this machine."""
    from .. import certificates

    authority, certificates_here = plan.var.authority, plan.var.cluster_node(own_node(plan)).certificates
    revocation.remember(authority, {hosts[0]: hosts})
    leaf = certificates.sign(authority, certificates.request(certificates_here, hosts[0]), hosts=hosts, role="master")
    issuer = (authority / peer_auth.CA).read_bytes()
    certificates.install(certificates_here, leaf, issuer, _list(authority), replaces=True)


def _list(authority: Any) -> str:
    return revocation.dump(revocation.read(authority))


def _names(host: Host, facts: Facts, ssh: Ssh) -> list[str]:
    """What is in the certificate of a host: what its user calls it, what that stands for, and its address."""
    return [*dict.fromkeys(name for name in (unbracketed(host.host), ssh.dials(host), facts.address) if name)]


def _to_certify(plan: DeployPlan, host: Host, facts: Facts) -> Facts:
    """The same. Raises ValueError where the host can't get a certificate from here."""
    if (reason := other_authority(plan, host, facts)) is not None:
        raise ValueError(reason)
    if facts.releases.get(plan.here.version) != plan.manifest.release_id:
        raise ValueError(
            f"{plan.here.name}-{plan.here.version} is not on this host; `deploy --copy-only` copies it there, and starts nothing"
        )
    return facts
