"""What a node says of itself, and what it can be asked for: the control socket, with its report, and its metrics."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from ..apps.controller import Applications
from ..apps.service import describe
from ..configuration import config
from ..control.node_status import Report
from ..control.requests import HandOver, Install, Keep, Scale
from ..control.server import Server, open_control
from ..process.settings import Settings
from ..release import names
from ..release.boot_script import BootScript
from ..release.errors import UnderwayError
from .keeper_client import KeeperClient
from .serving import Upgrades


class ControlEndpoint:
    """One node, to those who ask: its `NodeControl`. Before `open` nobody can."""

    def __init__(
        self, settings: Settings, script: BootScript, keeper: KeeperClient, restart: Callable[[], object]
    ) -> None:
        """`restart` makes the node stop, and the keeper start another."""
        self._settings = settings
        self._command = script.release
        self._keeper = keeper
        self._restart = restart
        self._upgrades: Upgrades | None = None
        self._control: Server | None = None
        self._applications: Applications | None = None
        self._tasks: set[asyncio.Task[dict[str, Any]]] = set()  # which a loop does not keep alive
        self.report = Report(settings, script, os.getppid())

    def open(self, secret: str) -> None:
        """Answer at the control socket, as configured now; `secret` is the cookie. Raises what `open_control` raises.

        When it is open, obey what is configured since.
        """
        if self._control is not None:
            self._control.configured()
            return
        self._control = open_control(self._settings, secret, self, self._listen, self._keeper.process)

    def about(self, applications: Applications, stops_within: float) -> None:
        """Take the applications, and the seconds that the node takes to end. Answers over HTTP too, where that is
        configured; raises BootError where it can't."""
        self._applications = applications
        if self._control is not None:
            self._control.handler.stops_within = stops_within
            if self._keeper.process <= 1:
                self._control.serve_metrics(self._keeper.bind)

    def became(self, settings: Settings, script: BootScript) -> None:
        """It is another version from now on."""
        self._settings = settings
        self.report.became(settings, script)
        if self._control is not None:
            self._control.handler.version = settings.version

    def attach(self, upgrades: Upgrades) -> None:
        """Let the node be upgraded, now that it serves; code that somebody sends may run in its loop."""
        self._upgrades = upgrades
        if self._control is not None:
            self._control.handler.attach(upgrades.loop)

    def settle(self, error: BaseException | None) -> None:
        """It is ready, or could not start."""
        if self._control is not None:
            self._control.handler.settle(None if error is None else describe(error))

    def accept_no_more(self) -> None:
        """Leave those who come from now on to the next node."""
        if self._control is not None:
            self._control.accept_no_more()

    def close(self) -> None:
        """Answer nobody from now on."""
        if self._control is not None:
            self._control.handler.settle(f"{self._settings.name} was stopped before it had started")
            self._control.close()

    # --------------------------------------------------------------------------------------- what clients may ask for

    def status(self) -> dict[str, Any]:
        """All that is known of the node now."""
        if self._applications is None:
            return self.report.document({}, {})
        says = self._applications.says
        clients, certificates = says(lambda service: service.drains()), says(lambda service: service.tls())
        return self.report.document(self._applications.states, clients, certificates)

    def names(self) -> dict[str, Any]:
        """The configuration, and what runs, each by its name."""
        running = {} if self._applications is None else self._applications.running.copy()
        return {"config": config.config, **{name: service.subject for name, (_, service) in running.items()}}

    def is_unpacked(self, version: str) -> bool:
        """Whether the release directory has a version."""
        return names.is_unpacked(str(self._settings.root), version)

    def restart(self) -> None:
        """Stop, and have the permanent version started."""
        self._restart()

    def hand_over(self, request: HandOver) -> Future[dict[str, Any]]:
        """Have another node take over; as `Handover.begin`."""
        if self._upgrades is None:
            return _answer({"busy": "it is starting"})
        if self._keeper.process > 1:
            return _answer({"busy": _NOT_FIRST})
        return self._upgrades.handover.begin(request.version, request.id, float(request.to_commit))

    def install(self, request: Install) -> Future[dict[str, Any]]:
        """Become another version; as `Upgrades.install`."""
        return self._on_loop(lambda upgrades: upgrades.install(request.version, request.id, float(request.to_commit)))

    def can_install_in_place(self, version: str) -> Future[dict[str, Any]]:
        """Find out whether that could be; as `InPlace.can_install_in_place`."""
        return self._on_loop(lambda upgrades: upgrades.can_install_in_place(version))

    def keep(self, request: Keep) -> Future[dict[str, Any]]:
        """Have a node kept for the next install; as `Handover.keep`."""
        if self._upgrades is None:
            return _answer({"busy": "it is starting"})
        if self._keeper.process > 1:
            return _answer({"busy": _NOT_FIRST})
        return self._upgrades.handover.keep(request.version, float(request.seconds))

    def scale(self, request: Scale) -> Future[dict[str, Any]]:
        """Have so many processes; as `Upgrades.scale`."""
        return self._on_loop(lambda upgrades: upgrades.scale(request.processes))

    def try_gates(self) -> Future[dict[str, Any]]:
        """Try the gates of the version that runs."""
        return self._on_loop(lambda upgrades: upgrades.try_gates())

    def _on_loop(self, work: Callable[[Upgrades], Coroutine[Any, Any, dict[str, Any]]]) -> Future[dict[str, Any]]:
        """Do this on the node's loop, once there is one. It can be cancelled until the loop has begun with it."""
        upgrades, outcome = self._upgrades, Future[dict[str, Any]]()
        if upgrades is None:
            return _answer({"busy": "it is starting"})
        if self._keeper.process > 1:
            return _answer({"busy": _NOT_FIRST})

        def begin() -> None:
            if outcome.set_running_or_notify_cancel():
                task = asyncio.ensure_future(work(upgrades))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(partial(_settle, outcome))

        upgrades.loop.call_soon_threadsafe(begin)
        return outcome

    def why_not_startable(self, version: str) -> str | None:
        """Why no node of a version, or of the one that boots where that is empty, could be started in place of this one."""
        from ..release import ledger

        settings = self._settings
        command = settings.directory.command(self._command)
        if not os.access(command, os.X_OK):
            return (
                f"{settings.name} runs from {settings.root}, and no node can be started from there now: there is no {command} that"
                " can be executed; was the directory moved or removed? `stop` ends what runs; start it from where it is now"
            )
        try:
            version = version or ledger.boots(settings.directory, settings.var)
        except UnderwayError as error:
            return str(error)
        if not names.is_unpacked(str(settings.root), version):
            return (
                f"{settings.name} runs from {settings.root}, where version {version}, which is to be started, is not unpacked;"
                f" {settings.var.start_data} or releases/start.data says what boots"
            )
        return None

    def committed(self) -> str | None:
        """Tell the keeper that this version is permanent, where it is: who asks may operate the node and not say what boots."""
        from ..release import ledger  # of all that nodes do, this alone needs it

        settings = self._settings
        try:
            boots = ledger.boots(settings.directory, settings.var)
        except UnderwayError as error:
            return str(error)
        if boots != settings.version:
            return f"{boots} boots, and {settings.version} runs; commit that first"
        self._keeper.committed()
        return None

    def _listen(self, path: Path, group: int | None) -> socket.socket:
        """Listen on a socket file that the keeper holds, so that who asks between two nodes waits for the next."""
        listener = self._keeper.listen_on(path, 0o600 if group is None else 0o660)
        if group is not None:
            os.chown(path, -1, group)
        return listener


def _settle(outcome: Future[dict[str, Any]], task: asyncio.Task[dict[str, Any]]) -> None:
    if task.cancelled():
        outcome.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


_NOT_FIRST = "it is a further process of its release: the first is asked for that"


def _answer(answer: dict[str, Any]) -> Future[dict[str, Any]]:
    """What is known at once."""
    outcome: Future[dict[str, Any]] = Future()
    outcome.set_result(answer)
    return outcome
