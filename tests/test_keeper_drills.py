"""The keeper and the node, killed at each thing that they do; full disks, disks that may only be read, damaged files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from code_server_helpers import RUNTIME, Interpreter
from disks import small_disk
from node_helpers import (
    DIES_AT_ONCE,
    TIMEOUT,
    MakeNode,
    Node,
    eventually,
    finish,
    read_until,
    recorder,
    terminate,
)

DIES = """

import os as _os, sys as _sys
_who, _, _at = _os.environ.get("DIES", "").partition(":")
_seen = 0

def _watch(frame, event, argument):
    global _seen
    if event == "c_call" and "underway_runtime" in frame.f_code.co_filename:
        _seen += 1
        if _seen == int(_at):
            _os.kill(_os.getpid(), 9)

if _who == ("keeper" if "/keeper/" in _sys.argv[0] else "node"):
    _sys.setprofile(_watch)
"""
"""Ends a process by SIGKILL before its Nth call of anything that is not Python: whatever changes files, sends, or starts
a process is such a call."""


@pytest.fixture
def mortal(make: MakeNode, interpreter: Interpreter) -> Node:
    """A release whose processes die where the variable DIES says."""
    node = make(recorder("one", start="print('was here', flush=True)"))
    (node.root / "lib" / RUNTIME).unlink()
    shutil.copytree(interpreter.runtime, node.root / "lib" / RUNTIME)
    line = node.root / "lib" / RUNTIME / "underway_runtime/release/channel/datagram.py"
    line.write_text(line.read_text() + DIES)
    shutil.rmtree(line.parent / "__pycache__")
    return node


def dies(node: Node, who: str, at: int, command: str) -> bool:
    """Start and stop it, with a death in between; whether there was one. In any case all is well afterwards."""
    node.environ["DIES"] = f"{who}:{at}"
    process = node.spawn(command)
    if command == "start":
        read_until_end_or(process, "was here")
        process.send_signal(signal.SIGTERM)
        status = finish(process)[0]
    else:
        status = finish(process)[0]
        if status == 0:
            status = node.run("stop").returncode
    eventually(lambda: not node.running(), f"nothing is left after {who}:{at}")
    died = status != 0

    del node.environ["DIES"]
    assert node.run("pid").returncode == 1
    again = node.spawn("start")
    read_until(again.stdout, "was here")
    assert terminate(again)[0] == 0
    assert not (node.var / "run/pid").exists()
    return died


def read_until_end_or(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return


KILLS = [pytest.param(who, "start", 23, 3, id=who) for who in ("keeper", "node")]
ALL_KILLS = [
    pytest.param(who, command, 1, 10_000, id=f"{who}-{command}-all", marks=pytest.mark.drill)
    for who in ("keeper", "node")
    for command in ("start", "daemon")
]


@pytest.mark.parametrize(("who", "command", "stride", "most"), [*KILLS, *ALL_KILLS])
def test_a_kill_at_any_moment_leaves_nothing_in_the_way(
    mortal: Node, who: str, command: str, stride: int, most: int
) -> None:
    """Of the keeper or of the node, while they boot, run or stop: no orphan, and the next start works."""
    survived, at, kills = 0, stride, 0
    while survived < 3 and kills < most:
        if dies(mortal, who, at, command):
            survived, kills = 0, kills + 1
        else:
            survived += 1
        at += stride

    assert kills
    print(f"{who} {command}: killed at {kills} of its calls")


@pytest.mark.sample(most=4)
@pytest.mark.parametrize("content", [b"", b"\0" * 1024, b'{"pid": 1', b'{"pid": 1}\n', b"-7\n"])
@pytest.mark.parametrize("name", ["lock", "pid"])
def test_damaged_files_of_a_dead_node_are_not_in_the_way(make: MakeNode, name: str, content: bytes) -> None:
    """Whatever a crash or a full disk left there, nothing is taken for running, and a start works."""
    node = make(recorder("one"))
    (node.var / "run").mkdir(parents=True)
    (node.var / "run" / name).write_bytes(content)

    assert node.run("pid").stderr == "error: hello is not running\n"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    assert node.run("pid").stdout == f"{process.pid}\n" == (node.var / "run/pid").read_text()
    assert terminate(process)[0] == 0


def test_damaged_start_data_stops_a_restart_with_a_word(make: MakeNode) -> None:
    """Which release to boot is not guessed; the keeper ends with the launcher's error."""
    node = make(recorder("one"))
    (node.version / "heart").write_text('{"restarts": 2, "delay": 0.01}')
    assert node.run("daemon").returncode == 0
    (node.var / "start.data").touch()

    os.kill(node.lock_contents()["node"], signal.SIGKILL)
    eventually(lambda: not node.running(), "the keeper gives up")

    log = (node.var / "log/hello.log.1").read_text()
    assert log.count(f"error: {node.var}/start.data does not say what to boot") == 2
    assert "which is the limit" in log


