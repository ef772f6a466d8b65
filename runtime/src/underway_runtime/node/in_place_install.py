"""A version that is installed in the process that runs.

===========  ==============================================================  ==========================================
phase        what happens                                                    where it fails
===========  ==============================================================  ==========================================
``prepare``  all that can be found out beforehand                            nothing has changed
``commit``   the version is put in place                                     ``undo``; where the process ends, the keeper
                                                                             starts the permanent version
gates        those of the version, as they are                               ``undo``
settle       the keeper, and all who ask, are told of the version            ``undo``
===========  ==============================================================  ==========================================

What it takes to become that version is a `Change`: of configuration, here; of code too, in `underway_runtime.upgrade.hot`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..application import Application
from ..apps import state
from ..apps.controller import Applications
from ..apps.service import Log, describe
from ..apps.suspension import Suspension
from ..configuration import boot_config, config
from ..configuration.resolution import Resolved
from ..configuration.schema import READ_BY_THE_NODE
from ..frozen import Frozen
from ..process import garbage_collector, release_processes
from ..process.settings import Settings
from ..release import boot_script, gates
from ..release.boot_script import BootScript
from ..release.errors import BootError, StateError, UnderwayError
from ..release.gates import Gate
from .gates import Gates
from .keeper_client import KeeperClient


class RequiresRestart(UnderwayError):
    """It takes a new interpreter."""


class StillInside(UnderwayError):
    """Somebody has not left what changes in time, so nothing was done; the version is not to blame."""


class Irreversible(UnderwayError):
    """This process can't go back: that takes a new interpreter."""


class Version(Frozen):
    """A version as a node runs it."""

    settings: Settings
    script: BootScript
    resolved: Resolved
    gates: tuple[Gate, ...] = ()


class Change(Protocol):
    """What makes another version of the one that runs. Each phase is called once at most, in the node's loop."""

    how: str
    held: float
    """Seconds for which new work had to wait, once it is done."""
    old_code: Sequence[str]
    """Frames of the version before that are kept though they have ended, with who keeps them."""

    async def prepare(self) -> Resolved:
        """Find out all that can be, and change nothing; what is configured then. Raises RequiresRestart, or what is the matter."""

    async def rehearse(self) -> None:
        """Try, after `prepare`, what else `commit` may fail with, in an interpreter of its own. Raises RequiresRestart."""

    async def commit(self) -> None:
        """Put it in place. Raises what is the matter, RequiresRestart where that is found out only now; `undo` follows."""

    async def undo(self) -> None:
        """Put everything back, from wherever `commit` has come to. Raises Irreversible where that can't be."""


class Several(Protocol):
    """The processes of a release."""

    wanted: int

    @property
    def reason(self) -> str:
        """Why one of them can't become another version by itself; empty where it can."""

    async def scale(self, wanted: int, version: str, handover: Any) -> dict[str, Any]:
        """Have so many from now on."""


class Step(Frozen):
    """From the version that a node runs to another, and what it is done to."""

    runs: Version
    settings: Settings
    """Of the version that comes, as `script` is."""
    script: BootScript
    configuration: Change
    """The part of it that concerns configuration."""
    applications: Applications
    suspension: Suspension

    def reversed(self) -> Step:
        """The step back, once this one was made."""
        comes, back = self.runs, _Undone(self.configuration, self.runs.resolved)
        runs = Version(self.settings, self.script, comes.resolved)
        return replace(self, runs=runs, settings=comes.settings, script=comes.script, configuration=back)


class _Undone:
    """To undo a change, as a change."""

    how = "undone"
    held = 0.0
    old_code: Sequence[str] = ()

    def __init__(self, change: Change, resolved: Resolved) -> None:
        self._change = change
        self._resolved = resolved

    async def prepare(self) -> Resolved:
        return self._resolved

    async def rehearse(self) -> None:
        pass

    async def commit(self) -> None:
        await self._change.undo()

    async def undo(self) -> None:
        pass


