"""``bin/cluster deploy``: looks at every host first, copies what each lacks, starts workers, then the master.

=========================  =============================================================  ===========================
step                       when it fails                                                  status
=========================  =============================================================  ===========================
look at all hosts          all that speaks against it is listed; nothing was changed      1
copy, to all at once       each host that failed is named; those that have it keep it,    5, or 1 where none has it
                           and boot what they booted
start workers, at once     those that were started are stopped again                      4, or 5 where one can't be
start the master           the same                                                       4, or 5
commit on every host       named; all runs, and a restart there boots the version before  5
=========================  =============================================================  ===========================
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..node.settings import Settings
from ..release.directory import VarDirectory
from ..release.errors import UnderwayError, UsageError, listing
from ..release.manifest import read
from . import commands
from .commands import Installed
from .copying import Store
from .hosts import Host, address, from_table, from_words
from .looking import look
from .node import STARTING, read_cookie
from .plan import Look, OnlyPart, Plan, everywhere, failures, named, on
from .starting import start, stop
from .transport import Answer, Ssh


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what the command line asks for; 0, or raises an UnderwayError."""
    plan = plan_of(options, settings)
    with Ssh(plan.fleet.limits, plan.ssh_config) as ssh:
        outcome = stop(plan, ssh) if options.stop else deploy(plan, ssh)
    if options.json:
        print(json.dumps(outcome, indent=1))
    return 0


def plan_of(options: argparse.Namespace, settings: Settings) -> Plan:
    """What the command line and the release say. Raises UsageError and UnderwayError."""
    from .script import fleet_in

    built = from_table(json.loads(settings.place.cluster_hosts.read_text(encoding="utf-8")))
    fleet = fleet_in(options.file) if options.file else built
    if options.hosts:
        fleet = replace(fleet, hosts=(*(fleet.hosts if options.file else ()), *from_words(options.hosts)))
    if options.file and not options.file.endswith(".toml"):
        fleet = replace(built, hosts=fleet.hosts)
    if not any(host.role == "worker" for host in fleet.hosts):
        raise UsageError(
            "there is no worker to deploy to; name hosts, a file (-f), or hosts in [tool.underway.cluster]"
        )
    if options.listen:
        address(options.listen)
    fleet = replace(fleet, directory=options.directory or fleet.directory, listen=options.listen or fleet.listen)

    def report(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    return Plan(
        fleet=fleet,
        settings=commands.Settings(
            deploy=options.deploy,
            log=options.log,
            working_dir=options.working_dir,
            shutdown_with_master=options.shutdown_with_master,
            shutdown_with_workers=options.shutdown_with_workers,
            within=options.within,
        ),
        here=Installed(str(settings.root), settings.name, settings.version),
        manifest=read(settings.place.manifest),
        var=VarDirectory(settings.var.path.absolute()),
        mode=" ".join(STARTING[options.mode]),
        starts=not options.copy_only,
        cookie=read_cookie(options.cookie_file) if options.cookie_file else None,
        ssh_config=options.ssh_config,
        dry_run=options.dry_run,
        report=(lambda _: None) if options.quiet else report,
    )


def deploy(plan: Plan, ssh: Ssh) -> dict[str, object]:
    """All of it. Returns what was done; raises OnlyPart, UndoneError, and UnderwayError where nothing was changed."""
    facts = look(plan, ssh)
    sent = copy(plan, ssh, facts)
    if plan.starts:
        start(plan, ssh, facts)
    return {
        "name": plan.here.name,
        "version": plan.here.version,
        "release_id": plan.manifest.release_id,
        "hosts": [
            {"host": host.host, "node": plan.node(host), "directory": facts[host].directory, "sent": sent.get(host, 0)}
            for host in plan.hosts
        ],
        "started": plan.starts and not plan.dry_run,
    }


def copy(plan: Plan, ssh: Ssh, facts: Look) -> dict[Host, int]:
    """Bring the release to every host that lacks it, all at once; the bytes that were sent to each.

    Raises OnlyPart, or UnderwayError where no host has it, naming each that failed.
    """
    places: dict[tuple[str, str], Host] = {}
    for host, each in facts.items():
        places.setdefault((each.address or host.host, each.directory), host)
    with tempfile.TemporaryDirectory(prefix="underway-deploy-") as scratch:
        store = Store(Path(plan.here.directory), plan.manifest, Path(scratch))
        parcels = {host: parcel for host in places.values() if (parcel := store.parcel(facts[host])) is not None}

        def send(host: Host) -> Answer:
            parcel, began = parcels[host], time.monotonic()
            answer = on(plan, ssh, host, parcel.command, feed=parcel.file, within=plan.fleet.limits.copy)
            if answer.status == 0 and not plan.dry_run:
                plan.report(f"{host.host}: {parcel.size / 1e6:.1f} MB in {time.monotonic() - began:.1f} s")
            return answer

        failed = failures(everywhere(plan, parcels, send))
        sent = {host: parcel.size for host, parcel in parcels.items() if host not in failed}
    if failed:
        name = f"{plan.here.name}-{plan.here.version}"
        heading = f"{name} could not be copied to {len(failed)} of {len(plan.hosts)} hosts:"
        kind = OnlyPart if len(failed) < len(places) else UnderwayError
        raise kind(listing(heading, named(failed)) + "\nnothing was started; the same command goes on where this ended")
    return sent
