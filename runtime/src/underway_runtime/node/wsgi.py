"""A WSGI application, served by the waitress of the release's own lock, in threads.

A drain is as in `asgi`, but that waitress knows no WebSockets and a thread can't be cancelled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from functools import partial
from importlib import import_module
from typing import Any

from ..release.bootscript import Load
from .applications import Service
from .servers import REQUESTS_SHARE, World, bad_option, find, listen, no_server, server_options


async def run(load: Load, reference: str, world: World) -> Service:
    """Import the application and serve it on its private socket; `accept` adds the others."""
    try:
        create_server = import_module("waitress.server").create_server
    except ModuleNotFoundError as error:
        raise no_server(load, "a WSGI application", "waitress", error) from error
    options = {"asyncore_use_poll": True, **server_options(load, world)}
    application = find(reference)
    listeners = world.bind(listen(load, world))
    serving = _Waitress(load.application)
    try:
        for family in dict.fromkeys(each.family for each in listeners.sockets):  # waitress doesn't mix them
            sockets = [each for each in listeners.sockets if each.family == family]
            serving.add(create_server(application, map=serving.map, sockets=sockets, **options))
    except BaseException as error:
        serving.close()
        listeners.close()
        if isinstance(error, ValueError):
            raise bad_option(load, "waitress", error) from None
        raise
    ended = serving.start(asyncio.get_running_loop())
    world.log(f"{load.application} {load.version}: listening on {', '.join(listeners.addresses)}")

    async def stop(within: float) -> None:
        serving.stop(within * REQUESTS_SHARE)
        try:
            await asyncio.wait({ended})
        finally:
            listeners.close()

    return Service(application, ended, stop)


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
        self._patience = 0.0
        self._waking = threading.Lock()

    def add(self, server: Any) -> None:
        self._servers.append(server)

    def start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Serve; the future is done when the thread has ended."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()

        def work() -> None:
            try:
                self._serve()
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        threading.Thread(target=work, name=f"{self._name}-waitress", daemon=True).start()
        return asyncio.wrap_future(ended, loop=loop)

    def stop(self, within: float) -> None:
        """Accept nothing more, and end when the requests that are under way have their answers or after `within` seconds."""
        with self._waking:  # what is written to must not be closed meanwhile
            self._stop_within = within
            self._patience = within / 10
            for each in self._objects("trigger"):
                each.pull_trigger()

    def close(self) -> None:
        for server in self._servers:
            server.task_dispatcher.shutdown(timeout=self._patience)
        self._wasyncore.close_all(self.map, ignore_all=True)

    def _serve(self) -> None:
        turn = partial(self._wasyncore.loop, map=self.map, use_poll=True, count=1)
        try:
            while self._stop_within is None:
                turn(timeout=30)
            end = time.monotonic() + self._stop_within
            for each in self._objects("accepting"):
                if each.accepting:
                    self._wasyncore.dispatcher.close(each)  # the listening socket alone
            while self._busy() and (left := end - time.monotonic()) > 0:
                turn(timeout=min(left, 0.1))
        finally:
            with self._waking:
                self.close()

    def _busy(self) -> bool:
        channels = self._objects("requests")
        for channel in channels:
            if not (channel.requests or channel.total_outbufs_len or channel.request):
                channel.will_close = True  # kept alive, and idle
        return bool(channels)

    def _objects(self, attribute: str) -> list[Any]:
        return [each for each in list(self.map.values()) if hasattr(each, attribute)]
