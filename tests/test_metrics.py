"""What Prometheus reads of a node, and the journal of upgrades behind it."""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path

import pytest

from node_helpers import TIMEOUT, MakeNode, Node, eventually, read_until, recorder, terminate
from underway_runtime.process import upgrade_journal, usage_journal
from underway_runtime.release.directory import VarDirectory

REPOSITORY = Path(__file__).resolve().parents[1]


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
        upgrade_journal.note(upgrades, "install", outcome, upgrade_journal.new_id(), version="2")
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


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("loop", ["free", "blocked"])
def test_figures_are_read_over_http_where_that_is_configured(make: MakeNode, loop: str) -> None:
    """The same text, also while the node's loop is blocked; nothing else is there, and who says nonsense is disconnected."""
    node = make(recorder("one"))
    path = node.var / "metrics.sock"
    node.var.mkdir()
    node.configure(underway_runtime={"metrics": f"unix://{path}"})
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    if loop == "blocked":
        blocking = node.spawn("rpc", "print('begins', flush=True); import time; time.sleep(600)")
        read_until(blocking.stdout, "begins")

    wanted = f'underway_loop_answers{{release="hello"}} {int(loop == "free")}\n'
    answer = eventually(lambda: wanted in (text := asked(path, GET)) and text, f"the loop is {loop}")
    assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert asked(path, b"GET / HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 404 ")
    assert asked(path, b"POST /metrics HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 405 ")
    assert asked(path, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith("\r\n\r\n")
    assert asked(path, b"x" * 20000) == ""
    if loop == "free":
        assert terminate(process) == (0, "stop one\n", "")


def asked(path: Path, request: bytes) -> str:
    """What is answered, to the end of the connection."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError):
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        client.sendall(request)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer.decode()
    return ""


def test_an_address_for_metrics_that_is_none_stops_the_boot(make: MakeNode) -> None:
    """With a sentence."""
    node = make(recorder("one"))
    for value, words in ((9100, "underway_runtime.metrics is 9100, int"), ("9100", "can't listen")):
        node.configure(underway_runtime={"metrics": value})
        done = node.run("start")
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_without_a_node_there_are_no_figures(make: MakeNode) -> None:
    """1, and a sentence."""
    done = make(recorder("one")).run("metrics")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: hello is not running\n")


def test_the_journal_of_upgrades_has_an_end_and_may_be_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is put aside the older one goes; a line that a power cut has left is passed over."""
    monkeypatch.setattr(usage_journal, "LARGEST", 1000)
    file = VarDirectory(tmp_path).upgrades
    for number in range(50):
        upgrade_journal.note(file, "install" if number % 2 else "boot", "done", f"{number}")
    with file.open("ab") as stream:
        stream.write(b'{"event": "install", "outco\n[]\n')

    assert len(list(file.parent.iterdir())) == 2
    known = [event["upgrade_id"] for event in upgrade_journal.read(file)]
    assert known == [str(number) for number in range(50 - len(known), 50)]
    assert upgrade_journal.totals(file).by_outcome == {"done": sum(int(each) % 2 for each in known)}
    assert sum(each.stat().st_size for each in file.parent.iterdir()) < 2500
