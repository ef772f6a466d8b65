"""An application that runs, as the controller sees it, and what there is to say of it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from ..configuration import config
from ..frozen import Frozen
from ..process.stop_signals import Stopping
from ..release.boot_script import Load, Mode, PrimLoad
from ..release.errors import BootError, UnderwayError, listing


class Log(Protocol):
    def __call__(self, message: str, error: BaseException | None = None) -> None:
        """Tell the operator, with the traceback of `error`."""


class CutOff(Frozen):
    """What was still under way when the time to drain was over, and was ended."""

    requests: int = 0
    """Also streams: events that a server sends, long downloads."""
    websockets: int = 0
    """They were closed with 1012, service restart."""
    idle: int = 0
    """Connections that were kept alive, or had sent a part of a request."""

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.websockets} WebSockets, {self.idle} idle connections"


async def _nothing() -> None:
    pass


async def _nothing_to_drain(timeout: float) -> CutOff:
    return CutOff()


async def _no_method(method: str, *arguments: Any) -> None:
    pass


class Service(Frozen):
    """An application that runs: prepared at first, and accepting from when it is told to."""

    subject: Any
    """What the shell shows: the instance, the web application, the function."""
    ended: asyncio.Future[None]
    """Done when it ended by itself, with the exception if it failed."""
    stop: Callable[[float], Awaitable[None]]
    """Stops it; is told how many seconds it has. Called once, also when it has ended by itself."""
    accept: Callable[[], Awaitable[None]] = _nothing
    """Makes it accept what comes from outside. Called at most once."""
    drain: Callable[[float], Awaitable[CutOff]] = _nothing_to_drain
    """Makes it accept no more and waits, for so many seconds at most, until nothing is under way; what is then is ended.
    Called at most once, before `stop`."""
    drains: Callable[[], str] = lambda: ""
    """Says what becomes of its clients at a handover, where that is not ours to do."""
    tls: Callable[[], str] = lambda: ""
    """Says which certificate its clients are shown, where it has one."""
    runs_until_it_ends: bool = False
    """What has not stopped in time does what it did, and can't be started again before it has ended."""
    call: Callable[..., Awaitable[Any]] = _no_method
    """Calls a method of the application's class by its name, with arguments; None where it has no such."""


Prepared: TypeAlias = Callable[[str, Service], Awaitable[object]]


class LetGo(Frozen):
    """What an old node has stopped for a new one that must not run it at the same time."""

    stopped: dict[str, Mode]
    """In start order."""
    stays: str = ""
    """Why the new one may not have it; empty where it may."""


class Ending(Frozen):
    """Why the node has to stop: this application ended."""

    application: str
    error: BaseException | None

    def __str__(self) -> str:
        return f"{self.application} {'failed' if self.error else 'ended'}"


def describe(error: BaseException) -> str:
    """The cause in one line, or what an error of ours says."""
    if isinstance(error, UnderwayError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def requirements_of(loaded: Mapping[str, Load], name: str) -> set[str]:
    """All that an application requires, itself or through others."""
    required: set[str] = set()
    todo = [name]
    while todo:
        more = set(loaded[todo.pop()].requires).intersection(loaded) - required
        required |= more
        todo += more
    return required


def cause_of(load: Load, error: BaseException) -> str:
    """The cause in one line; where an address is taken that is bound for the application itself, what to do."""
    cause = describe(error)
    declared = config.config.get(load.application, "listen", (load.start or {}).get("listen"))
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE and declared:
        cause += (
            "; what `listen` names is bound for it before it starts, and is given to a bind by Python's own socket class:"
            " gevent's, a child's and what binds in C bind again; leave that address out of `listen`"
        )
    return cause


async def drain_service(name: str, service: Service, timeout: float, log: Log) -> CutOff:
    """Drain an application; what it had to end. It never fails: what can't drain is stopped all the same."""
    try:
        cut_off = await service.drain(timeout)
    except TimeoutError:
        log(f"{name} has not drained within {timeout:g} s")
        return CutOff()
    except Exception as error:
        log(f"{name} failed to drain: {describe(error)}", error)
        return CutOff()
    if cut_off != CutOff():
        log(f"{name} has not drained within {timeout:g} s; ended: {cut_off}")
    return cut_off


_OF_THE_HOST = "; PYTHONPATH is not read: code of the host is put on sys.path by config/runtime.py"


def import_all(load: PrimLoad, load_module: Callable[[str], object], begins: Callable[[str], object], log: Log) -> None:
    """Import the modules of an application; `begins` is told of each. Raises BootError with all that can't be imported."""
    problems, missing = [], False
    for module in load.modules:
        begins(module)
        try:
            load_module(module)
        except Stopping:
            raise
        except (Exception, SystemExit) as error:
            log(f"{load.application}: {module} can't be imported", error)
            problems.append(f"{module}: {describe(error)}")
            missing |= isinstance(error, ModuleNotFoundError)
    if problems:
        raise BootError(
            listing(f"modules of {load.application} can't be imported:", problems)
            + "\nRELEASE_MODE=interactive imports modules when they are used; a module that is never used here can be"
            " listed under `lazy` in [tool.underway]" + (_OF_THE_HOST if missing else "")
        )
