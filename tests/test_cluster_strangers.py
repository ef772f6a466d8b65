"""Strangers at a cluster: what they send is for nobody to open, and how long and how many they are has an end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cluster_helpers import Nodes, answering, ended
from node_helpers import MakeNode
from underway_runtime.cluster import greeting

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="needs distributed")

TIMEOUT = 90.0
COOKIE = {"RELEASE_COOKIE": "known-to-the-nodes"}
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to be another user takes root")


class Evil:
    """What makes a file where it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def message(file: Path) -> bytes:
    """A first message of the engine's that makes a file where it is opened."""
    from distributed.comm.tcp import _add_frames_header
    from distributed.protocol import Serialized, dumps
    from distributed.protocol.serialize import Serialize

    frames = dumps({"op": Serialize(Evil(file)), "x": Serialized({"serializer": "pickle"}, [pickle.dumps(Evil(file))])})
    frames, _, _ = _add_frames_header(frames)
    return b"".join(frames)


def framed(words: dict[str, Any]) -> bytes:
    data = json.dumps(words).encode()
    return struct.pack(">I", len(data)) + data


def heard(source: socket.socket) -> dict[str, Any]:
    (size,) = struct.unpack(">I", exactly(source, 4))
    words: dict[str, Any] = json.loads(exactly(source, size))
    return words


def exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.recv(size - len(data))
        if not more:
            raise EOFError(data)
        data += more
    return data