class InPlace:
    """The installs in the process of one node, one at a time; on its loop."""

    def __init__(
        self,
        applications: Applications,
        keeper: KeeperClient,
        environ: Mapping[str, str],
        became: Callable[[Version], None],
        log: Log,
        suspension: Suspension,
        change: Callable[[Step], Awaitable[Change]],
    ) -> None:
        """`environ` is what the process was started with; `became` tells all others what it is now; `change` says what leads to a
        version, and raises RequiresRestart where nothing does."""
        self.several: Several | None = None
        """The processes of the release, where it may run in more than one."""
        self._suspension = suspension
        self._change = change
        self._applications = applications
        self._keeper = keeper
        self._environ = environ
        self._became = became
        self._log = log

    async def can_install_in_place(self, runs: Version, version: str, gates_of_node: Gates) -> dict[str, Any]:
        """``{"how": text}``, ``{"unfit": reason}`` or ``{"failed": reason}``: what `install` would begin with. Changes nothing."""
        try:
            return await self._can_install(runs, version, gates_of_node)
        finally:
            garbage_collector.set_aside_again()

    async def _can_install(self, runs: Version, version: str, gates_of_node: Gates) -> dict[str, Any]:
        try:
            change, _ = await self._prepared(runs, version, gates_of_node)
            await change.rehearse()
        except RequiresRestart as why:
            return {"unfit": str(why)}
        except Exception as error:
            return {"failed": describe(error)}
        return {"how": change.how}

    async def _prepared(self, runs: Version, version: str, gates_of_node: Gates) -> tuple[Change, Version]:
        if self.several is not None and (reason := self.several.reason):
            raise RequiresRestart(reason)
        settings = runs.settings.of(version)
        script, wanted = boot_script.read(settings.boot_script), gates.read(settings.place.gates)
        if reasons := unasked(wanted, gates_of_node.private is not None):
            raise RequiresRestart("; ".join(reasons))
        if lost := self._keeper.lost_files():
            raise RequiresRestart(
                f"somebody has removed {', '.join(lost)}, which is made again for a fresh interpreter"
            )
        environ = {**self._environ, **runs.settings.variables_of(version, self._environ)}
        configuration = Configuration(runs, settings, script, environ, self._applications, self._log)
        change = await self._change(Step(runs, settings, script, configuration, self._applications, self._suspension))
        resolved = await change.prepare()
        if change is configuration:
            await raise_for_processes(settings)
        return change, Version(settings, script, resolved, wanted)

    async def install(self, runs: Version, version: str, upgrade_id: str, gates_of_node: Gates) -> dict[str, Any]:
        """Become a version, or stay as it is.

        Returns ``{"installed": True}``, ``{"unfit": reason}``, ``{"inside": reason}`` or ``{"failed": reason}``; that with
        ``"stays": reason`` where what has failed runs on, since this process can't go back.
        `runs` is what is installed now, `gates_of_node` are those of the node.
        """
        try:
            return await self._install(runs, version, upgrade_id, gates_of_node)
        finally:  # by now nothing refers any longer to what was found out, and what would have undone it
            garbage_collector.set_aside_again()

    async def _install(self, runs: Version, version: str, upgrade_id: str, gates_of_node: Gates) -> dict[str, Any]:
        try:
            change, comes = await self._prepared(runs, version, gates_of_node)
        except RequiresRestart as why:
            return {"unfit": str(why)}
        except Exception as error:
            return {"failed": describe(error)}
        self._keeper.installing(version, upgrade_id)
        try:
            await change.commit()
            await gates_of_node.hold(comes.gates)
            await asyncio.to_thread(self._keeper.about_version, version)
        except RequiresRestart as why:
            await change.undo()
            self._keeper.not_installed()
            return {"unfit": str(why)}
        except Exception as error:
            self._log(f"{version} is not installed: {describe(error)}", error)
            try:
                await change.undo()
            except Irreversible as why:
                self._became(comes)
                return {"failed": describe(error), "stays": str(why)}
            self._keeper.not_installed()
            return {"inside" if isinstance(error, StillInside) else "failed": describe(error)}
        self._became(comes)
        return {"installed": True, "how": change.how, "held": change.held, "old_code": [*change.old_code]}


