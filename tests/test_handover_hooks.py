"""What a class is told of a handover: before it begins, and when it comes to nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from handover_helpers import children
from node_helpers import App, MakeNode, Node, Process, eventually, terminate
from versions import add_sealed

TELLING = """
import os
from underway_runtime import Application

class App(Application):
    overlap = False

    def note(self, what):
        with open(NOTES, "a") as file:
            file.write(f"{self.version} {what}\\n")

    def start(self):
        self.note("starts")
        START

    def booted(self):
        self.note("booted")

    def before_handover(self, version):
        self.note(f"before {version or 'the permanent one'}")
        BEFORE

    def handover_failed(self):
        self.note("goes on")
"""


def telling(notes: Path, *, start: str = "pass", before: str = "pass") -> App:
    """An application that writes down what it is told."""
    source = TELLING.replace("NOTES", repr(str(notes))).replace("START", start).replace("BEFORE", before)
    return App("telling", source, {"class": "telling:App"})


def running(node: Node, notes: Path) -> Process:
    keeper = node.spawn("start", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: notes.exists() and "booted" in notes.read_text(), "it runs")
    notes.write_text("")
    return keeper


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("raise RuntimeError('not while the moon is full')", "RuntimeError: not while the moon is full"),
        ("raise SystemError('no')", "SystemError: no"),
    ],
)
def test_an_application_may_refuse_a_handover(make: MakeNode, tmp_path: Path, before: str, said: str) -> None:
    """Nothing is started, the reason is told with 1, no version is marked as failed, and what runs goes on."""
    notes = tmp_path / "notes"
    node = make(telling(notes, before=before))
    add_sealed(node, "2", telling(notes))
    keeper = running(node, notes)
    [before_pid] = children(keeper)

    for words in (["install", "2"], ["restart", "--graceful"]):
        done = node.run(*words)
        assert done.returncode == 1
        assert f"was not started, and nothing has changed: telling refuses it: {said}" in done.stderr

    assert notes.read_text().splitlines() == [
        "1.0 before 2",
        "1.0 goes on",
        "1.0 before the permanent one",
        "1.0 goes on",
    ]
    assert "failed" not in node.run("releases").stdout
    assert children(keeper) == [before_pid]
    assert terminate(keeper)[0] == 0


def test_who_is_started_again_after_a_handover_is_told_that_all_have_started(make: MakeNode, tmp_path: Path) -> None:
    """As at a boot: the object is a new one; and it is told that the handover has come to nothing."""
    notes = tmp_path / "notes"
    node = make(telling(notes))
    add_sealed(node, "2", telling(notes, start="raise RuntimeError('no lease')"))
    keeper = running(node, notes)

    assert node.run("install", "2").returncode == 4

    told = notes.read_text().splitlines()
    assert told == ["1.0 before 2", "2.0 starts", "1.0 starts", "1.0 booted", "1.0 goes on"]
    assert terminate(keeper)[0] == 0


def test_a_node_that_can_not_go_on_does_not_say_that_it_does(make: MakeNode, tmp_path: Path) -> None:
    """Where the next one fails, and this one can't start again what it has let go, both reasons are told."""
    notes = tmp_path / "notes"
    once = f"assert not os.path.exists({str(tmp_path / 'started')!r}), 'only once'; open({str(tmp_path / 'started')!r}, 'w')"
    node = make(telling(notes, start=once))
    add_sealed(node, "2", telling(notes, start="raise RuntimeError('no lease')"))
    keeper = running(node, notes)

    done = node.run("install", "2")

    assert done.returncode == 1
    assert "2 has failed, and the version before could not go on and ends" in done.stderr
    assert "no lease" in done.stderr
    assert "only once" in done.stderr
    assert "runs on" not in done.stderr
    assert keeper.wait(30) == 1