@contextlib.contextmanager
def connection(nodes: Nodes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", nodes.port), timeout=TIMEOUT) as made:
        yield made


# ------------------------------------------------------------------------------- without certificates, on the loopback


def plain(nodes: Nodes, name: str, mode: str, **more: Any) -> dict[str, Any]:
    return nodes.section(name, "127.0.0.1", mode, certificates=None, **more)


HELLO = {"underway": 1, "nonce": "00" * 16}
FIRST: dict[str, Callable[[Path], bytes]] = {
    "a message of the engine": message,
    "a pickle": lambda file: pickle.dumps(Evil(file)),
    "a pickle in our frame": lambda file: struct.pack(">I", len(data := pickle.dumps(Evil(file)))) + data,
    "a greeting, then a message": lambda file: framed(HELLO) + message(file),
    "a wrong proof": lambda file: framed(HELLO) + framed({"proof": "0" * 64}) + message(file),
    "no proof": lambda file: framed(HELLO) + framed({"proof": None}) + message(file),
    "facts in the place of a proof": lambda file: (
        framed({"underway": 1, "mode": "worker", "name": "w1"}) * 2 + message(file)
    ),
    "a nested text": lambda file: struct.pack(">I", 8000) + b"[" * 8000 + message(file),
    "a size without end": lambda file: b"\xff" * 64 + message(file),
}


def test_on_the_loopback_nothing_of_who_has_no_cookie_is_opened(make: MakeNode, tmp_path: Path) -> None:
    """Another user of the host can connect, and is not a member: what he sends is not unpickled, and the master goes on."""
    nodes = Nodes(make)
    master = nodes.start(plain(nodes, "master", "master"), COOKIE).ready()

    for kind, bytes_of in FIRST.items():
        file = tmp_path / f"ran-{len(kind)}"
        with connection(nodes) as stranger:
            with contextlib.suppress(OSError):
                stranger.sendall(bytes_of(file))
            assert ended(stranger), kind
        assert not file.exists(), kind
    nodes.start(plain(nodes, "w1", "worker"), COOKIE)
    master.says("w1 has joined")


@needs_root
def test_another_user_of_the_host_is_no_member(make: MakeNode, tmp_path: Path) -> None:
    """A whole client of the engine, run as another user, is refused, and its function runs nowhere."""
    nodes = Nodes(make)
    nodes.start(plain(nodes, "master", "master"), COOKIE).ready()
    script = f"""
import os, sys
sys.path[:0] = {[str(place) for place in map(Path, sys.path) if place.name == "site-packages"]!r}
from distributed.comm import core
import asyncio
os.setgid({NOBODY}); os.setuid({NOBODY})
async def main():
    comm = await core.connect("tcp://127.0.0.1:{nodes.port}", timeout=20)
    await comm.write({{"op": "identity", "reply": True}})
    print("answered", await comm.read())
try:
    asyncio.run(main())
except OSError as error:
    print("refused", os.getuid())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.stdout == f"refused {NOBODY}\n", done.stderr


def test_a_worker_believes_no_master_without_the_cookie(make: MakeNode, tmp_path: Path) -> None:
    """Who listens where the master should be, having no cookie, gets no word of the worker, and is not unpickled by it."""
    nodes = Nodes(make)
    file = tmp_path / "ran"
    said: list[set[str]] = []

    def pretend(caller: socket.socket) -> None:
        said.append(set(heard(caller)))
        caller.sendall(framed(HELLO))
        said.append(set(heard(caller)))
        caller.sendall(framed({"proof": "0" * 64}) + message(file))

    with socket.create_server(("127.0.0.1", nodes.port)) as impostor, answering(impostor, pretend):
        nodes.start(plain(nodes, "w1", "worker"), COOKIE).says("its cookie differs")
    assert [words for words in said if words not in ({"underway", "nonce"}, {"proof"})] == []
    assert not file.exists()


def test_a_master_may_be_called_by_name(make: MakeNode) -> None:
    """What both prove is about the addresses of the connection, not about what was dialled."""
    nodes = Nodes(make)
    master = nodes.start(plain(nodes, "master", "master"), COOKIE).ready()
    nodes.start(plain(nodes, "w1", "worker", master=f"localhost:{nodes.port}"), COOKIE)

    master.says("w1 has joined")


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("kind", ["tls", "plain"])
def test_a_worker_lets_go_of_a_master_that_says_nothing(make: MakeNode, kind: str) -> None:
    """Its connections end too, one by one, whatever the other side does; so it can try for ever."""
    nodes = Nodes(make)
    with socket.create_server(("127.0.0.1", nodes.port)) as silent:
        silent.settimeout(TIMEOUT)
        worker = nodes.worker(1) if kind == "tls" else nodes.start(plain(nodes, "w1", "worker"), COOKIE)
        with contextlib.ExitStack() as stack:
            callers = [stack.enter_context(silent.accept()[0]) for _ in range(4)]
            assert all(ended(each) for each in callers[:3])
        worker.says("has not joined")


def test_a_worker_says_whose_cookie_is_another(make: MakeNode) -> None:
    """Both sides name it, and what to do; with the same cookie it joins."""
    nodes = Nodes(make)
    master = nodes.start(plain(nodes, "master", "master"), COOKIE).ready()
    worker = nodes.start(plain(nodes, "w1", "worker"), {"RELEASE_COOKIE": "of-someone-else"})

    worker.says("127.0.0.1 is refused: its cookie differs; give both the same")
    master.says("127.0.0.1 is refused: its cookie differs; give both the same")


# -------------------------------------------------------------------------------------------------- with certificates


@contextlib.contextmanager
def in_tls(nodes: Nodes, name: str, host: str = "127.0.0.2", role: str = "worker") -> Iterator[ssl.SSLSocket]:
    """A connection to the master of somebody who has a certificate."""
    place = nodes.certificate(name, host, role)
    context = ssl.create_default_context(cafile=str(place / "ca.pem"))
    context.load_cert_chain(place / "node.pem", place / "node.key")
    with (
        socket.create_connection(("127.0.0.1", nodes.port), timeout=TIMEOUT, source_address=(host, 0)) as made,
        context.wrap_socket(made, server_hostname="127.0.0.1") as tls,
    ):
        yield tls


def facts(**changes: str) -> dict[str, Any]:
    return {
        "underway": 1,
        "name": "w9",
        "mode": "worker",
        "release": "hello 2 (ff)",
        "engine": "x",
        "interpreter": "y",
    } | changes


@pytest.mark.sample(most=3)
@pytest.mark.parametrize(
    ("first", "said_of_it"),
    [
        (b"", "it does not answer as a node of this version does"),
        (framed(facts()), "w9 is refused: its"),
        (framed(facts(mode="master")), "w9 is refused: it says that it is a master, and its certificate is for worker"),
        (framed(facts(name="\x1b]0;x\x07\n" + "w" * 4000)), r"\?\]0;x\?\?www"),
        (framed({"underway": 2}), "it does not answer as a node"),
        (
            framed({"underway": 1, "mode": ["worker"]}),
            "its certificate is for worker|it says that it is a None|its release is",
        ),
    ],
    ids=["the engine at once", "another release", "another role", "an odd name", "another greeting", "odd facts"],
)
def test_a_member_of_another_release_or_role_is_not_unpickled(
    make: MakeNode, tmp_path: Path, first: bytes, said_of_it: str
) -> None:
    """Who has a right certificate is asked who it is before the engine reads: what it sends with that or instead is not opened."""
    nodes = Nodes(make)
    master = nodes.master().ready()
    with in_tls(nodes, "w9") as tls:
        with contextlib.suppress(OSError):
            tls.sendall(first + message(tmp_path / "ran"))
        assert ended(tls)

    master._until(lambda: re.search(said_of_it, master.log.read_text()) is not None, said_of_it)
    assert "\x1b" not in master.log.read_text()
    assert not (tmp_path / "ran").exists()


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("first", ["the engine at once", "another release"])
def test_a_master_of_another_release_is_not_unpickled_by_its_workers(
    make: MakeNode, tmp_path: Path, first: str
) -> None:
    """The side that connects reads no more than the other does: a right certificate is not enough for it either."""
    nodes = Nodes(make)
    place = nodes.certificate("m", "127.0.0.1", "master")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(place / "node.pem", place / "node.key")
    greets = b"" if first == "the engine at once" else framed(facts(mode="master", name="m"))
    with (
        socket.create_server(("127.0.0.1", nodes.port)) as server,
        context.wrap_socket(server, server_side=True) as tls,
        answering(tls, lambda caller: caller.sendall(greets + message(tmp_path / "ran"))),
    ):
        worker = nodes.worker(1)
        worker.says(
            "is refused: it does not answer as a node" if first == "the engine at once" else "m is refused: its"
        )
    assert not (tmp_path / "ran").exists()


@contextlib.contextmanager
def begun(nodes: Nodes) -> Iterator[socket.socket]:
    """A connection with the first bytes of TLS."""
    with connection(nodes) as made:
        made.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        yield made


@contextlib.contextmanager
def dribbling(nodes: Nodes) -> Iterator[socket.socket]:
    """A connection that goes on with TLS, a byte at a time, so that it is never silent for long."""
    hello, over = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), threading.Event()
    with connection(nodes) as made:

        def send() -> None:
            with contextlib.suppress(OSError):
                for byte in hello:
                    made.sendall(bytes([byte]))
                    if over.wait(0.1):
                        return

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield made
        finally:
            over.set()
            sender.join(TIMEOUT)


SLOW: dict[str, Callable[[Nodes], contextlib.AbstractContextManager[Any]]] = {
    "nothing": connection,
    "half a handshake": begun,
    "a handshake a byte at a time": dribbling,
    "a handshake and nothing": lambda nodes: in_tls(nodes, "w8"),
}


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("kind", list(SLOW))
def test_who_does_not_say_who_it_is_is_let_go(make: MakeNode, kind: str) -> None:
    """The handshake of TLS, and the greeting after it, end: with the other side's name, or without its connection."""
    nodes = Nodes(make)
    master = nodes.master().ready()

    with SLOW[kind](nodes) as stranger:
        assert ended(stranger)
    master.says("is refused: it has not identified itself within 5 s")


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("kind", [connection, begun])
def test_idle_connections_are_bounded_and_keep_no_worker_out(
    make: MakeNode, kind: Callable[[Nodes], contextlib.AbstractContextManager[socket.socket]]
) -> None:
    """Of four hundred that say nothing, or half of it, few are held, all are disconnected, and a worker joins meanwhile."""
    nodes = Nodes(make)
    master = nodes.master().ready()

    def held() -> int:
        return len(os.listdir(f"/proc/{master.node}/fd"))

    before = held()
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(kind(nodes)) for _ in range(400)]
        assert ended(idle[0])
        assert held() < before + 300  # as many as may wait, and what one turn of the loop takes
        nodes.worker(1)
        master.says("w1 has joined")
        assert all(ended(each) for each in idle)


