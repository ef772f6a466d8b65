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
import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..node import lock
from ..node.settings import Settings
from ..release.directory import VarDirectory
from ..release.errors import EXIT_PART, UnderwayError, UndoneError, UsageError, listing
from ..release.manifest import Manifest, read
from . import commands, preflight
from .commands import Installed
from .copying import Store
from .hosts import PORT, Fleet, Host, address, from_table, from_words
from .node import STARTING, read_cookie
from .preflight import Facts
from .transport import Answer, Ssh

T = TypeVar("T")


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


Look = Mapping[Host, Facts]


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


def look(plan: Plan, ssh: Ssh) -> Look:
    """What every host is like. Raises UnderwayError with everything that speaks against this deploy, on any of them."""
    facts, problems = _facts(plan, ssh)
    store = Store(Path(plan.here.directory), plan.manifest, Path())
    listen, ports, speaks = {}, dict[Host, dict[int, str]](), []
    if plan.starts and facts:
        try:
            listen = {"master": address(_listen(plan, facts))}
            speaks = _here_problems(plan, listen["master"])
        except UnderwayError as error:
            speaks = [str(error)]
    for host in facts:
        port = listen.get("master", ("", 0))[1] if host.role == "master" else plan.fleet.worker_port
        ports[host] = {port: f"the {host.role}"} if port else {}
    for host, each in facts.items():
        there = plan.manifest.release_id in each.releases.values()
        problems += [
            f"{host.host}: {problem}"
            for problem in preflight.problems(
                each,
                plan.manifest,
                host,
                needed=0 if there else preflight.size_of(plan.manifest, store.known(each)),
                ports=ports[host],
                starts=plan.starts,
                limits=plan.fleet.limits,
            )
        ]
    if problems or speaks:
        raise UnderwayError(listing("nothing was changed, for this can't be deployed:", [*problems, *speaks]))
    return facts


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
            answer = _run(plan, ssh, host, parcel.command, feed=parcel.file, within=plan.fleet.limits.copy)
            if answer.status == 0 and not plan.dry_run:
                plan.report(f"{host.host}: {parcel.size / 1e6:.1f} MB in {time.monotonic() - began:.1f} s")
            return answer

        failed = _failures(_each(plan, parcels, send))
        sent = {host: parcel.size for host, parcel in parcels.items() if host not in failed}
    if failed:
        name = f"{plan.here.name}-{plan.here.version}"
        heading = f"{name} could not be copied to {len(failed)} of {len(plan.hosts)} hosts:"
        kind = OnlyPart if len(failed) < len(places) else UnderwayError
        raise kind(
            listing(heading, _named(failed)) + "\nnothing was started; the same command goes on where this ended"
        )
    return sent


def start(plan: Plan, ssh: Ssh, facts: Look) -> None:
    """Start every worker, then the master. Raises UndoneError, or OnlyPart, when one does not start: the others are stopped."""
    listen = _listen(plan, facts)
    certify(plan, ssh, facts, listen)
    started: list[Host] = []

    def begin(host: Host) -> Answer:
        worker = commands.worker(plan.there(facts[host]), host, listen, _of_worker(plan, facts[host]), plan.settings)
        answer = _with_cookie(plan, ssh, host, worker)
        if answer.status == 0:
            started.append(host)
        return answer

    try:
        if failed := _failures(_each(plan, plan.workers, begin)):
            _undo(plan, ssh, facts, started, listing("workers could not be started:", _named(failed)))
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
        asked = _run(plan, ssh, host, commands.request(there, node, names[0]))
        if asked.status or plan.dry_run:
            return asked
        leaf = certificates.sign(authority, asked.output.encode(), hosts=names, role=host.role)
        both = leaf.rstrip() + b"\n\n" + (authority / "ca.pem").read_bytes()
        return _run(plan, ssh, host, commands.certify(there, node), feed=both)

    if failed := _failures(_each(plan, plan.hosts, give)):
        raise OnlyPart(listing("certificates could not be given to every host; nothing was started:", _named(failed)))
    if plan.master is None and not plan.dry_run:
        own, host = plan.var.cluster_node(_own_node(plan)).certificates, address(listen)[0].strip("[]")
        asked = certificates.request(own, host)
        leaf = certificates.sign(authority, asked, hosts=[host, socket.gethostname()], role="master")
        certificates.install(own, leaf, (authority / "ca.pem").read_bytes())


