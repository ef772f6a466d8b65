"""Code that runs in other processes is not upgraded with the node's: they are found, named, and handed over with it."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from handover_helpers import status
from hot_helpers import changed, planned, run, state
from node_helpers import TIMEOUT, App, MakeNode, Node, eventually, read_until, terminate
from ports import free_port
from sources import source
from versions import add_sealed

PYTHON = "import os, time; print(os.getpid(), file=open(os.environ['PIDS'], 'a')); time.sleep(600)"
DAEMON = """
    if (pid := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            ACT
        os._exit(0)
    os.waitpid(pid, 0)"""
BARE = f'os.execve(sys.executable, [sys.executable, "-I", "-c", {PYTHON!r}], {{"PIDS": os.environ["PIDS"]}})'

IMPORTS = "import sys, types; sys.modules['underway_runtime'] = types.SimpleNamespace(Application=object); import pool; pool.sleep()"
OTHER = f"""import shutil
    other = shutil.copy({os.path.realpath(sys.executable)!r}, os.path.dirname(os.environ["PIDS"]) + "/python-of-the-host")
    code = os.path.dirname(__file__)
    variables = dict(PIDS=os.environ["PIDS"], PYTHONHOME={sys.base_prefix!r})
    subprocess.Popen([other, "-c", {IMPORTS!r}], """
NAMED = "echo $$ >>$PIDS; read line"


def pool(beget: str = "pass", suspend: str = "pass") -> App:
    """An application that does this when it starts, and that when it is to suspend."""
    edits = (
        ("def beget():\n    pass", f"def beget():\n    {beget}"),
        ("within):\n        pass", f"within):\n        {suspend}"),
    )
    return App("pool", changed(*edits, source=source("pool/v1/pool.py")), {"class": "pool:App"})


def two_versions(make: MakeNode, tmp_path: Path, app: App) -> Node:
    """A node whose second version answers otherwise, by a plan that says HOT."""
    node = make(app)
    node.environ["PIDS"] = str(tmp_path / "pids")
    second = App(app.name, app.source.replace('return "1"', 'return "2"'), app.start)
    assert planned(node, second).up[0].verdict == "HOT"
    return node


@pytest.mark.sample(most=3)
@pytest.mark.parametrize(
    "beget",
    [
        pytest.param("os.fork() or sleep()", id="os.fork"),
        pytest.param('subprocess.Popen([sys.executable, "-m", "pool"])', id="module", marks=pytest.mark.drill),
        pytest.param("subprocess.Popen([sys.executable, __file__])", id="file"),
        pytest.param(
            f'subprocess.Popen([sys.executable, "-I", "-c", {PYTHON!r}])', id="isolated", marks=pytest.mark.drill
        ),
        pytest.param('subprocess.Popen(f"{sys.executable} -m pool & wait", shell=True)', id="shell"),
        pytest.param(
            "import multiprocessing; multiprocessing.get_context('fork').Process(target=sleep).start()",
            id="fork",
            marks=pytest.mark.drill,
        ),
        pytest.param(
            "import multiprocessing; multiprocessing.get_context('spawn').Process(target=sleep).start()", id="spawn"
        ),
        pytest.param(
            "import multiprocessing; multiprocessing.get_context('forkserver').Process(target=sleep).start()",
            id="forkserver",
            marks=pytest.mark.drill,
        ),
        pytest.param(
            "import concurrent.futures; global made; made = concurrent.futures.ProcessPoolExecutor(1); made.submit(sleep)",
            id="pool",
            marks=pytest.mark.drill,
        ),
        pytest.param(
            'os.posix_spawn(sys.executable, [sys.executable, "-m", "pool"], os.environ)',
            id="posix_spawn",
            marks=pytest.mark.drill,
        ),
        pytest.param(
            'subprocess.Popen(f"setsid -f {sys.executable} -m pool", shell=True)', id="setsid", marks=pytest.mark.drill
        ),
        pytest.param(f'subprocess.Popen([os.environ["RELEASE_ROOT"] + "/bin/hello", "eval", {PYTHON!r}])', id="eval"),
        pytest.param(DAEMON.replace("ACT", "sleep()"), id="daemonised"),
        pytest.param(
            DAEMON.replace("ACT", 'os.execv(sys.executable, [sys.executable, "-m", "pool"])'),
            id="daemonised-exec",
            marks=pytest.mark.drill,
        ),
        pytest.param(DAEMON.replace("ACT", BARE), id="daemonised-bare"),
        pytest.param(OTHER + "env={**variables, 'PYTHONPATH': code})", id="another-python"),
        pytest.param(OTHER + "env=variables, cwd=code)", id="another-python-there", marks=pytest.mark.drill),
        pytest.param(
            f"""global kept; kept = subprocess.Popen(
        ["sh", "-c", {NAMED!r}, "pool.py"], cwd=os.path.dirname(__file__), stdin=subprocess.PIPE)""",
            id="relative",
            marks=pytest.mark.drill,
        ),
    ],
)
@pytest.mark.in_place
def test_a_process_that_runs_code_of_the_release_is_named_and_handed_over(
    make: MakeNode, tmp_path: Path, beget: str
) -> None:
    """`check` says so beforehand, --at-least hot refuses with 3, and without it the next interpreter takes over."""
    node = two_versions(make, tmp_path, pool(beget))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pids = eventually(lambda: node_pids(node), "it lives")

    checked = run(node, "check", "2")
    refused = run(node, "install", "2", "--at-least", "hot", status=3)

    assert checked.startswith("2 would take over from 1 by handover")
    for said in (checked, refused):
        assert all(f"(pid {pid}) runs code of this release" in said for pid in pids), said
    assert status(node)["version"] == "1"
    assert terminate(process)[0] == 0


def node_pids(node: Node) -> list[str]:
    file = Path(node.environ["PIDS"])
    return file.read_text().split() if file.exists() else []


@pytest.mark.in_place
def test_what_was_forked_is_handed_over_with_the_node(make: MakeNode, tmp_path: Path) -> None:
    """Without --at-least it is done by handover, and the reason is told; the version is not marked."""
    node = two_versions(make, tmp_path, pool("os.fork() or sleep()"))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    before = status(node)["pid"]

    said = run(node, "install", "2")

    assert re.search(r"2 runs \(pid \d+\), and 1 has left \(.* \(pid \d+\) runs code of this release", said)
    after = eventually(lambda: state(node), "it runs")
    assert (after["version"], after["pid"] == before) == ("2", False)
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


@pytest.mark.sample(most=2)
@pytest.mark.parametrize(
    "beget",
    [
        pytest.param('subprocess.Popen(["sleep", "40"], stdout=-3, stderr=-3)', id="program"),
        pytest.param('subprocess.Popen("sleep 40; true", shell=True, stdout=-3, stderr=-3)', id="shell"),
        pytest.param(
            "from multiprocessing.shared_memory import SharedMemory; global kept; kept = SharedMemory(create=True, size=64)",
            id="tracker",
        ),
        pytest.param('subprocess.run([sys.executable, "-c", "pass"])', id="ended"),
    ],
)
@pytest.mark.in_place
def test_other_programs_do_not_count(make: MakeNode, tmp_path: Path, beget: str) -> None:
    """What runs nothing of the release, and what has ended, is not in the way."""
    node = two_versions(make, tmp_path, pool(beget))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    assert run(node, "check", "2").startswith("2 would become the code of the process that runs 1")
    run(node, "install", "2", "--at-least", "hot")

    assert (status(node)["version"], status(node)["pid"]) == ("2", pid)
    terminate(process)


@pytest.mark.in_place
def test_a_command_that_the_service_runs_itself_is_no_process_of_it(make: MakeNode, tmp_path: Path) -> None:
    """A service that upgrades itself by its own command becomes the version in place."""
    command = '[os.environ["RELEASE_ROOT"] + "/bin/hello", "install", "2", "--at-least", "hot"]'
    node = two_versions(make, tmp_path, pool())
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    run(node, "rpc", f"import os, subprocess, pool; pool.upgrade = subprocess.Popen({command})")

    after = eventually(lambda: (found := state(node)) and found["version"] == "2" and found, "it is the other")
    assert after["pid"] == pid
    assert run(node, "rpc", "import pool; print(pool.upgrade.wait(), pool.answer())") == "0 2\n"
    assert terminate(process)[0] == 0


@pytest.mark.in_place
def test_what_is_forked_between_the_look_and_the_swap_undoes_it(make: MakeNode, tmp_path: Path) -> None:
    """It is looked for once more before the swap is final: here an application forks when it is told to suspend."""
    node = two_versions(make, tmp_path, pool(suspend="os.fork() or sleep()"))
    process = node.spawn("start")
    read_until(process.stdout, "begun")
    pid = status(node)["pid"]

    assert run(node, "check", "2").startswith("2 would become the code of the process that runs 1")
    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert re.search(r"\(pid \d+\) runs code of this release", said)
    assert (status(node)["version"], status(node)["pid"]) == ("1", pid)
    assert run(node, "rpc", "import pool; print(pool.answer(), pool.__file__)").split()[0] == "1"
    assert "failed" not in run(node, "releases")
    assert terminate(process)[0] == 0


def test_only_configuration_does_not_reach_them_either(make: MakeNode, tmp_path: Path) -> None:
    """A child has the configuration with which it was forked."""
    first = pool("os.fork() or sleep()")
    app = replace(first, source=f"{first.source}\nApp.config_change = lambda self, changed, new, removed: None\n")
    node = make(app)
    node.environ["PIDS"] = str(tmp_path / "pids")
    node.configure(pool={"a": 1})
    add_sealed(node, "2", pool={"a": 2})
    process = node.spawn("start")
    read_until(process.stdout, "begun")

    checked = run(node, "check", "2")
    said = run(node, "install", "2", "--at-least", "hot", status=3)

    assert checked.startswith("2 would take over from 1 by handover")
    assert all("runs code of this release" in each for each in (checked, said))
    assert terminate(process)[0] == 0


@pytest.fixture
def port() -> int:
    return free_port()


def answer(port: int) -> str:
    """What is answered to a request; empty where nobody does."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT) as answer:
        return str(answer.read().decode())
    return ""


@pytest.mark.sample(most=1)
@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.in_place
def test_workers_of_gunicorn_are_handed_over(make: MakeNode, port: int, preload: bool) -> None:
    """Two workers, with and without the application loaded before they are forked: all answer with the new code afterwards."""
    how = {"main": "tool:main", "args": [], "listen": [f"tcp://127.0.0.1:{port}"]}
    first, second = (App("tool", source(f"prefork/{version}/tool.py"), how) for version in ("v1", "v2"))
    node = make(first, libraries=("gunicorn",))
    node.environ |= {"PORT": str(port), "PRELOAD": str(preload)}
    assert planned(node, second).up[0].verdict == "HOT"
    process = node.spawn("start")
    assert eventually(lambda: answer(port), "an answer") == "1"

    refused = eventually(lambda: found if len(found := named(node)) == 2 else None, "both workers are named")
    assert run(node, "check", "2").startswith("2 would take over from 1 by handover")
    run(node, "install", "2")

    assert {answer(port) for _ in range(20)} == {"2"}
    assert not any(Path(f"/proc/{pid}").exists() for pid in refused)
    assert terminate(process)[0] == 0


def named(node: Node) -> list[str]:
    """The pids that a refusal names."""
    return re.findall(r"\(pid (\d+)\) runs code", run(node, "install", "2", "--at-least", "hot", status=3))
