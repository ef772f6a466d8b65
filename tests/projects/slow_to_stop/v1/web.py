import asyncio
import os
import time
from pathlib import Path


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("start", flush=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("stops", flush=True)
        while not Path(os.environ["MAY_STOP"]).exists():
            await asyncio.sleep(0.01)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/crash":
        os.kill(os.getpid(), 9)
    if scope["path"] == "/print":
        for number in range(200):
            print(f"{number:08}" * 12, flush=True)
    body = f"{os.getpid()} {os.getppid()} {int(time.time())} {int(time.monotonic())}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