class Configuration:
    """The change to a version of the same code, which is configured otherwise."""

    how = "configuration"
    held = 0.0
    old_code: Sequence[str] = ()

    def __init__(
        self,
        runs: Version,
        settings: Settings,
        script: BootScript,
        environ: Mapping[str, str],
        applications: Applications,
        log: Log,
    ) -> None:
        """`settings` and `script` are of the version that comes, `environ` is what its providers see."""
        self._before = self._after = runs.resolved
        self._settings, self._script = settings, script
        self._environ = environ
        self._running = {name: service for name, (_, service) in applications.running.items()}
        self._log = log
        self._told: list[str] = []

    async def prepare(self) -> Resolved:
        """Resolve its configuration, in a process of its own. Raises RequiresRestart for what no application could be told."""
        after = await asyncio.to_thread(boot_config.of_other, self._settings, self._script, self._environ)
        kinds = {name: type(service.subject) for name, service in self._running.items()}
        if reasons := untold(self._before.values, after.values, kinds):
            raise RequiresRestart("; ".join(reasons))
        self._after = after
        return after

    async def rehearse(self) -> None:
        """Do nothing: there is nothing that only a trial could tell."""

    async def commit(self) -> None:
        """Make it what `config.get` answers, and tell each application that it concerns, in start order."""
        config.install(self._after.values, self._after.environment)
        for name in self._running:
            if any(self._difference(name)):
                self._told.append(name)
                try:
                    await state.config_change(self._running[name], *self._difference(name))
                except StateError as error:
                    raise BootError(f"{name} could not take its configuration: {error}") from error.__cause__
        await raise_for_processes(
            self._settings
        )  # what was forked meanwhile has the code, or the configuration, of before

    async def undo(self) -> None:
        """Put back what was configured, and tell that to whom the other was told, the last one first."""
        config.install(self._before.values, self._before.environment)
        self._after, self._before = self._before, self._after
        for name in reversed(self._told):
            try:
                await state.config_change(self._running[name], *self._difference(name))
            except StateError as error:
                self._log(f"{name} could not take back its configuration: {error}", error.__cause__)

    def _difference(self, name: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        return state.difference(self._before.values.get(name, {}), self._after.values.get(name, {}))


async def raise_for_processes(settings: Settings) -> None:
    """Raise RequiresRestart, naming them, where other processes run the code of this node, which no change in this one reaches."""
    if processes := await asyncio.to_thread(release_processes.staying, settings.root):
        raise RequiresRestart("; ".join(release_processes.listing_of(processes)))


def untold(before: config.Values, after: config.Values, kinds: Mapping[str, Any]) -> list[str]:
    """Why a node can't get from one configuration to another in its process; empty where it can.

    `kinds` are the classes of the applications that run.
    """
    reasons = []
    for name in sorted(before.keys() | after.keys()):
        changed, new, removed = state.difference(before.get(name, {}), after.get(name, {}))
        keys = {*changed, *new, *removed}
        kind = kinds.get(name)
        if read := sorted(keys & READ_BY_THE_NODE):
            reasons.append(f"{', '.join(read)} of {name} is read when it starts")
        elif keys and getattr(kind, "config_change", None) in (None, Application.config_change):
            reasons.append(f"{name} has no config_change, and {', '.join(sorted(keys))} is changed")
    return reasons


def unasked(wanted: tuple[Gate, ...], sockets: bool) -> list[str]:
    """The gates that a node can't try, each as a reason, where it has made no sockets for gates."""
    without = [] if sockets else [gate for gate in wanted if gate.needs_socket]
    return [f"{gate} asks for a path, for which the node that runs has no socket" for gate in without]
