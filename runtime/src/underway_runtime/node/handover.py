"""A node's part in handovers: as the successor of another at first, and as the one that has a successor later.

==============================================  =======================================================================
the successor                                   the node that runs
==============================================  =======================================================================
boots late, passes the gates, says `prepared`
and what it waits to start
                                                lets go of what must not run twice, and ends what that has left, exports
                                                its state, says `go`;
                                                or says `stays`, where it can't, and goes on
accepts, imports that state, starts what it
waited for, answers commands, `accepting`
                                                drains, exports the other states, says `leaving`, stops, ends
imports them; it has taken over when the other
has `left`
fails, at any point before it accepts           starts again what it has let go, and goes on
==============================================  =======================================================================

The messages go through the keeper; ``release/channel`` has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from ..apps import state
from ..apps.controller import Applications
from ..apps.service import Ending, Log, Service, describe
from ..process import leftovers
from ..release import channel
from ..release.boot_script import Instruction, Mode
from ..release.errors import BootError, UnderwayError
from .keeper_client import KeeperClient

_TO_START = 5.0
TO_HEAR = 30.0
"""Seconds more than a successor gets, in which the keeper says what has become of it."""


class Handover:
    """What belongs to handovers of one node. All but `begin` is on the node's loop."""

    def __init__(
        self,
        keeper: KeeperClient,
        applications: Applications,
        log: Log,
        timeout: float,
        note: Callable[[str], object],
        stop: Callable[[], object],
        end_processes: Callable[[], leftovers.Left],
    ) -> None:
        """`timeout`: seconds that a successor gets until it accepts; `note` takes why one has failed that nobody waits for;
        `stop` is called when the keeper stops all; `end_processes` ends what this node has started."""
        self._keeper = keeper
        self._applications = applications
        self._log = log
        self._timeout = timeout
        self._note = note
        self._stop = stop
        self._end_processes = end_processes
        self.leaving = asyncio.Event()
        """A successor accepts."""
        self.complete = asyncio.Event()
        """There is no node before this one, or not any more."""
        if not keeper.upgrade_id:
            self.complete.set()
        self.started = asyncio.Event()
        """The keeper knows that this node is ready."""
        self.on_scale: Callable[[int], object] = lambda by: None
        """Called when so many processes more are wanted."""
        self.processes: asyncio.Queue[str] = asyncio.Queue()
        """What becomes of further processes that were asked for: why there are not all of them, or nothing."""
        self.alone = asyncio.Lock()
        """Held by what must not meet a handover."""
        self._going = False
        self._beginning: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[tuple[channel.FromKeeper, bytes]] = asyncio.Queue()
        self._may_accept: asyncio.Future[bytes] = self._loop.create_future()
        self._outcome: Future[dict[str, Any]] | None = None
        self._keeping: Future[dict[str, Any]] | None = None
        self._let_go: dict[str, Mode] = {}
        self._stays = ""
        self.upgrade_id = ""
        """Of the last handover that was begun from here."""
        self._handed: dict[str, state.State] = {}
        keeper.on_message(self._loop, lambda *message: self._messages.put_nowait(message))

    def begin(self, version: str, upgrade_id: str, to_commit: float) -> Future[dict[str, Any]]:
        """Have a version take over, or the permanent one where that is empty; from any thread.

        The result is ``{"accepting": True}``, or ``{"failed": reason}``, or ``{"busy": reason}``, or ``{"refused": reason}``
        where an application does not let it begin, or ``{"stays": reason}`` where one can't be let go; with ``ended`` next to
        ``failed`` where this node can't go on either.
        """
        outcome: Future[dict[str, Any]] = Future()

        def begin() -> None:
            if not outcome.set_running_or_notify_cancel():  # who asked has given up
                return
            if reason := self.busy:
                outcome.set_result({"busy": reason})
                return
            self._outcome, self.upgrade_id = outcome, upgrade_id
            self._beginning = asyncio.ensure_future(self._begin(version, to_commit))

        self._loop.call_soon_threadsafe(begin)
        return outcome

    def keep(self, version: str, seconds: float) -> Future[dict[str, Any]]:
        """Have a node of a version started that waits to be wanted, for so many seconds; from any thread.

        The result is ``{"kept": pid}`` when it waits, or ``{"failed": reason}``, or ``{"busy": reason}``."""
        outcome: Future[dict[str, Any]] = Future()

        def begin() -> None:
            if not outcome.set_running_or_notify_cancel():
                return
            if reason := self.busy or ("another check has one kept" if self._keeping is not None else ""):
                outcome.set_result({"busy": reason})
                return
            self._keeping = outcome
            self._keeper.successor(version, channel.KEPT, seconds, 0)

        self._loop.call_soon_threadsafe(begin)
        return outcome

    def _settle_keeping(self, outcome: dict[str, Any]) -> None:
        if self._keeping is not None:
            self._keeping.set_result(outcome)
            self._keeping = None

    @property
    def busy(self) -> str:
        """Why nothing can be installed now; empty where it can."""
        if self.alone.locked():
            return "another version is being installed"
        if self._outcome is not None or self._going or self.leaving.is_set():
            return "another version is about to take over"
        return "" if self.complete.is_set() else "the version before has not left yet"

    async def has_started(self) -> None:
        """Wait for that, for a moment: who asks for the next version as soon as this one answers is not sent away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TO_START):
                await self.started.wait()

    async def _begin(self, version: str, to_commit: float) -> None:
        await self.has_started()
        try:
            await self._applications.hooks.before_handover(version)
        except UnderwayError as error:
            await self._applications.hooks.handover_failed()
            self._settle({"refused": str(error)})
        else:
            self._keeper.successor(version, self.upgrade_id, self._timeout, to_commit)
            self._loop.call_later(self._timeout + TO_HEAR, self._unheard, self._outcome, version)

    def _unheard(self, outcome: Future[dict[str, Any]] | None, version: str) -> None:
        """Tell who waits that the keeper, which ends a successor that is late, says nothing."""
        if outcome is not None and outcome is self._outcome:
            self._outcome = None
            outcome.set_exception(
                UnderwayError(
                    f"the keeper (pid {os.getppid()}) has not answered for {self._timeout + TO_HEAR:g} s, it is frozen or hangs: whether"
                    f" {version or 'the next node'} takes over when it goes on is not known; `status` says what runs"
                )
            )

    async def read_messages(self) -> None:
        """Do what the keeper says, until cancelled."""
        while True:
            message, states = await self._messages.get()
            if isinstance(message, channel.Stop):
                self._stop()
                continue
            try:
                await self._obey(message, states)
            except Exception as error:
                self._log(f"the handover failed with an internal error: {describe(error)}", error)

    async def _obey(self, message: channel.FromKeeper, states: bytes) -> None:
        match message:
            case channel.SuccessorPrepared((channel.KEPT, pid)):
                self._settle_keeping({"kept": int(pid)})
            case channel.SuccessorFailed(reason) | channel.SuccessorBusy(reason) if self._keeping is not None:
                self._settle_keeping({"failed": reason})
            case channel.SuccessorPrepared(waiting):
                async with self.alone:
                    self._going = True
                await self._go(waiting)
            case channel.SuccessorAccepting():
                self._settle({"accepting": True})
                self.leaving.set()
            case channel.SuccessorFailed(reason):
                await self._go_on({"failed": reason}, reason)
            case channel.SuccessorBusy(reason):
                await self._go_on({"busy": reason}, reason)
            case channel.Accept() if not self._may_accept.done():
                self._may_accept.set_result(states)
            case channel.States():
                running = {name: service for name, (_, service) in self._applications.running.items()}
                await state.import_states(state.unpack(states), running, self._log)
            case channel.Left():
                self.complete.set()
            case channel.Scale(by):
                self.on_scale(by)
            case channel.ProcessesStarted(reason):
                self.processes.put_nowait(reason)

    async def _go_on(self, outcome: dict[str, Any], reason: str) -> None:
        """Start again what was stopped for a successor: there is none, or not any more."""
        lost = await self._start_again()
        await self._applications.hooks.handover_failed()
        self._going = False
        if self._outcome is None:
            self._note(reason)
        outcome = {"stays": self._stays} if self._stays else outcome
        self._settle({**outcome, "ended": lost} if lost else outcome)
        self._stays = ""
        if not lost:
            self._keeper.goes_on()

    async def _go(self, waiting: Sequence[str]) -> None:
        """Let go of what the successor waits for, and let it accept; or have it ended, where that can't be."""
        self._handed = {}

        async def export(name: str, service: Service) -> None:
            self._handed.update(await self._export({name: service}))

        try:
            gone = await self._applications.let_go(export, waiting)
            self._let_go, self._stays = gone.stopped, gone.stays
            if self._let_go and not self._stays and not self._applications.running:
                for process in (await asyncio.to_thread(self._end_processes)).ended:
                    self._log(f"{process} is ended: {', '.join(self._let_go)} must not run twice")
            states = b"" if self._stays else state.pack(self._handed)
        except Exception as error:
            self._stays = f"it failed with an internal error: {describe(error)}"
            self._log(self._stays, error)
        if self._stays:
            self._keeper.stays(self._stays)
        else:
            self._keeper.go(states)

    def _settle(self, outcome: dict[str, Any]) -> None:
        if self._outcome is not None:
            self._outcome.set_result(outcome)
            self._outcome = None

    async def _start_again(self) -> str:
        """Start again what was released; why this node can't go on, or nothing."""
        lost = []
        for name, mode in self._let_go.items():
            try:
                await self._applications.start(name, mode, partial(self._take, self._handed))
            except BootError as error:
                lost.append(str(error))
                self._applications.ending.put_nowait(Ending(name, error))
        if not lost:
            with contextlib.suppress(BootError):  # which is logged
                await self._applications.hooks.booted(self._let_go)
        self._let_go = {}
        return "; ".join(lost)

    async def _take(self, states: Mapping[str, state.State], name: str, service: Service) -> None:
        if name in states:
            await state.import_states({name: states[name]}, {name: service}, self._log)

    async def _export(self, services: dict[str, Service]) -> dict[str, state.State]:
        loaded = self._applications.loaded
        return await state.export_states(
            {name: (loaded[name].version, service) for name, service in services.items()}, self._log
        )

    async def succeed(
        self,
        instructions: Iterable[Instruction],
        pass_gates: Callable[[], Awaitable[None]],
        open_to_commands: Callable[[], None],
    ) -> None:
        """Boot as the successor of a node that runs, up to where this one accepts. Raises what is the matter; all is
        stopped then."""
        await self._applications.boot(instructions)
        try:
            self._keeper.booted()
            await pass_gates()
            self._keeper.prepared([*self._applications.waiting])
            states = state.unpack(await self._may_accept)
            await self._applications.accept()
            await self._applications.take_over(partial(self._take, states))
            open_to_commands()
        except BaseException:
            await self._applications.stop()
            raise

    async def leave(self, asked: asyncio.Future[Any]) -> None:
        """Finish what is under way and hand over the state; at once when the node is asked to stop."""
        draining = asyncio.ensure_future(self._applications.drain())
        await asyncio.wait({draining, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
            return
        running = {name: service for name, (_, service) in self._applications.running.items()}
        self._keeper.leaving(state.pack(await self._export(running)))
