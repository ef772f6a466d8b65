import os
import socketserver

from .version import PORT, VERSION


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        body = VERSION.encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    files = []
    if path := os.environ.get("SOCKET"):
        if os.path.exists(path):
            os.remove(path)
        files.append(socketserver.ThreadingUnixStreamServer(path, Handler))
    with Server(("127.0.0.1", PORT), Handler) as server:
        try:
            server.serve_forever(0.01)
        finally:
            for unix in files:
                os.remove(unix.server_address)
