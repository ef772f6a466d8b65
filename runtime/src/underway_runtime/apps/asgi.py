"""An ASGI application, served by the uvicorn of the release's own lock on the node's loop.

uvicorn's own shutdown closes connections that a client may be writing to at that moment. So a drain is ours:

=====================  ================================================================================================
a request              is answered, and told ``Connection: close``, unless its client has sent more already
a connection in wait   stays; its next request is such a one
WebSockets             are closed one by one until the deadline, each when it waits for a message, so that their clients
                       do not come back all at once; what the others have received is answered then, before they are closed
a new connection       goes to whom the listening socket is shared with
at the deadline        streams end, all WebSockets are closed, connections too, other requests cancelled
=====================  ================================================================================================

A stop is the same in less time, and closes idle connections at once. After both, whatever answered requests has ended,
generators too, before the lifespan does: what they save at their end goes through what the lifespan closes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..release.boot_script import Load
from ..release.errors import BootError
from ..release.references import find
from .asgi_closing import TO_ANSWER, ClosingApplication, Deaf, HalfClosing, Talk
from .service import CutOff, Service
from .serving import REQUESTS_SHARE, TO_END, ServerContext, Sockets, bad_option, no_server, server_options, unread
from .suspension import HeldAsgi

_STREAMS_SHARE = 0.75
"""The part of the time for requests at a stop after which what still goes on is told that its client has gone."""

_TO_LEAVE = 3.0
"""Seconds at the deadline for streams: in the first half what sends all the time has sent something, and been told to end."""

_STEP = 0.02
"""Seconds at least between two looks for WebSockets to close."""

_TURNS = 10
"""Turns of the loop in which what has been read from a socket comes to who waits for it."""


async def run(load: Load, reference: str, context: ServerContext) -> Service:
    """Import the application, start its lifespan and serve it on its private socket; `accept` adds the others."""
    try:
        import uvicorn
        from uvicorn.lifespan.on import LifespanOn
    except ModuleNotFoundError as error:
        raise no_server(load, "an ASGI application", "uvicorn", error) from error

    class Lifespan(LifespanOn):
        cause = ""

        async def send(self, message: Any) -> None:
            if message["type"].endswith(".failed"):
                self.cause = message.get("message", "")
            await super().send(message)

    application = find(reference)
    options = {"log_config": None, **server_options(load, context)}
    graceful = options.pop("timeout_graceful_shutdown", None)
    certificate = None
    if options.get("ssl_certfile"):  # few releases serve TLS themselves, and OpenSSL is loaded for it
        from .certificates import Certificate, tls_of_uvicorn

        certificate = Certificate(load.application, options, context.log)
    try:
        config = uvicorn.Config(application, **options)
    except TypeError as error:
        raise bad_option(load, "uvicorn", error) from None
    try:
        config.load()
    except OSError as error:  # a file of TLS that this user may not read
        raise bad_option(load, "uvicorn", error) from error
    if certificate is not None and config.ssl is not None:
        config.ssl = certificate.shown(config.ssl, lambda: tls_of_uvicorn(uvicorn, options))
    if issubclass(config.lifespan_class, LifespanOn):
        config.lifespan_class = Lifespan
    config.loaded_app = closing = ClosingApplication(HeldAsgi(config.loaded_app, context.suspension))
    server = uvicorn.Server(config)
    server.lifespan = lifespan = config.lifespan_class(config)
    sockets = Sockets(load, context)
    try:
        sockets.bind()
        await server.startup(sockets.private)
        if not server.started:
            raise SystemExit  # newer versions of uvicorn do so themselves
    except BaseException as error:
        for listening in getattr(server, "servers", []):
            listening.close()
        sockets.close()
        if isinstance(error, SystemExit):
            raise BootError(f"its lifespan failed at startup: {_last_line(lifespan)}") from None
        raise
    serving = asyncio.ensure_future(server.main_loop())
    watching = None if certificate is None else asyncio.ensure_future(certificate.watch())

    async def accept() -> None:
        async def has_started() -> None:
            pass

        lifespan.startup = has_started  # uvicorn's startup does both
        before = server.servers
        await server.startup(sockets.public)
        server.servers += before
        sockets.announce()

    def tell() -> None:
        for line in closing.streams.report():
            context.log(f"{load.application}: {line}")

    async def drain(timeout: float) -> CutOff:
        sockets.share()
        closing.begun = True
        try:
            return await _drain(server, closing, timeout)
        finally:
            tell()

    async def stop(timeout: float) -> None:
        serving.cancel()
        if watching is not None:
            watching.cancel()
        try:
            await _stop(server, closing, timeout, graceful)
        finally:
            sockets.close()
            tell()
        if getattr(lifespan, "shutdown_failed", False):
            raise RuntimeError(f"its lifespan failed at shutdown: {_last_line(lifespan)}")

    tls = (lambda: "") if certificate is None else certificate.describe
    return Service(application, serving, stop, accept, drain, tls=tls)


def _last_line(lifespan: Any) -> str:
    """What a framework tells is a traceback; uvicorn has logged all of it."""
    lines: list[str] = getattr(lifespan, "cause", "").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


async def _drain(server: Any, closing: ClosingApplication, timeout: float) -> CutOff:
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    state = server.server_state
    for listening in server.servers:
        for socket in listening.sockets:
            loop.remove_reader(socket.fileno())
    # asyncio needs the server open for two more turns: to make a transport of what it has accepted, and to tell of it.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for listening in server.servers:
        listening.close()

    async def until(end: float) -> None:
        while (state.connections or state.tasks or closing.half_closed) and (left := end - loop.time()) > 0:
            await asyncio.sleep(min(left, 0.05))

    spread = asyncio.ensure_future(_close_one_by_one(closing, end))
    try:
        await until(end)
    finally:
        spread.cancel()
    talks = [protocol for protocol in state.connections if isinstance(protocol, server.config.ws_protocol_class or ())]
    await _close_websockets(talks, closing, loop.time() + TO_ANSWER)
    await closing.end_streams(loop.time() + _TO_LEAVE)
    websockets, idle = len(closing.told), 0
    unanswered = []
    streams = closing.cut + sum(
        transport.get_write_buffer_size() > 0 for transport in closing.half_closed
    )  # to clients that read slowly
    for connection in list(state.connections):
        if connection in talks:
            continue
        connection.transport = gentle = HalfClosing(connection.transport, closing.half_closed)
        cycle = getattr(connection, "cycle", None)
        if cycle is None or cycle.response_complete:
            idle += 1
            connection.shutdown()
        elif cycle.response_started:
            streams += 1
            gentle.close()
        else:
            unanswered.append(cycle)
    await until(loop.time() + TO_END)
    left = sum(not cycle.response_complete for cycle in unanswered)
    await _cancel(state.tasks, closing, TO_END)
    return CutOff(streams + left, websockets, idle)


async def _stop(server: Any, closing: ClosingApplication, timeout: float, graceful: float | None) -> None:
    """Stop as a drain does, in so many seconds; then end the lifespan. uvicorn's own shutdown ends that while streams are cancelled."""
    loop = asyncio.get_running_loop()
    state = server.server_state
    share = timeout * REQUESTS_SHARE
    cut = loop.time() + min(share * _STREAMS_SHARE, share if graceful is None else graceful)
    end = loop.time() + share
    for listening in server.servers:
        listening.close()
    talks = [protocol for protocol in state.connections if isinstance(protocol, server.config.ws_protocol_class or ())]
    for connection in list(state.connections):
        if connection not in talks:
            connection.shutdown()  # now where it is idle, else after its answer
    closes = asyncio.ensure_future(_close_websockets(talks, closing, cut))
    while (state.connections or state.tasks) and (left := cut - loop.time()) > 0:
        await asyncio.sleep(min(left, 0.05))
    await closes
    await closing.end_streams((cut + end) / 2)
    at_their_end = [answer.cycle for answer in closing.answers if answer.is_at_its_end]
    for connection in list(state.connections):
        if getattr(connection, "cycle", None) not in at_their_end:
            connection.transport.close()  # which applications that listen for it are told
    while state.tasks and (left := end - loop.time()) > 0:
        await asyncio.sleep(min(left, 0.02))
    await _cancel(state.tasks, closing, (timeout - share) / 2)
    if not server.force_exit:
        await server.lifespan.shutdown()


