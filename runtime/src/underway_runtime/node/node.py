"""The node: the process that runs a release's applications, from its lock to its exit status.

::

    boot    lock, cookie, configuration     in the main thread; a signal ends it at once. The keeper has the lock
              └─ code path, modules         instructions before the first start; likewise
    serve          └─ starts                on the loop; a signal stops what has started
                        └─ running          until a signal, the shell, or the end of an application that matters
    leave                    ├─ drain       where a successor accepts
                             └─ stop        applications in reverse order, within the deadline; another SIGINT forces

The loop runs in the main thread. Where an application is a ``main`` function, that gets the main thread and the loop runs
in another. ``phases.py`` has the phases, ``serving.py`` what the loop works with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from ..apps.controller import Applications
from ..apps.launch import overlaps
from ..apps.launch import run as run_application
from ..apps.main_function import MainThread, wanted
from ..apps.serving import ServerContext
from ..apps.socket_adoption import Adoption
from ..apps.suspension import Suspension
from ..configuration import boot_config, config, resolution
from ..configuration.provenance import Origins
from ..configuration.resolution import Resolved
from ..control import cookie, session
from ..process import audit_hooks, garbage_collector, leftovers, oom, stop_signals, upgrade_journal
from ..process.log import log
from ..process.settings import Settings
from ..release import gates
from ..release.boot_script import BootScript, check_code_paths
from ..release.errors import BootError, PeerLost, UnderwayError
from .control_endpoint import ControlEndpoint
from .forced_end import ForcedEnd, threads_left
from .gates import Gates
from .handover import Handover
from .in_place_install import Change, InPlace, Step, Version
from .keeper_client import KeeperClient
from .phases import Life, Phase, StopRequest
from .serving import (
    TO_END,
    Booted,
    Events,
    Timeouts,
    Upgrades,
    bind_shared,
    boot_of,
    drain_timeout,
    end_processes,
    exit_status,
    first,
    held,
    loop_factory,
    not_handed_over,
    run_to_end,
    several_of,
    start_shell,
)

if TYPE_CHECKING:
    from ..control.console import Shell
    from .processes import Several

_TO_BEGIN = 5.0
"""Seconds until a main function is taken to have imported what it will, for the collector."""


class Node:
    """One run of a node."""

    def __init__(
        self,
        settings: Settings,
        script: BootScript,
        environ: Mapping[str, str],
        keeper: KeeperClient,
        change: Callable[[Step], Awaitable[Change]],
        *,
        shell: bool = False,
    ) -> None:
        """`change` says what makes this node another version, where a process can become that."""
        self._keeper = keeper
        self._environ = environ
        self._change = change
        self._shell_wanted = shell
        self._shell: Shell | None = None
        self._runs = Version(settings, script, Resolved({}, Origins()))
        """What is installed now; configured when that is resolved."""
        self._main_thread = MainThread() if wanted(script) else None
        self._gates = Gates(settings.tmp, settings.root)
        self._endpoint = ControlEndpoint(settings, script, keeper, self.ask_to_restart)
        self._life = Life(self._endpoint.report.now)
        self._stop_request = StopRequest()
        self._forced_end = ForcedEnd(self._close_shell)
        self._upgrades: Upgrades | None = None
        """From when the loop runs."""
        self._several: Several | None = None
        self._exit_error: BaseException | None = None
        self._end_with_others: Callable[[], None] = lambda: None
        """Lets the kernel choose again which process ends when memory runs out."""

    @property
    def _settings(self) -> Settings:
        return self._runs.settings

    @property
    def _succeeds(self) -> bool:
        """Whether another node ran when this one was started."""
        return bool(self._keeper.upgrade_id)

    def run(self) -> int:
        """Run until the node stops, and return the exit status. Called once, in the main thread.

        Raises UnderwayError when it could not start.
        """
        try:
            stop_signals.install(self._on_signal)
            try:
                booted = self._boot()
                self._life.enter(Phase.STARTING)
            except stop_signals.Stopping:
                log(f"{self._settings.name} was stopped before it had started")
                return 0
            except BaseException as error:
                self._endpoint.settle(error)
                raise
            run_loop = partial(self._run_loop, booted)
            return run_loop() if self._main_thread is None else self._main_thread.lend_while(run_loop)
        finally:
            self._close_shell()
            self._endpoint.close()
            self._gates.close()
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()  # while `_end_soon` watches

    def ask_to_stop(self) -> None:
        """Make the node stop; from any thread, any number of times."""
        self._stop_request.make()

    def ask_to_restart(self) -> None:
        """Make the node stop, and the keeper start the permanent release in its place; from any thread."""
        self._keeper.restart()
        self._stop_request.make(restarts=True)

    # --------------------------------------------------------------------------------------------------------- boot

    def _boot(self) -> Booted:
        """Do all that comes before the first start. Raises UnderwayError, and Stopping on a signal."""
        self._keeper.hold(self._settings)
        if self._succeeds:
            self._end_with_others = oom.go_first()
        audit_hooks.watch()
        secret = cookie.obtain(self._settings, self._environ)
        cookie.hide(os.environ, self._settings)
        cookie.hold(secret)
        started_with = dict(os.environ)
        self._configure(secret)
        timeouts = Timeouts.configured()
        self._keeper.about(self._settings, timeouts.stop, timeouts.start)
        if not self._keeper.is_late:
            self._gates.close_others()
        self._several = several_of(self._keeper, self._runs.script, self._settings.version)
        self._gates.open(gates.read(self._settings.place.gates) if self._keeper.process <= 1 else ())
        self._runs = replace(self._runs, gates=self._gates.wanted)
        booted = self._with_applications(secret, started_with, timeouts)
        self._endpoint.about(booted.applications, timeouts.end)
        booted.load(self._forced_end, self._keeper.failed)
        return booted.when_wanted(self._keeper, self._runs, started_with)

    def _configure(self, secret: str) -> None:
        """Resolve and install the configuration, and answer commands from then on, unless another node still does."""
        settings, script = self._settings, self._runs.script
        check_code_paths(script, settings.directory.lib)
        built = resolution.read(settings.sys_config)
        if "start-distribution-during-config" in built.flags and not self._keeper.is_late:
            config.install(built.values)
            self._endpoint.open(secret)
        self._runs = replace(self._runs, resolved=boot_config.resolve(settings, script))
        if not self._keeper.is_late:
            boot_config.write_down(settings, script, self._runs.resolved)
            self._endpoint.open(secret)

    def _with_applications(self, secret: str, started_with: Mapping[str, str], timeouts: Timeouts) -> Booted:
        """Make what runs applications, before any is loaded."""
        settings = self._settings
        adoption = Adoption(log, late=self._keeper.is_late)
        suspension = Suspension()
        context = ServerContext(
            config.config.get,
            log,
            partial(bind_shared, self._keeper, adoption),
            self._main_thread,
            self._gates.private,
            adoption,
            self._not_handed_over,
            suspension,
            jobs=settings.tmp.run / "jobs",
        )
        applications = Applications(
            settings.directory.lib,
            partial(run_application, context=context),
            log,
            embedded=settings.mode == "embedded",
            start_timeout=timeouts.start,
            stop_timeout=timeouts.stop,
            drain_timeout=drain_timeout,
            overlaps=partial(overlaps, context=context),
            late=self._keeper.is_late,
            note=self._endpoint.report.note,
            held=partial(held, self._forced_end, self._keeper.failed, timeouts.start),
        )
        in_place = InPlace(applications, self._keeper, started_with, self._became, log, suspension, self._change)
        instructions = list(self._runs.script.instructions)
        if self._several is not None:
            instructions = self._several.join(in_place, self._endpoint.report, instructions)
        return Booted(secret, applications, in_place, instructions, timeouts, context.not_known)

    # -------------------------------------------------------------------------------------------------------- serve

    def _run_loop(self, booted: Booted) -> int:
        with asyncio.Runner(loop_factory=loop_factory(booted.applications, self._runs.script)) as runner:
            loop = runner.get_loop()
            return run_to_end(loop, asyncio.ensure_future(self._serve(booted), loop=loop), self._on_exit)

    def _on_exit(self, error: BaseException) -> None:
        self._exit_error = error
        log(f"{type(error).__name__} in a task; {self._settings.name} stops", error)
        self.ask_to_stop()

    async def _serve(self, booted: Booted) -> int:
        """Start the applications, run until something ends that, and stop; the exit status."""
        loop = asyncio.get_running_loop()
        if self._main_thread is not None:
            self._main_thread.watch(loop, self._on_signal, self.ask_to_stop)
        applications = booted.applications
        timeout, end_own = booted.timeouts.handover, partial(leftovers.end_own, self._settings.root)
        handover = Handover(self._keeper, applications, log, timeout, self._note_failed, self.ask_to_stop, end_own)
        self._upgrades = Upgrades(booted, handover, self._gates, self._life, self._keeper, lambda: self._runs)
        self._endpoint.attach(self._upgrades)
        hold, opened = partial(self._gates.hold, self._gates.wanted), partial(self._open_as_successor, booted)
        boot = boot_of(booted, handover, self._keeper, self._several, hold, opened)
        events = Events.begin(boot, self._stop_request.wait(), applications, handover)
        try:
            await first(events.boot, events.asked, events.ending)
            if await events.has_booted():
                loop.call_later(0 if self._main_thread is None else _TO_BEGIN, garbage_collector.settle)
                await self._run(booted, handover, events)
            elif not events.boot.done():
                events.boot.cancel()
                await asyncio.wait({events.boot}, timeout=booted.timeouts.stop + 1)  # it stops what has started
            return await self._stop(applications, events)
        finally:
            self._end_soon()
            events.cancel()
            if self._main_thread is not None:
                self._main_thread.unwatch(loop)

    def _open_as_successor(self, booted: Booted) -> None:
        """Let commands ask this node from now on, or the one that leaves, which takes no more when it knows that this accepts."""
        if self._keeper.process <= 1:
            self._gates.close_others()
            boot_config.write_down(self._settings, self._runs.script, self._runs.resolved)
        self._endpoint.open(booted.secret)
        self._endpoint.about(booted.applications, booted.timeouts.end)
        assert self._upgrades is not None
        self._endpoint.attach(self._upgrades)

    async def _run(self, booted: Booted, handover: Handover, events: Events) -> None:
        """Say that all have started, and go on until the node is to stop; leave it to a successor that accepts."""
        line = booted.line(self._settings.version)
        if self._keeper.is_late:
            await self._take_over(line, handover, events)
        else:
            self._life.enter(Phase.RUNNING)  # first: who waits for the keeper to hear it may ask at once how it is
            self._keeper.ready(line, "\n".join(booted.not_known))
        handover.started.set()
        taken_over = not self._keeper.is_late or handover.complete.is_set() or events.leaving.done()
        self._endpoint.settle(None if taken_over else BootError("it was told to stop, or failed, before it was alone"))
        if self._shell_wanted:
            self._shell = start_shell(
                self._settings, booted.applications.running, self._endpoint.names(), self.ask_to_stop
            )
        await first(events.asked, events.ending, events.leaving)
        if events.leaving.done() and not events.asked.done():
            await self._leave(booted, handover, events.asked)

    async def _take_over(self, line: str, handover: Handover, events: Events) -> None:
        """Be the node, and wait until the one before has left."""
        self._endpoint.report.took_over = self._keeper.upgrade_id
        self._life.enter(Phase.RUNNING)
        self._keeper.accepting(line)
        self._end_with_others()
        if self._keeper.process <= 1:
            upgrade_journal.note(
                self._settings.var.upgrades, "boot", "done", self._keeper.upgrade_id, version=self._settings.version
            )
        complete = asyncio.ensure_future(handover.complete.wait())
        await first(complete, events.asked, events.ending, events.leaving)

    def _not_handed_over(self) -> list[str]:
        """Where the node that hands over listens by itself: the keeper's other child, or this one later on."""
        is_alone = not self._succeeds or (self._upgrades is not None and self._upgrades.handover.complete.is_set())
        return not_handed_over(by_the_other=not is_alone)

    # -------------------------------------------------------------------------------------------- another version

    def _became(self, version: Version) -> None:
        os.environ.update(self._settings.variables_of(version.settings.version, os.environ))
        self._runs, self._gates.wanted = version, version.gates
        boot_config.write_down(version.settings, version.script, version.resolved)
        self._endpoint.became(version.settings, version.script)

    def _note_failed(self, reason: str) -> None:
        """Note that the permanent version was to take over again from this one, which had been installed."""
        if self._succeeds:
            upgrade_journal.note(
                self._settings.var.upgrades, "return", "failed", self._keeper.upgrade_id, reason=reason
            )

    # -------------------------------------------------------------------------------------------------------- leave

    async def _leave(self, booted: Booted, handover: Handover, asked: asyncio.Future[None]) -> None:
        """Drain, and hand over the state to the successor that accepts."""
        self._life.enter(Phase.HANDING_OVER)
        self._endpoint.accept_no_more()
        who = f"{self._settings.name} {self._settings.version} (pid {os.getpid()})"
        log(f"{who} has handed over, and drains")
        # Until it has left there can be no other handover, so something that blocks the loop must not keep it.
        timeout = booted.time_to_leave()
        self._forced_end.after(timeout, lambda: f"{who} has not left within {timeout:g} s and is ended by force")
        await handover.leave(asked)
        if handover.upgrade_id:
            outcome = "asked to stop" if asked.done() else "done"
            upgrade_journal.note(
                self._settings.var.upgrades, "drain", outcome, handover.upgrade_id, version=self._settings.version
            )

    async def _stop(self, applications: Applications, events: Events) -> int:
        """Stop all that runs; the exit status. Raises what has ended the boot."""
        self._life.enter(Phase.STOPPING)
        boot, asked = events.boot, events.asked.done() and self._exit_error is None
        if boot.done() and not boot.cancelled() and (error := boot.exception()):
            self._endpoint.settle(error)
            raise error
        last = events.ending.result() if events.ending.done() else None
        if last is not None:
            self._endpoint.settle(BootError(f"{last.application} ended before it was ready"))
        on_purpose = last is not None and isinstance(last.error, PeerLost)
        self._keeper.stopping(asked=asked or on_purpose)
        if self._stop_request.restarts:
            with contextlib.suppress(UnderwayError):  # there is nothing left to refuse
                await applications.hooks.before_handover("")
        await applications.stop()
        await end_processes(self._settings, others=events.leaving.done() and not asked)
        if last is not None:
            log(f"{self._settings.name} stopped, because {last}")
        return exit_status(last, self._exit_error, stopped_well=applications.stopped_well)

    def _end_soon(self) -> None:
        """See to it that the process ends: threads that applications left behind must not keep it."""
        name = self._settings.name
        self._forced_end.after(
            TO_END, lambda: f"{name} has stopped and its process has not ended; threads: {threads_left()}"
        )

    # ------------------------------------------------------------------------------------------- signals and shell

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two instructions of whatever runs there."""
        if number == stop_signals.INTERRUPT:
            session.on_signal()
            return
        if self._life.phase is Phase.PREPARING:
            raise stop_signals.Stopping(0)
        if self._main_thread is not None and self._main_thread.on_signal(number):
            return
        if number == signal.SIGINT:
            if self._stop_request.is_made or self._life.phase is Phase.STOPPING:
                self._forced_end.now(f"{self._settings.name} is ended by force; what still ran has not stopped")
            if self._shell is not None:
                self._shell.interrupt()
                return
        self.ask_to_stop()

    def _close_shell(self) -> None:
        if self._shell is not None:
            self._shell.close()
