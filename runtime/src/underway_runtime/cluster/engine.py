"""The engine, Dask's distributed: the one file that knows it. Imported where a cluster starts, by `application`.

What of it is not taken as it is:

- its configuration, from the environment and from files: `SETTINGS` over its own defaults, whatever is there
- its HTTP servers, which it starts even where they are turned off: never opened
- who may connect: `Backend`, which checks the other side (see `admission`) before the engine sees a message
- its heartbeat, which finds a lost node after half a minute: `beat`, in both directions
- what becomes of a worker whose master is gone: its worker ends for good, so `application` joins again with a new one
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

import dask
import distributed
from distributed import Client, Scheduler, Security, Worker
from distributed.comm import registry, tcp
from distributed.comm.core import Comm, CommClosedError, FatalCommClosedError, connect
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol import to_serialize

from ..release.errors import UnderwayError
from .admission import Credentials, differences, wrong_host, wrong_role
from .members import BEAT, SILENT, Member, Members

VERSION = f"Dask {distributed.__version__}"

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.no-workers-timeout": "10s",  # where the last holder of a tag went while a task waited for it
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.use-file-locking": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.comm.timeouts.connect": "5s",
    "distributed.comm.timeouts.tcp": "12s",  # below 11 its listener fails and says so to nobody
}
SCHEME = "underway"
ENOUGH = 2**30
"""How much of each tag a worker has; a task takes one."""

TO_CLOSE = 2.0
"""Seconds that a part of the engine gets to end."""

TOGETHER = 0.001
"""Seconds that the engine collects what it sends; by itself it takes five to ten."""

dask.config.refresh(paths=[], env={})
dask.config.set(SETTINGS)
for _name in ("distributed", "distributed.client"):  # what matters is told to who asked for it, or by `members`
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class MemberLost(UnderwayError):
    """The node that was to do something is gone; what it held is lost."""


# ------------------------------------------------------------------------------------------------------- connections


class Backend(tcp.TCPBackend):
    """The engine's connections over TCP, in TLS where there are credentials, to and from whom `admission` lets through."""

    def __init__(
        self, facts: Mapping[str, Any], host: str, master: str, credentials: Credentials | None, members: Members
    ) -> None:
        """`facts` are what this node says of itself; `host` is the address it listens on and connects from; `master` where
        the master is, ``host:port``."""
        self.facts = dict(facts)
        self.host = host
        self.master = master
        self.credentials = credentials
        self.members = members

    def get_connector(self) -> _Connector:
        return _Connector(self)

    def get_listener(self, loc: str, handle_comm: Any, deserialize: bool, **arguments: Any) -> _Listener:
        return _Listener(self, loc, handle_comm, deserialize, **arguments)

    def open(self) -> Security:
        """Make this the backend of `SCHEME`; returns what the engine's objects are to be given."""
        registry.backends[SCHEME] = self
        return _Security(self.credentials)


class _Security(Security):
    def __init__(self, credentials: Credentials | None) -> None:
        super().__init__(require_encryption=credentials is not None)
        self._contexts = credentials and (credentials.client, credentials.server)

    def get_connection_args(self, role: str) -> dict[str, Any]:
        return {"ssl_context": self._contexts and self._contexts[0], "require_encryption": self.require_encryption}

    def get_listen_args(self, role: str) -> dict[str, Any]:
        return {"ssl_context": self._contexts and self._contexts[1], "require_encryption": self.require_encryption}


