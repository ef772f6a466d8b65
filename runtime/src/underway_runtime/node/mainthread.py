"""The main thread, lent to the one application that is a ``main`` function.

Such an application gets the thread that Python's signal handling and many frameworks insist on; the node's loop then
runs in another. How it is told to stop depends on what it did with SIGTERM:

==============================  =====================================================================================
it has a handler of its own     it gets the signal, and ends as it likes
it has none                     ``Stopping`` is raised in it, wherever it is, so that its ``finally`` blocks run
==============================  =====================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from .applications import CutOff, Service, Stopping


class EndedWith(Exception):
    """A main function ended with an exit status that means failure, or with a message."""


class MainThread:
    """The main thread of this process, while a node runs. `lend` and `on_signal` are called in it."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._given_up = False
        self._called = False
        self._in_function = False
        self._unwind = False
        self._told = False

    def lend(self) -> None:
        """Do what is handed in, until `take_back`."""
        while (job := self._jobs.get()) is not None:
            job()

    def take_back(self) -> None:
        """Make `lend` return, once what it does is done."""
        self._jobs.put(None)

    def on_signal(self) -> None:
        """Unwind the function if it is to be, once; called by the node's signal handler."""
        if self._unwind and self._in_function:
            self._unwind = False
            raise Stopping(0)

    def told(self) -> None:
        """The function's own handler has got a signal that means to stop; it needs no second one."""
        self._told = True

    async def run(self, find: Callable[[], Callable[[], Any]], arguments: Sequence[str]) -> Service:
        """Call the function that `find` returns, with ``sys.argv``, in the main thread.

        Returns when it is being called; raises what `find` raises. It ends well if it returns or exits with what
        ``sys.exit`` takes for success.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Any] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None = None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this thread was given up
                loop.call_soon_threadsafe(_settle, future, result, error)

        def job() -> None:
            sys.argv = list(arguments)
            try:
                function = find()
            except BaseException as error:
                settle(found, None, error)
                return
            with self._lock:
                if self._given_up:
                    return
                self._called = True
            settle(found, function)
            settle(ended, None, self._call(function))

        async def stop(within: float) -> None:
            if ended.done():
                return
            self._interrupt()
            await asyncio.wait({ended})
            error = ended.exception()
            if error is not None and not isinstance(error, EndedWith):  # 143, say, is an answer to SIGTERM
                raise error

        async def drain(within: float) -> CutOff:
            if not ended.done():
                self._interrupt()
                await asyncio.wait({ended}, timeout=within)
            return CutOff()  # what it still does is its own, and is not seen here

        self._jobs.put(job)
        try:
            function = await found
        except asyncio.CancelledError:
            with self._lock:
                self._given_up = True
            if self._called:
                await stop(0)
            raise
        return Service(function, ended, stop, drain=drain)

    def _call(self, function: Callable[[], Any]) -> BaseException | None:
        try:
            try:
                self._in_function = True
                if self._unwind:  # it was to be unwound before it began, and that signal has come and gone
                    self._unwind = False
                    return None
                value = function()
            finally:
                self._in_function = False
        except Stopping:
            return None
        except SystemExit as error:
            if os.getpid() != self._pid:
                raise  # a child that the function forked, as gunicorn does: its process ends here
            value = error.code
        except BaseException as error:
            if os.getpid() != self._pid:
                raise
            return error
        if os.getpid() != self._pid:
            raise SystemExit(value)
        if value is None or (isinstance(value, int) and value == 0):
            return None
        return EndedWith(f"exit status {value}" if isinstance(value, int) else str(value))

    def _interrupt(self) -> None:
        if self._told:
            return
        self._unwind = True
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGTERM)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # nobody waits any more
    if error is None:
        future.set_result(result)
    elif isinstance(error, (Exception, asyncio.CancelledError)):
        future.set_exception(error)
    else:
        future.set_exception(EndedWith(f"{type(error).__name__}: {error}"))
