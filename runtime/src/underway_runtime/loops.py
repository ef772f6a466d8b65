"""A task that may be begun again: for loops that never return, and so would stay in old code for ever."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

_loops: weakref.WeakSet[Loop] = weakref.WeakSet()


def looping(make: Callable[[], Coroutine[Any, Any, Any]], *, name: str | None = None) -> asyncio.Task[Any]:
    """Run what `make` returns, as a task that is cancelled and made again when code that it is inside of is replaced.

    `make` is called again after each such install, and then has the new code; what is to last longer than one run belongs
    into an object. The task that is returned ends as the coroutine ends, with its result or exception, and cancels it when
    it is cancelled itself::

        self.task = looping(self.poll_for_ever, name="poll")
    """
    loop = Loop(make)
    task = asyncio.get_running_loop().create_task(loop.run(), name=name)
    loop.name = task.get_name()
    return task


def running() -> list[Loop]:
    """All that run, of this process."""
    return [loop for loop in _loops if loop.runs]


class Loop:
    """One of them. All of it belongs to the loop that it was made on."""

    name = ""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._make = make
        self._work: asyncio.Future[Any] | None = None
        self._may_run = asyncio.Event()
        self._may_run.set()
        _loops.add(self)

    @property
    def runs(self) -> bool:
        return self._work is not None and not self._work.done()

    async def run(self) -> Any:
        while True:
            await self._may_run.wait()
            self._work = work = asyncio.ensure_future(self._make())
            try:
                return await work
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if self._may_run.is_set() or (task is not None and task.cancelling()):
                    raise

    async def pause(self, timeout: float) -> bool:
        """Cancel what runs; whether that has ended within so many seconds. `go_on` follows in any case."""
        self._may_run.clear()
        if self._work is not None and not self._work.done():
            self._work.cancel("other code is put in place")
            await asyncio.wait({self._work}, timeout=timeout)
            return self._work.done()
        return True

    def go_on(self) -> None:
        """Begin again."""
        self._may_run.set()

    def owns(self, task: object) -> bool:
        """Whether this is the task of what runs."""
        return task is not None and task is self._work
