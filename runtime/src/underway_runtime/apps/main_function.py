"""The main thread, lent to the one application that is a ``main`` function.

Such an application gets the thread that Python's signal handling and many frameworks insist on; the node's loop then
runs in another. How it is told to stop depends on what it did with SIGTERM:

==============================  =====================================================================================
it has a handler of its own     it gets the signal, and ends as it likes; a signal that the node sends so is told from
                                one that comes from outside, which stops the node
it has none                     ``Stopping`` is raised in it, wherever it is, so that its ``finally`` blocks run; where
                                another node has taken over, only when its connections are closed
==============================  =====================================================================================
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # now: a fork meanwhile, by the function, would release its lock, which the loop may hold
import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from ..process.log import log
from ..process.stop_signals import STOPPING, Handler, Stopping
from ..release.boot_script import BootScript, Load, Start
from ..release.errors import EXIT_FAILED, BootError, UnderwayError, for_future
from .service import CutOff, Service

T = TypeVar("T")


class EndedWith(Exception):
    """A main function ended with an exit status that means failure, or with a message."""


class MainThread:
    """The main thread of this process, while a node runs. `lend_while` and `on_signal` are called in it."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._given_up = False
        self._called = False
        self._in_function = False
        self._unwind = False
        self._told = False
        self._seen = False
        """Whether a signal from outside that means to stop has come while the function runs."""
        self._sent = 0
        """Signals of ours that the wakeup descriptor has not told of yet."""
        self._expected = False
        """Whether the node's own handler may be called for one of ours."""
        self._wakeup = -1
        self._awake: socket.socket | None = None
        self._unwound = False
        """Whether the function that runs was told to end by the node."""
        self._handler = signal.getsignal(signal.SIGTERM)

    @property
    def stops_by_itself(self) -> bool:
        """Whether the function has a handler of its own for SIGTERM."""
        return signal.getsignal(signal.SIGTERM) != self._handler

    def lend_while(self, run_loop: Callable[[], T]) -> T:
        """Run the node's loop in another thread, and what is handed in here, until the loop has ended.

        Returns what `run_loop` returns, and raises what it raises.
        """
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                outcome.set_result(run_loop())
            except BaseException as error:
                if self._in_function and not isinstance(error, UnderwayError):
                    _end_with_the_loop(error)
                outcome.set_exception(error)
            finally:
                self._jobs.put(None)

        # When the function has its own handler, this is how the node learns of a signal.
        self._awake, wake = socket.socketpair()
        for end in (self._awake, wake):
            end.setblocking(False)
        self._wakeup = wake.fileno()
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        thread = threading.Thread(target=run, name="node", daemon=True)
        thread.start()
        while (job := self._jobs.get()) is not None:
            job()
        thread.join()
        signal.set_wakeup_fd(-1)
        self._awake.close()
        wake.close()
        return outcome.result()

    def watch(self, loop: asyncio.AbstractEventLoop, ours: Handler, stop: Callable[[], object]) -> None:
        """Call `stop` when a signal that means so has come from outside, where another handler than `ours` may have it: the
        function's own, which may be gone with it by now."""
        awake = self._awake
        assert awake is not None

        def on_wakeup() -> None:
            with contextlib.suppress(BlockingIOError), self._lock:
                received = [number for number in awake.recv(4096) if number in STOPPING]
                while self._sent and signal.SIGTERM in received:
                    received.remove(signal.SIGTERM)
                    self._sent -= 1
                self._seen = self._seen or bool(received)
                for number in set(received):
                    if signal.getsignal(number) != ours:
                        self._told = True  # and needs no second one
                        stop()
                    elif number == signal.SIGTERM:
                        stop()

        loop.add_reader(awake, on_wakeup)

    def unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Undo `watch`."""
        assert self._awake is not None
        loop.remove_reader(self._awake)

    def on_signal(self, number: int) -> bool:
        """Unwind the function if it is to be, once; called by the node's signal handler. Whether the signal was ours."""
        ours = self._expected and number == signal.SIGTERM
        if ours:
            self._expected = False
        if self._unwind and self._in_function:
            self._unwind = False
            raise Stopping(0)
        return ours

    async def run(
        self, find: Callable[[], Callable[[], Any]], arguments: Sequence[str], begin: threading.Event
    ) -> Service:
        """Call the function that `find` returns, with ``sys.argv``, in the main thread, when `begin` is set.

        Returns when it is found; raises what `find` raises. It ends well if it returns or exits with what
        ``sys.exit`` takes for success.
        """
        loop = asyncio.get_running_loop()
        awaited: asyncio.Future[Any] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def settle(future: asyncio.Future[Any], result: Any, error: BaseException | None = None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this thread was given up
                loop.call_soon_threadsafe(_settle, future, result, error)

        def job() -> None:
            sys.argv = list(arguments)
            self._told = self._unwind = self._unwound = self._expected = self._seen = False
            self._forget_what_was_merged()
            self._handler = signal.getsignal(signal.SIGTERM)
            try:
                function = find()
            except BaseException as error:
                settle(awaited, None, for_future(error))
                return
            with self._lock:
                if self._given_up:
                    return
                self._called = True
            settle(awaited, function)
            begin.wait()
            outcome = self._call(function)
            answers = isinstance(outcome, (EndedWith, KeyboardInterrupt)) and self._signalled()
            settle(
                ended, None, None if answers or outcome is None else for_future(outcome)
            )  # 143, say, is an answer to SIGTERM

        async def stop(timeout: float) -> None:
            if ended.done():
                return
            self._interrupt()
            begin.set()
            await asyncio.wait({ended})
            error = ended.exception()
            if error is not None and not isinstance(error, EndedWith):  # 143, say, is an answer to SIGTERM
                raise error

        async def drain(timeout: float) -> CutOff:
            if not ended.done():
                self._interrupt()
                await asyncio.wait({ended}, timeout=timeout)
            return CutOff()  # what it still does is its own, and is not seen here

        self._jobs.put(job)
        try:
            function = await awaited
        except asyncio.CancelledError:
            with self._lock:
                self._given_up = True
            if self._called:
                await stop(0)
            raise
        return Service(function, ended, stop, drain=drain, runs_until_it_ends=True)

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
                if os.getpid() == self._pid:
                    signal.signal(signal.SIGTERM, self._handler)  # what it has set is for the time while it runs
                    if signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False) != self._wakeup:
                        with self._lock:
                            self._sent = 0  # the loop of the function, say, was told of them
        except Stopping:
            return None
        except SystemExit as error:
            if os.getpid() != self._pid:
                raise  # a child that the function forked, as gunicorn does: its process ends here
            value = error.code
        except BaseException as error:
            if os.getpid() != self._pid:
                raise
            _let_go_of_locals(error)
            return error
        if os.getpid() != self._pid:
            raise SystemExit(value)
        if value is None or (isinstance(value, int) and value == 0):
            return None
        return EndedWith(f"exit status {value}" if isinstance(value, int) else str(value))

    def _signalled(self) -> bool:
        """Whether the function was told to end, by the node or from outside."""
        with self._lock:
            return self._seen or self._unwound or not set(STOPPING).isdisjoint(self._not_read())

    def _forget_what_was_merged(self) -> None:
        """Expect no signal of ours that has come as one with another: in this thread all that were sent to it have come."""
        with self._lock:
            self._sent = min(self._sent, self._not_read().count(signal.SIGTERM))

    def _not_read(self) -> bytes:
        """The numbers of the signals that have come, and that the loop was not told of yet."""
        if self._awake is not None:
            with contextlib.suppress(BlockingIOError):
                return self._awake.recv(4096, socket.MSG_PEEK)
        return b""

    def send(self, number: int) -> None:
        """Send the function one more signal, which is not taken for one from outside; for one that has a handler of its own."""
        if number == signal.SIGTERM:
            with self._lock:
                self._sent += 1
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, number)

    def _interrupt(self) -> None:
        if self._told:
            return
        self._unwind = self._unwound = self._expected = True
        self.send(signal.SIGTERM)


