"""What starts an application: its class, a web server for its ASGI or WSGI application, or its main function.

Each runner returns when the application is ready for others, raises with the cause when it can't be, and leaves nothing
behind then. uvicorn and waitress come from the release's own lock and are imported when an application needs them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from ..application import Application
from ..process.proc_sockets import listening
from ..process.process_table import children
from ..release.addresses import host_and_port
from ..release.boot_script import Load
from ..release.errors import BootError, ConfigError, DamagedRelease, for_future
from ..release.references import find
from . import job_workers, readiness
from .main_function import MainThread
from .service import CutOff, Service
from .serving import TO_END, ServerContext, strings
from .socket_sharing import Shared
from .sockets import Listeners


async def run(load: Load, context: ServerContext) -> Service:
    """Start an application as the boot script says.

    Raises what the application raises, and BootError, ConfigError or DamagedRelease where it can't be tried.
    """
    match load.start:
        case {"class": str(reference)}:
            return await _run_class(load, reference, context)
        case {"asgi": str(reference)}:
            from . import asgi

            return await asgi.run(load, reference, context)
        case {"wsgi": str(reference)}:
            from . import wsgi

            return await wsgi.run(load, reference, context)
        case {"main": str(reference)} if context.main_thread is not None:
            return await _run_main(load, reference, context, context.main_thread)
    raise DamagedRelease(f"the boot script does not say what starts {load.application}: {load.start!r}")


def overlaps(load: Load, context: ServerContext) -> bool:
    """Whether an application may run in two nodes at once. Raises what `find` raises, and ConfigError.

    A main function that listens where it has not declared may not, unless that is configured: its address is free only
    when the one before has stopped.
    """
    start = load.start or {}
    by_itself = find(start["class"]).overlap if "class" in start else start.get("overlap", True)
    if by_itself and "main" in start:
        by_itself = not context.not_handed_over()
    value = context.configured(load.application, "overlap", by_itself)
    if not isinstance(value, bool):
        raise ConfigError(f"`overlap` of {load.application} is true or false, not {value!r}")
    return value


# ----------------------------------------------------------------------------------------------------------- main


_FOR_ITS_HANDLER = 0.5
"""The part of the time to drain that is left to a handler for SIGTERM, where clients of its server may have been told before."""


async def _run_main(load: Load, reference: str, context: ServerContext, main_thread: MainThread) -> Service:
    arguments = strings(load, "args", context)
    listeners = _for_its_own_binds(strings(load, "listen", context), context, waits=True)
    try:
        shows = readiness.of(load.application, _ready(load, context), _declared(listeners, context))
    except BaseException:
        _withdraw(listeners, context)
        raise
    context.log(f"{load.application} {load.version}: running {reference}")
    begin = threading.Event()
    if listeners.sockets or context.adoption is None or not context.adoption.late:
        begin.set()  # who waits in `bind` does nothing before it may

    def find_function() -> Callable[[], Any]:
        function: Callable[[], Any] = find(reference)
        job_workers.watch(context.jobs, context.log)
        return function

    try:
        service = await main_thread.run(find_function, [load.application, *arguments], begin)
    except BaseException:
        shows.close()
        _withdraw(listeners, context)
        raise
    try:
        if listeners.sockets and context.adoption is not None and context.adoption.late:
            arrival = asyncio.ensure_future(context.adoption.arrival())
            await asyncio.wait({arrival, service.ended}, return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                arrival.cancel()
                service.ended.result()
                raise BootError(f"it ended before it had bound any of {', '.join(listeners.addresses)}")
    except BaseException:
        await service.stop(_TO_RETURN)
        shows.close()
        _withdraw(listeners, context)
        raise

    async def accept() -> None:
        if context.adoption is not None:
            context.adoption.accept()
        begin.set()
        shown = await shows.wait(service.ended)
        if service.ended.done():
            service.ended.result()
        elif shown:
            context.log(f"{load.application} {load.version} is ready: {shown}")
        else:
            context.not_known.append(
                f"nothing tells whether {load.application} is ready: it declares no `listen`, and has sent no READY=1;"
                " it was called, and runs. `ready` in [tool.underway] says what to wait for"
            )
            context.log(context.not_known[-1])

    given_back: list[str] = []

    def give_back() -> None:
        if given_back or service.ended.done():
            return
        if worker := job_workers.give_back(main_thread.send):
            given_back.append(worker)
            context.log(f"{load.application}: jobs take longer than there is time: {worker} is told to give them back")

    async def drain(timeout: float) -> CutOff:
        cut_off = await finish(timeout)
        give_back()
        if given_back:  # another SIGTERM meanwhile would have RQ leave it unsaid
            await asyncio.wait({service.ended}, timeout=job_workers.TO_GIVE_BACK)
        return cut_off

    async def finish(timeout: float) -> CutOff:
        adoption = context.adoption
        if adoption is None:
            return await service.drain(timeout)
        end = asyncio.get_running_loop().time() + timeout
        leaving = adoption.leaving
        leaving.take()
        by_its_handler = main_thread.stops_by_itself and not leaving.is_whole
        cut_off = CutOff()
        if leaving.known:
            adoption.stop_accepting()
            for_handler = timeout * _FOR_ITS_HANDLER if by_its_handler else 0.0
            cut_off = CutOff(websockets=await leaving.drain(_ports(listeners, context), timeout - for_handler))
            if by_its_handler:  # those of socket files have no ports
                left = end - for_handler - asyncio.get_running_loop().time()
                await adoption.closed(left, lambda: leaving.is_told)
        if not by_its_handler:
            left = max(0.0, end - asyncio.get_running_loop().time())
            idle, requests = await adoption.refuse(left, TO_END)
            cut_off = CutOff(requests, cut_off.websockets, idle - requests)
        await service.drain(max(TO_END, end - asyncio.get_running_loop().time()))
        return cut_off

    def drains() -> str:
        """What becomes of clients at a handover; empty for who declares nothing where they could come from."""
        if context.adoption is None:
            return unknown()
        leaving = context.adoption.leaving
        leaving.take()
        told = "; ".join(leaving.known)
        if not told or leaving.is_whole:
            return told or unknown()
        return f"{told}; in another protocol: {unknown() or 'connections are cut'}"

    def unknown() -> str:
        """The same of a server that is not known."""
        if worker := job_workers.current():
            return f"{worker.name}: {worker.does}"
        if main_thread.stops_by_itself:
            return "as its handler for SIGTERM ends it: what that does not finish is lost, as connections that are kept alive"
        if listeners.sockets and _accepts_unseen():
            return (
                "at once: what uvloop accepts, below Python, or a process that it has forked, is not waited for, and connections that"
                " are kept alive are lost; a handler for SIGTERM may finish them"
            )
        if listeners.sockets:
            return "until its clients have closed their connections, or the deadline"
        return ""

    async def stop(timeout: float) -> None:
        giving = asyncio.get_running_loop().call_later(timeout * job_workers.BEFORE_THE_END, give_back)
        try:
            await service.stop(timeout)
        finally:
            giving.cancel()
            shows.close()
            _withdraw(listeners, context)

    return replace(service, accept=accept, drain=drain, stop=stop, drains=drains)


def _for_its_own_binds(addresses: Sequence[str], context: ServerContext, *, waits: bool) -> Listeners:
    """Bind what an application says that it will bind, and give it that when it does."""
    if not addresses or context.adoption is None:
        return Listeners(())
    listeners = context.bind(addresses)
    context.adoption.declare(listeners.sockets, waits=waits)
    return listeners


def _withdraw(listeners: Listeners, context: ServerContext) -> None:
    if context.adoption is not None:
        context.adoption.withdraw(listeners.sockets)
    listeners.close()


def _accepts_unseen() -> bool:
    """Whether clients come in where no `accept` of this process's Python is called."""
    return "uvloop" in sys.modules or any(listening(child) for child in children(os.getpid()))