def stop(plan: Plan, ssh: Ssh) -> dict[str, object]:
    """Stop every node that runs: the master first, so that it misses nobody. Raises OnlyPart naming each that did not."""
    failed: dict[str, str] = {}
    if plan.master is None and _runs_here(plan):
        done = _here(plan, commands.stop(plan.here, "master", _own_node(plan)))
        if done.status:
            failed["master"] = done.reason
    facts, unknown = _facts(plan, ssh)
    running = [host for host, each in facts.items() if plan.node(host) in each.nodes]
    for some in ([host for host in running if host.role == role] for role in ("master", "worker")):
        failed |= {host.host: reason for host, reason in _failures(_stop(plan, ssh, facts, some)).items()}
    if failed or unknown:
        problems = [*unknown, *(f"{host}: {reason}" for host, reason in failed.items())]
        raise OnlyPart(listing("not every node could be stopped:", problems))
    return {"stopped": [plan.node(host) for host in running]}


def _start_master(plan: Plan, ssh: Ssh, facts: Look, listen: str, workers: list[str]) -> str | None:
    """Start the master, there or here, and make the version permanent where it is not. What went wrong, or None."""
    if plan.master is not None:
        there, node = plan.there(facts[plan.master]), plan.node(plan.master)
        command = commands.master(there, node, "daemon", listen, workers, plan.settings)
        answer = _with_cookie(plan, ssh, plan.master, command)
    elif plan.mode == "daemon" or plan.dry_run:
        command = commands.master(plan.here, _own_node(plan), plan.mode, listen, workers, plan.settings)
        answer = _here(plan, command)
    else:
        command = commands.master(plan.here, _own_node(plan), plan.mode, listen, workers, plan.settings)
        return _in_the_foreground(plan, ssh, facts, command)
    if answer.status:
        return answer.reason
    commit(plan, ssh, facts)
    plan.report(f"the master is ready, and {len(workers)} workers have joined")
    return None


def commit(plan: Plan, ssh: Ssh, facts: Look) -> None:
    """Make the version the one that boots, where another version was. Raises OnlyPart."""
    version = plan.here.version
    others = [host for host, each in facts.items() if {*each.releases} - {version}]

    def make(host: Host) -> Answer:
        return _run(plan, ssh, host, commands.commit(plan.there(facts[host]), host.role, plan.node(host)))

    if failed := _failures(_each(plan, others, make)):
        heading = f"{version} runs everywhere, and is not what boots on every host:"
        raise OnlyPart(listing(heading, _named(failed)))


def _in_the_foreground(plan: Plan, ssh: Ssh, facts: Look, command: list[str]) -> str | None:
    """The master as a child of this process, until it ends."""
    ready = False
    place = plan.var.cluster_node(_own_node(plan))
    with subprocess.Popen(command, env=_environ(plan)) as child:
        while child.poll() is None:
            try:
                child.wait(None if ready else 0.2)
            except subprocess.TimeoutExpired:
                about = lock.find(place, plan.here.name) and lock.read(place.lock.read_bytes())
                if about and about.get("ready"):
                    ready = True
                    commit(plan, ssh, facts)
            except KeyboardInterrupt:
                continue  # the child has had it too, and stops
    return f"it ended with status {child.returncode}" if child.returncode else None


def _undo(plan: Plan, ssh: Ssh, facts: Look, started: list[Host], why: str) -> None:
    """Stop the workers that were started; always raises."""
    left = _failures(_stop(plan, ssh, facts, started))
    if left:
        raise OnlyPart(f"{why}\n{listing('and these run on, for they could not be stopped:', _named(left))}")
    raise UndoneError("the workers that were started are stopped again", why)


def _facts(plan: Plan, ssh: Ssh) -> tuple[dict[Host, Facts], list[str]]:
    """What the hosts say of themselves, and those that say nothing."""
    loader = preflight.loader_of(Path(plan.here.directory), plan.here.version)
    command = commands.preflight(plan.fleet.directory or plan.here.name, loader)
    script = preflight.SCRIPT.read_bytes()

    def ask(host: Host) -> Facts | str:
        before = time.time()
        answer = ssh.run(host, command, feed=script)
        if answer.status:
            return answer.reason
        try:
            return preflight.read(answer.output, before, time.time())
        except ValueError as error:
            return str(error)

    said = _each(plan, plan.hosts, ask)
    facts = {host: each for host, each in said.items() if isinstance(each, Facts)}
    return facts, [f"{host.host}: {each}" for host, each in said.items() if isinstance(each, str)]


