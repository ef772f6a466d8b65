import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .version import PORT, VERSION, says


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *arguments):
        pass


class KeptAlive(Handler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Connection", "keep-alive")
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())


class Daemonic(ThreadingHTTPServer):
    daemon_threads = True


def without_a_handler(handler=Handler):
    with ThreadingHTTPServer(("127.0.0.1", PORT), handler) as server:
        says()
        server.serve_forever()


def kept_alive():
    without_a_handler(KeptAlive)


def main():
    server = Daemonic(("127.0.0.1", PORT), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    says()
    server.serve_forever()
    server.server_close()