def fill(disk: Path) -> None:
    """Leave no room."""
    with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.needs_tool("mount", "mount")
def test_a_service_lives_on_when_the_disk_is_full(make: MakeNode, tmp_path: Path) -> None:
    """It goes on while its log can't be written, boots again after a crash, and starts again, all with no room at all."""
    node = make(recorder("one", start="print('x' * 50_000, flush=True)"))
    (node.version / "heart").write_text('{"restarts": 5, "delay": 0.01}')
    with small_disk(tmp_path / "disk", "size=128k") as disk:
        node.environ["RELEASE_VAR"] = str(disk)
        assert node.run("daemon").returncode == 0
        fill(disk)
        keeper = node.run("pid").stdout.strip()
        [first] = [pid for pid in node.running() if str(pid) != keeper]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: [p for p in node.running() if str(p) not in (keeper, str(first))], "another node")
        assert node.run("pid").stdout.strip() == keeper
        assert node.run("stop").returncode == 0

        fill(disk)
        done = node.run("daemon")
        assert (done.returncode, done.stderr) == (0, "")
        assert node.run("stop").returncode == 0
        assert not node.running()


@pytest.mark.needs_tool("mount", "mount")
@pytest.mark.parametrize("options", ["ro", "size=4k,nr_inodes=1"])
def test_a_place_without_room_for_the_lock_is_told(make: MakeNode, tmp_path: Path, options: str) -> None:
    """A first start needs a lock and a cookie: one error, which names RELEASE_VAR."""
    node = make(recorder("one"))
    with small_disk(tmp_path / "disk", options) as disk:
        node.environ["RELEASE_VAR"] = str(disk / "var")
        for command in ("start", "daemon"):
            done = node.run(command)
            assert done.returncode == 1
            assert done.stderr.startswith(f"error: {disk}/var/run can't be written: ")
            assert done.stderr.endswith("; set RELEASE_VAR to a directory that belongs to the user who runs the node\n")
        assert node.running() == []


@pytest.mark.needs_tool("mount", "mount")
def test_a_release_that_may_only_be_read_runs(make: MakeNode, tmp_path: Path) -> None:
    """All that changes is below RELEASE_VAR."""
    made = make(recorder("one"), at="made")
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        node = Node(disk / "hello", environ={"RELEASE_VAR": str(tmp_path / "var"), "RELEASE_HEART": "true"})
        shutil.copytree(made.root, node.root, symlinks=True)
        subprocess.run(["/bin/mount", "-o", "remount,ro", disk], check=True, timeout=TIMEOUT)
        try:
            assert node.run("daemon").returncode == 0
            assert (tmp_path / "var/log/hello.log.1").read_text().endswith("start one\n")
            assert node.run("stop").returncode == 0
            del node.environ["RELEASE_VAR"]
            assert "/var/run can't be written: Read-only file system; set RELEASE_VAR" in node.run("start").stderr
        finally:
            node.close()


@pytest.mark.needs_tool("unshare", "util-linux")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a time namespace")
def test_a_clock_that_is_elsewhere_does_not_matter(make: MakeNode) -> None:
    """Pauses and limits are differences on the monotonic clock, which no one can set; here it begins 11 days later."""
    node = make(recorder("one", start=DIES_AT_ONCE))
    (node.version / "heart").write_text('{"restarts": 2, "delay": 0.01}')
    done = subprocess.run(
        ["unshare", "--time", "--monotonic", "1000000", "--fork", str(node.command), "start"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert (done.returncode, done.stdout) == (1, "start one\n" * 3)
