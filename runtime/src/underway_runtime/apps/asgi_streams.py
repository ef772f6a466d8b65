"""The generators that requests iterate over, and how each is ended by whoever iterates over it.

Who leaves an ``async for`` leaves its generator to the loop: that closes it in another task, when nothing refers to it any
more. A task group or a timeout around its ``yield`` may keep it for ever, and that of anyio can't be left in another task.
So generators of requests are known from their first step:

=======================================  ==========================================================================
a generator at its ``yield``             is closed by the next ``send`` of its task, the innermost first
likewise, of a task that sends to        is closed next to its task, which waits: a middleware of Starlette sends from
another one                              another task, and cancels this one again and again once it is told
one that awaits                          has until half of the time to come to its ``yield``; then its task is cancelled
one whose task has ended                 is closed when all requests have ended
=======================================  ==========================================================================

A generator that is a context manager is none of these: who entered it leaves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import opcode
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import AsyncGeneratorType, GeneratorType
from typing import Any, TypeAlias

from ..process import garbage_collector

_Generator: TypeAlias = "AsyncGeneratorType[Any, Any]"
_Task: TypeAlias = "asyncio.Task[Any]"

_GET_ANEXT = opcode.opmap.get("GET_ANEXT", -1)
"""The instruction of ``async for``. Where a Python has none, generators end as their application leaves them."""

_LOOK = 0.01
"""Seconds between two looks at what goes on."""

_STAYS = 3
"""How many looks in a row find a generator at its ``yield`` whose task waits there for another one."""

_TOLD = frozenset(
    {
        *("ClientDisconnect", "WebSocketDisconnect", "WebSocketDisconnected"),
        *("BrokenResourceError", "ClosedResourceError", "EndOfStream"),
    }
)
"""How Starlette and anyio tell one task of an answer that another one has ended."""

_TOLD_BY_RUNTIME_ERROR = ("asynchronous generator is already running", "cancel scope")
"""What Python says of a generator that is being closed, and anyio where that is done in another task."""

_RELAYED = "BaseHTTPMiddleware.__call__.<locals>.call_next.<locals>.coro"
"""The name of the task in which that runs an application. One without a task group may send by itself."""

_LINES = 3
"""How many kinds of failures are told."""

_CANCELS = 5
"""How often what swallows that is cancelled."""

_watched: contextvars.ContextVar[Streams] = contextvars.ContextVar("underway_runtime requests")


class Gone(OSError):
    """Nobody hears what is sent any more."""


def is_of_the_end(error: BaseException | None) -> bool:
    """Whether an error of an application comes of what it was told, or cancelled with, at the end."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_of_the_end, error.exceptions))
    if error is None or isinstance(error, (Gone, asyncio.CancelledError, GeneratorExit)):
        return error is not None
    return is_of_the_end(error.__cause__ or error.__context__)


