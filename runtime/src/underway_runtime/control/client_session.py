"""What a client of the control socket may ask for, once it is known.

==============================  ==================================================================================
request                         answer
==============================  ==================================================================================
``{"do": "status"}``            ``{"status": {…}}``
``{"do": "ready"}``             ``{"ready": true}`` or ``{"failed": text}``, as soon as either is so
``{"do": "metrics"}``           ``{"metrics": text}``, for Prometheus
``{"do": "restart"}``           ``{"restarting": true, "within": seconds}``; the connection ends with the process
``{"do": "hand over",``         ``{"accepting": true}`` when the successor does; ``{"failed": text}``, ``{"busy": text}``
``"version": …, "id": …,``      ``{"refused": text}`` where an application does not let it begin; with ``"ended": text``
``"to_commit": seconds}``       next to ``failed`` where this node could not go on
``{"do": "install",``           ``{"installed": true}`` in this process; ``{"unfit": text}`` where it takes a new one,
``"version": …, "id": …,``      ``{"failed": text}`` when all is as it was, ``{"busy": text}``
``"to_commit": seconds}``
``{"do": "consider",``          ``{"how": "hot"}`` or ``"configuration"``, or ``{"unfit": text}`` where that takes a new interpreter
``"version": text}``
``{"do": "keep",``              ``{"kept": pid}`` when a node of it waits to be wanted; ``{"failed": text}``, ``{"busy": text}``
``"version": …, "seconds": …}``
``{"do": "scale",``             ``{"scaled": number}``, ``{"failed": text}`` where there are as many as before, ``{"busy": text}``,
``"processes": number}``        ``{"refused": text}`` of a release that runs in one
``{"do": "gates"}``             ``{"gates": [{"gate": text, "passed": …, "attempts": […]}, …]}``, when they have been tried
``{"do": "committed"}``         ``{"noted": true}``
``{"do": "rpc", "code": …}``    ``{"out": text}``, ``{"err": text}``, …, ``{"end": how, "status": number}``
``{"do": "shell"}``             ``{"welcome": text}``; from then on:
``{"push": lines}``             output, then ``{"more": true}`` where the lines begin a statement, else ``{"more": false}``
``{"complete": text}``          ``{"matches": […]}``
==============================  ==================================================================================

``{"interrupt": true}`` interrupts code that runs, as does the end of the connection. ``{"error": text}`` may be the answer
to anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from ..process import upgrade_journal, usage_journal
from ..release.errors import EXIT_CODE_RAISED, UnderwayError
from . import metrics, requests
from .connection import Connection, Gone
from .frames import BadFrame, Message
from .loop_monitor import LoopMonitor
from .node_control import NodeControl
from .requests import (
    CanInstallInPlace,
    Committed,
    HandOver,
    Install,
    Keep,
    Metrics,
    OpenShell,
    Ready,
    Refused,
    Restart,
    Rpc,
    Scale,
    Status,
    TryGates,
)
from .session import Outcome, Session

T = TypeVar("T")

TO_BEGIN = 30.0
"""Seconds in which the node's loop begins with what it is asked for."""
_TO_COMPLETE = 1.0
_TO_END = 2.0
"""Seconds that code gets to end when it is interrupted because its client is gone; then it is left to itself."""


