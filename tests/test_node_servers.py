"""Web applications and main functions, run for real by the node."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect, unix_connect

from node_helpers import App, MakeNode, Node, Process, finish, read_until, recorder, terminate
from sources import source


def port_of(process: Process) -> int:
    """The port in the line that says where an application listens."""
    return int(read_until(process.stderr, r"listening on .*tcp://127\.0\.0\.1:(\d+)")[1])


class Unix(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def get(connection: http.client.HTTPConnection, path: str = "/") -> str:
    connection.request("GET", path)
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer


def over(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


# ------------------------------------------------------------------------------------------------------------- asgi

STARLETTE = source("starlette_rooms/v1/web.py")

LIBRARIES = ("uvicorn", "starlette", "websockets")


def chat(make: MakeNode, *listen: str, source: str = STARLETTE) -> Node:
    start = {"asgi": "chat:app", "listen": list(listen) or ["tcp://127.0.0.1:0"]}
    return make(recorder("db"), App("chat", source, start, ("db",)), libraries=LIBRARIES)


def test_asgi_serves_http_and_websocket_over_tcp_and_a_socket_file(make: MakeNode, tmp_path: Path) -> None:
    """All addresses serve the same application; at the stop its lifespan ends and the socket file is gone."""
    path = tmp_path / "chat.sock"
    node = chat(make, "tcp://127.0.0.1:0", f"unix://{path}")
    process = node.spawn("start")
    line = read_until(process.stderr, r"listening on .*tcp://127\.0\.0\.1:(\d+)")
    port = int(line[1])

    assert line.string == f"chat 1.0: listening on tcp://127.0.0.1:{port}, unix://{path} (mode 0666)\n"
    assert get(over(port)) == "hello"
    assert get(Unix(path)) == "hello"
    with connect(f"ws://127.0.0.1:{port}/room") as websocket:
        websocket.send("hi")
        assert websocket.recv(timeout=30) == "HI"
    with unix_connect(str(path), uri="ws://localhost/room") as websocket:
        websocket.send("hi")
        assert websocket.recv(timeout=30) == "HI"

    status, out, _ = terminate(process)
    assert (status, out.splitlines()) == (0, ["start db", "lifespan starts", "lifespan ends", "stop db"])
    assert not path.exists()


def test_a_stop_lets_requests_finish_and_closes_websockets(make: MakeNode) -> None:
    """An open request has its answer, a WebSocket is closed with 1012, service restart."""
    node = chat(make)
    process = node.spawn("start")
    port = port_of(process)
    with connect(f"ws://127.0.0.1:{port}/room") as websocket:
        websocket.send("hi")
        assert websocket.recv(timeout=30) == "HI"
        request = over(port)
        request.request("GET", "/slow")
        read_until(process.stdout, "slow")

        process.terminate()
        with pytest.raises(ConnectionClosed) as caught:
            websocket.recv(timeout=30)

        assert request.getresponse().read() == b"at last"
        request.close()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert finish(process)[0] == 0


def test_a_request_that_never_ends_does_not_keep_the_lifespan_from_ending(make: MakeNode) -> None:
    """Requests get most of the deadline, the application's own shutdown the rest."""
    node = chat(make)
    node.configure(underway_runtime={"stop_timeout": 4})
    process = node.spawn("start")
    request = over(port_of(process))
    request.request("GET", "/endless")
    read_until(process.stdout, "endless")

    status, out, _ = terminate(process)

    request.close()
    assert (status, out) == (0, "lifespan ends\nstop db\n")


def test_a_lifespan_that_fails_is_a_start_that_fails(make: MakeNode) -> None:
    """The cause is in the error, and what had started is stopped."""
    node = chat(make, source=STARLETTE.replace('print("lifespan starts", flush=True)', 'raise OSError("no disk")'))

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start db\nstop db\n")
    assert done.stderr.endswith("error: chat could not start: its lifespan failed at startup: OSError: no disk\n")


