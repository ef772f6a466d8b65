"""What starts an application: its class, a web server for its ASGI or WSGI application, or its main function.

Each runner returns when the application is ready for others, raises with the cause when it can't be, and leaves nothing
behind then. uvicorn and waitress come from the release's own lock and are imported when an application needs them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from ..application import Application
from ..release.bootscript import Load
from ..release.errors import BootError, ConfigError, DamagedRelease
from .applications import Log, Service
from .listen import Listeners
from .mainthread import MainThread

_REQUESTS_SHARE = 0.8
"""The part of the time to stop that open requests get; the rest is for the application's own shutdown."""


@dataclass(frozen=True)
class World:
    """What runners need from the node."""

    configured: Callable[[str, str, Any], Any]
    log: Log
    bind: Callable[[Sequence[str]], Listeners]
    main_thread: MainThread | None = None


async def run(load: Load, world: World) -> Service:
    """Start an application as the boot script says.

    Raises what the application raises, and BootError, ConfigError or DamagedRelease where it can't be tried.
    """
    match load.start:
        case {"class": str(reference)}:
            return await _run_class(load, reference, world)
        case {"asgi": str(reference)}:
            return await _run_asgi(load, reference, world)
        case {"wsgi": str(reference)}:
            return await _run_wsgi(load, reference, world)
        case {"main": str(reference)} if world.main_thread is not None:
            arguments = _strings(load, "args", world)
            world.log(f"{load.application} {load.version}: running {reference}")
            return await world.main_thread.run(partial(find, reference), [load.application, *arguments])
    raise DamagedRelease(f"the boot script does not say what starts {load.application}: {load.start!r}")


def find(reference: str) -> Any:
    """The object that ``module:name.name`` refers to. Raises BootError when there is none; what an import raises, as it is."""
    name, _, path = reference.partition(":")
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that it imports is missing
        raise BootError(f"there is no module {name!r}, which {reference!r} names") from None
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise BootError(f"{name} has no {path!r}, which {reference!r} names") from None


# ---------------------------------------------------------------------------------------------------------- class

_TO_RETURN = 2.0
"""Seconds that an ordinary start gets to return when the node is stopped meanwhile, and its stop after it."""


async def _run_class(load: Load, reference: str, world: World) -> Service:
    kind = find(reference)
    if not (inspect.isclass(kind) and issubclass(kind, Application)):
        raise BootError(f"{reference} is not a class that derives from underway_runtime.Application")
    instance = kind.__new__(kind)
    instance.name, instance.version, instance._configured = load.application, load.version, world.configured
    instance.__init__()  # type: ignore[misc]  # after its name, so that it can read its configuration
    thread = _OwnThread(load.application)
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    try:
        returned = await thread.call(instance.start)
        work = asyncio.wrap_future(returned) if isinstance(returned, concurrent.futures.Future) else returned
        if not (work is None or asyncio.isfuture(work)):
            raise BootError(f"{reference}.start returned {work!r}; it returns None or an asyncio.Task")
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            await thread.undo(instance.stop)
        thread.end()
        raise

    async def stop(within: float) -> None:
        ended_before = work is None or work.done()
        try:
            await thread.call(instance.stop)
        finally:
            thread.end()
            if work is not None and not ended_before:
                work.cancel()
                await asyncio.wait({work})
                if not work.cancelled() and (error := work.exception()):
                    raise error

    return Service(instance, never if work is None else work, stop)