class RequestHandler:
    """What answers the clients of a node. `attach` and `settle` are called in the node's threads, once each."""

    def __init__(self, node: NodeControl, name: str, version: str, uses: Path, allowed: Mapping[str, bool]) -> None:
        """`uses` is where code that is run is journalled; `allowed` says whether ``rpc`` and ``remote`` may be used."""
        self.node = node
        self.name = name
        self.version = version
        self.uses = uses
        self.allowed = allowed
        self.root = ""
        """The release directory that this node is of."""
        self.stops_within = 60.0
        """Seconds in which the node ends when it is told to stop."""
        self.loop_monitor = LoopMonitor()
        self.upgrades: Path | None = None
        """The journal of upgrades."""
        self.clients: Callable[[], int] = int
        """How many clients there are."""
        self.closing = False
        self.settled: Future[str | None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop of the node, which runs now."""
        self._loop = loop
        self.loop_monitor.watch(loop)

    def settle(self, failure: str | None = None) -> None:
        """Note that the node is ready, or has failed to become so; only the first time counts."""
        if not self.settled.done():
            self.settled.set_result(failure)

    async def metrics(self) -> str:
        """What Prometheus reads; in the server's loop."""
        upgrades = upgrade_journal.totals(self.upgrades) if self.upgrades is not None else upgrade_journal.Totals()
        status = self.node.status()
        processes = await asyncio.to_thread(_processes, status) if "process" in status else ()
        return metrics.text(status, await self.loop_monitor.take(), self.clients(), upgrades, processes)

    def session(self, command: str, filename: str, write: Callable[[str, str], None]) -> Session:
        """A new session. Raises Refused when there can be none."""
        if not self.allowed[command]:
            raise Refused(f"{command} is turned off in this release: `{command}` of underway_runtime")
        if self._loop is None:
            raise Refused(f"{self.name} is starting and can't run code yet; try again when it is ready")
        return Session(self._loop, filename, self.node.names(), write)


def _processes(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row of each process, this one being the first."""
    from . import cookie
    from .client import client, processes  # what a release in one process does without

    release = client.Place({**os.environ, "RELEASE_COOKIE": cookie.held()})
    return processes.rows(release, dict(status)) if status["process"]["number"] == 1 else []


class ClientSession:
    """One client, from the handshake to its end."""

    def __init__(
        self, connection: Connection, handler: RequestHandler, uid: int | None, pid: int | None, *, member: bool = False
    ) -> None:
        """`member`: of `control_group`, and neither the user of the node nor root."""
        self.connection = connection
        self.idle = False
        self._handler = handler
        self._caller = uid, pid
        self._member = member
        self._listening: asyncio.Task[Message] | None = None

    async def hold(self) -> None:
        """Answer until the client leaves. Raises Gone, and BadFrame when it asks for what there is not."""
        try:
            while True:
                request = await self._next()
                try:
                    await self._answer(request)
                except Refused as refusal:
                    await self.connection.send({"error": str(refusal)})
        finally:
            if self._listening is not None:
                self._listening.cancel()

    async def _answer(self, message: Message) -> None:
        if requests.is_interrupt(message):
            return  # what it was for has ended meanwhile
        handler, node = self._handler, self._handler.node
        match request := requests.read(message, member=self._member, is_unpacked=node.is_unpacked):
            case Status():
                await self.connection.send({"status": {**node.status(), "loop": await handler.loop_monitor.take()}})
            case Metrics():
                await self.connection.send({"metrics": await handler.metrics()})
            case Ready():
                failure = await self._attend(asyncio.shield(asyncio.wrap_future(handler.settled)))
                await self.connection.send({"ready": True} if failure is None else {"failed": failure})
            case Restart():
                _refuse(node.why_not_startable("") or node.restart())
                await self.connection.send({"restarting": True, "within": handler.stops_within})
            case HandOver():
                _refuse(node.why_not_startable(request.version))
                await self._outcome(node.hand_over(request))
            case Install():
                await self._outcome(node.install(request))
            case CanInstallInPlace():
                await self._outcome(node.can_install_in_place(request.version))
            case Keep():
                _refuse(node.why_not_startable(request.version))
                await self._outcome(node.keep(request))
            case Scale():
                await self._outcome(node.scale(request))
            case TryGates():
                await self._outcome(node.try_gates())
            case Committed():
                _refuse(node.committed())
                await self.connection.send({"noted": True})
            case Rpc():
                await self._rpc(request.code)
            case OpenShell():
                await self._shell()

    async def _outcome(self, coming: Future[Message]) -> None:
        """Send what comes of it. What the node's loop has not begun in time, or before the client has left, is not begun later either."""
        late = asyncio.get_running_loop().call_later(TO_BEGIN, coming.cancel)
        try:
            await self.connection.send(await self._attend(asyncio.shield(asyncio.wrap_future(coming))))
        except asyncio.CancelledError:
            if not coming.cancelled():
                raise
            raise Refused(
                f"the loop of {self._handler.name} has not answered for {TO_BEGIN:g} s, so nothing was begun and nothing has changed;"
                " `status` and the log say what it does"
            ) from None
        except UnderwayError as error:
            raise Refused(str(error)) from None
        finally:
            late.cancel()
            coming.cancel()  # nothing where it has begun

    async def _rpc(self, code: str) -> None:
        with self._journalled("rpc", code) as use:
            session = self._handler.session("rpc", "<rpc>", self.connection.print)
            try:
                outcome = await self._run(session, lambda: session.compiled(code), code)
            finally:
                session.close()
            use.outcome = outcome.how
        await self.connection.send({"end": outcome.how, "status": self._status(outcome)})

    async def _shell(self) -> None:
        with self._journalled("remote", None) as use:
            session = self._handler.session("remote", "<console>", self.connection.print)
            use.outcome = "done"
            python = sys.version.split()[0]
            await self.connection.send({"welcome": f"{self._handler.name} {self._handler.version}, Python {python}"})
            try:
                while True:
                    match list((request := await self._next()).items()):
                        case [("push", str(source))]:
                            if await self._push(session, source):
                                return
                        case [("complete", str(text))]:
                            await self.connection.send({"matches": await self._matches(session, text)})
                        case _ if not requests.is_interrupt(request):
                            raise BadFrame("a request that a shell does not know")
            finally:
                session.close()

    async def _push(self, session: Session, source: str) -> bool:
        """Run what was typed; whether it ends the shell."""
        try:
            code = session.typed(source)
        except Exception as error:
            self._say(session.shown(error, source))
            await self.connection.send({"more": False})
            return False
        if code is None:
            await self.connection.send({"more": True})
            return False
        with self._journalled("remote", source) as use:
            outcome = await self._run(session, lambda: [code], source)
            use.outcome = outcome.how
        if outcome.how == "exit":
            await self.connection.send({"end": "exit", "status": self._status(outcome)})
            return True
        if outcome.how == "interrupted":
            self._say("KeyboardInterrupt\n")
        await self.connection.send({"more": False})
        return False

    async def _run(self, session: Session, compiled: Callable[[], Sequence[CodeType]], source: str) -> Outcome:
        try:
            codes = compiled()
        except Exception as error:
            outcome = Outcome("raised", session.shown(error, source))
        else:
            try:
                running = session.run(codes, source)
            except RuntimeError:
                raise Refused(f"{self._handler.name} is stopping") from None
            try:
                outcome = await self._attend(asyncio.wrap_future(running), session)
            except asyncio.CancelledError:
                if not running.cancelled():
                    raise
                outcome = Outcome("interrupted")
        if outcome.shown:
            self._say(outcome.shown)
        return outcome

    async def _matches(self, session: Session, text: str) -> list[str]:
        matches = asyncio.run_coroutine_threadsafe(session.matches(text), session.loop)
        done, _ = await asyncio.wait({asyncio.wrap_future(matches)}, timeout=_TO_COMPLETE)
        return matches.result() if done and not matches.cancelled() else []

    async def _attend(self, running: asyncio.Future[T], session: Session | None = None) -> T:
        """The result of this, while listening to the client, which may interrupt it or leave."""
        try:
            while True:
                listening = self._listen()
                waiting: set[asyncio.Future[Any]] = {running, listening}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    return running.result()
                self._listening = None
                if not requests.is_interrupt(listening.result()):
                    raise BadFrame("a request before the answer to the last one")
                if session is not None:
                    session.interrupt()
        except (Gone, BadFrame):
            if session is not None:
                session.interrupt()
                await asyncio.wait({running}, timeout=_TO_END)
            raise
        finally:
            if session is not None and not running.done():
                session.interrupt()

    def _say(self, text: str) -> None:
        self.connection.print("err", text, in_any_case=True)

    def _listen(self) -> asyncio.Task[Message]:
        if self._listening is None:
            self._listening = asyncio.ensure_future(self.connection.read())
        return self._listening

    async def _next(self) -> Message:
        if self._handler.closing:
            raise Gone
        self.idle = True
        try:
            return await self._listen()
        finally:
            self.idle = False
            self._listening = None

    @contextlib.contextmanager
    def _journalled(self, command: str, code: str | None) -> Any:
        use = _Use()
        ended = usage_journal.begin(self._handler.uses, command, code, *self._caller)
        try:
            yield use
        except Refused:
            use.outcome = "refused"
            raise
        finally:
            ended(use.outcome)

    def _status(self, outcome: Outcome) -> int:
        """The exit status that this asks for."""
        match outcome:
            case Outcome("done"):
                return 0
            case Outcome("raised"):
                return EXIT_CODE_RAISED
            case Outcome("interrupted"):
                return 130
            case Outcome(status=None):
                return 0
            case Outcome(status=int(status)):
                return status & 0xFF
        self._say(f"{outcome.status}\n")
        return 1


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise Refused(reason)


class _Use:
    def __init__(self) -> None:
        self.outcome = "gone"
