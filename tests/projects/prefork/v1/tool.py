import os

from gunicorn.app.base import BaseApplication


def answer():
    return b"1"


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [answer()]


class Standalone(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", f"127.0.0.1:{os.environ['PORT']}")
        self.cfg.set("workers", 2)
        self.cfg.set("preload_app", os.environ["PRELOAD"] == "True")

    def load(self):
        return app


def main():
    Standalone().run()
