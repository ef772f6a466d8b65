import asyncio

from underway_runtime import Application


class App(Application):
    hits = 0

    async def start(self):
        self.server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        print("serving", self.server.sockets[0].getsockname()[1], flush=True)

    async def answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.hits += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def stop(self):
        self.server.close()
