"""A `main` is ready when that can be shown, within the time to start; what is not known is said."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from handover_helpers import children
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, finish, terminate
from ports import free_ports
from test_handover_mains import served_by
from underway.project.options import OPTIONS
from underway_runtime.apps.readiness import problem_of
from versions import add_sealed

HEAD = """
import asyncio, os, signal, socket, subprocess, sys, threading, time
from pathlib import Path

HERE, PORT = Path(HERE_), PORT_
ANSWER = b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n1"

def hold():
    (HERE / "held").touch()
    while (HERE / "hold").exists():
        time.sleep(0.01)
"""

SERVERS = {
    "blocks": """
def main():
    listening = socket.create_server(("127.0.0.1", PORT))
    hold()
    while True:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(ANSWER)
        connection.close()
""",
    "http.server": """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.wfile.write(ANSWER)
    def log_message(self, *what):
        pass
def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    hold()
    server.serve_forever()
""",
    "asyncio": """
async def hello(reader, writer):
    await reader.read(65536)
    writer.write(ANSWER)
    writer.close()
async def serve(make_loop=None):
    server = await asyncio.start_server(hello, "127.0.0.1", PORT, start_serving=False)
    hold()
    await server.serve_forever()
def main():
    asyncio.run(serve())
""",
    "a child": """
def main():
    listening = socket.create_server(("127.0.0.1", PORT))
    if os.fork() == 0:
        hold()
        while True:
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.sendall(ANSWER)
            connection.close()
    os.wait()
""",
    "another program": """
SERVE = '''
import selectors, socket, sys
listening = socket.socket(fileno=0)
listening.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(listening, selectors.EVENT_READ)
while selector.select():
    connection, _ = listening.accept()
    connection.setblocking(True)
    connection.recv(65536)
    connection.sendall(sys.argv[1].encode())
    connection.close()
'''
def main():
    listening = socket.create_server(("127.0.0.1", PORT))
    hold()
    child = subprocess.Popen([sys.executable, "-I", "-c", SERVE, ANSWER.decode()], stdin=listening)
    try:
        child.wait()
    finally:
        child.kill()
""",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def tool(here: Path, source: str, *, listen: bool = True, port: int = 0, **how: Any) -> App:
    text = (HEAD + source).replace("HERE_", repr(str(here))).replace("PORT_", str(port))
    started: dict[str, Any] = {"main": "tool:main", **how}
    if listen:
        started["listen"] = [f"tcp://127.0.0.1:{port}"]
    return App("tool", text, started)


def starting(node: Node, here: Path) -> subprocess.Popen[str]:
    """`daemon`, which has come to where it is held."""
    (here / "hold").touch()
    process = node.spawn("daemon")
    eventually((here / "held").exists, "it is being called")
    return process


@pytest.mark.parametrize("server", SERVERS)
def test_what_listens_is_ready_when_it_accepts(make: MakeNode, here: Path, server: str) -> None:
    """Not when it is called, and not when it has bound: whatever it is that accepts, and whichever process."""
    [port] = free_ports(1)
    node = make(tool(here, SERVERS[server], port=port))
    process = starting(node, here)
    assert node.run("status").stdout.count("starting")
    assert process.poll() is None

    (here / "hold").unlink()

    code, _, error = finish(process)
    assert (code, error) == (0, ""), error
    assert served_by(port) == "1"
    assert node.run("stop").returncode == 0


FORKS = """
def main():
    listening = socket.create_server(("127.0.0.1", PORT))
    select.select([listening], [], [])
    if os.fork() == 0:
        connection, _ = listening.accept()
        assert connection.recv(1) == b""
        (HERE / "ended").touch()
    signal.pause()
