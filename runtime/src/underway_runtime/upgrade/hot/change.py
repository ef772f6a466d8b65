"""A running node becomes a version of other code: the relup's instructions, obeyed in the process.

::

    prepare      configuration resolved; both versions read, this process looked at      nothing has changed
    apply        functions that the relup calls before its point of no return
    hold         requests, messages and applications wait; who is inside what changes may leave; loops are paused
    stop         applications that the relup stops
    swap         fragments, code_change, and all of it in place at once, in one callback of the loop
    start        applications that the relup starts, functions that it calls, config_change
    resume       what waited goes on

What fails before `resume` is undone, and the version that ran goes on. After it the way back is the relup's own.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any

from ... import loops
from ...application import Application
from ...configuration.resolution import Resolved
from ...node.in_place_install import Change, Irreversible, RequiresRestart, Step, StillInside
from ...release import boot_script
from ...release import instructions as low
from ...release.boot_script import BootScript, Mode
from ...release.errors import BootError, UnderwayError, listing
from ...release.relup import RelupPath
from .. import path_finder
from . import CannotMigrate, CannotSwap, MadeMeanwhile, explained, imports, proof
from .expected import Excerpt, Surroundings
from .heap import Survivor
from .swap import Prepared
from .swap import prepare as prepare_swap
from .undo_log import no_collection
from .versions import read_version

TO_SUSPEND = 5.0
"""Seconds in which whoever is inside what changes has to leave it, where neither relup nor configuration says otherwise."""
_LOOK = 0.02
"""Seconds between two looks at who is still inside."""
_TRIES = 10
"""How many times all instances are carried over again where threads go on making some."""
_LONGEST = 0.5
"""Seconds between two such looks while work goes on."""

_OF_THE_SWAP = (low.LoadObjectCode, low.Load, low.Remove, low.CodeChange, low.Purge, low.Suspend, low.Resume)


async def to(step: Step) -> Change:
    """What makes the node that version. Raises RequiresRestart where it takes a new interpreter, and DamagedRelease."""
    directory, running, version = step.settings.directory, step.runs.settings.version, step.settings.version
    way = await asyncio.to_thread(path_finder.find, directory, running, version)
    return step.configuration if way is None else Code(step, way)


class NotAsFresh(UnderwayError):
    """The process has become something else than a fresh start of the version is; all is as it was."""


class Code:
    """The change to a version of other code."""

    how = "hot"

    def __init__(self, step: Step, way: RelupPath) -> None:
        """Raises RequiresRestart for instructions that can't be obeyed here."""
        self._step = step
        self._way = way
        self._script = _Script(way.entry.instructions)
        self._applications = step.applications
        self._configuration = step.configuration
        self._prepared: Prepared | None = None
        self._expected: Excerpt | None = None
        self._resolved: Resolved | None = None
        self._in_place = False
        self.held = 0.0
        self.old_code: Sequence[str] = ()

    async def prepare(self) -> Resolved:
        """Read and look at everything; nothing is changed. Raises RequiresRestart with all that takes a new interpreter."""
        runs, comes = self._step.runs, self._step.script
        if reasons := _started_otherwise(runs.script, comes):
            raise RequiresRestart("; ".join(reasons))
        self._resolved = resolved = await self._configuration.prepare()
        with _as_restart(), explained():
            self._prepared = await asyncio.to_thread(self._read)
            self._expected = await asyncio.to_thread(proof.expected, *self._surroundings(resolved), self._instructions)
            await self._raise_for_staying(self._prepared)
        return resolved

    async def rehearse(self) -> None:
        """Make everything ready in a copy, where no proof has done that. Raises RequiresRestart where that fails."""
        if self._expected is None and self._resolved is not None:
            surroundings = self._surroundings(self._resolved)
            with _as_restart(), explained():
                await asyncio.to_thread(proof.raise_for_staging, *surroundings, self._instructions)

    @property
    def _instructions(self) -> Sequence[low.Instruction]:
        return self._way.entry.instructions

    def _read(self) -> Prepared:
        runs, comes = self._step.runs.settings, self._step.settings
        old, new = (read_version(side.place) for side in (runs, comes))
        return prepare_swap(self._instructions, old, new, magic=self._way.magic)

    def _surroundings(self, resolved: Resolved) -> tuple[Surroundings, Surroundings]:
        """What both versions are started with here."""
        runs, comes = self._step.runs.settings, self._step.settings
        old, new = (read_version(side.place) for side in (runs, comes))
        before = Surroundings(runs.place, dict(os.environ), self._step.runs.resolved.values)
        environ = {**os.environ, **dict(imports.environment(old, new))}
        return before, Surroundings(comes.place, environ, resolved.values)

    async def _raise_for_staying(self, prepared: Prepared) -> None:
        """Raise RequiresRestart where somebody is inside of what changes for as long as a pause may last: work need not wait.

        Where an application can suspend what it does, it is not known before whether that makes it leave.
        """
        end, pause = time.monotonic() + self._script.within, _LOOK
        inside = {survivor.key: survivor for survivor in self._leaving_by_themselves(prepared)}
        while inside and self._script.within != float("inf") and not self._may_suspend():
            if time.monotonic() > end:
                raise RequiresRestart(
                    listing(f"not left within {self._script.within:g} s, though it changes:", map(str, inside.values()))
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)
            left = {survivor.key for survivor in self._leaving_by_themselves(prepared)}
            inside = {key: survivor for key, survivor in inside.items() if key in left}

    def _may_suspend(self) -> bool:
        """Whether an application has a `suspend` of its own."""
        kinds = [type(service.subject) for _, service in self._applications.running.values()]
        return any(issubclass(kind, Application) and kind.suspend is not Application.suspend for kind in kinds)

    def _leaving_by_themselves(self, prepared: Prepared) -> list[Survivor]:
        """Who is inside, but for what is begun again. Raises RequiresRestart for a WebSocket, which can't leave."""
        inside, again = prepared.inside(), loops.running()
        self._raise_for_kept(inside)
        return [survivor for survivor in inside if not any(loop.owns(survivor.task) for loop in again)]

    def _raise_for_kept(self, inside: Iterable[Survivor], *, late: bool = False) -> None:
        """Refuse, with RequiresRestart, where somebody can't leave while new work is held: no use in waiting for that."""
        suspension, again = self._step.suspension, loops.running()
        keeping = [
            survivor
            for survivor in inside
            if suspension.keeps(survivor.task, late=late) and not any(loop.owns(survivor.task) for loop in again)
        ]
        if keeping:
            raise RequiresRestart(listing("WebSockets stay in what changes while they are open:", map(str, keeping)))

    async def commit(self) -> None:
        """Put it in place. Raises what is the matter, with all as it was."""
        assert self._prepared is not None
        prepared, suspension = self._prepared, self._step.suspension
        paused: list[loops.Loop] = []
        for apply in self._script.before:
            await _call_before(apply)
        began = time.monotonic()
        suspension.hold()
        try:
            await self._suspend()
            await self._become(prepared, paused)
            prepared.forget()
            self._in_place = True
        finally:
            for loop in paused:
                loop.go_on()
            await self._applications.hooks.resume()
            suspension.release()
            self.held = time.monotonic() - began

    async def _suspend(self) -> None:
        """Suspend applications. Raises RequiresRestart where one of the version that runs can't."""
        with _not_to_blame():
            await self._applications.hooks.suspend(self._script.within)

    async def undo(self) -> None:
        """Go back by the relup. Raises Irreversible where that does not lead back."""
        if not self._in_place:
            return
        try:
            back = await to(self._step.reversed())
            await back.prepare()
            await back.commit()
        except UnderwayError as error:
            raise Irreversible(str(error)) from error
        self._in_place = False

    async def _become(self, prepared: Prepared, paused: list[loops.Loop]) -> None:
        undo: list[Callable[[], Any]] = []
        try:
            for name in self._script.stops:
                if name in self._applications.running:
                    undo.append(partial(self._start_again, name, self._applications.running[name][0]))
                    with _not_to_blame():
                        await self._applications.stop_one(name)
            with _as_restart(), explained():  # what is found out only now: a new interpreter starts without all that
                await self._swap(prepared, paused)
            undo.append(prepared.undo)
            undo.append(self._applications.become(_loads(self._step.script)))
            for name, started in self._script.starts.items():
                undo.append(partial(self._stopped, name))
                await self._applications.start(name, started)
            for apply in self._script.after:
                await _call(apply)
            undo.append(self._configuration.undo)
            await self._configuration.commit()
        except BaseException:
            for act in reversed(undo):
                outcome = act()
                if inspect.isawaitable(outcome):
                    await outcome
            raise

    async def _start_again(self, name: str, mode: Mode) -> None:
        if name not in self._applications.running:
            await self._applications.start(name, mode)

    async def _stopped(self, name: str) -> None:
        if name in self._applications.running:
            with suppress(BootError):  # it is in the log, and what comes back is not started next to it
                await self._applications.stop_one(name)

    async def _swap(self, prepared: Prepared, paused: list[loops.Loop]) -> None:
        """Swap in one callback, when nobody is inside; again when a thread was quicker, until the time is over."""
        end = time.monotonic() + self._script.within
        if inside := prepared.inside():
            gc.collect()  # what was thrown away is inside for ever
            inside = prepared.inside()
        tries = 0
        while True:
            while inside:
                for loop in loops.running():
                    if loop not in paused and any(loop.owns(survivor.task) for survivor in inside):
                        paused.append(loop)
                        await loop.pause(max(0.0, end - time.monotonic()))
                late = time.monotonic() > end
                self._raise_for_kept(inside, late=late)
                if late:
                    raise StillInside(
                        listing(f"not left within {self._script.within:g} s, though it changes:", map(str, inside))
                    )
                await asyncio.sleep(_LOOK)
                inside = prepared.inside()
            try:
                if not (left := self._put_in_place(prepared)):
                    return
                if time.monotonic() > end:
                    raise StillInside(listing("threads enter what changes again and again:", map(str, left)))
            except MadeMeanwhile:
                tries += 1
                if tries == _TRIES or time.monotonic() > end:
                    raise
            await asyncio.sleep(_LOOK)
            inside = prepared.inside()

    def _put_in_place(self, prepared: Prepared) -> list[Survivor]:
        """Swap without collections meanwhile, so that what is made is told from what was there; who is left inside then, as `_left`."""
        with no_collection():
            prepared.stage_and_migrate()
            prepared.swap()
            return self._left(prepared)

    def _left(self, prepared: Prepared) -> list[Survivor]:
        """Who runs in old code of what was put in place, and then all is undone; where nobody does, all is as in a fresh start.

        Raises NotAsFresh where it is not, and whatever else the look raises, with all as it was.
        """
        stands = False
        try:
            survivors = prepared.survivors()
            left = [survivor for survivor in survivors if survivor.runs]
            if not left and self._expected is not None and (wrong := proof.differences(self._expected)):
                raise NotAsFresh(listing("it was undone, since it was not as a fresh start:", wrong))
            self.old_code = [str(survivor) for survivor in survivors]
            stands = not left
            return left
        finally:
            if not stands:
                prepared.undo()


