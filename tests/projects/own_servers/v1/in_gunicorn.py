from gunicorn.app.base import BaseApplication

from .version import PORT, VERSION, says

OPTIONS = {
    "bind": f"127.0.0.1:{PORT}",
    "workers": 2,
    "threads": 4,
    "worker_class": "gthread",
    "keepalive": 60,
    "control_socket_disable": True,
    "when_ready": lambda server: says(),
}


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [VERSION.encode()]


class Standalone(BaseApplication):
    def load_config(self):
        for name, value in OPTIONS.items():
            self.cfg.set(name, value)

    def load(self):
        return app


def main():
    Standalone().run()
