import asyncio
import signal

from .version import PORT, VERSION, says


async def talk(reader, writer):
    while line := await reader.readline():
        writer.write(f"{VERSION} {line.decode()}".encode())
        await writer.drain()
    writer.close()


async def serve():
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = await asyncio.start_server(talk, "127.0.0.1", PORT)
    says()
    await stopped.wait()
    server.close()


def main():
    asyncio.run(serve())