"""


def test_what_asks_whether_it_accepts_is_no_client_of_a_child_that_is_made_meanwhile(
    make: MakeNode, here: Path
) -> None:
    """A child has the connection too; it ends all the same, so that no handover waits for it."""
    [port] = free_ports(1)
    node = make(tool(here, "import select\n" + FORKS, port=port))

    assert node.run("daemon").returncode == 0

    eventually((here / "ended").exists, "the connection has ended")
    assert node.run("stop").returncode == 0


def test_what_never_accepts_is_not_ready_and_its_addresses_are_named(make: MakeNode, here: Path) -> None:
    """The start has failed when its time is over."""
    [port] = free_ports(1)
    node = make(tool(here, SERVERS["blocks"], port=port))
    node.configure(underway_runtime={"start_timeout": 4, "stop_timeout": 1})
    (here / "hold").touch()
    code, _, error = finish(node.spawn("daemon"))
    assert code == 1
    assert f"tool could not start: it has not accepted on tcp://127.0.0.1:{port} in time; start_timeout" in error
    assert node.running() == []


ENDS = {
    "returns": ("return", 0),
    "exits with 0": ("sys.exit(0)", 0),
    "exits with 3": ("sys.exit(3)", 1),
    "raises": ("raise RuntimeError('no database')", 1),
    "raises what a future can't take": ("raise StopIteration", 1),
    "ends its process with 0": ("os._exit(0)", 0),
    "ends its process with 3": ("os._exit(3)", 3),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", 137),
}


@pytest.mark.sample
@pytest.mark.parametrize("listen", [True, False], ids=["listen", "no listen"])
@pytest.mark.parametrize("how", ENDS)
def test_daemon_never_reports_success_for_what_ends_at_once(make: MakeNode, here: Path, how: str, listen: bool) -> None:
    """With status 0 too; `start` ends with the status that it has."""
    act, status = ENDS[how]
    node = make(tool(here, f"\ndef main():\n    {act}\n", listen=listen, port=free_ports(1)[0]))
    code, _, error = finish(node.spawn("daemon"))
    assert (code, bool(error)) == (status or 1, True), error
    if not status:
        assert "error: it has ended, with status 0, before it was ready\n" in error
    if how == "ends its process with 3":
        assert error.endswith("error: it has ended, with status 3, before it was ready\n")
    assert node.run("start").returncode == status
    assert node.running() == []


def test_a_class_that_raises_what_a_future_can_t_take_has_failed(make: MakeNode) -> None:
    """Its ordinary `start` runs in a thread, whose error reaches the loop: nobody waits for `start_timeout`."""
    source = "from underway_runtime import Application\nclass App(Application):\n    def start(self):\n        next(iter([]))\n"
    node = make(App("one", source, {"class": "one:App"}))
    node.configure(underway_runtime={"start_timeout": 10 * TIMEOUT})
    code, _, error = finish(node.spawn("daemon"))
    assert (code, "it raised StopIteration" in error) == (1, True), error


STRAYS = {
    "becomes another program": ("os.execv('/bin/sleep', ['sleep', '60'])", "has let go of its keeper and runs on"),
    "closes what it has not opened": (
        "os.closerange(3, 256); signal.pause()",
        "code may close only descriptors that it has opened",
    ),
}


@pytest.mark.parametrize("how", STRAYS)
def test_what_lets_go_of_its_keeper_is_not_waited_for(make: MakeNode, here: Path, how: str) -> None:
    """`daemon` returns, long before the time to start is over, says what it did, and leaves nothing."""
    act, said = STRAYS[how]
    node = make(tool(here, f"\ndef main():\n    {act}\n", listen=False, port=0))
    node.configure(underway_runtime={"start_timeout": 10 * TIMEOUT})
    code, _, error = finish(node.spawn("daemon"))
    assert code == 1
    assert said in error
    assert node.running() == []


@pytest.mark.sample(most=1)
@pytest.mark.parametrize(
    "act", ["os.kill(os.getpid(), signal.SIGSTOP)", "import re; re.match('(a+)+$', 'a' * 64 + 'b')"]
)
def test_what_keeps_its_whole_process_from_running_is_not_waited_for(make: MakeNode, here: Path, act: str) -> None:
    """It is stopped, or C code lets nothing else run: no deadline of the node's own is kept, and the keeper ends it."""
    node = make(tool(here, f"\ndef main():\n    {act}\n", listen=False, port=0))
    node.configure(underway_runtime={"start_timeout": 1.5})
    code, _, error = finish(node.spawn("daemon"))
    assert (code, "has given no sign of life for so long that its start has failed" in error) == (1, True), error
    assert node.running() == []


def test_what_puts_itself_into_the_background_is_named(make: MakeNode, here: Path) -> None:
    """With its pid, and what to do instead: nobody would keep it, or stop it."""
    act = "if os.fork(): os._exit(0)\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(60)"
    node = make(tool(here, f"\ndef main():\n    {act}\n", listen=False, port=0))
    code, _, error = finish(node.spawn("daemon"))
    [left] = node.running()
    assert code == 1
    assert f"hello has put itself into the background, where nobody keeps it: pid {left} runs on" in error


def test_what_a_node_sends_to_its_process_group_is_not_for_its_keeper(make: MakeNode, here: Path) -> None:
    """Which would take it for a stop, or be gone without a word."""
    node = make(tool(here, "\ndef main():\n    os.killpg(0, signal.SIGKILL)\n", listen=False, port=0))
    code, _, error = finish(node.spawn("start", start_new_session=True))
    assert (code, error.splitlines()[-1]) == (137, "hello was ended by signal 9")


WORKS = "\ndef main():\n    threading.Event().wait()\n"


def test_of_what_tells_nothing_that_is_said(make: MakeNode, here: Path) -> None:
    """A worker: it was called, and runs; no more is known."""
    node = make(tool(here, WORKS, listen=False))
    code, _, error = finish(node.spawn("daemon"))
    assert code == 0
    assert (
        "nothing tells whether tool is ready: it declares no `listen`, and has sent no READY=1; it was called, and runs"
        in error
    )
    assert node.run("stop").returncode == 0


