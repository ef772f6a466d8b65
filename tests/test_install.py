"""install, where it is asked for at the wrong time, of the wrong version, twice, or by two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from handover_helpers import children, status
from node_helpers import App, MakeNode, Node, Process, eventually, finish, read_until, recorder, terminate
from versions import add_sealed


def running(node: Node) -> Process:
    """Its keeper, when the node runs."""
    process = node.spawn("start", stderr=subprocess.DEVNULL)
    read_until(process.stdout, "start one")
    eventually(lambda: node.run("rpc", "1").returncode == 0, "it answers")
    return process


def install(node: Node, version: str, *options: str, status: int = 0) -> str:
    """What the command says, which ends with this status."""
    done = node.run("install", version, *options)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def states(node: Node) -> dict[str, str]:
    return {one["version"]: one["state"] for one in json.loads(node.run("releases", "--json").stdout)}


def test_a_version_that_runs_is_not_installed_again(make: MakeNode) -> None:
    """Nothing happens; the permanent one can be gone back to, and stays permanent."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    keeper = running(node)

    assert install(node, "1") == "1 runs already\n"
    install(node, "2")
    pid = status(node)["pid"]
    assert install(node, "2") == "2 runs already\n"
    assert status(node)["pid"] == pid
    assert states(node) == {"1": "permanent", "2": "current"}
    assert install(node, "1").endswith("and 2 has left\n")
    assert states(node) == {"1": "permanent", "2": "old"}
    assert terminate(keeper)[0] == 0


def test_what_can_t_be_installed_is_told(make: MakeNode) -> None:
    """A version that is not here, and one where no node runs; nothing is marked."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))

    assert "hello does not run, so nothing can hand over" in install(node, "2", status=1)
    keeper = running(node)
    assert "there is no version 9 here to install; here are: " in install(node, "9", status=1)
    assert states(node) == {"1": "permanent", "2": "unpacked"}
    assert "failed" not in node.run("releases").stdout
    assert status(node)["version"] == "1"
    assert terminate(keeper)[0] == 0


def waiting(file: Path, then: str = "pass") -> App:
    """An application that starts when there is a file."""
    wait = f"while not __import__('os').path.exists({str(file)!r}): await asyncio.sleep(0.01)"
    return recorder("one", start=f"{wait}\n            {then}")


@pytest.mark.parametrize("other", ["2", "3"])
def test_of_two_installs_at_once_the_second_is_told_of_the_first(make: MakeNode, tmp_path: Path, other: str) -> None:
    """Of the same version or of another: 75, with who is doing it. The first one is done, and the second then goes through."""
    node = make(recorder("one"))
    add_sealed(node, "2", waiting(tmp_path / "go"))
    add_sealed(node, "3", recorder("one"))
    keeper = running(node)
    first = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "a successor")

    assert f" (pid {first.pid}) has been running for " in install(node, other, status=75)
    (tmp_path / "go").touch()

    assert finish(first)[0] == 0
    assert status(node)["version"] == "2"
    install(node, other)
    assert status(node)["version"] == other
    assert terminate(keeper)[0] == 0


def test_where_the_first_of_two_fails_the_second_goes_through(make: MakeNode, tmp_path: Path) -> None:
    """The node that runs is the same all the time."""
    node = make(recorder("one"))
    add_sealed(node, "2", waiting(tmp_path / "go", "raise RuntimeError('no database')"))
    add_sealed(node, "3", recorder("one"))
    keeper = running(node)
    before = status(node)["pid"]
    first = node.spawn("install", "2")
    eventually(lambda: len(children(keeper)) == 2, "a successor")
    install(node, "3", status=75)
    (tmp_path / "go").touch()

    code, _, said = finish(first)
    assert (code, "no database" in said) == (4, True)
    assert status(node)["pid"] == before
    install(node, "3")
    assert status(node)["version"] == "3"
    assert terminate(keeper)[0] == 0


def test_killed_between_install_and_commit_it_boots_what_is_permanent(make: MakeNode) -> None:
    """All of it at once, as a machine goes; the other is unpacked again, and may be installed again."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    keeper = running(node)
    install(node, "2")
    for pid in (keeper.pid, status(node)["pid"]):
        os.kill(pid, signal.SIGKILL)
    keeper.wait()
    eventually(lambda: node.running() == [], "all have ended")

    keeper = running(node)

    assert (status(node)["version"], states(node)) == ("1", {"1": "permanent", "2": "unpacked"})
    install(node, "2")
    assert node.run("commit").returncode == 0
    assert terminate(keeper)[0] == 0
    assert node.run("version").stdout == "hello 2\n"


def test_what_runs_is_not_removed_and_what_does_not_is_not_committed(make: MakeNode) -> None:
    """Whatever is permanent; the files of the version that runs are all there."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    add_sealed(node, "3", recorder("one"))
    keeper = running(node)

    refused = node.run("commit", "2")
    assert (refused.returncode, "it was unpacked and does not run; install it first" in refused.stderr) == (1, True)
    install(node, "2")
    refused = node.run("remove", "2")
    assert (refused.returncode, "it runs; install another one first" in refused.stderr) == (1, True)
    assert (node.root / "lib/one-2.0/one.py").exists()
    assert [node.run("commit").returncode for _ in range(2)] == [0, 0]
    assert states(node) == {"1": "old", "2": "permanent", "3": "unpacked"}
    assert terminate(keeper)[0] == 0


def test_a_module_that_was_cut_in_half_on_the_disk_stops_nothing(make: MakeNode) -> None:
    """The new interpreter fails at it, long before the one that runs would end; `upgrade` names the file beforehand."""
    node = make(recorder("one"))
    add_sealed(node, "2", recorder("one"))
    keeper = running(node)
    before = status(node)["pid"]
    module = node.root / "lib/one-2.0/one.py"
    module.write_bytes(module.read_bytes()[: module.stat().st_size // 2])

    upgrading = node.run("upgrade", "2")
    assert (upgrading.returncode, "lib/one-2.0/one.py has " in upgrading.stderr) == (1, True)
    assert "2 has failed, and the version before runs on: one could not start" in install(node, "2", status=4)
    assert (status(node)["pid"], status(node)["state"]) == (before, "running")
    assert terminate(keeper)[0] == 0
