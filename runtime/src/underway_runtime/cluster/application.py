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

A node that stops with status 4 is not started again by its keeper. When all applications of the boot have started, the master,
or the only node, evaluates `deploy`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import cluster
from ..application import Application
from ..node.applications import describe
from ..node.config import config
from ..node.logs import log
from ..node.own import Cluster as Section
from ..node.settings import START_TIMEOUT, from_environ
from ..release.errors import BootError, ConfigError, PeerLost, listing
from . import place
from .admission import Credentials
from .expression import evaluate
from .members import BEAT, Event, Members

if TYPE_CHECKING:
    from .engine import Backend, Work

EXTRA = "underway-runtime[cluster]"
RENEW = 14
"""Days before its certificate ends a node begins to say so."""
_DAY = 86400.0


class Cluster(Application):
    """This node's part of the cluster. What applications ask of it goes through the functions of the package."""

    overlap: ClassVar[bool] = False

    def __init__(self, section: Section | None = None, directory: str | None = None) -> None:
        """Without a section, what the configuration says; `directory` is for the engine."""
        self._section = section or Section(**config.get("underway_runtime", "cluster", {}))
        self.node = self._section.name or from_environ(os.environ).node
        self._directory = directory or str(from_environ(os.environ).tmp.engine)
        self._work: Work | None = None
        self._said: tuple[str, dict[str, Any]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()
        self.mode = self._section.mode
        self.loop = asyncio.get_running_loop()
        self.members = Members(lambda line: log(f"cluster: {line}") if self._section.log else None)

    async def start(self) -> asyncio.Future[None]:
        self._engine = _engine()
        self._over = self.loop.create_future()
        shutil.rmtree(self._directory, ignore_errors=True)  # of a node that was killed
        starts = {"local": self._start_local, "master": self._start_master, "worker": self._start_worker}
        try:
            await starts[self.mode]()
        except BaseException:
            await self.stop()
            raise
        cluster.running = self
        return self._over

    async def stop(self) -> None:
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
        host, port = place.listen(self._section.listen or "127.0.0.1:8786")
        backend = self._backend(host, port, place.joined(host, port))
        security = backend.open()
        where = {"protocol": self._engine.SCHEME, "host": host, "port": port, "security": security}
        master = await self._open_master(**where)
        await self._open_work(f"{self._engine.SCHEME}://{backend.master}", security)
        self._spawn(master.watch())
        self._spawn(self._refresh(backend.credentials))
        within = min(self._section.join_timeout, 0.9 * config.get("underway_runtime", "start_timeout", START_TIMEOUT))
        try:
            async with asyncio.timeout(within):
                await self.members.wait_for(self._section.workers)
        except TimeoutError:
            heading = f"workers have not joined within {within:g} s:"
            raise BootError(listing(heading, self.members.missing(self._section.workers))) from None
        if self._section.shutdown_with_workers:
            self._spawn(self._stop_with_workers())

    async def _start_worker(self) -> None:
        host, port = place.listen(self._section.listen or "127.0.0.1:0", any_port=True)
        assert self._section.master is not None
        backend = self._backend(host, port, self._section.master)
        self._spawn(self._join(backend, host, port))
        self._spawn(self._refresh(backend.credentials))

    async def _join(self, backend: Backend, host: str, port: int) -> None:
        """Be a worker, until the master is lost; where that is wanted, again."""
        engine, security, said = self._engine, backend.open(), ""
        where = {"protocol": engine.SCHEME, "host": host, "port": port, "security": security}
        while True:
            joined, member = None, False
            try:
                joined = engine.Joined(await engine.call(backend, security, self.node), self.node, self.members)
                await joined.start(backend.master, self._section.tags, local_directory=self._directory, **where)
                member, said = True, ""
                await self._open_work(f"{engine.SCHEME}://{backend.master}", security, joined.worker)
                await joined.beat()
            except (OSError, TimeoutError, ValueError) as error:
                reason = engine.reason(error)
                if member:
                    log(f"cluster: the master {backend.master} is lost: {reason}")
                    if self._section.shutdown_with_master:
                        raise PeerLost(f"{self.node} has lost its master {backend.master}") from None
                elif reason != said:
                    said = reason
                    log(f"cluster: {self.node} has not joined {backend.master} yet: {reason}")
            finally:
                await self._close_work()
                if joined is not None:
                    await joined.close()
            await asyncio.sleep(BEAT / 2)

    async def _stop_with_workers(self) -> None:
        async for event in self.members.events():
            if event.kind == "down":
                raise PeerLost(f"{self.node} has lost its worker {event.member}")

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

    async def _refresh(self, credentials: Credentials | None) -> None:
        """Take up a new certificate, and say so while the old one is about to end."""
        told = 0.0
        while credentials is not None:
            try:
                if credentials.refresh():
                    log("cluster: the certificate was renewed")
            except OSError as error:
                log(f"cluster: the certificate in {credentials.directory} can't be used, the old one goes on: {error}")
            left = (credentials.ends - time.time()) / _DAY
            if left < RENEW and self.loop.time() > told:
                told = self.loop.time() + _DAY
                log(f"cluster: the certificate ends in {left:.0f} days; a deploy renews it")
            await asyncio.sleep(2 * BEAT)

    def _backend(self, host: str, port: int, master: str) -> Backend:
        section = self._section
        credentials = None
        if section.certificates is None:
            place.refuse_plain(host, master)
        else:
            credentials = Credentials(Path(section.certificates))
            if (role := credentials.role) != section.mode:
                raise ConfigError(
                    f"the certificate in {section.certificates} is for a {role}, and this is a {section.mode}"
                )
        place.refuse_taken(host, port)
        backend: Backend = self._engine.Backend(self._facts, host, master, credentials, self.members)
        return backend

    def _facts(self) -> dict[str, Any]:
        """What this node says of itself now: it may have become another version since."""
        settings = from_environ(os.environ)
        if self._said is None or self._said[0] != settings.version:
            self._said = settings.version, place.facts(settings, self.node, self._section.mode, self._engine.VERSION)
        return self._said[1]

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
                self._over.set_exception(error)

        task.add_done_callback(ended)


def _engine() -> Any:
    """The engine, imported where nothing that the user has configured for it counts: not even at its import."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("DASK_") or name == "HOME"}
    try:
        for name in kept:
            del os.environ[name]
        os.environ |= {"HOME": "/nonexistent", "DASK_ROOT_CONFIG": "/nonexistent"}
        return importlib.import_module(".engine", __package__)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this node is to be in a cluster, and the release has no {error.name}; add the engine to the project:"
            f" uv add '{EXTRA}'"
        ) from None
    finally:
        for name in ("HOME", "DASK_ROOT_CONFIG"):
            os.environ.pop(name, None)
        os.environ |= kept
