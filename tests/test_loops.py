"""A loop that never returns can be begun again, without anyone who waits for it noticing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest

from underway_runtime.loops import looping, running

WITHIN = 10


def scenario(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, WITHIN))


class Worker:
    """Counts how often its loop was begun, and cleans up at each end."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.runs = asyncio.Event()
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def for_ever(self) -> str:
        self.begun += 1
        self.runs.set()
        try:
            return await self.wait()
        finally:
            self.ended += 1
            self.runs.clear()

    async def wait(self) -> str:
        return await asyncio.shield(self.done)


def test_it_is_made_anew_and_its_task_stays() -> None:
    """What was cancelled has cleaned up before the next begins; the task ends with the result of the last."""

    async def check() -> None:
        worker = Worker()
        task = looping(worker.for_ever, name="worker")
        await worker.runs.wait()
        (loop,) = running()
        assert loop.name == "worker"
        assert [getattr(each.get_coro(), "__qualname__", "") for each in asyncio.all_tasks() if loop.owns(each)] == [
            "Worker.for_ever"
        ]

        assert await loop.pause(WITHIN)
        assert (worker.begun, worker.ended, task.done()) == (1, 1, False)
        loop.go_on()
        await worker.runs.wait()

        assert (worker.begun, worker.ended) == (2, 1)
        worker.done.set_result("all of it")
        assert await task == "all of it"
        assert not running()

    scenario(check())


def test_who_cancels_the_task_cancels_the_loop() -> None:
    """Also while it is paused."""

    async def check() -> None:
        for paused in (False, True):
            worker = Worker()
            task = looping(worker.for_ever)
            await worker.runs.wait()
            if paused:
                await running()[0].pause(WITHIN)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (worker.begun, worker.ended) == (1, 1)

    scenario(check())


def test_a_loop_that_raises_or_cancels_itself_ends() -> None:
    """It is begun again for new code, and for nothing else."""

    async def check() -> None:
        async def fail() -> None:
            raise ValueError("broken")

        async def give_up() -> None:
            raise asyncio.CancelledError

        with pytest.raises(ValueError, match="broken"):
            await looping(fail)
        with pytest.raises(asyncio.CancelledError):
            await looping(give_up)

    scenario(check())


def test_one_that_does_not_listen_is_told_of() -> None:
    """A pause says that what runs has not ended in its time."""

    async def check() -> None:
        stubborn = asyncio.Event()

        async def for_ever() -> None:
            while not stubborn.is_set():
                try:
                    await stubborn.wait()
                except asyncio.CancelledError:
                    continue

        task = looping(for_ever)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (loop,) = running()
        assert not await loop.pause(0.01)
        stubborn.set()
        loop.go_on()
        await task

    scenario(check())


def test_what_has_ended_is_forgotten() -> None:
    """Nothing grows with the loops that were."""

    async def check() -> None:
        async def once() -> None:
            pass

        for _ in range(3):
            await looping(once)

    scenario(check())
    gc.collect()
    assert not running()
