"""The application controller: obeys a boot script, and decides what the end of an application means.

What happens when an application ends by itself, after OTP's application(3):

=============  ==========================  ==========================
mode           it ended normally           it failed
=============  ==========================  ==========================
``permanent``  the node stops, status 0    the node stops, status 1
``transient``  the others go on            the node stops, status 1
``temporary``  the others go on            the others go on
=============  ==========================  ==========================

An application that fails to start ends the boot; only a temporary one is reported and left out. Whenever the node
stops, applications stop in the reverse of the order in which they started.

What happens when a node takes over from another, of which both have applications that run:

==============================  ======================================================================================
the new one                     the old one
==============================  ======================================================================================
``boot``, late: all start, but
accept nothing; what must not
run twice waits
                                ``let_go``: what must not run twice stops
``accept``                      (both accept)
``take_over``: what waited
starts
                                ``drain``: accepts no more, finishes what is under way; then ``stop``
==============================  ======================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..application import Application
from ..process import deadlines
from ..process.settings import DRAIN_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT
from ..release.boot_script import CodePath, Instruction, Load, Mode, PrimLoad, Progress, Start, check_code_path
from ..release.errors import BootError
from .hooks import Hooks
from .service import (
    CutOff,
    Ending,
    LetGo,
    Log,
    Prepared,
    Service,
    cause_of,
    describe,
    drain_service,
    import_all,
    requirements_of,
)

_KEPT_FOR_THE_REST = 0.1
"""The part of the remaining time that an application must leave to those that stop after it."""


class Applications:
    """The applications of one node: what is loaded, what runs. All but `obey` belongs to the node's loop."""

    def __init__(
        self,
        lib: Path,
        run: Callable[[Load], Awaitable[Service]],
        log: Log,
        *,
        embedded: bool = True,
        start_timeout: float = START_TIMEOUT,
        stop_timeout: float = STOP_TIMEOUT,
        drain_timeout: Callable[[str], float] = lambda name: DRAIN_TIMEOUT,
        overlaps: Callable[[Load], bool] = lambda load: True,
        late: bool = False,
        load_module: Callable[[str], object] = import_module,
        note: Callable[[str], None] = lambda what: None,
        held: Callable[[str], object] = lambda what: None,
    ) -> None:
        """`overlaps` says whether an application may run here and in the node that hands over, at once; `late` that this
        node takes over from one; `note` is told what changes; `held`, in a thread, by what the loop is held that starts.
        """
        self._lib = lib
        self._run = run
        self._log = log
        self._embedded = embedded
        self._to_start = deadlines.Limit(start_timeout, held)
        self._stop_timeout = stop_timeout
        self._drain_timeout = drain_timeout
        self._overlaps = overlaps
        self._late = late
        self._load_module = load_module
        self._note = note
        self.loaded: dict[str, Load] = {}
        self.running: dict[str, tuple[Mode, Service]] = {}
        """In start order."""
        self.hooks = Hooks(self.running, log, self._to_start)
        self.waiting: dict[str, Mode] = {}
        """What `take_over` will start, in that order."""
        self.ending: asyncio.Queue[Ending] = asyncio.Queue()
        """Gets one entry for each application whose end means that the node has to stop."""
        self.states: dict[str, str] = {}
        """What became of those that were to start: starting, running, ended, failed, stopped."""
        self.importing = ""
        """The module that is being imported, or was last."""
        self.progress = ""
        """The last landmark of the boot script."""
        self.stopped_well = True
        """Whether all that was stopped so far stopped without error and in time."""
        self._served: set[str] = set()  # started at some time, and not failed
        self._stopping = False
        self._retiring: set[asyncio.Task[Any]] = set()
        self._told_to_end: set[str] = set()  # and go on
        self._failed_to_accept: set[str] = set()

    def obey(self, instruction: Instruction) -> None:
        """Obey an instruction other than a start.

        Raises DamagedRelease listing the directories that are missing, and BootError listing the modules that can't be
        imported.
        """
        match instruction:
            case CodePath(directories):
                check_code_path(directories, self._lib)
            case Load(application):
                self.loaded[application] = instruction
            case PrimLoad() if self._embedded:
                import_all(instruction, self._load_module, self._imports, self._log)
            case Progress(name):
                self.progress = name

    async def boot(self, instructions: Iterable[Instruction]) -> None:
        """Obey all instructions, in order.

        Raises what `obey` and `start` raise; what had started is stopped again, also when the boot is cancelled.
        """
        try:
            for instruction in instructions:
                if isinstance(instruction, Start):
                    await self.start(instruction.application, instruction.mode)
                else:
                    self.obey(instruction)
            if not self._late:
                await self.hooks.booted(self.running)
        except BaseException:
            await self.stop()
            raise

    async def start(self, name: str, mode: Mode, prepared: Prepared | None = None) -> None:
        """Start one application; `prepared` is called with it before it accepts.

        Raises BootError when it is not loaded, runs already, requires one that has not started, fails or takes too long.
        """
        if name not in self.loaded:
            raise BootError(f"the boot script starts {name}, which it does not load")
        if name in self.running:
            raise BootError(f"the boot script starts {name} twice")
        load = self.loaded[name]
        if self._late and not self._may_overlap(name):
            self.waiting[name] = mode  # also what has no start of its own: what it requires waits, and is not missing
            return
        missing = [
            required
            for required in load.requires
            if required in self.loaded and self.loaded[required].start is not None and required not in self._served
        ]
        if missing:
            raise BootError(
                f"{name} can't start: it requires {', '.join(missing)}, not started; the boot script must start"
                f" {'them' if len(missing) > 1 else 'it'} before {name}"
            )
        if load.start is None:
            return
        self._now(name, "starting")
        self._failed_to_accept.discard(name)
        try:
            async with self._to_start(name) as limit:
                service = await self._run(load)
                if not self._late:
                    await self._accept(name, service, prepared)
        except BaseException as error:
            self._now(name, "failed")
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from error
            reason = cause_of(self.loaded[name], error)
            if limit.expired() and not isinstance(error, BootError):
                seconds = self._to_start.seconds
                reason = f"not ready within {seconds:g} s; start_timeout of underway_runtime gives it more"
            self._log(f"{name} {load.version} could not start: {reason}", error)
            if mode != "temporary":
                raise BootError(f"{name} could not start: {reason}") from error
            return
        self.running[name] = (mode, service)
        self._served.add(name)
        self._now(name, "running")
        service.ended.add_done_callback(partial(self._ended, name, mode))

    async def accept(self) -> None:
        """Let what a late boot has prepared accept, in start order. Raises BootError when one can't."""
        self._late = False
        for name, (_, service) in list(self.running.items()):
            try:
                async with self._to_start(name):
                    await self._accept(name, service)
            except Exception as error:
                self.running.pop(name)
                raise BootError(f"{name} could not accept: {describe(error)}") from error

    async def take_over(self, prepared: Prepared | None = None) -> None:
        """Start what waited, because the node that hands over has let it go; as `start`, and after `accept`."""
        while self.waiting:
            name = next(iter(self.waiting))
            await self.start(name, self.waiting.pop(name), prepared)
        await self.hooks.booted(self.running)

    async def let_go(self, drained: Prepared | None = None, waiting: Iterable[str] = ()) -> LetGo:
        """Drain and stop what must not run twice, and what requires it: by what this node knows, and by what the other one
        is `waiting` to start.

        `drained` is called with each before it is stopped. `start` starts each again, where the other node did not make it.
        """
        others = set(waiting)
        alone = {
            name: mode
            for name, (mode, _) in self.running.items()
            if not self._may_overlap(name) or others.intersection({name, *requirements_of(self.loaded, name)})
        }
        stopped: dict[str, Mode] = {}
        for name in reversed(alone):
            mode, service = self.running.pop(name)
            self._served.discard(name)
            await drain_service(name, service, self._drain_timeout(name), self._log)
            if drained is not None:
                await drained(name, service)
            if await self._stop_one(name, service, self._stop_timeout):
                stopped = {name: mode, **stopped}
                continue
            timeout = self._drain_timeout(name) + self._stop_timeout
            stays = f"{name} must not run twice, and has not ended within {timeout:g} s of being told to; it runs on"
            if service.runs_until_it_ends:
                self._runs_on(name, mode, service)
            else:
                stopped = {name: mode, **stopped}
            return LetGo(stopped, stays)
        return LetGo(stopped)

    async def drain(self) -> dict[str, CutOff]:
        """Let all that runs finish what is under way, each within its own time; returns what had to be ended.

        What an application requires goes on until that has drained.
        """
        self._stopping = True
        tasks: dict[str, asyncio.Task[CutOff]] = {}

        async def drain(name: str, service: Service, after: list[asyncio.Task[CutOff]]) -> CutOff:
            if after:
                await asyncio.wait(after)
            return await drain_service(name, service, self._drain_timeout(name), self._log)

        for name, (_, service) in reversed(self.running.items()):
            after = [task for other, task in tasks.items() if name in requirements_of(self.loaded, other)]
            tasks[name] = asyncio.ensure_future(drain(name, service, after))
        if tasks:
            await asyncio.wait(tasks.values())
        return {name: task.result() for name, task in tasks.items()}

    def says(self, of: Callable[[Service], str]) -> dict[str, str]:
        """By application, what `of` finds to say of it."""
        return {name: text for name, (_, service) in list(self.running.items()) if (text := of(service))}

    async def stop_one(self, name: str) -> None:
        """Stop one that runs, within the deadline; `start` starts it again.

        Raises BootError where it has not ended: what runs until it ends is still `running` then, and starts again when it does.
        """
        mode, service = self.running.pop(name)
        self._served.discard(name)
        if not await self._stop_one(name, service, self._stop_timeout):
            if service.runs_until_it_ends:
                self._runs_on(name, mode, service)
            raise BootError(
                f"{name} has not ended within {self._stop_timeout:g} s of being told to, and must not run twice"
            )

    def _runs_on(self, name: str, mode: Mode, service: Service) -> None:
        self.running[name] = (mode, service)
        self._served.add(name)
        self._told_to_end.add(name)
        self._now(name, "running")

    def become(self, loaded: Mapping[str, Load]) -> Callable[[], None]:
        """Take what runs for other versions from now on; the function that is returned takes that back."""
        before, self.loaded = self.loaded, dict(loaded)

        def tell() -> None:
            for name, (_, service) in self.running.items():
                if isinstance(service.subject, Application) and name in self.loaded:
                    service.subject.version = self.loaded[name].version

        def take_back() -> None:
            self.loaded = before
            tell()

        tell()
        return take_back

    async def stop(self) -> None:
        """Stop all that runs, in the reverse of the start order, within the deadline."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._stop_timeout
        while self.running:
            name, (_, service) = self.running.popitem()
            left = max(0.0, end - loop.time())
            await self._stop_one(name, service, left * (1 - _KEPT_FOR_THE_REST) if self.running else left)
        if self._retiring:
            await asyncio.wait(self._retiring)  # each has its own deadline

    def _may_overlap(self, name: str) -> bool:
        of_these = (self.loaded[needed] for needed in {name, *requirements_of(self.loaded, name)})
        return all(load.start is None or self._overlaps(load) for load in of_these)

    def _now(self, name: str, state: str) -> None:
        self.states[name] = state
        self._note(f"{name} {state}")

    def _imports(self, module: str) -> None:
        self.importing = module

    def _ended(self, name: str, mode: Mode, ended: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError("it was cancelled") if ended.cancelled() else ended.exception()
        if self._stopping or name not in self.running or name in self._failed_to_accept:
            return
        if name in self._told_to_end:
            self._told_to_end.discard(name)
            self._log(f"{name} ended when another version was to take over, and that has failed: it is started again")
            self.running.pop(name)
            self._served.discard(name)
            again = asyncio.ensure_future(self._start_again(name, mode))
            self._retiring.add(again)
            again.add_done_callback(self._retiring.discard)
            return
        self._now(name, "failed" if error else "ended")
        if error is None:
            self._log(f"{name} ended")
        else:
            self._served.discard(name)
            self._log(f"{name} failed: {cause_of(self.loaded[name], error)}", error)
        if mode == "permanent" or (mode == "transient" and error is not None):
            self.ending.put_nowait(Ending(name, error))
        else:
            _, service = self.running.pop(name)
            retiring = asyncio.ensure_future(self._stop_one(name, service, self._stop_timeout))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    async def _start_again(self, name: str, mode: Mode) -> None:
        try:
            await self.start(name, mode)
        except BootError as error:
            self.ending.put_nowait(Ending(name, error))

    async def _accept(self, name: str, service: Service, prepared: Prepared | None = None) -> None:
        try:
            if prepared is not None:
                await prepared(name, service)
            await service.accept()
        except BaseException:
            self._failed_to_accept.add(name)
            await self._stop_one(name, service, self._stop_timeout)
            raise

    async def _stop_one(self, name: str, service: Service, timeout: float) -> bool:
        """Stop it, and return whether it has."""

        async def stop() -> BaseException | None:
            try:
                await service.stop(timeout)
            except BaseException as error:  # SystemExit in a task would end the loop
                return error
            return None

        task = asyncio.ensure_future(stop())
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            task.cancel()  # and not awaited: it may not listen
            self._log(f"{name} has not stopped within {timeout:.1f} s and is abandoned")
            self.stopped_well = False
            return False
        if self.states.get(name) == "running":
            self._now(name, "stopped")
        if error := task.result():
            self._log(f"{name} failed to stop: {describe(error)}", error)
            self.stopped_well = False
        return True
