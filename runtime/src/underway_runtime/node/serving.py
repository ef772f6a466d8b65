"""What a node that serves is made of, and how it becomes another version or lets another take over."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..apps import state
from ..apps.controller import Applications
from ..apps.service import Ending
from ..apps.socket_adoption import Adoption
from ..apps.sockets import Listeners
from ..configuration import config
from ..frozen import Frozen
from ..process import garbage_collector, leftovers, proc_sockets
from ..process.log import log
from ..process.process_table import children
from ..process.settings import DRAIN_TIMEOUT, HANDOVER_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT, Settings
from ..release import channel
from ..release.boot_script import BootScript, Instruction, Load, Start
from ..release.errors import EXIT_FAILED, PeerLost
from .forced_end import ForcedEnd
from .gates import Gates
from .handover import Handover
from .in_place_install import InPlace, Version
from .keeper_client import KeeperClient
from .phases import Life, Phase

if TYPE_CHECKING:
    from ..control.console import Shell
    from .processes import Several


TO_END = 2.0
"""Seconds that the process gets to end, when its applications have stopped."""
_MARGIN = 5.0
"""Seconds beyond that after which who waits for the end is told."""


class Timeouts(Frozen):
    """As configured, in seconds."""

    start: float
    stop: float
    handover: float

    @property
    def end(self) -> float:
        """As long as a node may take that is told to stop."""
        return self.stop + TO_END + _MARGIN

    @classmethod
    def configured(cls) -> Timeouts:
        """Raises ConfigError."""
        return cls(
            config.seconds("start_timeout", START_TIMEOUT),
            config.seconds("stop_timeout", STOP_TIMEOUT),
            config.seconds("handover_timeout", HANDOVER_TIMEOUT),
        )


def drain_timeout(application: str) -> float:
    """Seconds that an application gets to drain; its own, or those of all. Raises ConfigError."""
    return config.seconds("drain_timeout", config.seconds("drain_timeout", DRAIN_TIMEOUT), application)


class Booted(Frozen):
    """What the boot has made ready for the loop."""

    secret: str
    """The cookie."""
    applications: Applications
    in_place: InPlace
    instructions: list[Instruction]
    """Those that are left: from the first start on."""
    timeouts: Timeouts
    not_known: list[str]
    """What is to be said of applications that count as ready, though nothing tells."""

    def line(self, version: str) -> str:
        """What systemd shows of a node of a version."""
        return f"{version}, running {', '.join(self.applications.running)}"

    def time_to_leave(self) -> float:
        """Seconds within which a node that drains has left: its applications, their state, and what they have started."""
        drains = sum(drain_timeout(name) + state.WITHIN for name in self.applications.running)
        return drains + self.timeouts.end + leftovers.TO_END

    def load(self, forced_end: ForcedEnd, failed: Callable[[str], object]) -> None:
        """Obey the instructions before the first start, in the main thread. An import that does not return ends the process:
        nothing else could; `failed` is told first. Raises what `Applications.obey` raises, and ConfigError."""

        def is_late() -> str:
            reason = (
                f"the import of {self.applications.importing} has not returned within {self.timeouts.start:g} s;"
                " start_timeout of underway_runtime gives it more"
            )
            failed(reason)
            return f"error: {reason}"

        # One thread counts for all of them: a release has as many imports to watch as libraries.
        with forced_end.unless_done_in(self.timeouts.start, is_late) as begin_again:
            while self.instructions and not isinstance(self.instructions[0], Start):
                begin_again()
                self.applications.obey(self.instructions.pop(0))
                garbage_collector.set_aside()
        for name in self.applications.loaded:
            drain_timeout(name)  # a wrong one is told now

    def when_wanted(self, keeper: KeeperClient, runs: Version, environ: Mapping[str, str]) -> Booted:
        """Return this, at once but where `check` has this node kept: then when it is wanted. Raises BootError where it can't be kept."""
        if keeper.upgrade_id == channel.KEPT:
            from . import kept  # few are

            kept.wait(keeper, runs, environ)
        return self


def held(forced_end: ForcedEnd, failed: Callable[[str], object], seconds: float, name: str) -> NoReturn:
    """End a node whose loop an application holds that was to start within so many seconds; `failed` is told first."""
    reason = (
        f"{name} could not start: it holds the loop, and is not ready within {seconds:g} s; start_timeout of"
        " underway_runtime gives it more"
    )
    failed(reason)
    forced_end.now(f"error: {reason}")


