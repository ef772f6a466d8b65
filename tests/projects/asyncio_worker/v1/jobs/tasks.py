"""What can be done, by kind."""

import logging
from collections.abc import Awaitable, Callable

from .queue import Job
from .settings import RATES, SENDER

logger = logging.getLogger(__name__)
Task = Callable[[Job], Awaitable[str]]
tasks: dict[str, Task] = {}


def task(kind: str) -> Callable[[Task], Task]:
    """Register a function for a kind of job."""

    def registered(function: Task) -> Task:
        tasks[kind] = function
        return function

    return registered


@task("mail")
async def mail(job: Job) -> str:
    """Send a letter."""
    return f"{SENDER} sent {job.text}"


@task("print")
async def printed(job: Job) -> str:
    """Print something."""
    logger.debug("printing %s", job.text)
    return f"printed {job.text} at {RATES['print']}"