def test_an_address_that_is_taken_is_a_start_that_fails(make: MakeNode) -> None:
    """The error names the address, and `listen` in the configuration changes it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        node = chat(make, address)

        done = node.run("start")
        node.configure(chat={"listen": ["tcp://127.0.0.1:0"]})
        process = node.spawn("start")

        assert done.returncode == 1
        assert done.stderr.endswith(
            f"error: chat could not start: can't listen:\n  - {address}: Address already in use\n"
        )
        assert get(over(port_of(process))) == "hello"
        assert terminate(process)[0] == 0


def test_the_configuration_reaches_the_server(make: MakeNode) -> None:
    """`server` holds options of uvicorn; what uvicorn does not know is told by name."""
    node = chat(make)
    node.configure(chat={"server": {"headers": [["x-served-by", "hello"]]}})
    process = node.spawn("start")
    request = over(port_of(process))
    request.request("GET", "/")
    answer = request.getresponse()
    answer.read()
    request.close()
    terminate(process)
    node.configure(chat={"server": {"hedaers": []}})
    unknown = node.run("start")
    node.configure(chat={"server": {"port": 80}})
    ours = node.run("start")

    assert answer.getheader("x-served-by") == "hello"
    assert "`server` of chat: uvicorn has no option 'hedaers'; did you mean 'headers'?" in unknown.stderr
    assert "`server` of chat can't set port: `listen` says where it listens" in ours.stderr


def test_a_release_without_uvicorn_says_what_to_add(make: MakeNode) -> None:
    """The server comes from the release's own lock."""
    node = make(App("chat", "app = None", {"asgi": "chat:app", "listen": ["tcp://127.0.0.1:0"]}))

    done = node.run("start")

    assert done.returncode == 1
    assert done.stderr.endswith(
        "error: chat could not start: chat is an ASGI application and uvicorn, which serves it, is not in this release;"
        " add uvicorn to the project's dependencies\n"
    )


# ------------------------------------------------------------------------------------------------------------- wsgi

WSGI = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("slow", flush=True)
        time.sleep(0.5)
    if environ["PATH_INFO"] == "/endless":
        print("endless", flush=True)
        time.sleep(1000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]
"""


def site(make: MakeNode, *listen: str) -> Node:
    start = {"wsgi": "site_app:app", "listen": list(listen) or ["tcp://127.0.0.1:0"]}
    return make(recorder("db"), App("site_app", WSGI, start, ("db",)), libraries=("waitress",))


def test_wsgi_serves_over_tcp_and_a_socket_file(make: MakeNode, tmp_path: Path) -> None:
    """Both at once, which waitress alone would refuse."""
    path = tmp_path / "site.sock"
    node = site(make, "tcp://127.0.0.1:0", f"unix://{path}")
    process = node.spawn("start")
    port = port_of(process)

    assert get(over(port), "/one") == "/one"
    assert get(Unix(path), "/two") == "/two"
    status, out, _ = terminate(process)
    assert (status, out) == (0, "start db\nstop db\n")
    assert not path.exists()


def test_a_wsgi_request_gets_its_answer_at_a_stop(make: MakeNode) -> None:
    """What is under way is finished; connections that are merely kept alive are closed."""
    node = site(make)
    process = node.spawn("start")
    port = port_of(process)
    idle = over(port)
    idle.request("GET", "/idle")
    assert idle.getresponse().read() == b"/idle"
    request = over(port)
    request.request("GET", "/slow")
    read_until(process.stdout, "slow")

    process.terminate()

    assert request.getresponse().read() == b"/slow"
    assert finish(process)[:2] == (0, "stop db\n")
    request.close()
    idle.close()


def test_a_wsgi_request_that_never_ends_is_given_up(make: MakeNode) -> None:
    """The stop is bounded although a thread can't be ended."""
    node = site(make)
    node.configure(underway_runtime={"stop_timeout": 4})
    process = node.spawn("start")
    request = over(port_of(process))
    request.request("GET", "/endless")
    read_until(process.stdout, "endless")

    status, out, _ = terminate(process)

    request.close()
    assert (status, out) == (0, "stop db\n")


def test_a_wrong_option_for_waitress_is_told(make: MakeNode) -> None:
    """The error names it."""
    node = site(make)
    node.configure(site_app={"server": {"treads": 4}})

    done = node.run("start")

    assert "`server` of site_app: waitress has no option 'treads'; did you mean 'threads'?" in done.stderr