def _here_problems(plan: Plan, listen: tuple[str, int]) -> list[str]:
    """What speaks against the master here, or against a cluster over the network at all."""
    problems = []
    host, port = listen[0].strip("[]"), listen[1]
    if importlib.util.find_spec("cryptography") is None and not host.startswith("127."):
        problems.append('certificates need `cryptography`; depend on "underway-runtime[cluster]"')
    if plan.master is None:
        if _runs_here(plan):
            problems.append(f"{_own_node(plan)} runs here already; `deploy --stop` stops it")
        else:
            try:
                family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                with socket.socket(family, kind) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(place)
            except OSError as error:
                problems.append(
                    f"the master can't listen at {host}:{port} here: {error.strerror}; --listen says where else"
                )
    return problems


def _listen(plan: Plan, facts: Look) -> str:
    """Where the master listens. Raises UnderwayError when that has to be said."""
    if plan.fleet.listen:
        return plan.fleet.listen
    if plan.master in facts:
        assert plan.master is not None
        return f"{_bracketed(facts[plan.master].address or plan.master.host)}:{PORT}"
    seen = {each.client for each in facts.values()}
    if len(seen) != 1 or not all(seen):
        raise UnderwayError(
            f"the hosts see this machine at {' and '.join(sorted(seen)) or 'no address'}; say where the master listens: --listen"
        )
    return f"{_bracketed(seen.pop())}:{PORT}"


def _of_worker(plan: Plan, facts: Facts) -> str:
    return f"{_bracketed(facts.address or '127.0.0.1')}:{plan.fleet.worker_port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _own_node(plan: Plan) -> str:
    return f"{plan.here.name}_master@{socket.gethostname()}"


def _runs_here(plan: Plan) -> bool:
    return lock.find(plan.var.cluster_node(_own_node(plan)), plan.here.name) is not None


def _stop(plan: Plan, ssh: Ssh, facts: Look, hosts: Sequence[Host]) -> dict[Host, Answer]:
    def end(host: Host) -> Answer:
        return _run(plan, ssh, host, commands.stop(plan.there(facts[host]), host.role, plan.node(host)))

    return _each(plan, hosts, end)


def _with_cookie(plan: Plan, ssh: Ssh, host: Host, command: list[str]) -> Answer:
    within = plan.fleet.limits.start
    if plan.cookie is None:
        return _run(plan, ssh, host, command, within=within)
    return _run(plan, ssh, host, commands.with_cookie(command), feed=f"{plan.cookie}\n".encode(), within=within)


def _run(
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


def _here(plan: Plan, command: list[str]) -> Answer:
    if plan.dry_run:
        print(shlex.join(command))
        return Answer(0)
    within = plan.fleet.limits.start + (plan.settings.within or 0)
    try:
        done = subprocess.run(command, env=_environ(plan), capture_output=True, text=True, timeout=within)
    except subprocess.TimeoutExpired:
        return Answer(1, errors=f"it took more than {within:g} s")
    return Answer(done.returncode, done.stdout, done.stderr)


def _environ(plan: Plan) -> dict[str, str]:
    """For ``bin/cluster`` here: what this one's launcher has set is not passed on."""
    own = {"RELEASE_VAR": str(plan.var.path), **({"RELEASE_COOKIE": plan.cookie} if plan.cookie else {})}
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith("RELEASE_") or key == "RELEASE_COOKIE"
    }
    return {**kept, **own}


def _each(plan: Plan, hosts: Iterable[Host], do: Callable[[Host], T]) -> dict[Host, T]:
    """Do something for all hosts at once, but for what `parallel` allows."""
    todo = list(hosts)
    if not todo:
        return {}
    with ThreadPoolExecutor(1 if plan.dry_run else min(len(todo), plan.fleet.limits.parallel)) as pool:
        return dict(zip(todo, pool.map(do, todo), strict=True))


def _failures(answers: Mapping[Host, Answer]) -> dict[Host, str]:
    return {host: answer.reason for host, answer in answers.items() if answer.status}


def _named(failed: Mapping[Host, str]) -> list[str]:
    return [f"{host.host}: {reason}" for host, reason in failed.items()]