class Events(Frozen):
    """What a node that serves waits for; each is done when it has happened."""

    boot: asyncio.Future[None]
    """All have started, or one could not."""
    asked: asyncio.Future[None]
    """Somebody wants the node to stop."""
    ending: asyncio.Future[Ending]
    """An application has ended that matters."""
    leaving: asyncio.Future[Any]
    """A successor accepts."""
    hearing: asyncio.Future[None]
    """Never done: does what the keeper says."""

    @classmethod
    def begin(
        cls, boot: Awaitable[None], asked: Awaitable[None], applications: Applications, handover: Handover
    ) -> Events:
        """Wait for all of them from now on; on the loop."""
        return cls(
            asyncio.ensure_future(boot),
            asyncio.ensure_future(asked),
            asyncio.ensure_future(applications.ending.get()),
            asyncio.ensure_future(handover.leaving.wait()),
            asyncio.ensure_future(handover.read_messages()),
        )

    async def has_booted(self) -> bool:
        """Whether all have started and none of those that matter has ended, or is about to be known as ended."""
        if not self.boot.done() or self.boot.exception() is not None:
            return False
        for _ in range(5):
            await asyncio.sleep(0)
        return not self.ending.done()

    def cancel(self) -> None:
        """Wait for none of them any more."""
        for event in (self.boot, self.asked, self.ending, self.leaving, self.hearing):
            event.cancel()


async def first(*events: asyncio.Future[Any]) -> None:
    """Return when one of them has happened."""
    await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)


def several_of(keeper: KeeperClient, script: BootScript, version: str) -> Several | None:
    """The processes in which the applications of a version run, as configured; None where it is one. Raises ConfigError and
    BootError."""
    loads = [i for i in script.instructions if isinstance(i, Load) and i.start is not None]
    numbers = [config.config.get(i.application, "processes", (i.start or {}).get("processes", 1)) for i in loads]
    if keeper.process <= 1 and all(number == 1 for number in numbers):
        return None
    from . import processes

    return processes.Several(keeper, processes.counts(script.instructions, config.config.get), version)


def boot_of(
    booted: Booted,
    handover: Handover,
    keeper: KeeperClient,
    several: Several | None,
    hold: Callable[[], Awaitable[None]],
    opened: Callable[[], None],
) -> Awaitable[None]:
    """The boot of a node and of its further processes, to be awaited; next to a node that runs it goes up to where this one accepts.

    `hold` tries the gates, `opened` is called when this node answers commands.
    """
    if keeper.is_late:
        return handover.succeed(booted.instructions, hold if several is None else several.after(hold, handover), opened)
    boot = booted.applications.boot(booted.instructions)
    return boot if several is None else several.boot(boot, booted.applications, handover)


def run_to_end(
    loop: asyncio.AbstractEventLoop, task: asyncio.Future[int], on_exit: Callable[[BaseException], None]
) -> int:
    """Run the loop until the task is done, and return its result. `on_exit` is told of `sys.exit` in some other task, which means
    to end the process: that is done in order."""
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            on_exit(error)


def loop_factory(applications: Applications, script: BootScript) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where the release serves ASGI and has it, as uvicorn does."""
    loaded = applications.loaded
    starting = (i.application for i in script.instructions if isinstance(i, Start))
    serves = any("asgi" in (loaded[name].start or {}) for name in starting if name in loaded)
    if serves and importlib.util.find_spec("uvloop") is not None:
        new_event_loop: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
        return new_event_loop
    return None


def exit_status(ending: Ending | None, exit_error: BaseException | None, *, stopped_well: bool) -> int:
    """The status of a node: `ending` is the application that has ended it, `exit_error` what a task has raised to end it."""
    if ending is not None and isinstance(ending.error, PeerLost):
        return ending.error.exit_code
    failed = ending is not None and ending.error is not None
    if isinstance(exit_error, SystemExit):
        failed = failed or exit_error.code not in (None, 0)
    return EXIT_FAILED if failed or not stopped_well else 0


def bind_shared(keeper: KeeperClient, adoption: Adoption, addresses: Sequence[str]) -> Listeners:
    """Sockets of the keeper's, in which nothing is changed for whom it gives them to as well. Raises BootError."""
    listeners = keeper.bind(addresses)
    adoption.sharing.add(listeners.sockets)
    return listeners