class Streams:
    """The generators that the requests of one application iterate over."""

    def __init__(self) -> None:
        self._begun: weakref.WeakKeyDictionary[_Generator, weakref.ref[_Task]] = weakref.WeakKeyDictionary()
        self._in_threads: list[GeneratorType[Any, Any, Any]] = []
        """Generators that a thread was in when who waits for it was cancelled."""
        self._closes: set[asyncio.Future[None]] = set()
        self.any = False
        """Whether there has been one."""
        self.failures: Counter[str] = Counter()
        """What went wrong at ends, in a line each."""
        self.unfinished = 0
        """How many had not ended when the time was over."""

    def watch(self) -> None:
        """Know what is iterated over in this context and in tasks that are made in it; on the loop."""
        before = sys.get_asyncgen_hooks().firstiter
        if getattr(before, "func", None) is not _first_step:
            sys.set_asyncgen_hooks(firstiter=partial(_first_step, before))
        _watched.set(self)

    def add(self, generator: _Generator) -> None:
        """Note one that the task that runs begins to iterate over."""
        if task := asyncio.current_task():
            self.any = True
            self._begun[generator] = weakref.ref(task)

    def open(self) -> dict[_Task | None, list[_Generator]]:
        """By task, those that have not ended, the innermost first; of None where it has ended."""
        by_task: dict[_Task | None, list[_Generator]] = {}
        for generator, reference in reversed(list(self._begun.items())):
            if generator.ag_frame is not None:
                task = reference()
                by_task.setdefault(None if task is None or task.done() else task, []).append(generator)
        return by_task

    async def close_mine(self) -> None:
        """Close what the task that runs iterates over and is at its ``yield``."""
        await self.close(self.open().get(asyncio.current_task(), ()))

    async def close(self, generators: Iterable[_Generator]) -> None:
        """Close those that are at their ``yield``, one after the other. What they raise is noted."""
        for generator in generators:
            if generator.ag_running or generator.ag_frame is None:
                continue
            self._begun.pop(generator, None)  # what goes on all the same is not told a second time
            in_thread = _in_thread(generator)
            try:
                await generator.aclose()
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) and task.cancelling():
                    self.unfinished += 1
                    raise
            except (Exception, BaseExceptionGroup) as error:
                self.failed(error)
            if in_thread is not None:
                await self._close_in_thread(in_thread)

    def close_beside(self, generators: list[_Generator]) -> asyncio.Future[None]:
        """Close them in a task of ours."""
        closes = asyncio.ensure_future(self.close(generators))
        self._closes.add(closes)
        closes.add_done_callback(self._closes.discard)
        return closes

    def cancel(self, task: _Task, generators: list[_Generator]) -> None:
        """Cancel a task inside of what it iterates over."""
        self._in_threads += filter(None, map(_in_thread, generators))
        task.cancel(msg="the time for requests is over")

    def failed(self, error: BaseException) -> None:
        """Note what an end met, unless it is only the end."""
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                self.failed(part)
        elif not isinstance(error, (Gone, asyncio.CancelledError, GeneratorExit)) and not _is_told(error):
            self.failures[f"{type(error).__name__}: {error}{_line_of(error)}"] += 1

    async def finalized(self, end: float) -> None:
        """Wait for the ends of generators that nobody iterates over any more, ours and those that the loop has."""
        loop = asyncio.get_running_loop()
        garbage_collector.thaw()  # one that began with the node may have been set aside
        while True:
            self.close_beside(self.open().get(None, []))
            gc.collect()  # an exception may hold the frame that holds one
            for _ in range(2):
                await asyncio.sleep(0)  # a turn to find one, and one to begin with its end, which may leave another
            ends = {task for task in asyncio.all_tasks() if type(task.get_coro()).__name__ == "async_generator_athrow"}
            if not (ends | self._closes) or loop.time() > end:
                break
            await asyncio.wait(ends | self._closes, timeout=end - loop.time())
            for task in ends:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    self.failed(error)
        for closes in self._closes:
            closes.cancel()
        await self._close_in_threads(end)

    def report(self) -> Iterator[str]:
        """Say what went wrong, a line for each kind, and forget it."""
        failures, unfinished = self.failures, self.unfinished
        if unfinished:
            _tell_no_more()
        self.failures, self.unfinished = Counter(), 0
        for failure, count in failures.most_common(_LINES):
            yield f"streams that failed at their end: {count}, with {failure}"
        if (more := len(failures) - _LINES) > 0:
            yield f"streams failed at their end in other ways, too: {more}"
        if unfinished:
            yield (
                f"streams that had not ended when the time for that was over: {unfinished}; what they still do may find"
                " closed what they use"
            )

    async def _close_in_threads(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while (running := [generator for generator in self._in_threads if generator.gi_running]) and loop.time() < end:
            await asyncio.sleep(_LOOK)
        ready = [generator for generator in self._in_threads if generator not in running]
        self.unfinished += len(running)
        self._in_threads = []
        await asyncio.gather(*map(self._close_in_thread, ready))

    async def _close_in_thread(self, generator: GeneratorType[Any, Any, Any]) -> None:
        close = partial(contextvars.copy_context().run, generator.close)
        try:
            await asyncio.get_running_loop().run_in_executor(None, close)
        except Exception as error:
            self.failed(error)


def _first_step(before: Callable[[_Generator], None] | None, generator: _Generator) -> None:
    """Note a generator that ``async for`` iterates over, or an ``__anext__`` for that; nothing else is left where it is."""
    if (streams := _watched.get(None)) is not None:
        frame = sys._getframe(1)
        code = frame.f_code
        if code.co_code[frame.f_lasti] == _GET_ANEXT or code.co_name == "__anext__":
            streams.add(generator)
    if before is not None:
        before(generator)


def _in_thread(generator: _Generator) -> GeneratorType[Any, Any, Any] | None:
    """The ordinary generator that Starlette's `iterate_in_threadpool` iterates over: what it does at its end blocks, too."""
    if generator.ag_code.co_name != "iterate_in_threadpool":
        return None
    iterator = generator.ag_frame and generator.ag_frame.f_locals.get("as_iterator")
    return iterator if type(iterator) is GeneratorType else None


def _is_told(error: BaseException) -> bool:
    """Whether an error says only that something of the same answer has ended before."""
    if type(error) is RuntimeError:
        return any(text in str(error) for text in _TOLD_BY_RUNTIME_ERROR)
    return type(error).__name__ in _TOLD


def _tell_no_more() -> None:
    """Have the loop not tell at its end, with a traceback each, that generators run which were told of."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "asyncgen" in context and "already running" in str(context.get("exception")):
            return
        if before is None:
            loop.default_exception_handler(context)
        else:
            before(loop, context)

    loop.set_exception_handler(handle)


def _line_of(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f" ({Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno})" if traceback else ""


# ------------------------------------------------------------------------------------------------------------ an answer


class Answer:
    """What an application does with one request, from its first `send` to its end."""

    def __init__(self, cycle: Any) -> None:
        self.cycle = cycle
        """uvicorn's."""
        self.task = asyncio.current_task()
        self.sender = self.task
        """The task that has sent last: frameworks stream from another one."""
        self.streams = False
        """More of it is to come."""
        self.cut = False
        """Something of it was ended: what comes is not its end."""
        self.sends = False
        """Its sender is in `send`, and goes on from there."""
        self.others_ended = asyncio.Event()
        """Set when its other tasks iterate over nothing any more."""
        self._stays: Counter[_Task] = Counter()
        self._closes: dict[_Task, asyncio.Future[None]] = {}
        self._cancelled: dict[_Task, list[object]] = {}
        """Where each was when it was cancelled: its generators, and how far each had come."""

    @property
    def is_at_its_end(self) -> bool:
        """Whether something of it has been told to end and does so: what that awaits is not to be cancelled."""
        ends = (*self._closes.values(), *self._cancelled)
        return self.cut and (self.sends or not all(end.done() for end in ends))

    async def told_that_its_client_has_gone(self) -> None:
        """Return when an application may be: frameworks cancel then what its generators await at their end, too."""
        while self.is_at_its_end:
            await asyncio.sleep(_LOOK)

    def look(
        self,
        streams: Streams,
        open_: dict[_Task | None, list[_Generator]],
        children: dict[int, list[_Task]],
        late: bool,
    ) -> None:
        """End what other tasks of it iterate over, the innermost first; and, `late`, what its own awaits."""
        if self.task is None or self.sender is None:
            return
        # of a sender of its own, a task group in what it iterates over ends these
        within = {*_below(self.sender, children)} if self.sender is not self.task else set()
        waits = False
        for task in _below(self.task, children):
            may_send = task in open_ or (id(task) not in children and task.get_name().endswith(_RELAYED))
            if task is self.sender or not may_send or (late and task in within):
                continue
            waits = True
            if not any(other in open_ for other in _below(task, children) if other is not self.sender):
                self._end(task, open_.get(task, []), streams, late)
        if not waits and all(closes.done() for closes in self._closes.values()):
            self.others_ended.set()
            if late and not self.sends:
                self._cancel(self.sender, open_.get(self.sender, []), streams)

    def _end(self, task: _Task, generators: list[_Generator], streams: Streams, late: bool) -> None:
        if task in self._closes:
            return
        if not generators or any(generator.ag_running for generator in generators):
            self._stays[task] = 0
            if late:
                self._cancel(task, generators, streams)
            return
        self._stays[task] += 1
        if self._stays[task] >= _STAYS:
            self.cut = True
            self._closes[task] = streams.close_beside(generators)

    def _cancel(self, task: _Task, generators: list[_Generator], streams: Streams) -> None:
        """Cancel a task; again where it has gone on, and waits where it did before."""
        before = self._cancelled.setdefault(task, [])
        at = [(id(generator), generator.ag_frame.f_lasti) for generator in generators if generator.ag_frame is not None]
        if not task.done() and (not before or (at and at in before and len(before) < _CANCELS)):
            self.cut = True
            before.append(at)
            streams.cancel(task, generators)


async def end_answers(answers: Callable[[], list[Answer]], streams: Streams, end: float) -> None:
    """Have the streams among them end, from within. `answers` tells those that are open."""
    loop = asyncio.get_running_loop()
    half = (loop.time() + end) / 2
    for answer in answers():
        with contextlib.suppress(AttributeError):
            answer.cycle.flow.resume_writing()  # its client reads slowly: nobody waits for that any more
    while (open_ := answers()) and loop.time() < end:
        began, generators, children = loop.time(), streams.open(), _children()
        for answer in open_:
            answer.look(streams, generators, children, began > half)
        del generators
        await asyncio.sleep(max(_LOOK, 2 * (loop.time() - began)))


def _children() -> dict[int, list[_Task]]:
    """By the id of a task that waits for them, the tasks of its task groups: those of anyio, which frameworks use."""
    children: dict[int, list[_Task]] = {}
    if (anyio := sys.modules.get("anyio")) is not None:
        tasks = {id(task): task for task in asyncio.all_tasks()}
        for task in anyio.get_running_tasks():
            if task.parent_id is not None and task.id in tasks:
                children.setdefault(task.parent_id, []).append(tasks[task.id])
    return children


def _below(task: _Task, children: dict[int, list[_Task]]) -> Iterator[_Task]:
    for child in children.get(id(task), ()):
        yield child
        yield from _below(child, children)
