"""The application that makes a node a part of a cluster; a release with the cluster step starts it as ``underway_runtime``.

==========  ===================================================  =======================================================
mode        it has started when                                  then
==========  ===================================================  =======================================================
``local``   its own worker has joined it                         nothing can be lost
``master``  all `workers` have joined, within `join_timeout`     a worker is lost: it goes on; with
                                                                 `shutdown_with_workers` the node stops, status 4
``worker``  the address that it is to listen on is free; it      its master is lost: the node stops, status 4; without
            joins when there is a master                         `shutdown_with_master` it joins again
==========  ===================================================  =======================================================

Who hands over to another node is not lost: it tells the others before it goes, and they wait for its successor.

============================  =============================================================================================
a master hands over           workers cross over to whoever is the master at its address next: the successor, or the node that
                              has failed to hand over and is the master again; for `_patience` seconds, then it is lost
its successor has started     all that were members have crossed over; the other `workers` get ten seconds. Where those that
when                          were members are refused, or do not come, it fails
the node is the master again  at once for whoever has come back within ten seconds; it fails for nobody
a worker hands over           its successor joins as any worker does; with `shutdown_with_workers` the master waits for it
what can't be                 a master of another version while members are of this one: they could not join it. It is not
                              even started, and nothing has changed
============================  =============================================================================================

A node that stops with status 4 is not started again by its keeper. When all applications of the boot have started, the master,
or the only node, evaluates `deploy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import cluster
from ..application import Application
from ..apps.service import describe
from ..configuration.config import config, is_enabled
from ..configuration.runtime_schema import Cluster as Section
from ..control import cookie
from ..process.log import log
from ..process.settings import HANDOVER_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT, from_environ
from ..release import ledger
from ..release.addresses import join
from ..release.errors import BootError, ConfigError, PeerLost, listing
from ..release.filesystem import atomic_files
from . import addresses, peer_auth
from .engine_import import import_engine
from .expression import evaluate
from .members import BEAT, SILENT, Event, Members
from .peer_auth import Credentials

if TYPE_CHECKING:
    from .engine import Backend, Work

RENEW = 14
"""Days before its certificate ends a node begins to say so."""
_DAY = 86400.0
_MASTER = "127.0.0.1:8786"
"""Where a master listens that is not told where."""


class Cluster(Application):
    """This node's part of the cluster. What applications ask of it goes through the functions of the package."""

    overlap: ClassVar[bool] = False

    def __init__(self, section: Section | None = None, directory: str | None = None) -> None:
        """Without a section, what the configuration says; `directory` is for the engine."""
        self._section = section or Section(**config.get("underway_runtime", "cluster", {}))
        self.node = self._section.name or from_environ(os.environ).node
        self._directory = directory or str(from_environ(os.environ).tmp.engine)
        self._work: Work | None = None
        self._master: Any = None
        self._joined: Any = None
        self._before: dict[str, Any] | None = None  # what the node that hands over knows, which may have been this one
        self._told = self._leaving = False
        self._knowing: list[str] = []  # the members that know of a handover
        self._said: tuple[str, dict[str, Any]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()
        self.mode = self._section.mode
        self.loop = asyncio.get_running_loop()
        self._engine: Any = None  # imported at the start
        self._over: asyncio.Future[None] = self.loop.create_future()
        self.members = Members(lambda line: log(f"cluster: {line}") if self._section.log else None)

    async def start(self) -> asyncio.Future[None]:
        self._engine = import_engine()
        shutil.rmtree(self._directory, ignore_errors=True)  # of a node that was killed
        starts = {"local": self._start_local, "master": self._start_master, "worker": self._start_worker}
        try:
            await starts[self.mode]()
        except BaseException:
            await self.stop()
            raise
        cluster.running = self
        return self._over

    async def accept(self) -> None:
        """Wait for workers. Raises BootError with who is missing, and why."""
        if self.mode != "master":
            return
        before = self._before or {}
        wanted, members = self._section.workers, before.get("workers", [])
        timeout = self._time_to_join()
        if self._before is not None:
            for_others = min(timeout, 2 * SILENT)
            others = [name for name in wanted if name not in members]
            await self._wait_for(members, for_others if self._came_back else timeout, patience=SILENT)
            await self._wait_for(others, for_others, patience=SILENT)
            if not self._came_back:
                await self._tell(self._patience())
            if not self._came_back and (missing := self.members.missing(members)):
                raise BootError(
                    listing("these were members of the master before, and have not joined this one:", missing)
                )
        elif missing := await self._wait_for(wanted, timeout):
            host, _ = addresses.listen(self._section.listen or _MASTER)
            hint = addresses.hint_for_missing(host, self.node, wanted)
            raise BootError(listing(f"workers have not joined within {timeout:g} s{hint}:", missing))
        if self._section.shutdown_with_workers:
            self._spawn(self._stop_with_workers())

    async def before_handover(self, version: str) -> None:
        """Refuse a version whose master members could not join; let them know of any other. Raises BootError."""
        if self.mode == "master":
            settings = from_environ(os.environ)
            version = version or ledger.boots(settings.directory, settings.var)
            wanted = addresses.release(settings, version)
            releases = {member.name: self._master.releases.get(member.name) or wanted for member in self.members.all()}
            if others := sorted(name for name, release in releases.items() if release != wanted):
                raise BootError(
                    f"only nodes of one version are a cluster, and {', '.join(others)} would be lost to a master of {version};"
                    f" install {version} on {'them' if len(others) > 1 else 'it'} first: bin/cluster worker run --name NODE"
                    f" install {version}"
                )
        await self._tell(self._patience())

    async def handover_failed(self) -> None:
        await self._tell(0)

    async def drain(self, timeout: float) -> None:
        """Let the others know that this node hands over."""
        self._leaving = True
        await self._tell(self._patience())

    def export_state(self) -> dict[str, Any] | None:
        if self.mode != "master":
            return None
        return {"pid": os.getpid(), "workers": self._knowing}  # who does not answer is not waited for

    async def import_state(self, state: dict[str, Any], version: str) -> None:
        """Take the members of the node before; until all has started here that one may be the master again."""
        self._before = state
        if not self._came_back:
            await self._tell(self._patience())

    async def stop(self) -> None:
        if self._told and self._joined is not None and not self._joined.left:  # a restart, or it has joined meanwhile
            await self._joined.leave(self._patience())
        if cluster.running is self:
            cluster.running = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._stack.aclose()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def booted(self) -> None:
        """Evaluate `deploy`. Raises BootError with what that raised."""
        await self._deploy()
        if self._before is not None and not self._came_back:
            await self._tell(0)

    async def _deploy(self) -> None:
        expression = self._section.deploy
        if expression is None:
            return
        try:
            await evaluate(expression)
        except Exception as error:
            log(f"cluster: the deployment {expression} failed", error)
            cause = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            raise BootError(f"the deployment {expression!r} failed: {describe(cause)}") from None
        self.members.tell(Event("deployed", self.node), f"deployed {expression}")

    def work(self) -> Work:
        """Raises NoCluster while there is no master."""
        if self._work is None:
            raise cluster.NoCluster(f"{self.node} has no master right now")
        return self._work

    # ------------------------------------------------------------------------------------------------------- modes

    async def _start_local(self) -> None:
        master = await self._open_master(protocol="inproc", port=0)
        worker = self._engine.local_worker(master.scheduler, self.node, self._directory)
        self._stack.push_async_callback(worker.close, timeout=1, executor_wait=False)
        await worker
        await self._open_work(master.scheduler.address, worker=worker)

    async def _start_master(self) -> None:
        host, port = addresses.listen(self._section.listen or _MASTER)
        backend = self._backend(host, port, join(host, port))
        security = backend.open()
        where = {"protocol": self._engine.SCHEME, "host": host, "port": port, "security": security}
        master = self._master = await self._open_master(**where)
        await self._open_work(f"{self._engine.SCHEME}://{backend.master}", security)
        self._spawn(master.watch())
        self._spawn(self._refresh(backend))

    def _time_to_join(self) -> float:
        """Seconds for workers to join."""
        return float(
            min(self._section.join_timeout, 0.9 * config.get("underway_runtime", "start_timeout", START_TIMEOUT))
        )

    def _patience(self) -> float:
        """Seconds for which a node that hands over is waited for: its successor may take so long to fail, also where it hangs when it has
        the members, and the node to come back."""
        handover = config.get("underway_runtime", "handover_timeout", HANDOVER_TIMEOUT)
        return float(handover + 2 * config.get("underway_runtime", "stop_timeout", STOP_TIMEOUT))

    async def _wait_for(self, names: list[str], timeout: float, **how: float) -> list[str]:
        """Wait, and return who of these has not joined in time, with the reason."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.members.wait_for(names, **how)
        missing = [name for name in names if self.members.named(name) is None]
        return self.members.missing(names) if missing else []

    @property
    def _came_back(self) -> bool:
        """Whether this node is the master again, because its successor has failed."""
        return self._before is not None and self._before.get("pid") == os.getpid()

    async def _tell(self, patience: float) -> None:
        """Let the other nodes know of a handover, or that it comes to nothing."""
        self._told = bool(patience)
        if self._master is not None:
            self._knowing = await self._master.hand_over(patience)
        if self._joined is not None and (self._leaving or not patience):
            await self._joined.leave(patience)

    async def _start_worker(self) -> None:
        host, port = addresses.listen(self._section.listen or "127.0.0.1:0", any_port=True)
        assert self._section.master is not None
        addresses.refuse_out_of_reach(host, self._section.master)
        backend = self._backend(host, port, self._section.master)
        self._spawn(self._join(backend, host, port))
        self._spawn(self._refresh(backend))

    async def _join(self, backend: Backend, host: str, port: int) -> None:
        """Be a worker, until the master is lost; where that is wanted, again."""
        engine, security, last_reason = self._engine, backend.open(), ""
        patience, waits_until = 0.0, float("inf")  # for the successor of its master
        where = {"protocol": engine.SCHEME, "host": host, "port": port, "security": security}
        while not self._hands_over():  # else its successor joins
            joined, member = None, False
            try:
                comm = await engine.call(backend, security, self.node)
                joined = engine.Joined(comm, self.node, self.members, lambda: str(self._facts()["release"]), patience)
                await joined.start(backend.master, self._section.tags, local_directory=self._directory, **where)
                member, last_reason, waits_until = True, "", float("inf")
                self._joined = joined
                if self._hands_over():  # since it called
                    joined.leaves(self._patience())
                await self._open_work(f"{engine.SCHEME}://{backend.master}", security, joined.worker)
                await joined.beat()
            except (OSError, TimeoutError, ValueError) as error:
                reason = engine.reason(error)
                if member and joined is not None and not joined.patience:
                    await joined.last_word(BEAT if isinstance(error, TimeoutError) else SILENT)
                if member and joined is not None and joined.patience:
                    log(f"cluster: the master {backend.master} hands over; {self.node} waits for the next")
                    patience, waits_until = joined.patience, self.loop.time() + joined.patience
                elif member:
                    patience = 0
                    log(f"cluster: the master {backend.master} is lost: {reason}")
                    if self._section.shutdown_with_master:
                        raise PeerLost(f"{self.node} has lost its master {backend.master}") from None
                elif self.loop.time() > waits_until and self._section.shutdown_with_master:
                    why = f"it was to hand over, and no other node has started: {reason}"
                    raise PeerLost(f"{self.node} has lost its master {backend.master}: {why}") from None
                elif reason != last_reason:
                    last_reason = reason
                    log(f"cluster: {self.node} has not joined {backend.master} yet: {reason}")
            finally:
                self._joined = None
                await self._close_work()
                if joined is not None:
                    await joined.close()
            await asyncio.sleep(BEAT / 2)

    def _hands_over(self) -> bool:
        return self._leaving

    async def _stop_with_workers(self) -> None:
        async for event in self.members.events():
            if event.kind == "down":
                self._spawn(self._stop_without(event.member))

    async def _stop_without(self, worker: str) -> None:
        if not await self.members.comes_back(worker):
            raise PeerLost(f"{self.node} has lost its worker {worker}")

    # ------------------------------------------------------------------------------------------------------- parts

    async def _open_master(self, **where: Any) -> Any:
        master = self._engine.Master(self.members, **where)
        self._stack.push_async_callback(master.close)
        await master.start()
        return master

    async def _open_work(self, address: str, security: Any = None, worker: Any = None) -> None:
        work = self._engine.Work(self.members, self.mode == "local", worker)
        await work.open(address, security)
        self._work = work
        if self.mode != "worker":
            self._stack.push_async_callback(self._close_work)

    async def _close_work(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            await work.close()

    async def _refresh(self, backend: Backend) -> None:
        """Take up a new certificate and a new list of removed hosts, and say so while the old one is about to end."""
        told, credentials, taken = 0.0, backend.credentials, ""
        while credentials is not None:
            try:
                now = peer_auth.digest(credentials.directory)
                if credentials.refresh_revoked():
                    log(f"cluster: removed hosts are {', '.join(credentials.revoked) or 'none'}")
                    backend.cut()
                if credentials.refresh():
                    log("cluster: the certificate was renewed")
                if taken != now:
                    atomic_files.replace(from_environ(os.environ).tmp.certificate, f"{now}\n", 0o644)
                    taken = now
            except (OSError, ConfigError) as error:
                log(f"cluster: what is in {credentials.directory} can't be used, the old goes on: {error}")
            left = (credentials.ends - time.time()) / _DAY
            if left < RENEW and self.loop.time() > told:
                told = self.loop.time() + _DAY
                log(f"cluster: the certificate ends in {left:.0f} days; `bin/cluster deploy --renew` makes another")
            await asyncio.sleep(BEAT)

    def _backend(self, host: str, port: int, master: str) -> Backend:
        section = self._section
        credentials = None
        if section.certificates is None:
            addresses.refuse_plain(host, master)
            runs_code = is_enabled("rpc") or is_enabled("remote")
            addresses.refuse_shared(config.get("underway_runtime", "control_group", None), runs_code)
        else:
            credentials = Credentials(Path(os.path.expanduser(section.certificates)))
            if (role := credentials.role) != section.mode:
                raise ConfigError(
                    f"the certificate in {section.certificates} is for a {role}, and this is a {section.mode}"
                )
        addresses.refuse_taken(host, port)
        backend: Backend = self._engine.Backend(self._facts, host, master, credentials, self.members, cookie.held())
        return backend

    def _facts(self) -> dict[str, Any]:
        """What this node says of itself now: it may have become another version since."""
        settings = from_environ(os.environ)
        if self._said is None or self._said[0] != settings.version:
            self._said = (
                settings.version,
                addresses.facts(settings, self.node, self._section.mode, self._engine.VERSION),
            )
        return self._said[1]

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
                self._over.set_exception(error)

        task.add_done_callback(ended)
