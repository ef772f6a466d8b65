"""Services of each kind on the nodes of a cluster, which are restarted and upgraded under load."""

from __future__ import annotations

import json
import signal

import pytest

from cluster_helpers import CREW
from handover_helpers import clients
from node_helpers import App, MakeNode, eventually
from ports import free_port
from test_cluster_handover import MEMBERS, port_of, versions, web

WSGI = """
VERSION = "1"

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [VERSION.encode()]
"""
MAIN = """
import http.server, os

VERSION = "1"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *_):
        pass

def main():
    with http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["WEB"])), Handler) as server:
        print("listening on", f"tcp://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
"""
NEEDS = ("underway_runtime",)
KINDS = {
    "asgi": web(),
    "wsgi": App("web", WSGI, {"wsgi": "web:app", "listen": ["tcp://127.0.0.1:0"]}, NEEDS),
    "main": App("web", MAIN, {"main": "web:main"}, NEEDS),
}


def other(service: App) -> App:
    """The same, which says that it is of another version."""
    return App(service.name, service.source.replace('VERSION = "1"', 'VERSION = "2"'), service.start, service.requires)


@pytest.mark.drill
@pytest.mark.parametrize("kind", KINDS)
def test_a_service_on_each_node_is_restarted_and_upgraded(
    make: MakeNode, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """On the master and on a worker: nobody is lost, and where its socket is handed on no request fails."""
    service = KINDS[kind]
    nodes = versions(make, monkeypatch, CREW, other(service), first=(CREW, service))
    worker = nodes.start(nodes.section("w1", "127.0.0.2", "worker"), {"WEB": str(free_port())})
    section = nodes.section("master", "127.0.0.1", "master", workers=["w1"])
    master = nodes.start(section, {"WEB": str(free_port())}).ready().serving()
    worker.serving()
    failures: list[str] = []
    for node in (worker, master):
        with clients(port_of(node), 0 if kind == "main" else 2, short=2) as served:
            node.gracefully()
            eventually(lambda: master.rpc(MEMBERS) == "['w1']", "both are one cluster")
        failures += served.failures
    with clients(port_of(worker), 0, short=1) as at_worker, clients(port_of(master), 0, short=1) as at_master:
        for node in (worker, master):
            done = node.asked("install", "2")
            assert done.returncode == 0, done.stderr + node.log.read_text()
        eventually(lambda: master.rpc(MEMBERS) == "['w1']", "both are one cluster")
        eventually(lambda: "2" in at_worker.answers[-5:] and "2" in at_master.answers[-5:], "both answer")
    failures += at_worker.failures + at_master.failures
    if kind != "main":
        assert failures == []
    assert json.loads(master.asked("status", "--json").stdout)["version"] == "2"
    for node in (master, worker):
        node.process.send_signal(signal.SIGTERM)
    assert (master.ends(), worker.ends() in {0, 4}) == (0, True)
