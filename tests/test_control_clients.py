"""Clients of the control socket that are wrong, slow, hostile or many; and commands that meet such a node."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from code_server_helpers import REPOSITORY
from control_helpers import COOKIE, Stand, ended, known, raw, receive, stand
from node_helpers import (
    TIMEOUT,
    App,
    MakeNode,
    Node,
    eventually,
    finish,
    read_until,
    recorder,
    terminate,
    this_interpreter,
)
from serving import asking, web
from underway_runtime.control import connection, frames, handshake
from underway_runtime.control.client import client, commands
from underway_runtime.control.frames import BadFrame
from underway_runtime.release.errors import UnderwayError


@pytest.fixture
def served() -> Iterator[Stand]:
    with tempfile.TemporaryDirectory() as short, stand(Path(short, "var")) as made:
        made.serve()
        yield made


# ----------------------------------------------------------------------------------------------------------- frames


@given(st.binary())
@example(b"[" * 100_000)
@example(b"1" * 10_000)
@example(b'{"a": NaN}')
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes_are_a_message_or_a_bad_frame(body: bytes) -> None:
    """Nothing else is raised, whatever comes."""
    with contextlib.suppress(BadFrame):
        assert isinstance(frames.decode(body), dict)


@given(st.binary(min_size=4, max_size=4), st.sampled_from([frames.FIRST, frames.LARGEST]))
def test_no_header_announces_more_than_the_limit(header: bytes, limit: int) -> None:
    """Nothing is read for a frame that is too large."""
    with contextlib.suppress(BadFrame):
        assert 0 <= frames.length(header, limit) <= limit


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.booleans())))
def test_a_message_survives_its_frame(message: dict[str, Any]) -> None:
    """What is sent is what arrives, surrogates included."""
    frame = frames.encode(message)

    assert frames.length(frame[:4], frames.LARGEST) == len(frame) - 4
    assert frames.decode(frame[4:]) == message


def test_no_end_sends_a_frame_that_the_other_refuses() -> None:
    """The sender is told."""
    with pytest.raises(BadFrame, match="more than the 1048576 that fit"):
        frames.encode({"code": "x" * frames.LARGEST})


@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans())
@example([b"\x00\x00\x00\x02{}"], True)
@example([b"\x00\x00\x00\x0e" + b'{"do": "shell"', b"}"], True)
def test_whatever_a_client_says_the_next_is_served(said: list[bytes], after_handshake: bool) -> None:
    """Any bytes, before and after the handshake, framed or not."""
    served = _SHARED.stand()
    connected = known(served.path) if after_handshake else raw(served.path)
    with connected, contextlib.suppress(ConnectionError):
        for chunk in said:
            connected.sendall(chunk)
            connected.sendall(len(chunk).to_bytes(4, "big") + chunk)

    good = served.connect()

    assert good.ask({"do": "status"})["status"]["name"] == "hello"
    good.close()


class _Shared:
    """One server for all examples."""

    def __init__(self) -> None:
        self._exit = contextlib.ExitStack()
        self._stand: Stand | None = None

    def stand(self) -> Stand:
        if self._stand is None:
            directory = self._exit.enter_context(tempfile.TemporaryDirectory())
            self._stand = self._exit.enter_context(stand(Path(directory, "var")))
            self._stand.serve()
        return self._stand

    def close(self) -> None:
        self._exit.close()
        self._stand = None


_SHARED = _Shared()


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> Iterator[None]:
    yield
    _SHARED.close()


# -------------------------------------------------------------------------------------------------------- handshake


def test_a_wrong_cookie_is_refused(served: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    """Clearly, and the right one is not said."""
    status = commands.main(["rpc", "1"], {**served.environ, "RELEASE_COOKIE": "guessed"})

    said = capsys.readouterr().err
    assert (status, said) == (1, "error: the cookie is not that of this node\n")
    assert COOKIE not in said


def test_what_was_overheard_cannot_be_said_again(served: Stand) -> None:
    """A proof is for one connection."""
    first, second = raw(served.path), raw(served.path)
    answer = handshake.answer(COOKIE, receive(first))
    first.sendall(frames.encode(answer))
    assert "proof" in receive(first)

    receive(second)
    second.sendall(frames.encode(answer))

    assert receive(second) == {"error": "the cookie is not that of this node"}
    assert ended(second)
    first.close()
    second.close()


def test_the_proof_of_one_end_is_not_that_of_the_other() -> None:
    """Who does not have the cookie can't get it proved by sending back what the node says."""
    greeting = handshake.hello(1, "boot")

    assert handshake.proof(COOKIE, "client", greeting, "n") != handshake.proof(COOKIE, "node", greeting, "n")