# ------------------------------------------------------------------------------------------------------- the greeting


class Pipe:
    """One end of a connection within this process."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self.said = b""

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(self._end, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def write(self, data: bytes) -> None:
        self.said += data
        await asyncio.get_running_loop().sock_sendall(self._end, data)


@contextlib.contextmanager
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    one, other = socket.socketpair()
    with one, other:
        yield Pipe(one), Pipe(other)


def meet(caller: tuple[str | None, str], answerer: tuple[str | None, str]) -> list[Any]:
    """What becomes of two that meet, each with a cookie and the addresses that it sees."""

    async def both() -> list[Any]:
        with pipes() as (here, there):
            one = greeting.call(here, {"name": "one"}, *caller)
            other = greeting.answer(there, {"name": "other"}, *answerer)
            async with asyncio.timeout(TIMEOUT):
                return [*await asyncio.gather(one, other, return_exceptions=True)]

    return asyncio.run(both())


def test_who_shares_a_cookie_learns_who_the_other_is() -> None:
    assert meet(("c", "a>b"), ("c", "a>b")) == [{"name": "other"}, {"name": "one"}]
    assert meet((None, "a>b"), (None, "x>y")) == [{"name": "other"}, {"name": "one"}]


@pytest.mark.parametrize(
    ("caller", "answerer"),
    [
        (("c", "a>b"), ("d", "a>b")),
        (("c", "a>b"), ("c", "a>x")),
        (("c", "a>b"), ("c", "b>a")),
        (("", "a>b"), ("c", "a>b")),
    ],
    ids=["another cookie", "somebody in between", "the other way round", "no cookie"],
)
def test_a_proof_is_for_one_cookie_and_one_connection(caller: tuple[str, str], answerer: tuple[str, str]) -> None:
    """Nobody can pass on what the one says to the other over connections of his own."""
    assert [str(each) for each in meet(caller, answerer)] == [greeting.OTHER_COOKIE] * 2


def test_what_was_overheard_can_not_be_said_again() -> None:
    """A whole conversation, said once more, proves nothing; nor does a proof that is said back."""

    async def again() -> None:
        with pipes() as (here, there):
            await asyncio.gather(greeting.call(here, {}, "c", "a>b"), greeting.answer(there, {}, "c", "a>b"))
            overheard = here.said
        with pipes() as (here, there):
            await here.write(overheard)
            with pytest.raises(greeting.Refused, match="its cookie differs"):
                await greeting.answer(there, {}, "c", "a>b")
        with pipes() as (here, there):
            calling = asyncio.ensure_future(greeting.call(here, {}, "c", "a>b"))
            for _ in range(2):  # the nonce and the proof, sent back as they come
                size = await there.read(4)
                await there.write(size + await there.read(int.from_bytes(size, "big")))
            with pytest.raises(greeting.Refused, match="its cookie differs"):
                await calling

    asyncio.run(again())
