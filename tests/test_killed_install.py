"""install, killed at each thing that it does: the command, the keeper, the node that leaves and the one that follows."""

from __future__ import annotations

import http.client
import random
import shutil
from pathlib import Path

import pytest

import dying
from code_server_helpers import RUNTIME, Interpreter
from handover_helpers import ASGI, asgi, children, clients, start, status
from node_helpers import TIMEOUT, MakeNode, Node, Process, eventually, finish, terminate
from underway_runtime.release import ledger
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from versions import add_sealed

SEED = 20261121
SECOND = ASGI.replace('VERSION = "1"', 'VERSION = "2"')
ALL = 10_000


def answer(port: int) -> str | None:
    """Which version answers; None where the one that had accepted is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.connect()  # this may not be refused
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def settle(node: Node, keeper: Process) -> None:
    """Wait until one node is left, and says that it runs."""
    eventually(lambda: len(children(keeper)) == 1 and node.run("status").returncode == 0, "one node, which answers")


def sample(total: int, count: int) -> list[int]:
    """So many of the numbers from 1 to the total, the same in each run."""
    return sorted(random.Random(SEED).sample(range(1, total + 1), min(count, total)))


POINTS = [1, pytest.param(ALL, id="all", marks=pytest.mark.drill)]


@pytest.mark.parametrize("most", POINTS)
def test_a_command_that_is_killed_leaves_a_service_that_answers(make: MakeNode, tmp_path: Path, most: int) -> None:
    """At each change of the disk: no request fails, what boots is as it was, and the same command succeeds then."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    place = ReleaseDirectory(node.root), VarDirectory(node.var)

    def install(dies_at: int = 0) -> dying.Run:
        return dying.release(node.root, ("install", "2"), "1", tmp_path, dies_at=dies_at, runs=dying.ASKED)

    with clients(port) as served:
        total, deaths = install().changes, 0
        for at in sample(total, most):
            assert node.run("install", "1").returncode == 0
            shutil.rmtree(node.var / "journal")  # as it was at the first time
            node.var.joinpath("RELEASES").unlink()
            died = install(at)
            assert died.killed or died.changes < at, died.output  # some is done by who comes first
            deaths += died.killed
            settle(node, keeper)
            assert ledger.boots(*place) == "1"
            again = install()
            assert again.status == 0, f"after a death at change {at} of {total}: {again.output}"
            assert status(node)["version"] == "2"
            assert [record.failed for record in ledger.read(*place).values()] == [None, None]
            assert not [*node.var.glob(".*")], f"after a death at change {at} of {total}"

    assert deaths
    assert served.failures == []
    assert terminate(keeper)[0] == 0
    print(f"install changes the disk {total} times, and was killed at {deaths} of them")


def test_a_command_that_is_killed_while_it_waits_changes_nothing_for_the_node(make: MakeNode, tmp_path: Path) -> None:
    """The handover comes to its end without it, and the next command finds that."""
    go_on = tmp_path / "go on"
    waits = f"import time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)\n"
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND + waits))
    keeper, _ = start(node)
    installing = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "a successor")

    installing.kill()
    finish(installing)
    assert node.run("install", "2").returncode == 75
    go_on.touch()
    settle(node, keeper)

    assert node.run("install", "2").stdout == "2 runs already\n"
    assert "2  current, runs, since" in node.run("releases").stdout
    assert terminate(keeper)[0] == 0


DIES = """

import os as _os, sys as _sys, threading as _threading
_who = "keeper" if "/keeper/" in _sys.argv[0] else f"{_sys.argv[1]} {_os.environ['RELEASE_VSN']}"
_changes = {"write", "pwrite", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "chmod", "fchmod", "ftruncate"}
_acts = {"send", "sendmsg", "sendall", "posix_spawn", "kill", "bind", "listen"}
_seen = 0

def _watch(frame, event, argument):
    global _seen
    if event != "c_call":
        return
    name = argument.__name__
    if name not in _changes and not (name in _acts and "underway_runtime" in frame.f_code.co_filename):
        return
    try:
        with open("DIES") as file:
            at = file.read()
    except OSError:
        _seen = 0
        return
    _seen += 1
    with open("DIES of " + _who, "w") as file:
        file.write(str(_seen))
    if at == f"{_who}:{_seen}":
        try:
            _os.unlink("DIES")
        except OSError:
            return
        _os.kill(_os.getpid(), 9)

_threading.setprofile(_watch)
_sys.setprofile(_watch)
"""
"""While the file DIES is there, counts what changes the disk, and what reaches other processes, in a file for each that does
it; the one that it names is ended by SIGKILL before the Nth."""


@pytest.fixture
def mortal(make: MakeNode, interpreter: Interpreter, tmp_path: Path) -> tuple[Node, Path]:
    """A release with two versions whose processes die where that file says."""
    node = make(asgi(), libraries=["uvicorn"])
    (node.version / "heart").write_text('{"restarts": 1000, "delay": 0.01}')
    (node.root / "lib" / RUNTIME).unlink()
    shutil.copytree(interpreter.runtime, node.root / "lib" / RUNTIME)
    line = node.root / "lib" / RUNTIME / "underway_runtime/release/channel/datagram.py"
    line.write_text(line.read_text() + DIES.replace('"DIES', f'"{tmp_path}/DIES'))
    shutil.rmtree(line.parent / "__pycache__", ignore_errors=True)
    add_sealed(node, "2", asgi(SECOND))
    return node, tmp_path / "DIES"


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("most", POINTS)
@pytest.mark.parametrize("who", ["keeper", "node 1", "node 2"])
def test_a_service_of_which_one_is_killed_answers_again(mortal: tuple[Node, Path], who: str, most: int) -> None:
    """Before each thing that it does in a handover: one whole version answers, and another install succeeds."""
    node, dies = mortal
    keeper, port = start(node)
    dies.touch()
    assert node.run("install", "2").returncode == 0
    dies.unlink()
    total = int(dies.with_name(f"{dies.name} of {who}").read_text())

    deaths = 0
    for at in sample(total, most):
        if answer(port) == "2":
            assert node.run("install", "1").returncode == 0
        dies.write_text(f"{who}:{at}")
        ended = node.run("install", "2").returncode
        about = f"{who} killed before {at} of {total}; the command ended with {ended}"
        assert ended in (0, 1, 4), about
        try:
            dies.unlink()
        except FileNotFoundError:
            deaths += 1
            if who == "keeper":
                finish(keeper)
                eventually(lambda about=about: not node.running(), f"nothing is left, {about}")
                keeper, port = start(node)
                assert answer(port) == "1", about
        settle(node, keeper)
        again = node.run("install", "2", "--again")
        assert again.returncode == 0, f"{about}; {again.stderr}"
        assert answer(port) == "2", about

    assert deaths
    assert terminate(keeper)[0] == 0
    print(f"{who} does {total} things, and was killed before {deaths} of them")
