import os

import flask
import markupsafe._speedups
from gunicorn.app.base import BaseApplication

from .version import PORT, VERSION

app = flask.Flask("shop")


@app.get("/")
def index():
    extension = markupsafe._speedups.__file__.split("/lib/")[1].split("-py")[0]
    return f"{VERSION} {extension} {markupsafe.escape('<')}"


class Server(BaseApplication):
    def load_config(self):
        for name, value in {
            "bind": f"127.0.0.1:{PORT}",
            "workers": 2,
            "worker_class": os.environ.get("WORKER", "sync"),
            "keepalive": 75,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(name, value)

    def load(self):
        return app


def main():
    Server().run()
