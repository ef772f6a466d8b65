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
interrupted while it       says how far it has come                                       130, 143, 129
looks or copies
interrupted while nodes    what was begun is ended on every host                          4, or 5 where one can't be
start
=========================  =============================================================  ===========================
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...process.settings import Settings
from ...release.directory import VarDirectory
from ...release.errors import UnderwayError, UsageError, listing
from ...release.manifest import read
from .. import remembered
from ..answers import Answer
from ..interruption import Interrupted, OwnDirectory, Unfinished, once
from ..inventory import (
    Fleet,
    Host,
    address,
    directory_of,
    directory_problems,
    fleet_in,
    from_table,
    from_words,
    together,
)
from ..node import STARTING, read_cookie
from . import remote_commands
from .copy import Parcel, Store
from .issuing import renew
from .plan import DeployPlan, Look, OnlyPart, everywhere, failures, named, on
from .remote_commands import Installed
from .ssh import Ssh
from .start import start, stop
from .survey import joining, look


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what the command line asks for; 0, or raises an UnderwayError."""
    outcome = _ended(options, plans_of(options, settings))
    if options.json:
        print(json.dumps(outcome, indent=1))
    elif options.stop and not options.quiet and not options.dry_run:
        print("\n".join(f"{node} is stopped" for node in outcome["stopped"]) or "nothing runs")
    return 0


def _ended(options: argparse.Namespace, plans: Sequence[DeployPlan]) -> dict[str, Any]:
    """Do it, and clear what was needed for that; the outcome. Raises Unfinished where it is interrupted, whenever that is."""
    try:
        return _outcome(options, plans)
    except Interrupted as interrupted:  # before it has begun
        raise Unfinished(interrupted, "nothing was changed") from None


def _outcome(options: argparse.Namespace, plans: Sequence[DeployPlan]) -> dict[str, Any]:
    plan = plans[0]
    with (
        once() as attention,
        OwnDirectory(Path("/tmp"), "uw-") as sockets,  # a socket's path is 108 bytes at most
        OwnDirectory(Path(tempfile.gettempdir()), "underway-deploy-") as scratch,
        Ssh(plan.fleet.limits, sockets, plan.ssh_config) as ssh,
    ):
        try:
            if options.stop:
                return _stop(plans, ssh)
            if options.renew or options.revoke:
                return _all_of(plans, lambda plan: renew(plan, ssh, options.revoke))
            return deploy(plan, ssh, scratch)
        except Interrupted as interrupted:
            done = (
                "certificates may be new on some hosts, on others not; the same command goes on where this ended"
                if options.renew or options.revoke
                else "nothing was started"
            )
            raise Unfinished(interrupted, done) from None
        finally:
            attention.over = True


def _all_of(plans: Sequence[DeployPlan], do: Callable[[DeployPlan], dict[str, Any]]) -> dict[str, Any]:
    """Do it for each directory that was deployed to, and put together what was done; raises what failed, in the end."""
    outcome: dict[str, Any] = {}
    problems = []
    for plan in plans:
        try:
            for key, done in do(plan).items():
                outcome[key] = [*dict.fromkeys([*outcome.get(key, []), *done])]
        except OnlyPart as error:
            problems.append(str(error))
    if problems:
        raise OnlyPart("\n".join(problems))
    return outcome


def _stop(plans: Sequence[DeployPlan], ssh: Ssh) -> dict[str, Any]:
    """Stop all that runs; whoever has stopped is said, also where that is not everybody."""
    stopped: list[str] = []
    try:
        _all_of(plans, lambda plan: stop(plan, ssh, stopped))
    except OnlyPart as error:
        raise OnlyPart(f"{error}{_so_far(stopped)}") from None
    except Interrupted as interrupted:
        goes_on = "some nodes may run on; `deploy --stop` goes on where this ended"
        raise Unfinished(interrupted, f"{goes_on}{_so_far(stopped)}") from None
    return {"would_stop": stopped, "stopped": []} if plans[0].dry_run else {"stopped": stopped}


def _so_far(stopped: Sequence[str]) -> str:
    return f"\nstopped: {', '.join(stopped)}" if stopped else ""


def plans_of(options: argparse.Namespace, settings: Settings) -> list[DeployPlan]:
    """Put together what the command line and the release say, and for what was started from here what is known of that: one plan for
    each directory on the hosts. Raises UsageError and UnderwayError."""
    built = from_table(json.loads(settings.place.cluster_hosts.read_text(encoding="utf-8")))
    fleet = fleet_in(options.file) if options.file else built
    if options.hosts:
        fleet = replace(fleet, hosts=(*(fleet.hosts if options.file else ()), *from_words(options.hosts)))
    if options.file and not options.file.endswith(".toml"):
        fleet = replace(built, hosts=fleet.hosts)
    directory = options.directory or fleet.directory
    problems = [*together(fleet.hosts), *directory_problems(options.directory or "")]
    if problems:
        raise UsageError(listing("the hosts can't be understood:", problems))
    if options.listen:
        address(options.listen)
    fleet = replace(fleet, directory=directory and directory_of(directory), listen=options.listen or fleet.listen)
    var = VarDirectory(settings.var.path.absolute())
    fleets = _started(options, var, fleet) if options.stop or options.renew or options.revoke else []
    if not fleets and not any(host.role == "worker" for host in fleet.hosts):
        raise UsageError(
            "there is no worker to deploy to; name hosts, a file (-f), or hosts in [tool.underway.cluster]"
        )
    return [_plan(options, settings, fleet, var) for fleet in fleets or [fleet]]


def _started(options: argparse.Namespace, var: VarDirectory, fleet: Fleet) -> list[Fleet]:
    """What was started from here, of the hosts that are named, or all: in the directory that is named, or wherever that is."""
    is_named = bool(options.hosts or options.file)
    try:
        started = remembered.recall(var)
    except UnderwayError:
        if not is_named:
            raise
        started = []
    known = [
        replace(fleet, hosts=other.hosts, directory=other.directory)
        for other in started
        if options.directory is None or other.directory == fleet.directory
    ]
    if not is_named:
        return known
    wanted = {(host.host, host.name, host.role) for host in fleet.hosts}
    elsewhere = [
        replace(other, hosts=hosts)
        for other in known
        if other.directory != fleet.directory
        and (hosts := tuple(host for host in other.hosts if (host.host, host.name, host.role) in wanted))
    ]
    return [fleet, *elsewhere]


def _plan(options: argparse.Namespace, settings: Settings, fleet: Fleet, var: VarDirectory) -> DeployPlan:
    def report(text: str) -> None:
        with suppress(OSError):  # the terminal may be gone
            print(text, file=sys.stderr, flush=True)

    return DeployPlan(
        fleet=fleet,
        settings=remote_commands.Settings(
            deploy=options.deploy,
            log=options.log,
            working_dir=options.working_dir,
            shutdown_with_master=options.shutdown_with_master,
            shutdown_with_workers=options.shutdown_with_workers,
            timeout=options.timeout,
        ),
        here=Installed(str(settings.root), settings.name, settings.version),
        manifest=read(settings.place.manifest),
        var=var,
        mode=" ".join(STARTING[options.mode]),
        starts=not options.copy_only,
        cookie=read_cookie(options.cookie_file) if options.cookie_file else None,
        allow_downgrade=options.allow_downgrade,
        ssh_config=options.ssh_config and os.path.expanduser(options.ssh_config),
        dry_run=options.dry_run,
        report=(lambda _: None) if options.quiet else report,
    )


def deploy(plan: DeployPlan, ssh: Ssh, scratch: Path) -> dict[str, Any]:
    """Do all of it. Returns what was done; raises OnlyPart, UndoneError, and UnderwayError where nothing was changed."""
    plan = joining(plan) if plan.starts else plan
    try:
        facts = look(plan, ssh)
    except Interrupted as interrupted:
        raise Unfinished(interrupted, "nothing was changed") from None
    sent = copy(plan, ssh, facts, scratch)
    outcome = {
        "name": plan.here.name,
        "version": plan.here.version,
        "release_id": plan.manifest.release_id,
        "hosts": [
            {
                "host": host.host,
                "node": plan.node(host),
                "directory": facts[host].directory,
                "sent": 0 if plan.dry_run else sent.get(host, 0),
            }
            for host in plan.hosts
        ],
        "started": plan.starts and not plan.dry_run,
        "dry_run": plan.dry_run,
    }
    if plan.starts:
        start(plan, ssh, facts)
    return outcome


def copy(plan: DeployPlan, ssh: Ssh, facts: Look, scratch: Path) -> dict[Host, int]:
    """Bring the release to every host that lacks it, all at once; the bytes that were sent to each. Files are made in `scratch`.

    Raises OnlyPart, or UnderwayError where no host has it, naming each that failed.
    """
    places: dict[tuple[str, str], Host] = {}
    for host, known in facts.items():
        places.setdefault((known.address or host.host, known.directory), host)
    arrived: list[Host] = []
    limit = plan.fleet.limits.copy
    store = Store(Path(plan.here.directory), plan.manifest, scratch, plan.allow_downgrade, limit)
    parcels: dict[Host, Parcel] = {}

    def send(host: Host) -> Answer:
        parcel, began = parcels[host], time.monotonic()
        answer = on(plan, ssh, host, parcel.command, feed=parcel.file, timeout=plan.fleet.limits.copy)
        if answer.status == 0:
            arrived.append(host)
            plan.tell(f"{host.host}: {parcel.size / 1e6:.1f} MB in {time.monotonic() - began:.1f} s")
        return answer

    try:
        for host in places.values():
            if (parcel := store.parcel(facts[host])) is not None:
                parcels[host] = parcel
        failed = failures(everywhere(plan, ssh, parcels, send))
    except Interrupted as interrupted:
        raise Unfinished(interrupted, _copied(facts, parcels, arrived)) from None
    sent = {host: parcel.size for host, parcel in parcels.items() if host not in failed}
    if failed:
        name = f"{plan.here.name}-{plan.here.version}"
        heading = f"{name} could not be copied to {len(failed)} of {len(plan.hosts)} hosts:"
        kind = OnlyPart if len(failed) < len(places) else UnderwayError
        raise kind(listing(heading, named(failed)) + "\nnothing was started; the same command goes on where this ended")
    return sent


def _copied(facts: Look, parcels: Iterable[Host], arrived: Sequence[Host]) -> str:
    """How far a copy has come that was interrupted."""
    lack = [host.host for host in parcels if host not in arrived]
    have = [host.host for host in facts if host.host not in lack]
    lines = [f"the copy to {', '.join(lack)} is not whole, and what has arrived of it is cleared there"] if lack else []
    lines += [f"{', '.join(have)} {'have' if len(have) > 1 else 'has'} it"] if have else []
    return "\n".join([*lines, "nothing was started; the same command goes on where this ended"])