@pytest.mark.parametrize("field", ["pid", "boot", "nonce"])
def test_a_proof_is_bound_to_process_boot_and_connection(field: str) -> None:
    """Another process, boot or connection has another proof."""
    greeting = handshake.hello(1, "boot")

    assert handshake.proof(COOKIE, "node", greeting, "n") != handshake.proof(
        COOKIE, "node", {**greeting, field: "other"}, "n"
    )


def test_another_version_of_the_client_is_told_so(served: Stand) -> None:
    """Before anything else is looked at."""
    with raw(served.path) as connected:
        receive(connected)
        connected.sendall(frames.encode({"underway": 2}))

        assert "speaks version 1 of its control protocol" in receive(connected)["error"]
        assert ended(connected)


@contextlib.contextmanager
def impostor(says: bytes) -> Iterator[tuple[dict[str, str], list[bytes]]]:
    """Something else that listens at the control socket: the environment of its commands, and what they send."""
    heard: list[bytes] = []
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        Path(short, "run").mkdir()
        listener.bind(f"{short}/run/control")
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connected, _ = listener.accept()
                except OSError:
                    return
                with connected, contextlib.suppress(OSError):
                    connected.settimeout(TIMEOUT)
                    connected.sendall(says)
                    connected.shutdown(socket.SHUT_WR)
                    while data := connected.recv(65536):
                        heard.append(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        names = {"ROOT": short, "NAME": "hello", "VSN": "1", "VAR": short, "COOKIE": COOKIE}
        yield {f"RELEASE_{name}": value for name, value in names.items()}, heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT)


HELLO = frames.encode({"underway": 1, "pid": 1, "boot": "b", "nonce": "n"})