async def _close_one_by_one(closing: ClosingApplication, end: float) -> None:
    """Close WebSockets evenly spread over the time until `end`, each that waits for a message then; the last is left for `end`.

    Who comes back costs the next version a handshake: two hundred at once keep all of its other clients waiting."""
    loop = asyncio.get_running_loop()
    closes: set[asyncio.Future[None]] = set()
    while (left := end - loop.time()) > 0:
        pause = min(left, max(_STEP, left / closing.open_talks if closing.open_talks > 1 else 10 * _STEP))
        await asyncio.sleep(pause)
        if (many := closing.open_talks) > 1:
            some = closing.in_wait(loop.time(), max(1, round(many * pause / left)))
            close = asyncio.ensure_future(_close_websockets(some, closing, loop.time() + TO_ANSWER))
            closes.add(close)
            close.add_done_callback(closes.discard)


async def _close_websockets(connections: list[Any], closing: ClosingApplication, end: float) -> None:
    """Close each with 1012 as soon as all that it has received is answered, or at the end of that time; once."""

    async def close(connection: Any) -> None:
        talk = closing.talks.get(connection)
        await _answered(connection, talk, end)
        if talk is not None:
            talk.closed = talk.accepted
        connection.transport = HalfClosing(connection.transport, closing.half_closed)
        connection.shutdown()

    closing.told |= {
        connection: asyncio.ensure_future(close(connection))
        for connection in connections
        if connection not in closing.told
    }
    if closes := [closing.told[connection] for connection in connections]:
        await asyncio.wait(closes)


async def _answered(connection: Any, talk: Talk | None, end: float) -> None:
    """Return when the application waits for a message and there is none, or at `end`; in the second half of the time nothing
    more is read from a client that goes on sending."""
    loop = asyncio.get_running_loop()
    half = (loop.time() + end) / 2
    reads, quiet = True, 0
    sock = connection.transport.get_extra_info("socket")
    while talk is not None and not talk.over and quiet < _TURNS and loop.time() < end:
        if reads and loop.time() > half:
            reads = False
            connection.transport = Deaf(connection.transport)
        quiet = quiet + 1 if talk.waits(loop.time()) and not (reads and sock is not None and unread(sock)) else 0
        await asyncio.sleep(0 if quiet else 0.005)


async def _cancel(tasks: set[asyncio.Task[None]], closing: ClosingApplication, timeout: float) -> None:
    """Cancel what answers requests, and wait until it has ended, with the generators that it leaves to the loop."""
    closing.ended = True
    if tasks or closing.cut or closing.streams.any:
        await _cancel_all([*tasks], timeout)
        await closing.streams.finalized(asyncio.get_running_loop().time() + timeout)
        closing.streams.unfinished += sum(answer.streams for answer in closing.answers)


async def _cancel_all(tasks: list[asyncio.Task[Any]], timeout: float) -> None:
    """Cancel them and wait; nothing of theirs is held when this returns."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel(msg="the time for requests is over")
    if left:
        await asyncio.wait(left, timeout=max(0.0, timeout))