class _Comm(tcp.TCP):
    """One connection. What both sides say of themselves goes with the engine's own first message."""

    def __init__(self, backend: Backend, incoming: bool, *arguments: Any) -> None:
        self.backend = backend
        self.incoming = incoming
        self.role: str | None = None
        """What the other side has to be, where that is known."""
        self.theirs: dict[str, Any] = {}
        """What it has said of itself."""
        super().__init__(*arguments)

    def _read_extra(self) -> None:
        there = self.backend.credentials is not None and self.stream is not None
        self.certificate: dict[str, Any] = (there and self.stream.socket.getpeercert()) or {}

    def handshake_info(self) -> dict[str, Any]:
        return {**super().handshake_info(), "underway": self.backend.facts}

    def handshake_configuration(self, local: dict[str, Any], remote: dict[str, Any]) -> dict[str, Any]:
        """Called with what both have said. Raises FatalCommClosedError where the other side is not who it has to be."""
        said = remote.get("underway")
        self.theirs = said if isinstance(said, dict) else {}
        mode = self.theirs.get("mode")
        reason = differences(self.backend.facts, self.theirs)
        if self.backend.credentials is not None:
            reason = wrong_role(self.certificate, mode, wanted=self.role) or reason
        elif self.role not in (None, mode):
            reason = f"it is a {mode} where a {self.role} has to be"
        if reason is not None:
            self.refuse(reason)
        configuration: dict[str, Any] = super().handshake_configuration(local, remote)
        return configuration

    def refuse(self, reason: str) -> NoReturn:
        who = str(self.theirs.get("name") or _host(self.peer_address))
        if self.incoming:  # else who has connected tells
            self.backend.members.refuse(who, reason)
        self.abort()
        raise FatalCommClosedError(f"{who} is refused: {reason}")


class _Connector(tcp.TCPConnector):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend, False)

    def _get_connect_args(self, ssl_context: ssl.SSLContext | None = None, **_: Any) -> dict[str, Any]:
        return {"ssl_options": ssl_context, "source_ip": self.backend.host}

    async def connect(self, address: str, deserialize: bool = True, **arguments: Any) -> _Comm:
        comm: _Comm = await super().connect(address, deserialize=deserialize, **arguments)
        comm.role = "master" if address == self.backend.master else None
        if self.encrypted and comm.role is not None and (reason := wrong_role(comm.certificate, wanted=comm.role)):
            comm.refuse(reason)  # before it is told anything
        return comm


class _Listener(tcp.TCPListener):
    prefix = f"{SCHEME}://"

    def __init__(self, backend: Backend, loc: str, handle_comm: Any, deserialize: bool, **arguments: Any) -> None:
        self.backend = backend
        self.encrypted = backend.credentials is not None
        self.comm_class = partial(_Comm, backend, True)
        super().__init__(loc, handle_comm, deserialize, **arguments)

    def _get_server_args(self, ssl_context: ssl.SSLContext | None = None, **_: Any) -> dict[str, Any]:
        return {"ssl_options": ssl_context}

    async def _prepare_stream(self, stream: Any, address: str) -> Any:
        """The stream, when its other side may speak: what it sends is not even read before."""
        if not self.encrypted:
            return stream
        reason = None
        try:
            await stream.wait_for_handshake()
            certificate = stream.socket.getpeercert()
            reason = wrong_role(certificate) or await wrong_host(certificate, _host(address))
        except OSError as error:
            why = getattr(error, "real_error", None) or error
            if not isinstance(why, ssl.SSLError) or isinstance(why, ssl.SSLEOFError):
                return None  # it has left
            reason = f"there is no TLS with it: {why}"
        if reason is None:
            return stream
        self.backend.members.refuse(_host(address), reason)
        stream.close()
        return None


def _host(address: str) -> str:
    """
    >>> _host("underway://[::1]:8786")
    '::1'
    """
    return address.rpartition("://")[2].rpartition(":")[0].strip("[]")


# ------------------------------------------------------------------------------------------------- master and worker


class _NoHttp:
    """Mixed into the engine's servers: what they would open a port for is not opened."""

    def start_http_server(self, *arguments: Any, **options: Any) -> None:
        pass

    async def _stop_services(self) -> None:
        pass  # there are none, which the engine would not expect


class _Scheduler(_NoHttp, Scheduler):
    pass


class _Worker(_NoHttp, Worker):
    pass


