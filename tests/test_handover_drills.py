"""What a version does to the service after it took over, and what becomes of the way back: real nodes, and clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import versions
from cgroups import limited_memory
from handover_helpers import ASGI, asgi, children, clients, start, status
from node_helpers import TIMEOUT, App, MakeNode, eventually, finish, read_until, recorder, terminate
from underway_runtime.process import upgrade_journal
from versions import add_sealed

SECOND = ASGI.replace('VERSION = "1"', 'VERSION = "2"')


def test_a_permanent_version_that_does_not_come_back_is_tried_again(make: MakeNode, tmp_path: Path) -> None:
    """What was not committed in time serves until it does; each failure is in the journal, under the id of the install."""
    broken = tmp_path / "broken"
    node = make(asgi(ASGI + f"\nassert not os.path.exists({str(broken)!r}), 'no database'\n"), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    broken.touch()

    with clients(port) as served:
        done = node.run("install", "2", "--commit-within", "0.1", "--json")
        assert done.returncode == 0, done.stderr
        identity = json.loads(done.stdout)["id"]
        journal = node.var / "journal/upgrades.jsonl"

        def returns() -> list[dict[str, object]]:
            return [event for event in upgrade_journal.read(journal) if event["event"] == "return"]

        eventually(returns, "a failure in the journal")
        assert status(node)["version"] == "2"
        assert "failed" not in node.run("releases").stdout
        broken.unlink()
        eventually(lambda: node.lock_contents()["version"] == "1", "back to the permanent version")

    assert {(event["upgrade_id"], event["outcome"]) for event in returns()} == {(identity, "failed")}
    assert "no database" in str(returns()[0]["reason"])
    assert "2  unpacked, failed: it was not committed within 0.1 s" in node.run("releases").stdout
    assert (served.failures, {"1", "2"} >= set(served.answers)) == ([], True)
    assert terminate(keeper)[0] == 0


DIES_LATER = """
import os, threading, time
from underway_runtime import Application

class App(Application):
    def start(self):
        print("starts", self.version, flush=True)

    def accept(self):
        if DIES:
            threading.Thread(target=lambda: (time.sleep(1), os._exit(3)), daemon=True).start()
"""


def test_a_commit_is_in_time_until_the_permanent_version_accepts(make: MakeNode, tmp_path: Path) -> None:
    """The one that was about to take over is dropped; what was committed stays."""
    slow = tmp_path / "slow"
    waits = f"import time\nwhile os.path.exists({str(slow)!r}):\n    time.sleep(0.01)\n"
    node = make(asgi(ASGI + waits), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND))
    keeper, port = start(node)
    slow.touch()

    with clients(port) as served:
        assert node.run("install", "2", "--commit-within", "0.1").returncode == 0
        eventually(lambda: len(children(keeper)) == 2, "the permanent version is on its way")
        assert node.run("commit").stdout == "2 is permanent; 1 is old\n"
        eventually(lambda: len(children(keeper)) == 1, "it is dropped")
        assert status(node)["version"] == "2"

    assert served.failures == []
    assert "failed" not in node.run("releases").stdout
    assert terminate(keeper)[0] == 0


def test_one_that_passes_its_gates_and_dies_a_second_later(make: MakeNode) -> None:
    """`upgrade` tries the gates again where it serves, for as long as they soak: it is marked, and the permanent one runs."""

    def dying(dies: bool) -> App:
        return App("later", DIES_LATER.replace("DIES", str(dies)), {"class": "later:App"})

    node = make(dying(False))
    place = versions.add(node, "2", dying(True))
    (place / "gates.json").write_text('[{"command": ["/bin/true"], "attempts": 2, "soak": 4}]')
    for version in "12":
        versions.seal(node, version)
    assert node.run("daemon").returncode == 0

    done = node.run("upgrade", "2")

    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    eventually(lambda: node.lock_contents().get("version") == "1", "the permanent version")
    assert "2  unpacked, failed: " in node.run("releases").stdout
    assert not (node.var / "start.data").exists()
    assert node.run("stop").returncode == 0


@pytest.mark.parametrize(
    ("command", "status", "said", "runs"),
    [("stop", 1, "nothing runs now, and 1 boots next", None), ("restart", 4, "2 is not committed, and 1 runs", "1")],
)
def test_a_version_is_not_blamed_for_what_somebody_does(
    make: MakeNode, tmp_path: Path, command: str, status: int, said: str, runs: str | None
) -> None:
    """Who stops or restarts the service while `upgrade` tries the gates again leaves it unmarked, and what runs is said."""
    again = tmp_path / "again"
    passes_once = ["/bin/sh", "-c", f": >>{again}.$$; [ ! -e {again} ] || exec sleep 60; : >{again}"]
    node = make(recorder("one"))
    place = versions.add(node, "2", recorder("one"))
    (place / "gates.json").write_text(json.dumps([{"command": passes_once, "timeout": 60, "attempts": 1}]))
    for version in "12":
        versions.seal(node, version)
    assert node.run("daemon").returncode == 0
    upgrade = node.spawn("upgrade", "2")
    eventually(lambda: len([*tmp_path.glob("again*")]) > 2, "the gate is tried again")

    assert node.run(command).returncode == 0

    code, _, error = finish(upgrade)
    assert (code, said in error) == (status, True), error
    assert "failed" not in node.run("releases").stdout
    if runs is not None:
        assert node.lock_contents()["version"] == runs
        assert node.run("stop").returncode == 0


GROWS = """
held = []
for _ in range(1000):
    held.append(b"x" * 1_000_000)