def _end_with_the_loop(error: BaseException) -> NoReturn:
    """End the process whose loop has failed while the function runs: nothing else would, or could stop it."""
    closed = isinstance(error, OSError) and error.errno == errno.EBADF
    hint = "; code may close only descriptors that it has opened" if closed else ""
    log(f"the node's loop has failed, and its main function ends with it{hint}", None if closed else error)
    os._exit(EXIT_FAILED)


def _let_go_of_locals(error: BaseException) -> None:
    """Close what a function had with it, a listening socket say, though its error is told later."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    for frame in chain:
        traceback.clear_frames(frame.__traceback__)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # nobody waits any more
    if error is None:
        future.set_result(result)
    elif isinstance(error, (Exception, asyncio.CancelledError)):
        future.set_exception(error)
    else:
        future.set_exception(EndedWith(f"{type(error).__name__}: {error}"))


def wanted(script: BootScript) -> bool:
    """Whether a boot script starts a main function. Raises BootError when it starts more than one."""
    starting = {instruction.application for instruction in script.instructions if isinstance(instruction, Start)}
    mains = [
        instruction.application
        for instruction in script.instructions
        if isinstance(instruction, Load) and instruction.application in starting and "main" in (instruction.start or {})
    ]
    if len(mains) > 1:
        raise BootError(
            f"{' and '.join(mains)} each start as a main function, and there is one main thread; give all but one of them"
            " another start or the mode `load`"
        )
    return bool(mains)
