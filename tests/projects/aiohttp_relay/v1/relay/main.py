"""The application, and how it is served."""

import asyncio
import sys
from collections.abc import AsyncIterator

from aiohttp import web

from .middlewares import stamped, as_json
from .settings import TOPICS
from .store import Store
from .views import STORE, routes


async def opened(app: web.Application) -> AsyncIterator[None]:
    """The store, as long as it serves."""
    app[STORE] = Store(TOPICS)
    yield
    app[STORE].topics.clear()


app = web.Application(middlewares=[stamped, as_json])
app.add_routes(routes)
app.cleanup_ctx.append(opened)


async def serve() -> None:
    """Serve until the end."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    print(f"listening on tcp://127.0.0.1:{port}", file=sys.stderr, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Serve, by a loop of its own."""
    asyncio.run(serve())