def _ports(listeners: Listeners, context: ServerContext) -> set[int]:
    """Where clients of a main function come to: by what it declares, and by what it does not."""
    declared = {listening.getsockname()[1] for listening in listeners.sockets if listening.family != socket.AF_UNIX}
    opened = {host_and_port(address)[1] for address in context.not_handed_over() if address.startswith("tcp://")}
    return declared | opened


def _ready(load: Load, context: ServerContext) -> str:
    wanted = context.configured(load.application, "ready", (load.start or {}).get("ready", ""))
    if problem := readiness.problem_of(wanted):
        raise ConfigError(f"`ready` of {load.application}: {problem}")
    return str(wanted)


def _declared(listeners: Listeners, context: ServerContext) -> list[tuple[str, socket.socket, Shared]]:
    """The addresses that a main function declares."""
    if context.adoption is None:
        return []
    bound = zip(listeners.addresses, listeners.sockets, strict=False)
    return [
        (where, listener, shared)
        for where, listener in bound
        if (shared := context.adoption.sharing.find(listener)) is not None
    ]


# ---------------------------------------------------------------------------------------------------------- class

_TO_RETURN = 2.0
"""Seconds that an ordinary start gets to return when the node is stopped meanwhile, and its stop after it."""


async def _run_class(load: Load, reference: str, context: ServerContext) -> Service:
    kind = find(reference)
    if not (inspect.isclass(kind) and issubclass(kind, Application)):
        raise BootError(f"{reference} is not a class that derives from underway_runtime.Application")
    instance = kind.__new__(kind)
    instance.name, instance.version, instance._configured = load.application, load.version, context.configured
    instance.__init__()  # type: ignore[misc]  # after its name, so that it can read its configuration
    thread = _OwnThread(load.application)
    loop = asyncio.get_running_loop()
    never: asyncio.Future[None] = loop.create_future()
    addresses = context.configured(load.application, "listen", None)
    has_addresses = isinstance(addresses, list) and all(
        re.match(r"(tcp|unix)://", str(address)) for address in addresses
    )
    listeners = _for_its_own_binds(addresses if has_addresses else [], context, waits=False)
    try:
        returned = await thread.call(instance.start)
        work = asyncio.wrap_future(returned) if isinstance(returned, concurrent.futures.Future) else returned
        if not (work is None or asyncio.isfuture(work)):
            raise BootError(f"{reference}.start returned {work!r}; it returns None or an asyncio.Task")
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            await thread.undo(instance.stop)
        thread.end()
        _withdraw(listeners, context)
        raise

    async def call(method: str, *arguments: Any) -> Any:
        return await thread.call(getattr(instance, method), *arguments)

    async def accept() -> None:
        await thread.call(instance.accept)

    async def drain(timeout: float) -> CutOff:
        async with asyncio.timeout(timeout):
            await thread.call(instance.drain, timeout)
        return CutOff()

    async def stop(timeout: float) -> None:
        ended_before = work is None or work.done()
        try:
            await thread.call(instance.stop)
        finally:
            thread.end()
            _withdraw(listeners, context)
            if work is not None and not ended_before:
                work.cancel()
                await asyncio.wait({work})
                if not work.cancelled() and (error := work.exception()):
                    raise error

    return Service(instance, never if work is None else work, stop, accept, drain, call=call)


class _OwnThread:
    """A thread for the ordinary methods of one application, made when the first is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] | None = None
        self._last: concurrent.futures.Future[Any] | None = None

    async def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call an ordinary method in the thread, or await one that is ``async def`` here."""
        if getattr(method, "__func__", None) in vars(Application).values():
            return None  # not overridden
        if inspect.iscoroutinefunction(method):
            return await method(*arguments)
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(target=self._work, args=(self._jobs,), name=self._name, daemon=True).start()
        result: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def job() -> None:
            try:
                value = method(*arguments)
            except BaseException as error:
                result.set_exception(for_future(error))
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
