"""The node: the process that runs a release's applications, from its lock to its exit status.

::

    lock, cookie, configuration     in the main thread; a signal ends it at once. The keeper has the lock
      └─ code path, modules         instructions before the first start; likewise
           └─ starts                on the loop; a signal stops what has started
                └─ running          until a signal, the shell, or the end of an application that matters
                     └─ stop        applications in reverse order, within the deadline; another SIGINT forces

The loop runs in the main thread. Where an application is a ``main`` function, that gets the main thread and the loop runs
in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import FrameType
from typing import Any

from ..apps import state
from ..apps.controller import Applications, Ending, check_code_path
from ..apps.launch import ServerContext, overlaps
from ..apps.launch import run as run_application
from ..apps.main_function import MainThread, wanted
from ..apps.socket_adoption import Adoption
from ..apps.sockets import Listeners
from ..apps.suspension import Suspension
from ..configuration import boot_config, config, resolution
from ..control import cookie, session
from ..process import audit_hooks, garbage_collector, oom, proc_sockets, stop_signals, upgrade_journal
from ..process.log import last_words, log
from ..process.settings import DRAIN_TIMEOUT, HANDOVER_TIMEOUT, START_TIMEOUT, STOP_TIMEOUT, Settings
from ..release import gates
from ..release.boot_script import BootScript, CodePath, Instruction, PrimLoad, Start
from ..release.errors import EXIT_FAILED, BootError, PeerLost, UnderwayError
from . import in_place_install
from .control_endpoint import ControlEndpoint
from .gates import Gates
from .handover import Handover
from .in_place_install import Change, Step
from .keeper_client import KeeperClient

_TO_BEGIN = 5.0
"""Seconds until a main function is taken to have imported what it will, for the collector."""
_TO_END = 2.0
"""Seconds that the process gets to end, when its applications have stopped."""


_MARGIN = 5.0
"""Seconds beyond that after which who waits for the end is told."""


class Node:
    """One run of a node."""

    def __init__(
        self,
        settings: Settings,
        script: BootScript,
        environ: Mapping[str, str],
        keeper: KeeperClient,
        change: Callable[[Step], Change],
        *,
        shell: bool = False,
    ) -> None:
        """`change` says what makes this node another version, where a process can become that."""
        self._change = change
        self._settings = settings
        self._script = script
        self._environ = environ
        self._keeper = keeper
        self._shell_wanted = shell
        self._shell: Any = None
        self._preparing = True
        self._asked = False
        self._restarts = False
        self._asked_on_loop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_thread = MainThread() if wanted(script) else None
        self._exit_error: BaseException | None = None
        self._answering = ControlEndpoint(
            settings,
            script,
            keeper,
            restart=self.ask_to_restart,
            hand_over=self._hand_over,
            install=self._install,
            gates=self._try_gates,
            consider=self._consider,
        )
        self._handover: Handover | None = None
        self._gates = Gates(settings.tmp, settings.root)
        self._stay: Callable[[], None] = lambda: None

    def run(self) -> int:
        """Run until the node stops, and return the exit status. Called once, in the main thread.

        Raises UnderwayError when it could not start.
        """
        try:
            stop_signals.install(self._on_signal)
            try:
                self._keeper.hold(self._settings)
                if self._keeper.identity:
                    self._stay = oom.go_first()
                start = self._prepare()
                self._preparing = False
            except stop_signals.Stopping:
                log(f"{self._settings.name} was stopped before it had started")
                return 0
            except BaseException as error:
                self._answering.settle(error)
                raise
            if self._main_thread is None:
                return self._run_loop(start)
            return self._main_thread.lend_while(partial(self._run_loop, start))
        finally:
            if self._shell is not None:
                self._shell.close()
            self._answering.close()
            self._gates.close()
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()  # while `_end_soon` watches

    def ask_to_stop(self) -> None:
        """Make the node stop; from any thread, any number of times."""
        self._asked = True
        if self._loop is not None and self._asked_on_loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the node has stopped
                self._loop.call_soon_threadsafe(self._asked_on_loop.set)

    def ask_to_restart(self) -> None:
        """Make the node stop, and the keeper start the permanent release in its place; from any thread."""
        self._keeper.restart()
        self._restarts = True
        self.ask_to_stop()

    def _hand_over(self, version: str, identity: str, to_commit: float) -> Future[dict[str, Any]]:
        if self._handover is None:
            outcome: Future[dict[str, Any]] = Future()
            outcome.set_result({"busy": "it is starting"})
            return outcome
        return self._handover.begin(version, identity, to_commit)

    def _install(self, version: str, identity: str, to_commit: float) -> Future[dict[str, Any]]:
        async def install() -> dict[str, Any]:
            assert self._handover is not None
            await self._handover.has_started()
            if (state := self._answering.report.state) != "running":
                return {"busy": f"it is {state}"}
            if reason := self._handover.busy:
                return {"busy": reason}
            async with self._handover.alone:
                runs = in_place_install.Version(self._settings, self._script, self._resolved, self._gates.wanted)
                self._answering.report.now("installing")
                try:
                    outcome = await self._in_place.install(runs, version, identity, self._gates)
                finally:
                    self._answering.report.now("running")
                if "installed" in outcome or "stays" in outcome:
                    self._keeper.installed(self._line(), to_commit)
                return outcome

        return self._on_loop(install())

    def _consider(self, version: str) -> Future[dict[str, Any]]:
        async def considered() -> dict[str, Any]:
            runs = in_place_install.Version(self._settings, self._script, self._resolved, self._gates.wanted)
            return await self._in_place.consider(runs, version, self._gates)

        return self._on_loop(considered())

    def _try_gates(self) -> Future[dict[str, Any]]:
        async def tried() -> dict[str, Any]:
            return {"gates": await self._gates.tried()}

        return self._on_loop(tried())

    def _on_loop(self, work: Coroutine[Any, Any, dict[str, Any]]) -> Future[dict[str, Any]]:
        if self._loop is not None:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        outcome: Future[dict[str, Any]] = Future()
        outcome.set_result({"busy": "it is starting"})
        return outcome

    def _became(self, version: in_place_install.Version) -> None:
        os.environ.update(self._settings.variables_of(version.settings.version, os.environ))
        self._settings, self._script = version.settings, version.script
        self._resolved, self._gates.wanted = version.resolved, version.gates
        boot_config.write_down(self._settings, self._script, self._resolved)
        self._answering.became(self._settings, self._script)

    def _line(self) -> str:
        """What systemd shows."""
        return f"{self._settings.version}, running {', '.join(self.applications.running)}"

    def _prepare(self) -> Callable[[], Awaitable[int]]:
        """Do all that comes before the first start; returns what is left, to be called on the loop."""
        settings = self._settings
        audit_hooks.watch()
        secret = cookie.obtain(settings, self._environ)
        cookie.hide(os.environ, settings)
        cookie.hold(secret)
        self._started_with = dict(os.environ)
        for instruction in self._script.instructions:
            if isinstance(instruction, CodePath):
                check_code_path(instruction.directories, settings.directory.lib)
        built = resolution.read(settings.sys_config)
        succeeds = bool(self._keeper.identity)
        if "start-distribution-during-config" in built.flags and not succeeds:
            config.install(built.values)
            self._answering.open(secret)
        self._resolved = boot_config.resolve(settings, self._script)
        if not succeeds:
            boot_config.write_down(settings, self._script, self._resolved)
            self._answering.open(secret)
        self._secret = secret
        stop_timeout = config.seconds("stop_timeout", STOP_TIMEOUT)
        self._keeper.about(settings, stop_timeout)

        self._within = config.seconds("handover_timeout", HANDOVER_TIMEOUT)
        if not succeeds:
            self._gates.close_others()
        self._gates.open(gates.read(settings.place.gates))

        adoption = Adoption(log, late=succeeds)
        suspension = Suspension()
        world = ServerContext(
            config.config.get,
            log,
            partial(self._bind, adoption),
            self._main_thread,
            self._gates.private,
            adoption,
            self._not_handed_over,
            suspension,
        )
        self._not_known = world.not_known
        self._stop_timeout = stop_timeout
        start_timeout = config.seconds("start_timeout", START_TIMEOUT)
        self.applications = Applications(
            settings.directory.lib,
            partial(run_application, world=world),
            log,
            embedded=settings.mode == "embedded",
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
            drain_timeout=_drain_timeout,
            overlaps=partial(overlaps, world=world),
            late=succeeds,
            note=self._answering.report.note,
        )
        self._in_place = in_place_install.InPlace(
            self.applications, self._keeper, self._started_with, self._became, log, suspension, self._change
        )
        self._answering.about(self.applications, stop_timeout + _TO_END + _MARGIN)
        instructions = list(self._script.instructions)
        while instructions and not isinstance(instructions[0], Start):
            with self._deadline(instructions[0], start_timeout):
                self.applications.obey(instructions.pop(0))
        for name in self.applications.loaded:
            _drain_timeout(name)  # a wrong one is told now
        return partial(self._live, instructions)

    @contextlib.contextmanager
    def _deadline(self, instruction: Instruction, within: float) -> Iterator[None]:
        """End the process where an import does not return: nothing else could end that."""

        def end() -> None:
            which = self.applications.importing
            reason = (
                f"the import of {which} has not returned within {within:g} s;"
                " start_timeout of underway_runtime gives it more"
            )
            self._keeper.failed(reason)
            self._end_now(f"error: {reason}")

        timer = threading.Timer(within, end)
        timer.daemon = True
        if isinstance(instruction, PrimLoad):
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _run_loop(self, start: Callable[[], Awaitable[int]]) -> int:
        with asyncio.Runner(loop_factory=self._loop_factory()) as runner:
            loop = runner.get_loop()
            task = asyncio.ensure_future(start(), loop=loop)
            while True:
                try:
                    return loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt) as error:
                    if task.done():
                        raise
                    # sys.exit in some task means to end the process, and that is done in order.
                    self._exit_error = error
                    log(f"{type(error).__name__} in a task; {self._settings.name} stops", error)
                    self.ask_to_stop()

    async def _live(self, instructions: list[Instruction]) -> int:
        self._asked_on_loop = asyncio.Event()
        self._loop = loop = asyncio.get_running_loop()
        if self._asked:
            self._asked_on_loop.set()
        if self._main_thread is not None:
            self._main_thread.watch(loop, self._on_signal, self.ask_to_stop)
        applications, settings = self.applications, self._settings
        self._handover = handover = Handover(
            self._keeper, applications, log, self._within, self._note_failed, self.ask_to_stop
        )
        succeeds = bool(self._keeper.identity)
        self._answering.attach(loop)
        boot = asyncio.ensure_future(
            handover.succeed(instructions, partial(self._gates.hold, self._gates.wanted), self._open_as_successor)
            if succeeds
            else applications.boot(instructions)
        )
        hearing = asyncio.ensure_future(handover.listen())
        leaving = asyncio.ensure_future(handover.leaving.wait())
        asked = asyncio.ensure_future(self._asked_on_loop.wait())
        ending = asyncio.ensure_future(applications.ending.get())
        try:
            await asyncio.wait({boot, asked, ending}, return_when=asyncio.FIRST_COMPLETED)
            if boot.done() and boot.exception() is None and not await _done_soon(ending):
                loop.call_later(0 if self._main_thread is None else _TO_BEGIN, garbage_collector.settle)
                if succeeds:
                    self._answering.report.took_over = self._keeper.identity
                    self._answering.report.now("running")
                    self._keeper.accepting(self._line())
                    self._stay()
                    upgrade_journal.note(
                        settings.var.upgrades, "boot", "done", self._keeper.identity, version=settings.version
                    )
                    await asyncio.wait(
                        {asyncio.ensure_future(handover.complete.wait()), asked, ending, leaving},
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                else:
                    self._keeper.ready(self._line(), "ready", "\n".join(self._not_known))
                handover.started.set()
                taken_over = not succeeds or handover.complete.is_set() or leaving.done()
                self._answering.settle(
                    None if taken_over else BootError("it was told to stop, or failed, before it was alone")
                )
                if self._shell_wanted:
                    self._start_shell()
                await asyncio.wait({asked, ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if leaving.done() and not asked.done():
                    await self._leave(handover, asked)
            elif not boot.done():
                boot.cancel()
                await asyncio.wait({boot}, timeout=self._stop_timeout + 1)  # it stops what has started
            self._asked = True
            self._answering.report.now("stopping")
            if boot.done() and not boot.cancelled() and (error := boot.exception()):
                self._answering.settle(error)
                raise error
            last = ending.result() if ending.done() else None
            if last is not None:
                self._answering.settle(BootError(f"{last.application} ended before it was ready"))
            on_purpose = last is not None and isinstance(last.error, PeerLost)
            self._keeper.stopping(asked=(asked.done() and self._exit_error is None) or on_purpose)
            if self._restarts:
                with contextlib.suppress(UnderwayError):  # there is nothing left to refuse
                    await applications.before_handover("")
            await applications.stop()
            return self._status(last)
        finally:
            self._end_soon()
            for task in (boot, asked, ending, leaving, hearing):
                task.cancel()
            if self._main_thread is not None:
                self._main_thread.unwatch(loop)

    def _bind(self, adoption: Adoption, addresses: Sequence[str]) -> Listeners:
        """Sockets of the keeper's, in which nothing is changed for whom it gives them to as well."""
        listeners = self._keeper.bind(addresses)
        adoption.sharing.add(listeners.sockets)
        return listeners

    def _not_handed_over(self) -> list[str]:
        """Where the node that hands over listens by itself: the keeper's other child, or this one later on."""
        keeper, own = os.getppid(), os.getpid()
        succeeds = bool(self._keeper.identity) and not (self._handover and self._handover.complete.is_set())
        others = [pid for pid in proc_sockets.children(keeper) if pid != own] if succeeds else []
        return [address for pid in others or [own] for address in proc_sockets.not_handed_over(keeper, pid)]

    def _open_as_successor(self) -> None:
        """From now on commands ask this node, or the one that leaves, which takes no more when it knows that this accepts."""
        assert self._loop is not None
        self._gates.close_others()
        boot_config.write_down(self._settings, self._script, self._resolved)
        self._answering.open(self._secret)
        self._answering.about(self.applications, self._stop_timeout + _TO_END + _MARGIN)
        self._answering.attach(self._loop)

    def _note_failed(self, reason: str) -> None:
        """The permanent version was to take over again from this one, which had been installed."""
        if self._keeper.identity:
            upgrade_journal.note(self._settings.var.upgrades, "return", "failed", self._keeper.identity, reason=reason)

    async def _leave(self, handover: Handover, asked: asyncio.Future[Any]) -> None:
        self._answering.report.now("handing over")
        self._answering.accept_no_more()
        who = f"{self._settings.name} {self._settings.version} (pid {os.getpid()})"
        log(f"{who} has handed over, and drains")
        # Until it has left there can be no other handover, so something that blocks the loop must not keep it.
        running = self.applications.running
        within = sum(_drain_timeout(name) + state.WITHIN for name in running) + self._stop_timeout + _TO_END + _MARGIN
        timer = threading.Timer(
            within, self._end_now, [f"{who} has not left within {within:g} s and is ended by force"]
        )
        timer.daemon = True
        timer.start()
        await handover.leave(asked)
        if handover.identity:
            outcome = "asked to stop" if asked.done() else "done"
            upgrade_journal.note(
                self._settings.var.upgrades, "drain", outcome, handover.identity, version=self._settings.version
            )

    def _status(self, ending: Ending | None) -> int:
        if ending is not None:
            log(f"{self._settings.name} stopped, because {ending.application} {'failed' if ending.error else 'ended'}")
            if isinstance(ending.error, PeerLost):
                return ending.error.exit_code
        failed = ending is not None and ending.error is not None
        if isinstance(self._exit_error, SystemExit):
            failed = failed or self._exit_error.code not in (None, 0)
        return EXIT_FAILED if failed or not self.applications.stopped_well else 0

    def _loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """uvloop's, where the release serves ASGI and has it, as uvicorn does."""
        loaded = self.applications.loaded
        starting = (i.application for i in self._script.instructions if isinstance(i, Start))
        serves = any("asgi" in (loaded[name].start or {}) for name in starting if name in loaded)
        if serves and importlib.util.find_spec("uvloop") is not None:
            new_event_loop: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
            return new_event_loop
        return None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, between two instructions of whatever runs there."""
        if number == stop_signals.INTERRUPT:
            session.on_signal()
            return
        if self._preparing:
            raise stop_signals.Stopping(0)
        if self._main_thread is not None and self._main_thread.on_signal(number):
            return
        if number == signal.SIGINT:
            if self._asked:
                self._end_now(f"{self._settings.name} is ended by force; what still ran has not stopped")
            if self._shell is not None:
                self._shell.interrupt()
                return
        self.ask_to_stop()

    def _start_shell(self) -> None:
        from ..control.console import Shell

        assert self._loop is not None
        self._shell = Shell(self._loop, self._answering.names(), self.ask_to_stop)
        settings = self._settings
        names = ", ".join(self.applications.running) or "none"
        self._shell.start(
            f"{settings.name} {settings.version}, Python {sys.version.split()[0]}; running: {names}\n"
            "`await` works at the prompt; Ctrl-D stops the node."
        )

    def _end_soon(self) -> None:
        """See to it that the process ends: threads that applications left behind must not keep it."""

        def end() -> None:
            left = [t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
            names = ", ".join(sorted(left)) or "main"
            self._end_now(f"{self._settings.name} has stopped and its process has not ended; threads: {names}")

        timer = threading.Timer(_TO_END, end)
        timer.daemon = True
        timer.start()

    def _end_now(self, reason: str) -> None:
        if self._shell is not None:
            self._shell.close()

        last_words(reason)
        os._exit(EXIT_FAILED)


async def _done_soon(task: asyncio.Future[Any]) -> bool:
    """Whether this is done, or about to be."""
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


def _drain_timeout(application: str) -> float:
    return config.seconds("drain_timeout", config.seconds("drain_timeout", DRAIN_TIMEOUT), application)
