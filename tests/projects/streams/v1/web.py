"""Streams whose generators save at their end what the lifespan has open, in all the ways that generators are written."""

import asyncio
import contextlib
import os
import time

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route

DATA = b"data: 1\n\n"
VERSION = "1"
opened = False


def note(what):
    file = os.open("NOTES", os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{VERSION} {what}\n".encode())
    os.close(file)


@contextlib.asynccontextmanager
async def lifespan(app):
    global opened
    opened = True
    yield
    opened = False
    note("lifespan ends")


async def save(name):
    for _ in range(5):
        await asyncio.sleep(0.01)
    note(f"{name} saves, {'open' if opened else 'closed'}")


# ----------------------------------------------------------------------------------------------------------- generators


async def events(name):
    try:
        while True:
            yield DATA
            await asyncio.sleep(0.01)
    finally:
        await save(name)


async def waits(name):
    # for the next event, which does not come
    try:
        yield DATA
        await asyncio.Event().wait()
    finally:
        await save(name)


async def keeps_alive(name):
    queue = asyncio.Queue()
    try:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(queue.get(), 0.02)
            yield DATA
    finally:
        await save(name)


async def produces(queue):
    while True:
        await queue.put(DATA)
        await asyncio.sleep(0.01)


async def task_group(name):
    try:
        async with asyncio.TaskGroup() as group:
            queue = asyncio.Queue()
            group.create_task(produces(queue))
            while True:
                yield await queue.get()
    finally:
        await save(name)


async def inside_task_group(name):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1000))
        async for data in events(name):
            yield data


async def timeout(name):
    try:
        async with asyncio.timeout(1000):
            while True:
                yield DATA
                await asyncio.sleep(0.01)
    finally:
        await save(name)


async def anyio_group(name):
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1000)
            while True:
                yield DATA
                await anyio.sleep(0.01)
    finally:
        await save(name)


async def anyio_timeout(name):
    with anyio.fail_after(1000):
        try:
            while True:
                yield DATA
                await anyio.sleep(0.01)
        finally:
            await save(name)


async def nested(name):
    async for data in task_group(name):
        yield data


async def held(name):
    inner = events(name)
    async for data in inner:
        yield data


async def closing(name):
    async with contextlib.aclosing(events(name)) as inner:
        async for data in inner:
            yield data


class Wrapped:
    def __init__(self, generator):
        self.generator = generator

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.generator.__anext__()


def wrapped(name):
    return Wrapped(task_group(name))


@contextlib.asynccontextmanager
async def session(name):
    try:
        yield
    finally:
        await save(f"{name} session")


async def in_session(name):
    # a context manager is left by who has entered it
    async with session(name):
        async for data in events(name):
            yield data


async def in_thread(name):
    try:
        while True:
            await run_in_threadpool(time.sleep, 0.01)
            yield DATA
    finally:
        await run_in_threadpool(time.sleep, 0.01)
        await save(name)


async def never_awaits(name):
    try:
        while True:
            yield DATA * 1000
    finally:
        await save(name)


def ordinary(name):
    try:
        while True:
            yield DATA
            time.sleep(0.01)
    finally:
        time.sleep(0.01)
        note(f"{name} saves, {'open' if opened else 'closed'}")


KINDS = (
    *(events, waits, keeps_alive, task_group, inside_task_group, timeout, anyio_group, anyio_timeout, nested, held),
    *(closing, wrapped, in_session, in_thread, never_awaits, ordinary),
)


# --------------------------------------------------------------------------------------------------------- applications


def streaming(kind, prefix=""):
    async def answer(request):
        return StreamingResponse(kind(f"{prefix}{kind.__name__}"), media_type="text/event-stream")

    return Route(f"/{kind.__name__}", answer)


class Deaf:
    # an application that never looks whether its client is there, and iterates over nothing
    def __init__(self, name):
        self.name = name

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": DATA, "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            await save(self.name)


async def passes(request, call_next):
    return await call_next(request)


def behind(middlewares):
    """As `@app.middleware("http")` has it: what streams is in another task than what sends."""
    prefix = f"behind_{middlewares} "
    return Starlette(
        routes=[Route("/deaf", Deaf(f"{prefix}deaf")), *(streaming(kind, prefix) for kind in KINDS)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=passes)] * middlewares,
    )


fastapi = FastAPI()


async def dependency(request: Request):
    try:
        yield
    finally:
        await save(f"sse {request.url.path.rpartition('/')[2]} dependency")


def server_sent(kind):
    async def answer():
        async for _ in kind(f"sse {kind.__name__}"):
            yield {}

    fastapi.get(f"/{kind.__name__}", response_class=EventSourceResponse, dependencies=[Depends(dependency)])(answer)


for kind in KINDS:
    if kind is not ordinary:
        server_sent(kind)

routes = [
    Mount("/behind_1", behind(1)),
    Mount("/behind_2", behind(2)),
    Mount("/sse", fastapi),
    Route("/deaf", Deaf("deaf")),
]
routes += map(streaming, KINDS)
app = starlette = Starlette(routes=routes, lifespan=lifespan)
