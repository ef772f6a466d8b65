import os
import time

from gunicorn.app.base import BaseApplication

from .version import PORT, WORKERS, says, who

OPTIONS = {
    "bind": f"127.0.0.1:{PORT}",
    "workers": WORKERS,
    "worker_class": os.environ["KIND"],
    "threads": 1 if os.environ["KIND"] == "sync" else 4,
    "keepalive": 75,
    "control_socket_disable": True,
    "preload_app": os.environ.get("PRELOAD") == "True",
    "when_ready": lambda server: says(),
}


def wsgi(environ, start_response):
    time.sleep(0.005)  # so that others are asked as well
    start_response("200 OK", [("Content-Length", str(len(who())))])
    return [who().encode()]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    time.sleep(0.005)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(who()))]})
    await send({"type": "http.response.body", "body": who().encode()})


class Standalone(BaseApplication):
    def load_config(self):
        for name, value in OPTIONS.items():
            self.cfg.set(name, value)

    def load(self):
        return asgi if "uvicorn" in OPTIONS["worker_class"] else wsgi


def main():
    Standalone().run()
