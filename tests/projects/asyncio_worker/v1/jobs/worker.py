"""The worker: takes jobs as they come."""

import asyncio
import contextlib

from underway_runtime import Application, looping

from . import __version__
from .queue import Job, queue
from .settings import TRIES
from .tasks import tasks


async def done(job: Job) -> object:
    """What comes of a job."""
    job.tries += 1
    if job.kind not in tasks:
        return f"nobody does {job.kind}"
    try:
        return await tasks[job.kind](job)
    except ValueError as error:
        if job.tries < TRIES:
            return await done(job)
        return f"{job.title()} failed: {error}"


async def work() -> None:
    """Do jobs for ever."""
    while True:
        job = await queue.waiting.get()
        queue.results.append(await done(job))


class Worker(Application):
    """Works as long as its node runs."""

    async def start(self) -> None:
        """Begin."""
        self.task = looping(work, name="work")

    async def stop(self) -> None:
        """End."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


def about() -> dict[str, object]:
    """What it is."""
    return {"version": __version__, "kinds": sorted(tasks)}
