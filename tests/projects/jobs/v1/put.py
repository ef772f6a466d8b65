"""Puts jobs into the queue, of the numbers from one on, each of so many seconds; a line for each on standard input."""

import asyncio
import os
import sys

from .work import work


def put(kind):
    if kind == "celery":
        from .with_celery import task

        return lambda number, seconds: task.apply_async((number, seconds), task_id=f"job-{number}")
    if kind == "dramatiq":
        from .with_dramatiq import task

        return task.send
    if kind == "arq":
        return put_with_arq()
    from rq import Retry

    from .with_rq import queue

    jobs = queue()
    return lambda number, seconds: jobs.enqueue(work, number, seconds, job_id=f"job-{number}", retry=Retry(max=3))


def put_with_arq():
    from arq import create_pool

    from .with_arq import Settings

    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(create_pool(Settings.redis_settings))
    return lambda *job: loop.run_until_complete(pool.enqueue_job("work", *job))


if __name__ == "__main__":
    enqueue = put(os.environ["WORKER"])
    for line in sys.stdin:
        number, seconds = line.split()
        enqueue(int(number), float(seconds))
        print(number, flush=True)