# ------------------------------------------------------------------------------------------------------------- main


def main_of(source: str, *args: str, mode: str = "permanent") -> App:
    return App("tool", source, {"main": "tool:main", "args": list(args)}, ("db",), mode=mode)  # type: ignore[arg-type]  # a Mode


def test_what_takes_part_in_forks_is_there_before_main_is_called(make: MakeNode) -> None:
    """Pools of threads register what a fork does with their lock: once a fork has begun, that lets go of what the loop holds."""
    source = "import sys\n\ndef main():\n    print('concurrent.futures.thread' in sys.modules, flush=True)\n"
    process = make(recorder("db"), main_of(source)).spawn("start")

    assert read_until(process.stdout, "True|False").string == "True\n"
    finish(process)


WAITS = """
import sys, threading

def main():
    try:
        print(threading.current_thread() is threading.main_thread(), sys.argv, flush=True)
        threading.Event().wait()
    finally:
        print("finally", flush=True)
"""


def test_main_has_the_main_thread_and_is_unwound(make: MakeNode) -> None:
    """A main without a handler for SIGTERM ends where it is, with its finally blocks, before what it requires."""
    node = make(recorder("db"), main_of(WAITS, "--port", "0"))
    process = node.spawn("start")
    assert read_until(process.stdout, "tool").string == "True ['tool', '--port', '0']\n"

    assert terminate(process)[:2] == (0, "finally\nstop db\n")


def test_arguments_of_main_can_be_configured(make: MakeNode) -> None:
    """`args` in the application's configuration wins over the boot script's."""
    node = make(recorder("db"), main_of(WAITS, "--port", "0"))
    node.configure(tool={"args": ["--quiet"]})
    process = node.spawn("start")

    assert read_until(process.stdout, "tool").string == "True ['tool', '--quiet']\n"
    assert terminate(process)[0] == 0


OWN_HANDLER = """
import signal, threading

def main():
    done = threading.Event()
    told = []
    def handler(number, frame):
        told.append(number)
        done.set()
    signal.signal(signal.SIGTERM, handler)
    print("ready", flush=True)
    while not done.wait(0.05):
        pass
    print("asked", len(told), "time", flush=True)
"""


@pytest.mark.parametrize("mode", ["permanent", "transient", "temporary"])
def test_a_main_with_its_own_handler_keeps_it(make: MakeNode, mode: str) -> None:
    """It gets SIGTERM once and ends as it likes; the node stops whatever the mode is."""
    node = make(recorder("db"), main_of(OWN_HANDLER, mode=mode))
    process = node.spawn("start")
    read_until(process.stdout, "ready")

    status, out, _ = terminate(process)

    assert (status, out.splitlines()) == (0, ["asked 1 time", "stop db"])


def test_another_application_that_fails_ends_a_main_with_its_own_handler(make: MakeNode) -> None:
    """When the node stops for another reason, the main's handler is asked as by SIGTERM."""
    bomb = """
    import asyncio
    from underway_runtime import Application

    class App(Application):
        async def start(self):
            return asyncio.create_task(self.work())

        async def work(self):
            await asyncio.to_thread(input)
            raise RuntimeError("lost")
    """
    node = make(recorder("db"), App("bomb", bomb, {"class": "bomb:App"}), main_of(OWN_HANDLER))
    process = node.spawn("start", stdin=-1)
    read_until(process.stdout, "ready")
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()

    status, out, err = finish(process)

    assert (status, out.splitlines()) == (1, ["asked 1 time", "stop db"])
    assert "hello stopped, because bomb failed" in err


UVICORN = """
import uvicorn

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"from main"})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("port", self.servers[0].sockets[0].getsockname()[1], flush=True)

def main():
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    Server(config).run()
"""


def test_a_main_that_runs_uvicorn_stops_gracefully(make: MakeNode) -> None:
    """uvicorn's own signal handlers work as they do outside of a release."""
    node = make(recorder("db"), main_of(UVICORN), libraries=("uvicorn",))
    process = node.spawn("start")
    port = int(read_until(process.stdout, r"port (\d+)")[1])

    assert get(over(port)) == "from main"
    assert terminate(process)[:2] == (0, "stop db\n")