"""


def test_one_that_may_have_no_more_memory_fails_by_itself(make: MakeNode) -> None:
    """By a limit of its own, from its env.sh: it can't start, and says why; the version before runs on."""
    node = make(asgi(), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND + GROWS))
    (node.root / "releases/2/env.sh").write_text("ulimit -v 600000\n")
    keeper, port = start(node)

    with clients(port) as served:
        done = node.run("install", "2")
        assert (done.returncode, "MemoryError" in done.stderr) == (4, True), done.stderr

    assert (served.failures, set(served.answers)) == ([], {"1"})
    assert "2  unpacked, failed: " in node.run("releases").stdout
    assert terminate(keeper)[0] == 0


def oom_score(pid: int) -> int:
    """How readily the kernel ends a process; 1000 is first."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_one_that_outgrows_the_memory_of_both_dies_alone(make: MakeNode) -> None:
    """The smaller one, since it is the one that does not serve yet; one that has taken over is as the others are."""
    node = make(asgi(ASGI + "\nheld = b'x' * 150_000_000\n"), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND + GROWS))
    add_sealed(node, "3", asgi(SECOND))
    with limited_memory(280_000_000) as enter:
        keeper, port = start(node, preexec_fn=enter)
        before = status(node)["pid"]

        with clients(port) as served:
            done = node.run("install", "2")
            assert (done.returncode, "it was ended by signal 9" in done.stderr) == (4, True), done.stderr

        assert (served.failures, set(served.answers)) == ([], {"1"})
        assert status(node)["pid"] == before
        assert "2  unpacked, failed: it was ended by signal 9" in node.run("releases").stdout
        installed = node.run("install", "3", "--json")
        assert installed.returncode == 0, installed.stderr
        assert oom_score(json.loads(installed.stdout)["pid"]) == oom_score(keeper.pid)
        assert terminate(keeper)[0] == 0


ORPHANS = """
import os, sys

def orphan():
    reading, writing = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(writing)
            os.read(reading, 1)  # until the node has waited for the other
        os._exit(0)
    os.wait()
    os.close(writing)

orphan()
"""


@pytest.mark.needs_tool("unshare", "util-linux")
@pytest.mark.needs_tool("nsenter", "util-linux")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a pid namespace")
def test_an_upgrade_under_a_keeper_that_is_the_first_process(make: MakeNode) -> None:
    """As in a container: it stays the first process, what nobody else waits for is gone, and no request fails."""
    node = make(asgi(ASGI + ORPHANS), libraries=["uvicorn"])
    add_sealed(node, "2", asgi(SECOND + ORPHANS))
    outer = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", str(node.command), "start"],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    node.processes.append(outer)
    port = int(read_until(outer.stderr, r"listening on tcp://127\.0\.0\.1:(\d+)")[1])
    [first] = children(outer)

    def inside(*command: str | Path) -> str:
        done = subprocess.run(
            ["nsenter", "--target", first, "--pid", "--mount", *command],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with clients(port) as served:
        assert inside(node.command, "pid") == "1\n"
        for version in "21":
            assert inside(node.command, "install", version).startswith(f"{version} runs (pid ")
    assert (served.failures, set(served.answers)) == ([], {"1", "2"})
    eventually(lambda: len(re.findall(r"^State:", states(outer, first), re.MULTILINE)) == 2, "keeper and node are left")
    os.kill(int(first), signal.SIGTERM)
    assert finish(outer)[0] == 0


def states(outer: subprocess.Popen[str], first: str) -> str:
    """What /proc says of all that lives, or is not waited for, in the namespace of a process."""
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    found = ""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(place / "ns/pid") == namespace:
                found += (place / "status").read_text()
        except OSError:
            continue
    return found
