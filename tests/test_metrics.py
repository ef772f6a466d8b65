"""What Prometheus reads of a node, and the journal of upgrades behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_server_helpers import Interpreter, laid_out
from node_helpers import MakeNode, Node, nodes, read_until, recorder, terminate, this_interpreter
from underway_runtime.node import events, journal
from underway_runtime.release.directory import VarDirectory

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return laid_out(this_interpreter(), tmp_path_factory.getbasetemp())


@pytest.fixture
def make(tmp_path: Path, interpreter: Interpreter) -> Iterator[MakeNode]:
    with nodes(tmp_path, interpreter) as make:
        yield make


def samples(node: Node) -> dict[str, float]:
    """The metrics, by name and labels; every line is one, or a comment."""
    text = node.run("metrics").stdout
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'(underway_\w+\{\w+="[^"\n]*"(?:,\w+="[^"\n]*")*\}) (-?[0-9.e+-]+)', line)
            assert match, line
            found[match[1]] = float(match[2])
    return found


def test_a_node_gives_its_figures(make: MakeNode) -> None:
    """Each of them, from the process; what was installed, from the journal."""
    node = make(recorder("one"), recorder("two", mode="load"))
    upgrades = VarDirectory(node.var).upgrades
    node.var.mkdir()
    for outcome in ("committed", "undone", "undone"):
        events.note(upgrades, "install", outcome, events.new_id(), version="2")
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    node.run("rpc", "1")

    found = samples(node)

    assert found['underway_info{release="hello",version="1",release_id="",state="running"}'] == 1
    assert found['underway_starts_total{release="hello"}'] == 1
    assert found['underway_applications{release="hello",state="running"}'] == 1
    assert found['underway_applications{release="hello",state="loaded"}'] == 1
    assert found['underway_upgrades_total{release="hello",outcome="undone"}'] == 2
    assert found['underway_upgrades_total{release="hello",outcome="committed"}'] == 1
    assert found['underway_control_clients{release="hello"}'] == 1
    assert found['underway_memory_bytes{release="hello"}'] > 1e6
    last = found['underway_last_upgrade_timestamp_seconds{release="hello",outcome="undone"}']
    assert last >= found['underway_last_upgrade_timestamp_seconds{release="hello",outcome="committed"}']
    reference = (REPOSITORY / "docs/reference/control.md").read_text()
    assert {name.partition("{")[0] for name in found} == set(
        re.findall(r"^\| `(underway_\w+)` \|", reference, re.MULTILINE)
    )
    terminate(process)


def test_a_node_that_was_started_again_says_so(make: MakeNode) -> None:
    """The keeper counts, and what the node starts does not inherit it."""
    node = make(recorder("one", start="import os; print('RELEASE_STARTS' in os.environ, flush=True)"))
    process = node.spawn("start")
    read_until(process.stdout, "False")
    assert node.run("restart").returncode == 0
    read_until(process.stdout, "False")

    assert samples(node)['underway_starts_total{release="hello"}'] == 2
    terminate(process)


def test_without_a_node_there_are_no_figures(make: MakeNode) -> None:
    """1, and a sentence."""
    done = make(recorder("one")).run("metrics")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: hello is not running\n")


def test_the_journal_of_upgrades_has_an_end_and_may_be_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is put aside the older one goes; a line that a power cut has left is passed over."""
    monkeypatch.setattr(journal, "LARGEST", 1000)
    file = VarDirectory(tmp_path).upgrades
    for number in range(50):
        events.note(file, "install" if number % 2 else "boot", "done", f"{number}")
    with file.open("ab") as stream:
        stream.write(b'{"event": "install", "outco\n[]\n')

    assert len(list(file.parent.iterdir())) == 2
    known = [event["upgrade_id"] for event in events.read(file)]
    assert known == [str(number) for number in range(50 - len(known), 50)]
    assert events.totals(file).by_outcome == {"done": sum(int(each) % 2 for each in known)}
    assert sum(each.stat().st_size for each in file.parent.iterdir()) < 2500
