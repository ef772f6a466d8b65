import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .version import PORT, VERSION, WORKERS, says, who

KIND, METHOD = os.environ["KIND"], os.environ["METHOD"]


def work():
    time.sleep(0.005)  # so that others are asked as well
    return who()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        told = pool.apply(work) if KIND == "multiprocessing" else pool.submit(work).result()
        if told.split()[0] != VERSION:
            told = f"{VERSION} asked {told}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told.encode())

    def log_message(self, *arguments):
        pass


def without_a_handler():
    global pool
    context = multiprocessing.get_context(METHOD)
    pool = context.Pool(WORKERS) if KIND == "multiprocessing" else ProcessPoolExecutor(WORKERS, context)
    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        if "handler" in os.environ:
            signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        says()
        server.serve_forever()


def main():
    os.environ["handler"] = "yes"
    without_a_handler()
    pool.close() if KIND == "multiprocessing" else pool.shutdown()
