"""A WSGI application, served by the waitress of the release's own lock, in threads.

A drain is as in `asgi`, but that waitress knows no WebSockets and a thread can't be cancelled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..release.boot_script import Load
from ..release.errors import for_future
from ..release.references import find
from .service import CutOff, Service
from .serving import REQUESTS_SHARE, TO_END, ServerContext, Sockets, bad_option, no_server, server_options, unread
from .suspension import held_wsgi


async def run(load: Load, reference: str, context: ServerContext) -> Service:
    """Import the application and serve it on its private socket; `accept` adds the others."""
    try:
        create_server = import_module("waitress.server").create_server
    except ModuleNotFoundError as error:
        raise no_server(load, "a WSGI application", "waitress", error) from error
    options = {"asyncore_use_poll": True, **server_options(load, context)}
    application = find(reference)
    held = held_wsgi(application, context.suspension)
    sockets = Sockets(load, context)
    serving = _Waitress(load.application)
    try:
        sockets.bind()
        for some, start in ((sockets.private, True), (sockets.public, False)):
            for family in dict.fromkeys(listening.family for listening in some):  # waitress doesn't mix them
                of_family = [listening for listening in some if listening.family == family]
                serving.add(create_server(held, map=serving.map, _start=start, sockets=of_family, **options))
    except BaseException as error:
        serving.close()
        sockets.close()
        if isinstance(error, ValueError):
            raise bad_option(load, "waitress", error) from None
        raise
    ended = serving.start(asyncio.get_running_loop())

    async def accept() -> None:
        serving.accept()
        sockets.announce()

    async def drain(timeout: float) -> CutOff:
        sockets.share()
        return await asyncio.shield(asyncio.wrap_future(serving.drain(timeout)))

    async def stop(timeout: float) -> None:
        serving.stop(timeout * REQUESTS_SHARE)
        try:
            await asyncio.wait({ended})
        finally:
            sockets.close()

    return Service(application, ended, stop, accept, drain)


class _Waitress:
    """waitress servers that share one loop, in a thread of ours.

    waitress has no way to finish what is under way and then stop, so the loop is turned from here.
    """

    def __init__(self, name: str) -> None:
        self.map: dict[int, Any] = {}
        self._name = name
        self._servers: list[Any] = []
        self._wasyncore = import_module("waitress.wasyncore")
        self._stop_within: float | None = None
        self._drain_within: float | None = None
        self._drained: concurrent.futures.Future[CutOff] = concurrent.futures.Future()
        self._patience = 0.0
        self._waking = threading.Lock()
        self._channel = _channel(self)
        self.draining = False

    def add(self, server: Any) -> None:
        self._servers.append(server)
        for channel in self._objects("channel_class"):
            channel.channel_class = self._channel

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Serve; the future is done when the thread has ended."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()

        def work() -> None:
            try:
                self._serve()
            except BaseException as error:
                ended.set_exception(for_future(error))
            else:
                ended.set_result(None)

        threading.Thread(target=work, name=f"{self._name}-waitress", daemon=True).start()
        return asyncio.wrap_future(ended, loop=loop)

    def accept(self) -> None:
        """Accept on all sockets."""
        for server in self._objects("accept_connections"):
            if not server.accepting:
                server.accept_connections()
        self._wake()

    def drain(self, timeout: float) -> concurrent.futures.Future[CutOff]:
        """Accept nothing more, and close each connection with an answer that says so or after `timeout` seconds."""
        self.draining = True  # answers that are under way say so too
        self._drain_within = timeout
        self._wake()
        return self._drained

    def stop(self, timeout: float) -> None:
        """Accept nothing more, and end when the requests that are under way have their answers or after `timeout` seconds."""
        self._stop_within = timeout
        self._patience = timeout / 10
        self._wake()

    def close(self) -> None:
        for server in self._servers:
            server.task_dispatcher.shutdown(timeout=self._patience)
        self._wasyncore.close_all(self.map, ignore_all=True)

    def _wake(self) -> None:
        with self._waking:  # what is written to must not be closed meanwhile
            for trigger in self._objects("trigger"):
                trigger.pull_trigger()

    def _serve(self) -> None:
        try:
            while self._stop_within is None:
                self._turn(30)
                if self._drain_within is not None and not self._drained.done():
                    self._drained.set_result(self._drain(self._drain_within))
            self._refuse()
            self._turn_until(lambda: not self._busy(), self._stop_within)
            for channel in self._objects("requests"):
                channel.half_closed, channel.will_close = True, False
                channel.handle_close()  # what its thread writes next ends what it iterates over, as a client that has gone does
        finally:
            with self._waking:
                self.close()
            if not self._drained.done():
                self._drained.set_result(CutOff())  # whoever still waits

    def _drain(self, timeout: float) -> CutOff:
        self._refuse()
        self._turn_until(lambda: self._stop_within is not None or not self._objects("requests"), timeout)
        idle = [
            channel
            for channel in self._objects("requests")
            if not (channel.requests or channel.total_outbufs_len or channel.half_closed)
        ]
        for channel in idle:
            channel.will_close = True
        self._turn_until(lambda: not self._objects("requests"), TO_END)
        left = [channel for channel in self._objects("requests") if channel.requests or channel.total_outbufs_len]
        return CutOff(requests=len(left), idle=len(idle))

    def _refuse(self) -> None:
        for server in self._objects("accepting"):
            if server.accepting:
                self._wasyncore.dispatcher.close(server)  # the listening socket alone

    def _turn(self, timeout: float) -> None:
        self._wasyncore.loop(timeout=timeout, map=self.map, use_poll=True, count=1)

    def _turn_until(self, done: Callable[[], bool], timeout: float) -> None:
        end = time.monotonic() + timeout
        while not done() and (left := end - time.monotonic()) > 0:
            self._turn(min(left, 0.1))

    def _busy(self) -> bool:
        channels = self._objects("requests")
        for channel in channels:
            if not (channel.requests or channel.total_outbufs_len or channel.request):
                channel.will_close = True  # kept alive, and idle
        return bool(channels)

    def _objects(self, attribute: str) -> list[Any]:
        return [candidate for candidate in list(self.map.values()) if hasattr(candidate, attribute)]


def _channel(serving: _Waitress) -> type[Any]:
    """waitress's connection, which while `serving` is draining says that it closes, and closes by half first."""
    channel: Any = import_module("waitress.channel").HTTPChannel
    task: Any = import_module("waitress.task").WSGITask

    class Task(task):  # type: ignore[misc]
        def build_response_header(self) -> Any:
            received = self.channel.request  # this one itself still, where its thread is quick
            part = received is not None and received is not self.request
            more = part or len(self.channel.requests) > 1 or unread(self.channel.socket)
            if serving.draining and not more:
                self.request.headers["CONNECTION"] = "close"  # as if the client had said so
            return super().build_response_header()

    class Channel(channel):  # type: ignore[misc]
        task_class = Task
        will_close: bool
        half_closed = False

        def readable(self) -> Any:
            return self.half_closed or super().readable()

        def received(self, data: bytes) -> Any:
            return False if self.half_closed else super().received(data)

        def handle_close(self) -> None:
            by_us = self.will_close and self.connected and not self.half_closed
            self.will_close = False
            if not (serving.draining and by_us):
                super().handle_close()
                return
            self.half_closed = True
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()

    return Channel