def not_handed_over(*, by_the_other: bool) -> list[str]:
    """Where this node, or the keeper's other child, listens with sockets that it can't hand over."""
    keeper, this = os.getppid(), os.getpid()
    others = [pid for pid in children(keeper) if pid != this] if by_the_other else []
    return [address for pid in others or [this] for address in proc_sockets.not_handed_over(keeper, pid)]


def start_shell(
    settings: Settings, running: Iterable[str], names: Mapping[str, Any], leave: Callable[[], None]
) -> Shell:
    """A console on the terminal of a node that serves; `names` is what its code finds, `leave` is called at its end."""
    from ..control.console import Shell

    shell = Shell(asyncio.get_running_loop(), names, leave)
    shell.start(
        f"{settings.name} {settings.version}, Python {sys.version.split()[0]}; running: {', '.join(running) or 'none'}\n"
        "`await` works at the prompt; Ctrl-D stops the node."
    )
    return shell


class Upgrades:
    """How a node that serves becomes another version in place, or has another node take over; on its loop."""

    def __init__(
        self,
        booted: Booted,
        handover: Handover,
        gates: Gates,
        life: Life,
        keeper: KeeperClient,
        runs: Callable[[], Version],
    ) -> None:
        """`runs` is the version that is installed now."""
        self.handover = handover
        self.loop = asyncio.get_running_loop()
        self._booted = booted
        self._gates = gates
        self._life = life
        self._keeper = keeper
        self._runs = runs
        self._scaling: set[asyncio.Task[None]] = set()
        handover.on_scale = self._on_scale

    async def scale(self, wanted: int) -> dict[str, Any]:
        """Have so many processes; as `Several.scale`, or ``busy`` or ``refused`` with the reason."""
        await self.handover.has_started()
        several = self._booted.in_place.several
        if several is None:
            return {"refused": "it runs in one process, since none of its applications says `processes`"}
        if self._life.phase is not Phase.RUNNING:
            return {"busy": f"it is {self._life.phase.value}"}
        if reason := self.handover.busy:
            return {"busy": reason}
        async with self.handover.alone:
            return await several.scale(wanted, self._runs().settings.version, self.handover)

    def _on_scale(self, by: int) -> None:
        """Have so many processes more, since somebody has sent a signal; what comes of it is logged."""

        async def scale() -> None:
            several = self._booted.in_place.several
            wanted = 1 if several is None else max(1, several.wanted + by)
            outcome = await self.scale(wanted)
            [(how, what)] = outcome.items()
            log(f"SIGTT{'IN' if by > 0 else 'OU'}, for {wanted} processes: {how}: {what}")

        task = asyncio.ensure_future(scale())
        self._scaling.add(task)
        task.add_done_callback(self._scaling.discard)

    async def install(self, version: str, upgrade_id: str, to_commit: float) -> dict[str, Any]:
        """Become a version, which is to be committed in so many seconds where that is not 0; as `InPlace.install`, or ``busy``
        with the reason."""
        await self.handover.has_started()
        if self._life.phase is not Phase.RUNNING:
            return {"busy": f"it is {self._life.phase.value}"}
        if reason := self.handover.busy:
            return {"busy": reason}
        async with self.handover.alone:
            self._life.enter(Phase.INSTALLING)
            try:
                outcome = await self._booted.in_place.install(self._runs(), version, upgrade_id, self._gates)
            finally:
                self._life.enter(Phase.RUNNING)
            if "installed" in outcome or "stays" in outcome:
                self._keeper.installed(self._booted.line(self._runs().settings.version), to_commit)
            return outcome

    async def can_install_in_place(self, version: str) -> dict[str, Any]:
        """Whether `install` could; changes nothing."""
        return await self._booted.in_place.can_install_in_place(self._runs(), version, self._gates)

    async def try_gates(self) -> dict[str, Any]:
        """What comes of the gates of the version that runs."""
        return {"gates": await self._gates.tried()}


async def end_processes(settings: Settings, *, others: bool) -> None:
    """End pools; with `others`, since another node has taken over, all that listens of what this one has started, and name the rest."""
    await asyncio.to_thread(leftovers.end_pools, TO_END)
    if not others:
        return
    left = await asyncio.to_thread(leftovers.end_own, settings.root, listening_only=True)
    for process in left.ended:
        log(f"{process} is ended: it listened, and {settings.version} has left")
    for process in left.named:
        log(f"{process} runs on with the code of {settings.version}, which has left")
