import asyncio
import os
import signal

from .version import PORT, VERSION

connections = set()


async def serve(reader, writer):
    connections.add(writer)
    try:
        while (request := await reader.readuntil(b"\r\n\r\n")) and not writer.is_closing():
            await asyncio.sleep(0.01)
            last = stopping.is_set() or os.environ.get("STYLE") == "plain" or b"close" in request
            body = VERSION.encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s"
                % (len(body), b"close" if last else b"keep-alive", body)
            )
            await writer.drain()
            if last:
                break
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()
        connections.discard(writer)


async def service():
    global stopping
    stopping = asyncio.Event()
    if os.environ.get("STYLE") != "plain":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    await stopping.wait()
    server.close()
    while connections:
        await asyncio.sleep(0.05)


def main():
    if os.environ.get("STYLE") == "uvloop":
        import uvloop

        uvloop.run(service())
    else:
        asyncio.run(service())
