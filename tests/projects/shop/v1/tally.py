import asyncio
import platform

from underway_runtime import Application

from .version import PORT, VERSION

HERE = f"{VERSION} {platform.python_version()}"


class App(Application):
    before = ()
    draining = False

    async def accept(self):
        self.open = set()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", PORT)

    async def drain(self, within):
        self.draining = True
        self.server.close()
        while self.open:
            await asyncio.sleep(0.05)

    def export_state(self):
        return [*self.before, HERE]

    def import_state(self, state, version):
        self.before = state

    async def serve(self, reader, writer):
        self.open.add(writer)
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                body = (", ".join(self.before) if b"/before" in request else HERE).encode()
                said = b"close" if self.draining else b"keep-alive"
                head = b"HTTP/1.1 200 OK\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (said, len(body)) + body)
                await writer.drain()
                if self.draining:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            self.open.discard(writer)