NOTIFY = """
def main():
    hold()
    CALL
    threading.Event().wait()
"""
TELL = "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'STATUS=x\\nREADY=1', chr(0) + os.environ['NOTIFY_SOCKET'][1:])"
SAYS = {
    "notify": ("notify", TELL),
    "a child notifies": (
        "notify",
        f"subprocess.run([sys.executable, '-c', {'import os, socket; ' + TELL!r}], check=True)",
    ),
    "print": ("line:now ready", "print('it is now ready.', flush=True)"),
    "standard error": ("line:now ready", "print('it is now ready.', file=sys.stderr)"),
    "a descriptor, by and by": ("line:now ready", "os.write(1, b'it is no'); time.sleep(0.1); os.write(1, b'w ready')"),
    "a child prints": ("line:now ready", "subprocess.run(['/bin/echo', 'it is now ready'], check=True)"),
}


@pytest.mark.parametrize("how", SAYS)
def test_a_service_may_say_that_it_is_ready(make: MakeNode, here: Path, how: str) -> None:
    """By a datagram or by a line, from whichever process; until then the start goes on."""
    wanted, call = SAYS[how]
    node = make(tool(here, NOTIFY.replace("CALL", call), listen=False, ready=wanted))
    process = starting(node, here)
    assert process.poll() is None
    (here / "hold").unlink()
    code, _, error = finish(process)
    assert (code, error) == (0, ""), error
    if wanted != "notify":
        assert "it is now ready" in eventually(lambda: next((node.var / "log").iterdir()).read_text(), "a log")
    assert node.run("stop").returncode == 0


@pytest.mark.parametrize(
    ("ready", "what"), [("notify", "has not sent READY=1"), ("line:up", "has not printed a line with 'up'")]
)
def test_what_is_not_said_in_time_is_named(make: MakeNode, here: Path, ready: str, what: str) -> None:
    """The start has failed then."""
    node = make(tool(here, WORKS, listen=False, ready=ready))
    node.configure(underway_runtime={"start_timeout": 4})
    code, _, error = finish(node.spawn("daemon"))
    assert (code, f"tool could not start: it {what}" in error) == (1, True), error


def test_an_import_that_does_not_return_has_an_end(make: MakeNode, here: Path) -> None:
    """The module is named."""
    node = make(tool(here, "\ntime.sleep(1000)\n", listen=False))
    node.configure(underway_runtime={"start_timeout": 1})
    code, _, error = finish(node.spawn("daemon"))
    assert code == 1
    assert "the import of tool has not returned within 1 s; start_timeout of underway_runtime gives it more" in error
    assert node.running() == []


HOLDS = """
import time
from underway_runtime import Application

class Slow(Application):
    async def start(self):
        HOW

    async def booted(self):
        time.sleep(1000)
"""


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("how", ["time.sleep(1000)", "pass"], ids=["start", "booted"])
def test_a_start_that_holds_the_loop_has_an_end(make: MakeNode, how: str) -> None:
    """No timeout of the loop would ever come; who holds it is named, and nothing is left."""
    node = make(App("slow", HOLDS.replace("HOW", how), {"class": "slow:Slow"}, ("underway_runtime",)))
    node.configure(underway_runtime={"start_timeout": 1})
    code, _, error = finish(node.spawn("daemon"))

    assert code == 1
    assert "slow could not start: it holds the loop, and is not ready within 1 s; start_timeout" in error
    assert node.running() == []


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("server", ["asyncio", "blocks", "http.server"])
def test_a_version_that_binds_and_does_not_accept_does_not_take_over(make: MakeNode, here: Path, server: str) -> None:
    """The one before has not begun to drain."""
    [port] = free_ports(1)
    node = make(tool(here, SERVERS[server], port=port))
    text = (
        SERVERS[server].replace("hold()", "time.sleep(1000)")
        if server != "asyncio"
        else SERVERS["asyncio"].replace("hold()", "await asyncio.sleep(1000)")
    )
    add_sealed(node, "2", tool(here, text, port=port), underway_runtime={"start_timeout": 4, "stop_timeout": 1})
    assert node.run("daemon").returncode == 0

    done = node.run("install", "2")

    assert done.returncode == 4
    assert "2 has failed, and the version before runs on: tool could not accept: it has not accepted on" in done.stderr
    assert served_by(port) == "1"
    assert node.run("stop").returncode == 0


def test_a_version_whose_main_ends_at_once_does_not_take_over(make: MakeNode, here: Path) -> None:
    """A worker's too: the one before runs on."""
    node = make(tool(here, WORKS, listen=False))
    add_sealed(node, "2", tool(here, "\ndef main():\n    return\n", listen=False))
    keeper = node.spawn("start", stderr=subprocess.DEVNULL)
    eventually(lambda: "running" in node.run("status").stdout, "it runs")
    before = children(keeper)
    done = node.run("install", "2")
    assert done.returncode == 4, done.stderr
    eventually(lambda: children(keeper) == before, "nobody else is left")
    assert terminate(keeper)[0] == 0


@pytest.mark.parametrize("wanted", ["soon", "line:", "line: ", "Notify", True, 3, ["notify"]])
def test_what_is_no_way_to_be_ready_is_refused(wanted: Any) -> None:
    """By the build and by the boot."""
    assert problem_of(wanted)
    assert not OPTIONS["ready"].holds(wanted)