@contextmanager
def _as_restart() -> Iterator[None]:
    """What speaks against this process, as that it takes a new one; a ``code_change`` that fails speaks against the version."""
    try:
        yield
    except CannotMigrate:
        raise
    except CannotSwap as error:
        raise RequiresRestart("; ".join(error.problems)) from error


@contextmanager
def _not_to_blame() -> Iterator[None]:
    """What an application of the version that runs can't do takes a new interpreter: the version that comes is not to blame."""
    try:
        yield
    except BootError as error:
        raise RequiresRestart(str(error)) from error


class _Script:
    """The instructions, by when they are obeyed. Those of the swap are one wave."""

    def __init__(self, instructions: Iterable[low.Instruction]) -> None:
        self.before: list[low.Apply] = []
        self.after: list[low.Apply] = []
        self.stops: list[str] = []
        self.starts: dict[str, Mode] = {}
        timeouts: list[Any] = []
        returns = True
        for instruction in instructions:
            match instruction:
                case low.PointOfNoReturn():
                    returns = False
                case low.Apply():
                    (self.before if returns else self.after).append(instruction)
                case low.ApplicationStop(name):
                    self.stops.append(name)
                case low.ApplicationStart(name, mode):
                    self.starts[name] = mode
                case low.Suspend(modules):
                    timeouts += [timeout for _, timeout in modules]
                case low.ApplicationLoad() | low.ApplicationUnload():
                    pass  # the boot script says what is loaded
                case _ if isinstance(instruction, _OF_THE_SWAP):
                    pass
                case low.Stop() | low.Start() | _:
                    raise RequiresRestart(f"{type(instruction).__name__} is not for a process that runs")
        numbers = [timeout for timeout in timeouts if isinstance(timeout, (int, float))]
        self.within = float("inf") if "infinity" in timeouts else max([TO_SUSPEND, *numbers])


def _started_otherwise(before: BootScript, after: BootScript) -> list[str]:
    """The applications that one class, or one address, starts now and another then."""
    old, new = _loads(before), _loads(after)
    return [
        f"{name} is started by {new[name].start}, and runs as {old[name].start}"
        for name in sorted(old.keys() & new.keys())
        if old[name].start is not None and old[name].start != new[name].start
    ]


def _loads(script: BootScript) -> dict[str, boot_script.Load]:
    return {
        instruction.application: instruction
        for instruction in script.instructions
        if isinstance(instruction, boot_script.Load)
    }


async def _call_before(apply: low.Apply) -> None:
    """Call what comes before the point of no return. Raises RequiresRestart where it raises: it is code of the version that runs."""
    try:
        await _call(apply)
    except (Exception, SystemExit) as error:
        raise RequiresRestart(
            f"{apply.module}.{apply.function}, which the relup calls first, raised {type(error).__name__}: {error}"
        ) from error


async def _call(apply: low.Apply) -> None:
    function: Any = import_module(apply.module)
    for name in apply.function.split("."):
        function = getattr(function, name)
    outcome = function(*apply.arguments)
    if inspect.isawaitable(outcome):
        await outcome