CLICK = """
import asyncio, click

@click.command()
@click.option("--status", default=0)
@click.option("--wait", is_flag=True)
def main(status, wait):
    if wait:
        asyncio.run(forever())
    click.get_current_context().exit(status)

async def forever():
    try:
        print("waiting", flush=True)
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)
"""


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (3, 1)])
def test_click_commands_are_mains(make: MakeNode, status: int, expected: int) -> None:
    """What they exit with is how the application ended; a permanent one takes the node with it."""
    node = make(recorder("db"), main_of(CLICK, "--status", str(status)), libraries=("click",))

    done = node.run("start")

    assert (done.returncode, done.stdout) == (expected, "start db\nstop db\n")
    assert ("tool 1.0 could not start: EndedWith: exit status 3" in done.stderr) == bool(status)


def test_asyncio_in_main_is_cancelled_in_order(make: MakeNode) -> None:
    """SIGTERM ends asyncio.run as Ctrl-C does, with the cleanup of its tasks."""
    node = make(recorder("db"), main_of(CLICK, "--wait"), libraries=("click",))
    process = node.spawn("start")
    read_until(process.stdout, "waiting")

    assert terminate(process)[:2] == (0, "cleaned up\nstop db\n")


def test_a_main_that_raises_is_an_application_that_failed(make: MakeNode) -> None:
    """Its traceback is shown, and the status is 1."""
    node = make(recorder("db"), main_of("def main():\n    raise RuntimeError('lost')"))

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start db\nstop db\n")
    assert "tool 1.0 could not start: RuntimeError: lost\nTraceback (most recent call last):\n" in done.stderr


def test_a_main_that_can_not_be_imported_is_a_start_that_fails(make: MakeNode) -> None:
    """The boot ends, as for any other application."""
    node = make(recorder("db"), App("tool", "import nowhere", {"main": "tool:main"}, preload=False))

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "start db\nstop db\n")
    assert done.stderr.endswith("error: tool could not start: ModuleNotFoundError: No module named 'nowhere'\n")


def test_a_main_that_does_not_listen_is_bounded(make: MakeNode) -> None:
    """One that swallows what unwinds it is given up at the deadline, and the process ends."""
    source = """
    import time

    def main():
        print("running", flush=True)
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    """
    node = make(recorder("db"), main_of(source))
    node.configure(underway_runtime={"stop_timeout": 0.3})
    process = node.spawn("start")
    read_until(process.stdout, "running")

    assert node.run("stop").returncode == 0
    status, out, err = finish(process)

    assert (status, out) == (1, "stop db\n")
    assert "tool has not stopped within" in err


def test_a_child_that_main_forks_ends_as_its_own_process(make: MakeNode) -> None:
    """Servers that fork their workers, as gunicorn does, exit in them by sys.exit; the node and its files stay."""
    source = """
    import os, sys

    def main():
        child = os.fork()
        if child == 0:
            try:
                sys.exit(5)
            finally:
                print("finally", flush=True)
        print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.path.exists(os.environ["PID"]), flush=True)
    """
    node = make(recorder("db"), main_of(source))
    node.environ["PID"] = str(node.var / "run/pid")

    done = node.run("start")

    assert (done.returncode, done.stdout) == (0, "start db\nfinally\nchild 5 True\nstop db\n")


def test_a_forked_child_can_be_terminated(make: MakeNode) -> None:
    """The node's signal handlers are not those of the processes that applications make."""
    source = """
    import asyncio, multiprocessing, time
    from underway_runtime import Application

    class App(Application):
        def start(self):
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
            child.start()
            child.terminate()
            child.join()
            print("child", child.exitcode, flush=True)
    """
    node = make(App("pool", source, {"class": "pool:App"}))
    process = node.spawn("start")

    assert read_until(process.stdout, "child").string == "child -15\n"
    assert terminate(process)[0] == 0


def test_two_mains_are_one_too_many(make: MakeNode) -> None:
    """There is one main thread; both are named."""
    node = make(App("a", "", {"main": "a:main"}), App("b", "", {"main": "b:main"}))

    done = node.run("start")

    assert done.returncode == 1
    assert done.stderr.startswith("error: a and b each start as a main function, and there is one main thread")