class _Watch(SchedulerPlugin):
    """Tells who has come and who has gone."""

    def __init__(self, came: Callable[[str], None], went: Callable[[str], None]) -> None:
        self._came = came
        self._went = went

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self._came(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._went(worker)


class Master:
    """The scheduler, in this process."""

    def __init__(self, members: Members, **where: Any) -> None:
        """`where` is what the engine takes to say where it listens."""
        self._members = members
        self._there: dict[str, Member] = {}
        self._heard: dict[str, float] = {}
        self.scheduler: Any = _Scheduler(dashboard=False, plugins=[_Watch(self._came, self._went)], **where)

    async def start(self) -> None:
        """Begin to listen. Raises OSError where that can't be."""
        self.scheduler.handlers["underway_beat"] = self._on_beat
        await self.scheduler

    async def watch(self) -> None:
        """Take out, until cancelled, who gives no sign of life."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            if now - before > SILENT / 2:  # it was this node that slept
                self._heard.clear()
            for address, member in list(self._there.items()):
                if now - self._heard.setdefault(member.name, now) > SILENT:
                    stream = self.scheduler.stream_comms.get(address)
                    await self.scheduler.remove_worker(address, stimulus_id="underway-silent", close=False)
                    if stream is not None:
                        stream.abort()

    def _came(self, address: str) -> None:
        self.scheduler.stream_comms[address].interval = TOGETHER
        worker = self.scheduler.workers[address]
        tags = sorted(tag.removeprefix("tag:") for tag in worker.resources if tag.startswith("tag:"))
        self._there[address] = Member(str(worker.name), tuple(tags), time.time(), address)
        self._members.update(self._there.values())

    def _went(self, address: str) -> None:
        self._heard.pop(self._there.pop(address).name, None)
        self._members.update(self._there.values())

    async def _on_beat(self, name: str) -> list[list[Any]]:
        self._heard[name] = time.monotonic()
        return [[each.name, each.tags, each.since, each.address] for each in self._there.values()]

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TO_CLOSE):
                await self.scheduler.close(reason="underway-stop")


class Joined:
    """One membership of a worker, from its first word with the master until one of them is gone."""

    def __init__(self, comm: Comm, name: str, members: Members) -> None:
        self._comm = comm
        self._name = name
        self._members = members
        self.worker: Any = None

    async def start(self, master: str, tags: Iterable[str], **where: Any) -> None:
        """Become a worker. Raises OSError, TimeoutError and ValueError."""
        self.worker = _worker(f"{SCHEME}://{master}", self._name, tags, death_timeout=2 * SILENT, **where)
        await self.worker

    async def beat(self) -> None:
        """Give signs of life, and take those of the master, until there are none. Raises OSError or TimeoutError then."""
        while True:
            members = await _ask(self._comm, self._name)
            self._members.update(members)
            if self._members.named(self._name) is None:
                raise TimeoutError("the master counts this node as lost")
            await asyncio.sleep(BEAT)

    async def close(self) -> None:
        self._comm.abort()
        self._members.update([], told=False)
        if self.worker is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TO_CLOSE):
                    await self.worker.close(timeout=TO_CLOSE / 2, executor_wait=False, reason="underway-stop")


async def call(backend: Backend, security: Security, name: str) -> Comm:
    """A connection to the master, which answers. Raises OSError or TimeoutError where there is none."""
    async with asyncio.timeout(SILENT):
        arguments = security.get_connection_args("worker")
        comm = await connect(f"{SCHEME}://{backend.master}", timeout=2 * BEAT, **arguments)
    try:
        await _ask(comm, name)
    except BaseException:
        comm.abort()
        raise
    return comm


async def _ask(comm: Comm, name: str) -> list[Member]:
    async with asyncio.timeout(SILENT):
        await comm.write({"op": "underway_beat", "name": name, "reply": True})
        answer = await comm.read()
    return [Member(name, tuple(tags), *rest) for name, tags, *rest in answer]


def reason(error: Exception) -> str:
    """Why there is no connection, or no more."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return f"its certificate does not hold: {getattr(cause, 'verify_message', None) or cause}"
    if isinstance(error, FatalCommClosedError) or not isinstance(error, (CommClosedError, TimeoutError)):
        return "nobody answers" if "Timed out" in str(error) else str(error)
    if isinstance(error, TimeoutError):
        return str(error) or f"it has not answered for {SILENT:g} s"
    return "it has closed the connection; where it has refused this node, its log says why"


def local_worker(scheduler: Scheduler, name: str, directory: str) -> Any:
    """A worker in the process of its scheduler; to be awaited and closed."""
    return _worker(scheduler.address, name, (), local_directory=directory)


def _worker(master: str, name: str, tags: Iterable[str], **where: Any) -> Any:
    cores = len(os.sched_getaffinity(0))
    tagged = {f"tag:{tag}": ENOUGH for tag in tags}
    return _Worker(master, nthreads=cores, name=name, resources=tagged, memory_limit=0, dashboard=False, **where)


# ------------------------------------------------------------------------------------------------------------- work


class Work:
    """What an application asks for, as the engine does it."""

    def __init__(self, members: Members, any_tag: bool) -> None:
        """With `any_tag`, the one member stands for all tags: local mode."""
        self._members = members
        self._any_tag = any_tag
        self._client: Any = None
        self._held: dict[str, Any] = {}

    async def open(self, address: str, security: Security | None = None) -> None:
        """Raises OSError."""
        self._client = await Client(
            address, asynchronous=True, security=security, set_as_default=False, direct_to_workers=True
        )
        self._client.scheduler_comm.interval = TOGETHER

    async def close(self) -> None:
        self._held.clear()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await client.close(timeout=1)

    async def submit(self, f: Callable[..., Any], args: Any, kwargs: Any, where: Mapping[str, Any]) -> Any:
        """The result of ``f(*args, **kwargs)``; `where` is a ``tag``, a ``member``, or nothing."""
        return await self._client.submit(f, *args, **kwargs, pure=False, **self._place(where))

    async def run(self, f: Callable[..., Any], args: Any, kwargs: Any, on: Iterable[Member]) -> dict[str, Any]:
        """The results, or exceptions, by name."""
        by_address = {each.address: each.name for each in on}
        results = await self._client.run(_run, f, args, kwargs, workers=list(by_address), on_error="return")
        return {by_address[address]: result for address, result in results.items()}

    async def make(self, kind: Callable[..., Any], args: Any, kwargs: Any, where: Mapping[str, Any]) -> tuple[str, str]:
        """Make an object that stays where it is: its key and its address. It lives until `drop`, or until this node is gone."""
        future = self._client.submit(kind, *args, **kwargs, actor=True, pure=False, **self._place(where))
        made = await future
        self._held[future.key] = future
        return future.key, made._address

    def drop(self, key: str) -> None:
        self._held.pop(key, None)

    async def tell(self, key: str, address: str, method: str, args: Any, kwargs: Any) -> Any:
        """What a method of such an object returns. Raises MemberLost, and what the method raises."""
        asked = asyncio.ensure_future(
            self._client.rpc(address).actor_execute(
                actor=key,
                function=method,
                args=[to_serialize(each) for each in args],
                kwargs={name: to_serialize(each) for name, each in kwargs.items()},
            )
        )
        gone = self._members.gone(address)
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise ConnectionError
            answer = asked.result()
        except OSError:
            raise MemberLost(f"the node at {address}, which held {key}, is gone, and its state with it") from None
        finally:
            asked.cancel()
        if answer["status"] != "OK":
            raise answer["exception"]
        return answer["result"]

    def _place(self, where: Mapping[str, Any]) -> dict[str, Any]:
        if "member" in where:
            return {"workers": [where["member"].address], "allow_other_workers": False}
        if "tag" in where and not self._any_tag:
            return {"resources": {f"tag:{where['tag']}": 1}}
        return {}


async def _run(f: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """On each node: not on its loop, unless it is made for that."""
    if asyncio.iscoroutinefunction(f):
        return await f(*args, **kwargs)
    return await asyncio.to_thread(f, *args, **kwargs)