@pytest.mark.parametrize(
    ("says", "problem"),
    [
        (HELLO + frames.encode({"proof": "0" * 64}), "the process on hello's control socket does not have its cookie"),
        (frames.encode({"underway": 2}), "runs another version of underway"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the process on hello's control socket is not one of its nodes"),
        (b"\x40\x00\x00\x00", "a frame of 1073741824 bytes is announced"),
        (HELLO[:10], "hello is gone"),
        (HELLO, "hello is gone"),
    ],
)
def test_a_command_gives_its_code_to_no_other(says: bytes, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not have the cookie, or is not a node, gets neither code nor cookie, and the command says what it met."""
    with impostor(says) as (environ, heard):
        status = commands.main(["rpc", "'s3cret'"], environ)

    assert status == 1
    assert problem in capsys.readouterr().err
    assert b"s3cret" not in b"".join(heard)
    assert COOKIE.encode() not in b"".join(heard)


def test_a_node_whose_loop_does_not_run_yet_says_so() -> None:
    """It answers, and refuses to run code; who waits for it to be ready is told when it is."""
    with tempfile.TemporaryDirectory() as short, stand(Path(short, "var")) as served:
        server = served.serve(ready=False)
        asks, waits = served.connect(), served.connect()
        with pytest.raises(UnderwayError, match="hello is starting and can't run code yet"):
            asks.ask({"do": "rpc", "code": "1"})
        waits.send({"do": "ready"})
        assert asks.ask({"do": "status"})["status"]["name"] == "hello"

        server.handler.settle()

        assert waits.receive() == {"ready": True}
        asks.close()
        waits.close()


# ----------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("after_handshake", [False, True])
def test_a_frame_of_a_gigabyte_ends_the_connection_at_once(make: MakeNode, after_handshake: bool) -> None:
    """Nothing is set aside for it."""
    node = make(web())
    process = node.spawn("start")
    read_until(process.stdout, "serving")
    before = json.loads(node.run("status", "--json").stdout)["memory"]
    with _short(node) as path:
        secret = (node.var / "COOKIE").read_text().strip()
        connected = known(path, secret) if after_handshake else raw(path)
        if not after_handshake:
            receive(connected)

        connected.sendall(b"\x40\x00\x00\x00")

        assert "a frame of 1073741824 bytes is announced" in receive(connected)["error"]
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                connected.sendall(b"x" * 65536)
        assert ended(connected)
        connected.close()
    after = json.loads(node.run("status", "--json").stdout)["memory"]

    assert after - before < 16 << 20
    assert terminate(process)[0] == 0


@contextlib.contextmanager
def _short(node: Node) -> Iterator[Path]:
    """The control socket of a node at a short path."""
    with tempfile.TemporaryDirectory() as short:
        link = Path(short, "run")
        link.symlink_to(node.var / "run")
        yield link / "control"


def test_500_clients_do_not_delay_the_node(make: MakeNode) -> None:
    """Silent, slow, malformed and half-way ones: HTTP is answered meanwhile, and so is rpc."""
    node = make(web())
    process = node.spawn("start")
    port = int(read_until(process.stdout, r"serving (\d+)")[1])
    with _short(node) as path, contextlib.ExitStack() as clients, asking(port) as asked:
        for number in range(500):
            connected = clients.enter_context(raw_when_possible(path))
            with contextlib.suppress(ConnectionError):
                match number % 5:
                    case 0:
                        pass
                    case 1:
                        connected.sendall(b"\x00\x00")
                    case 2:
                        connected.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    case 3:
                        connected.sendall(b"\x00\x00\x00\x64{" + b" " * 20)
                    case 4:
                        connected.sendall(frames.encode({"underway": 1, "nonce": "0", "proof": "0"}))
            if number % 100 == 99:
                assert node.run("rpc", "web.name").stdout == "'web'\n"
        hits = asked.answered
        assert node.run("status").returncode == 0

    assert asked.failures == []
    assert asked.answered >= hits > 0
    assert terminate(process)[0] == 0


def raw_when_possible(path: Path) -> socket.socket:
    """A connection that is in the queue, or taken."""
    connected = socket.socket(socket.AF_UNIX)
    connected.setblocking(True)
    connected.connect(str(path))
    return connected


def test_when_all_places_are_taken_the_oldest_stranger_makes_room(served: Stand) -> None:
    """And who is known keeps its place."""
    server = served.servers[0]
    server._most = 10
    with contextlib.ExitStack() as clients:
        friend = served.connect()
        strangers = [clients.enter_context(raw(served.path)) for _ in range(40)]

        other = served.connect()

        assert ended(strangers[0])
        assert friend.ask({"do": "status"})["status"]["name"] == "hello"
        assert other.ask({"do": "status"})["status"]["name"] == "hello"
        friend.close()
        other.close()


def test_there_are_not_more_than_64_known_clients(served: Stand) -> None:
    """The next is told; when one leaves there is room again."""
    friends = [served.connect() for _ in range(64)]

    with pytest.raises(UnderwayError, match="64 clients talk to this node already"):
        served.connect()
    for friend in friends:
        friend.close()
    eventually(lambda: _connects(served), "there is room again")


def _connects(served: Stand) -> bool:
    try:
        served.connect().close()
    except UnderwayError:
        return False
    return True


def test_a_client_that_does_not_answer_is_let_go(served: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake has a deadline, also for who sends a byte now and then."""
    monkeypatch.setattr("underway_runtime.control.server.DEADLINE", 0.05)
    with raw(served.path) as silent, raw(served.path) as slow:
        slow.sendall(b"\x00")

        assert ended(silent)
        assert ended(slow)


def test_a_reader_that_takes_nothing_is_let_go(served: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs for it is interrupted, and the next is served."""
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    connected = known(served.path)
    code = "import asyncio\nprint('x' * 8_000_000)\nawait asyncio.Event().wait()"

    connected.sendall(frames.encode({"do": "rpc", "code": code}))

    uses = served.directory / "uses.jsonl"
    eventually(lambda: uses.exists() and '"gone"' in uses.read_text(), "the use ends")
    friend = served.connect()
    assert friend.ask({"do": "status"})["status"]["name"] == "hello"
    friend.close()
    connected.close()


def test_a_child_of_the_node_keeps_no_connection(make: MakeNode) -> None:
    """What the node forks is not the node: a client sees the end of the node though a child lives on."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    connected = node.spawn("remote", stdin=-1)
    assert connected.stdin is not None
    connected.stdin.write("import os\npid = os.fork() or (os.closerange(0, 3), __import__('signal').pause())\npid\n")
    connected.stdin.flush()
    child = int(read_until(connected.stdout, r"(\d+)")[1])
    try:
        os.kill(json.loads(node.run("status", "--json").stdout)["pid"], 9)
        process.wait(TIMEOUT)
        with contextlib.suppress(BrokenPipeError):  # it has seen it already
            connected.stdin.write("1\n")
            connected.stdin.flush()
        assert finish(connected)[0] == 1
        assert node.run("status").stderr == "error: hello is not running\n"
    finally:
        os.kill(child, 9)


# ------------------------------------------------------------------------------------------------- users and groups


def as_nobody(node: Node, *arguments: str, groups: str = "--clear-groups") -> subprocess.CompletedProcess[str]:
    """Run a command as another user, with Debian's Python, since that may enter it."""
    runtime = node.root.parent / "runtime"
    if not runtime.exists():
        shutil.copytree(REPOSITORY / "runtime/src", runtime, ignore=shutil.ignore_patterns("__pycache__"))
    entry = runtime / "underway_runtime/control/client/__main__.py"
    become = ["setpriv", "--reuid=65534", "--regid=65534", groups]
    names = {"ROOT": node.root, "NAME": "hello", "VSN": "1", "VAR": node.var}
    return subprocess.run(
        [*become, "/usr/bin/python3", "-I", "-S", "-B", str(entry), *arguments],
        env={f"RELEASE_{name}": str(value) for name, value in names.items()},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.mark.needs_tool("setpriv", "util-linux")
@pytest.mark.needs_tool("/usr/bin/python3", "python3")
def test_another_user_is_kept_out(make_for_all: MakeNode) -> None:
    """By the file's permissions, and where those are loosened by what the kernel says of the other end."""
    node = make_for_all(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    outside = as_nobody(node, "rpc", "1")
    (node.var / "run/control").chmod(0o666)
    (node.var / "COOKIE").chmod(0o644)
    inside = as_nobody(node, "rpc", "1")

    assert outside.returncode == 1
    assert "control can't be used by this user; ask as the user who runs hello" in outside.stderr
    assert inside.returncode == 1
    assert inside.stdout == ""
    assert terminate(process)[0] == 0


@pytest.mark.needs_tool("setpriv", "util-linux")
@pytest.mark.needs_tool("/usr/bin/python3", "python3")
def test_members_of_the_group_may_talk_to_the_node(make_for_all: MakeNode) -> None:
    """Socket and cookie are theirs too, and nobody else's; the journal says who it was."""
    node = make_for_all(recorder("one"))
    node.configure(underway_runtime={"control_group": "daemon"})
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    member = as_nobody(node, "rpc", "1 + 1", groups="--groups=1")
    stranger = as_nobody(node, "rpc", "1 + 1")

    assert (member.returncode, member.stdout) == (0, "2\n")
    assert stranger.returncode == 1
    assert [oct((node.var / name).stat().st_mode & 0o777) for name in ("run/control", "COOKIE")] == [
        "0o660",
        "0o640",
    ]
    assert json.loads((node.var / "journal/uses.jsonl").read_text().splitlines()[0])["uid"] == 65534
    assert terminate(process)[0] == 0


def test_a_group_that_is_none_is_refused_at_boot(make: MakeNode) -> None:
    """Before anything listens."""
    node = make(recorder("one"))
    node.configure(underway_runtime={"control_group": "no such group"})

    done = node.run("start")

    assert (done.returncode, done.stdout) == (1, "")
    assert "`control_group` of underway_runtime is 'no such group', and there is no such group" in done.stderr


# ---------------------------------------------------------------------------------------------------------- secrets


def test_the_cookie_is_nowhere_that_others_look(make: MakeNode) -> None:
    """Not in any command line, nor in the environment of what the node starts, in its log or in the journal."""
    source = """
    import subprocess
    from underway_runtime import Application

    class App(Application):
        def start(self):
            self.child = subprocess.Popen(["/bin/sleep", "1000"])
            print("child", self.child.pid, flush=True)

        def stop(self):
            self.child.kill()
            self.child.wait()
    """
    node = make(App("one", source, {"class": "one:App"}))
    node.environ["RELEASE_COOKIE"] = "hushhushhush"
    process = node.spawn("start")
    child = int(read_until(process.stdout, r"child (\d+)")[1])
    asking = node.spawn("rpc", "import asyncio; print('in it'); await asyncio.Event().wait()")
    read_until(asking.stdout, "in it")

    lines = [each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if each.exists()]

    assert not [line for line in lines if b"hushhushhush" in line]
    assert b"hushhushhush" not in Path(f"/proc/{child}/environ").read_bytes()
    assert "hushhushhush" not in node.run("rpc", "import os; dict(os.environ)").stdout
    asking.kill()
    _, out, err = terminate(process)
    assert "hushhushhush" not in out + err
    written = [path.read_bytes() for path in node.var.rglob("*") if path.is_file()]
    assert not [data for data in written if b"hushhushhush" in data]


# ------------------------------------------------------------------------------------------------- between two nodes


@pytest.mark.parametrize("said", ["nothing", "a greeting", "all"])
def test_who_asks_a_node_that_ends_is_answered_by_the_next(served: Stand, said: str) -> None:
    """A node that leaves lets go of whoever has not asked it yet: they ask the one that has the socket now."""
    served.servers[0].close()
    served.listener.setblocking(True)

    def leave() -> None:
        connected, _ = served.listener.accept()
        with connected:
            greeting = handshake.hello(os.getpid(), "before")
            if said != "nothing":
                connected.sendall(frames.encode(greeting))
            if said == "all":
                proof = handshake.proof(COOKIE, "node", greeting, receive(connected)["nonce"])
                connected.sendall(frames.encode({"proof": proof}))
        served.serve()

    leaves = threading.Thread(target=leave)
    leaves.start()
    place = client.Place(served.environ)
    assert client.asked(place, lambda connection: connection.ask({"do": "ready"})) == {"ready": True}
    leaves.join(TIMEOUT)


# ---------------------------------------------------------------------------------------------------------- restart


def run_restart(served: Stand) -> tuple[int, str]:
    """The command, in a process of its own: status and what it says on standard error."""
    done = subprocess.run(
        [this_interpreter(), "-I", "-S", "-B", commands.__file__.replace("commands.py", "__main__.py"), "restart"],
        env=served.environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return done.returncode, done.stderr


def test_restart_returns_when_the_next_node_is_ready(served: Stand) -> None:
    """The node that is asked ends, whoever holds the socket starts another, and the command waits for that."""
    successor = []

    def restart() -> str | None:
        def another() -> None:
            served.servers[0].close()
            server = served.serve(ready=False)
            successor.append(server)
            server.handler.settle()

        threading.Thread(target=another).start()
        return None

    served.node.on_restart = restart
    assert run_restart(served) == (0, "")
    assert len(successor) == 1


def test_restart_says_why_the_next_node_could_not_start(served: Stand) -> None:
    """Status 1, and the reason that the node gave."""

    def restart() -> str | None:
        def another() -> None:
            served.servers[0].close()
            served.serve(ready=False).handler.settle("one could not start")

        threading.Thread(target=another).start()
        return None

    served.node.on_restart = restart
    assert run_restart(served) == (1, "error: hello has stopped, and could not start again: one could not start\n")


def test_restart_says_that_the_next_node_ended_before_it_was_ready(served: Stand) -> None:
    """Also where that had no time to say why."""

    def restart() -> str | None:
        def another() -> None:
            served.servers[0].close()
            for _ in range(3):  # and those after it
                connected, _ = served.listener.accept()
                connected.close()

        served.listener.setblocking(True)
        threading.Thread(target=another).start()
        return None

    served.node.on_restart = restart

    status, said = run_restart(served)

    assert status == 1
    assert said.startswith("error: hello has stopped, and did not become ready again: hello is gone")


def test_restart_does_not_wait_for_ever(served: Stand) -> None:
    """A node that does not stop within its time is one clear error."""
    served.node.on_restart = lambda: None
    served.servers[0].handler.stops_within = 0.1

    status, said = run_restart(served)

    assert status == 1
    assert said.startswith("error: hello was asked to restart and has not stopped within 0.1 s")


def test_restart_says_that_nothing_came_after(served: Stand) -> None:
    """Where nobody starts another."""

    def restart() -> str | None:
        def end() -> None:
            served.path.unlink()
            served.servers[0].close()

        threading.Thread(target=end).start()
        return None

    served.node.on_restart = restart
    assert run_restart(served) == (1, "error: hello has stopped, and was not started again; its log says why\n")


def test_restart_gives_another_node_under_the_same_keeper(make: MakeNode) -> None:
    """It returns when that is ready; the pid of the service stays."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    before = json.loads(node.run("status", "--json").stdout)

    done = node.run("restart")

    assert (done.returncode, done.stderr) == (0, "")
    after = json.loads(node.run("status", "--json").stdout)
    assert after["state"] == "running"
    assert (before["keeper"], after["keeper"]) == (process.pid, process.pid)
    assert before["pid"] != after["pid"]
    assert node.run("rpc", "one.name").stdout == "'one'\n"
    assert terminate(process)[0] == 0