class _OwnThread:
    """A thread for the ordinary methods of one application, made when the first is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] | None = None
        self._last: concurrent.futures.Future[Any] | None = None

    async def call(self, method: Callable[[], Any]) -> Any:
        """Call an ordinary method in the thread, or await one that is ``async def`` here."""
        if getattr(method, "__func__", None) in (Application.start, Application.stop):
            return None  # not overridden
        if inspect.iscoroutinefunction(method):
            return await method()
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=self._work, args=(self._jobs,), name=self._name, daemon=True).start()
        result: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def job() -> None:
            try:
                value = method()
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(value)

        self._last = result
        self._jobs.put(job)
        value = await asyncio.shield(asyncio.wrap_future(result))  # what runs in a thread can't be cancelled
        return await value if inspect.iscoroutine(value) else value

    async def undo(self, stop: Callable[[], Any]) -> None:
        """After `call(start)` was cancelled: where start ran in the thread and returns yet, call `stop` for it."""
        if self._last is None:
            return
        started = asyncio.ensure_future(asyncio.wrap_future(self._last))
        await asyncio.wait({started}, timeout=_TO_RETURN)
        if started.done() and not started.cancelled() and started.exception() is None:
            await asyncio.wait({asyncio.ensure_future(self.call(stop))}, timeout=_TO_RETURN)

    def end(self) -> None:
        if self._jobs is not None:
            self._jobs.put(None)

    @staticmethod
    def _work(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
        while (job := jobs.get()) is not None:
            job()


# ----------------------------------------------------------------------------------------------------------- asgi


async def _run_asgi(load: Load, reference: str, world: World) -> Service:
    try:
        import uvicorn
        from uvicorn.lifespan.on import LifespanOn
    except ModuleNotFoundError as error:
        raise _no_server(load, "an ASGI application", "uvicorn", error) from error

    class Lifespan(LifespanOn):
        cause = ""

        async def send(self, message: Any) -> None:
            if message["type"].endswith(".failed"):
                self.cause = message.get("message", "")
            await super().send(message)

    application = find(reference)
    options = {"log_config": None, **_server_options(load, world)}
    graceful = options.pop("timeout_graceful_shutdown", None)
    try:
        config = uvicorn.Config(application, **options)
    except TypeError as error:
        raise _bad_option(load, "uvicorn", error) from None
    config.load()
    if issubclass(config.lifespan_class, LifespanOn):
        config.lifespan_class = Lifespan
    server = uvicorn.Server(config)
    server.lifespan = lifespan = config.lifespan_class(config)
    listeners = world.bind(_listen(load, world))
    try:
        await server.startup(list(listeners.sockets))
        if not server.started:
            raise SystemExit  # newer versions of uvicorn do so themselves
    except BaseException as error:
        for listening in getattr(server, "servers", []):
            listening.close()
        listeners.close()
        if isinstance(error, SystemExit):
            raise BootError(f"its lifespan failed at startup: {_last_line(lifespan)}") from None
        if isinstance(error, OSError):
            await lifespan.shutdown()
        raise
    world.log(f"{load.application} {load.version}: listening on {', '.join(listeners.addresses)}")
    serving = asyncio.ensure_future(server.main_loop())

    async def stop(within: float) -> None:
        serving.cancel()
        share = within * _REQUESTS_SHARE
        config.timeout_graceful_shutdown = share if graceful is None else min(graceful, share)  # type: ignore[assignment]
        try:
            await server.shutdown(list(listeners.sockets))
        finally:
            listeners.close()
        if getattr(lifespan, "shutdown_failed", False):
            raise RuntimeError(f"its lifespan failed at shutdown: {_last_line(lifespan)}")

    return Service(application, serving, stop)


def _last_line(lifespan: Any) -> str:
    """What a framework tells is a traceback; uvicorn has logged all of it."""
    lines: list[str] = getattr(lifespan, "cause", "").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


# ----------------------------------------------------------------------------------------------------------- wsgi


async def _run_wsgi(load: Load, reference: str, world: World) -> Service:
    try:
        create_server = import_module("waitress.server").create_server
    except ModuleNotFoundError as error:
        raise _no_server(load, "a WSGI application", "waitress", error) from error
    options = {"asyncore_use_poll": True, **_server_options(load, world)}
    application = find(reference)
    listeners = world.bind(_listen(load, world))
    serving = _Waitress(load.application)
    try:
        for family in dict.fromkeys(each.family for each in listeners.sockets):  # waitress doesn't mix them
            sockets = [each for each in listeners.sockets if each.family == family]
            serving.add(create_server(application, map=serving.map, sockets=sockets, **options))
    except BaseException as error:
        serving.close()
        listeners.close()
        if isinstance(error, ValueError):
            raise _bad_option(load, "waitress", error) from None
        raise
    ended = serving.start(asyncio.get_running_loop())
    world.log(f"{load.application} {load.version}: listening on {', '.join(listeners.addresses)}")

    async def stop(within: float) -> None:
        serving.stop(within * _REQUESTS_SHARE)
        try:
            await asyncio.wait({ended})
        finally:
            listeners.close()

    return Service(application, ended, stop)


class _Waitress:
    """waitress servers that share one loop, in a thread of ours.

    waitress has no way to finish what is under way and then stop, so the loop is turned from here.
    """

    def __init__(self, name: str) -> None:
        self.map: dict[int, Any] = {}
        self._name = name
        self._servers: list[Any] = []
        self._wasyncore = import_module("waitress.wasyncore")
        self._stop_within: float | None = None
        self._patience = 0.0
        self._waking = threading.Lock()

    def add(self, server: Any) -> None:
        self._servers.append(server)

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Serve; the future is done when the thread has ended."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()

        def work() -> None:
            try:
                self._serve()
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        threading.Thread(target=work, name=f"{self._name}-waitress", daemon=True).start()
        return asyncio.wrap_future(ended, loop=loop)

    def stop(self, within: float) -> None:
        """Accept nothing more, and end when the requests that are under way have their answers or after `within` seconds."""
        with self._waking:  # what is written to must not be closed meanwhile
            self._stop_within = within
            self._patience = within / 10
            for each in self._objects("trigger"):
                each.pull_trigger()

    def close(self) -> None:
        for server in self._servers:
            server.task_dispatcher.shutdown(timeout=self._patience)
        self._wasyncore.close_all(self.map, ignore_all=True)

    def _serve(self) -> None:
        turn = partial(self._wasyncore.loop, map=self.map, use_poll=True, count=1)
        try:
            while self._stop_within is None:
                turn(timeout=30)
            end = time.monotonic() + self._stop_within
            for each in self._objects("accepting"):
                if each.accepting:
                    self._wasyncore.dispatcher.close(each)  # the listening socket alone
            while self._busy() and (left := end - time.monotonic()) > 0:
                turn(timeout=min(left, 0.1))
        finally:
            with self._waking:
                self.close()

    def _busy(self) -> bool:
        channels = self._objects("requests")
        for channel in channels:
            if not (channel.requests or channel.total_outbufs_len or channel.request):
                channel.will_close = True  # kept alive, and idle
        return bool(channels)

    def _objects(self, attribute: str) -> list[Any]:
        return [each for each in list(self.map.values()) if hasattr(each, attribute)]


# ---------------------------------------------------------------------------------------------------------- shared


def _listen(load: Load, world: World) -> Sequence[str]:
    addresses = _strings(load, "listen", world)
    if not addresses:
        raise ConfigError(f"{load.application} has nowhere to listen: its `listen` is empty")
    return addresses


def _strings(load: Load, key: str, world: World) -> list[str]:
    """A list in the application's configuration, or else in the boot script."""
    values = world.configured(load.application, key, (load.start or {}).get(key, []))
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"`{key}` of {load.application} is a list of strings, not {values!r}")
    return values


def _server_options(load: Load, world: World) -> dict[str, Any]:
    """What ``server`` in the application's configuration says to its web server."""
    options = world.configured(load.application, "server", {})
    if not isinstance(options, Mapping):
        raise ConfigError(f"`server` of {load.application} is a mapping of options, not {options!r}")
    if ours := sorted(_OURS.intersection(options)):
        raise ConfigError(f"`server` of {load.application} can't set {', '.join(ours)}; `listen` says where it listens")
    return dict(options)


_OURS = {"app", "fd", "host", "listen", "port", "sockets", "uds", "unix_socket"}


def _bad_option(load: Load, server: str, error: Exception) -> ConfigError:
    return ConfigError(f"`server` of {load.application} is not what {server} takes: {error}")


def _no_server(load: Load, what: str, server: str, error: ModuleNotFoundError) -> Exception:
    if error.name is not None and error.name.partition(".")[0] != server:
        return error
    return BootError(
        f"{load.application} is {what} and {server}, which serves it, is not in this release; add {server} to the"
        " project's dependencies"
    )
