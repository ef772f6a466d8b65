"""WebSockets that send and receive all the time: `_websockets.py PORT COUNT` says "open" when all are, and after SIGTERM
how many messages came back and how WebSockets ended, as JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PATIENCE = 10.0
SPEAKS_EVERY = 0.5
"""Seconds from one message of a WebSocket, heard again, to its next."""


async def main(port: int, count: int) -> None:
    """Talk until SIGTERM."""
    seen, opened, enough = Counter[str](), asyncio.Semaphore(0), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, enough.set)
    talks = [asyncio.create_task(_talk(seen, f"ws://127.0.0.1:{port}/ws/{n}?name=bench", opened)) for n in range(count)]
    for _ in talks:
        await opened.acquire()
    print("open", flush=True)
    stopped = asyncio.ensure_future(enough.wait())
    for done in (await asyncio.wait([stopped, *talks], return_when=asyncio.FIRST_COMPLETED))[0]:
        done.result()  # none of the others ends by itself
    print(json.dumps(seen), flush=True)


async def _talk(seen: Counter[str], url: str, opened: asyncio.Semaphore) -> None:
    """Alone in a room, which sends back what is said there; come back at once whenever that ends."""
    while True:
        try:
            websocket = await connect(url, compression=None, proxy=None, ping_interval=None, open_timeout=PATIENCE)
        except (OSError, WebSocketException, EOFError):
            seen["refused"] += 1
            await asyncio.sleep(0.1)
            continue
        opened.release()
        try:
            while True:
                await websocket.send('{"text": "hello"}')
                async with asyncio.timeout(PATIENCE):
                    while '"message"' not in await websocket.recv(decode=True):
                        pass  # who is there
                seen["echoes"] += 1
                await asyncio.sleep(SPEAKS_EVERY)
        except ConnectionClosed as closed:
            seen[str(closed.rcvd.code) if closed.rcvd else "reset"] += 1
        except TimeoutError:
            seen["silent"] += 1
        finally:
            websocket.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
