"""check: real releases of two versions, one of which runs while the other is tried."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from code_server_helpers import Interpreter, laid_out
from node_helpers import App, Node, eventually, finish, nodes, read_until, recorder, terminate, this_interpreter
from ports import free_port
from underway_runtime.release.directory import ReleaseDirectory, VarDirectory
from underway_runtime.release.ledger import Record, write
from underway_runtime.release.manifest import read
from versions import add, seal

PYTHON_FILE = "underway_runtime.providers:PythonFile"


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return laid_out(this_interpreter(), tmp_path_factory.getbasetemp())


@pytest.fixture
def node(tmp_path: Path, interpreter: Interpreter) -> Iterator[Node]:
    """hello 1, sealed; nothing runs."""
    with nodes(tmp_path, interpreter) as make:
        made = make(recorder("one"))
        made.configure(one={"port": 1, "password": "hunter1", "old": True})
        seal(made)
        yield made


def configure(place: Path, runtime: str = "", **config: Any) -> None:
    """A version's configuration, at build and in config/runtime.py."""
    providers = [[PYTHON_FILE, {"path": "runtime.py"}]] if runtime else []
    (place / "sys.config").write_text(json.dumps({"format": 1, "config": config, "providers": providers}))
    (place / "runtime.py").write_text(f"from underway_runtime import config, env\n{runtime}\n")


def check(node: Node, *arguments: str, status: int, version: str = "2") -> Any:
    """The outcome of check, which ends with this status."""
    done = node.run("check", version, "--json", *arguments)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def look(root: Path) -> dict[str, tuple[int, int]]:
    """Everything in the release, and in var, with size and time of change."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(directory, name))
            found[os.path.join(directory, name)] = status.st_size, status.st_mtime_ns
    return found


def test_a_version_that_is_good_would_take_over(node: Node) -> None:
    """What would be another is listed, secrets are not shown, and neither the tree nor the node is touched."""
    configure(add(node, "2", recorder("one")), "config('one', password='hunter2')", one={"port": 2, "new": [1]})
    seal(node, "2")
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    before = look(node.root)

    outcome = check(node, status=0)

    assert (outcome["outcome"], outcome["running"], outcome["reasons"], outcome["notes"]) == ("handover", "1", [], [])
    assert outcome["configuration"] == [
        {"key": "one.new", "change": "added", "after": [1]},
        {"key": "one.old", "change": "removed", "before": True},
        {"key": "one.password", "change": "changed", "before": "[redacted]", "after": "[redacted]"},
        {"key": "one.port", "change": "changed", "before": 1, "after": 2},
    ]
    assert outcome["memory"]["available"] > outcome["memory"]["needs"] > 0
    said = node.run("check", "2").stdout
    assert said.startswith("2 would take over from 1 by handover\n")
    assert "hunter" not in said + json.dumps(outcome)
    assert look(node.root) == before
    assert terminate(process) == (0, "stop one\n", "")


def test_it_is_tried_in_the_environment_of_the_node(node: Node) -> None:
    """That of the running node's keeper, not that of the command; without a node it is the command's own."""
    configure(add(node, "2", recorder("one")), "config('one', port=int(env('PORT')))")
    seal(node, "2")
    assert "PORT" in check(node, status=6)["reasons"][0]
    node.environ["PORT"] = "7"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    del node.environ["PORT"]

    outcome = check(node, status=0)
    assert {"key": "one.port", "change": "changed", "before": 1, "after": 7} in outcome["configuration"]
    terminate(process)


def test_a_version_without_a_node_would_boot(node: Node) -> None:
    """There is nothing to compare with."""
    add(node, "2", recorder("one"))
    seal(node, "2")

    outcome = check(node, status=0)
    assert (outcome["outcome"], outcome["running"], outcome["configuration"]) == ("start", None, None)
    assert node.run("check", "2").stdout == "2 would boot; no node runs now\n"


def test_all_that_is_wrong_is_told_at_once(node: Node) -> None:
    """A provider that fails, modules that can't be imported, a start that is not there, gates; the node goes on."""
    broken = App("broken", "import nowhere", {"class": "broken:App"})
    missing = App("missing", "", {"class": "missing:App"})
    place = add(node, "2", recorder("one"), broken, missing)
    configure(place, "raise ValueError('no such region')")
    (place / "gates.json").write_text(json.dumps([{"function": "one:nothing"}, {"http": "/health"}]))
    seal(node, "2")
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    outcome = check(node, status=6)

    assert outcome["outcome"] == "refused"
    for words in (
        "no such region",
        "broken can't be imported: ModuleNotFoundError: No module named 'nowhere'",
        "missing has no 'App'",
        "one has no 'nothing'",
        "the gate http /health asks a web application that is not there; there is none",
    ):
        assert sum(words in reason for reason in outcome["reasons"]) == 1, (words, outcome["reasons"])
    assert len(outcome["reasons"]) == 5
    assert node.run("check", "2").stdout.startswith("2 would be refused, and 1 goes on:\n  - ")
    assert terminate(process)[0] == 0


def test_a_schema_that_does_not_hold_refuses(node: Node) -> None:
    """As the boot would say it."""
    place = add(node, "2", App("one", SCHEMA, {"class": "one:App"}))
    configure(place, one={"port": "eighty", "prot": 1})
    seal(node, "2")

    [reason] = check(node, status=6)["reasons"]
    assert "one.port" in reason
    assert "one.prot" in reason


SCHEMA = """
from dataclasses import dataclass
from underway_runtime import Application

@dataclass
class Schema:
    port: int

class App(Application):
    config_schema = Schema
"""


@pytest.mark.parametrize("where", ["module", "provider"])
def test_what_hangs_is_killed_and_named(node: Node, tmp_path: Path, where: str) -> None:
    """An import, or a provider; also what it has started."""
    hang = f"""
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    place = add(node, "2", recorder("one"), App("slow", hang if where == "module" else "", {"class": "slow:App"}))
    configure(place, hang if where == "provider" else "")
    seal(node, "2")

    [reason] = check(node, "--within", "3", status=6)["reasons"]

    name = f"the configuration provider {PYTHON_FILE}" if where == "provider" else "the import of slow, for its schema"
    assert reason == f"{name} has not come to an end within 3 s, and was killed"
    started = (tmp_path / "pid").read_text()
    eventually(lambda: _ended(started), "what it has started ends")


def _ended(pid: str) -> bool:
    """Also when nobody has waited for it."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_an_import_that_ends_the_process_is_named(node: Node) -> None:
    """With what it said last."""
    deadly = App("deadly", "import os\nprint('good bye', flush=True)\nos._exit(3)", {"class": "deadly:App"})
    add(node, "2", recorder("one"), deadly)
    seal(node, "2")

    [reason] = check(node, status=6)["reasons"]
    assert (
        reason
        == "the import of deadly, for its schema ended the process, with status 3; its output ends with: good bye"
    )


def test_what_is_damaged_is_not_executed(node: Node, tmp_path: Path) -> None:
    """The file is named, and no code of that version runs."""
    add(node, "2", App("one", f"open({str(tmp_path / 'ran')!r}, 'w')", {"class": "one:App"}))
    seal(node, "2")
    with (node.root / "lib/one-2.0/one.py").open("a") as file:
        file.write("# changed\n")

    outcome = check(node, status=6)
    [reason] = outcome["reasons"]
    assert reason.startswith("lib/one-2.0/one.py has ")
    assert outcome["notes"] == ["it was not tried, because it is damaged or does not fit this host"]
    assert not (tmp_path / "ran").exists()


def test_a_host_that_is_too_old_is_told(node: Node) -> None:
    """By the floor of the version's glibc, and by the loader that it names."""
    place = add(node, "2", recorder("one"))
    for text, words in (
        ("2.99 /bin/sh", "needs glibc 2.99 or later, and this host has 2."),
        ("2.30 /no/ld", "no /no/ld"),
    ):
        (place / "glibc").write_text(f"{text}\n")
        seal(node, "2")

        assert words in check(node, status=6)["reasons"][0]


def test_addresses_are_compared_with_those_of_the_node(node: Node) -> None:
    """One that stays is not tried, for the node has it; one that is new and taken refuses; one that goes is told."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used, new = (f"tcp://127.0.0.1:{port}" for port in (taken.getsockname()[1], free_port()))
        stays, goes = "tcp://127.0.0.1:0", f"unix://{node.root}/var/goes"
        (node.root / "var").mkdir(exist_ok=True)
        node.configure(one={"listen": [stays, goes]})
        seal(node)
        place = add(node, "2", recorder("one"))
        configure(place, one={"listen": [stays, used, new]})
        seal(node, "2")
        process = node.spawn("start")
        read_until(process.stdout, "start one")

        outcome = check(node, status=6)

        assert [(row["address"], row["change"]) for row in outcome["addresses"]] == [
            (stays, "same"),
            (used, "new"),
            (new, "new"),
            (goes, "gone"),
        ]
        [reason] = outcome["reasons"]
        assert reason == f"one is to listen on {used}, which can't be bound: Address already in use"
        assert f"gone     {goes} would be closed, of one" in node.run("check", "2").stdout
        terminate(process)


def test_a_socket_that_the_keeper_does_not_hold_is_named(node: Node) -> None:
    """It is not handed over."""
    bind = (
        "import socket; self.own = socket.create_server(('127.0.0.1', 0)); print(self.own.getsockname()[1], flush=True)"
    )
    app = recorder("one", start=bind)
    (node.root / "lib/one-1.0/one.py").write_text(app.distribution.files["one.py"])  # type: ignore[arg-type]  # a text
    seal(node)
    add(node, "2", recorder("one"))
    seal(node, "2")
    process = node.spawn("start")
    port = read_until(process.stdout, r"^(\d+)$")[1]
    address = f"tcp://127.0.0.1:{port}"

    assert check(node, status=0)["not_handed_over"] == [address]
    assert f"{address} is not handed over: it would be closed for a moment" in node.run("check", "2").stdout
    terminate(process)


def test_a_version_that_has_failed_is_refused_unless_told(node: Node) -> None:
    """With the reason that was noted."""
    add(node, "2", recorder("one"))
    seal(node, "2")
    var = node.var
    var.mkdir(exist_ok=True)
    ids = {v: read(ReleaseDirectory(node.root).version(v).manifest).release_id for v in ("1", "2")}
    records = {
        "1": Record("permanent", ids["1"], "now"),
        "2": Record("unpacked", ids["2"], "now", failed="gate http: 500"),
    }
    write(VarDirectory(var), records)

    assert check(node, status=6)["reasons"] == ["it has failed before: gate http: 500; --again checks it all the same"]
    assert check(node, "--again", status=0)["outcome"] == "start"


def test_a_version_that_is_not_here_can_t_be_checked(node: Node) -> None:
    """1, with what is here."""
    status, _, said = finish(node.spawn("check", "9"))

    assert status == 1
    assert "there is no version 9 here to install; here are: 1" in said


def test_what_a_handover_costs_is_told(node: Node) -> None:
    """Providers and schemas, what stops for a moment, how long each may drain, and a Unix socket that nobody hands over."""
    path = node.root / "var/own.sock"
    path.parent.mkdir(exist_ok=True)
    bind = f"import socket; self.own = socket.socket(socket.AF_UNIX); self.own.bind({str(path)!r}); self.own.listen()"
    node.configure(one={"drain_timeout": 5})
    app = recorder("one", start=bind)
    (node.root / "lib/one-1.0/one.py").write_text(app.distribution.files["one.py"])  # type: ignore[arg-type]  # a text
    seal(node)
    alone = App("one", SCHEMA.replace("config_schema", "overlap = False\n    config_schema"), {"class": "one:App"})
    configure(add(node, "2", alone), "config('one', port=80)")
    seal(node, "2")
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    eventually(path.exists, "it listens")

    outcome = check(node, status=0)

    assert (outcome["outcome"], outcome["providers"], outcome["schemas"]) == (
        "handover",
        [PYTHON_FILE],
        {"one": "one:Schema"},
    )
    assert (outcome["alone"], outcome["drains"]) == (["one"], {"one": 5.0})
    assert outcome["not_handed_over"] == [f"unix://{path}"]
    said = node.run("check", "2").stdout
    for line in (
        f"  provider {PYTHON_FILE}",
        "  schema   one: one:Schema",
        "  drains   one within 5 s",
        f"  note     unix://{path} is not handed over: it would be closed for a moment",
        "  note     one must not run twice: it would stop before the next one starts",
    ):
        assert f"{line}\n" in said
    same = check(node, status=0, version="1")
    assert (same["outcome"], same["alone"], same["drains"]) == ("nothing", [], {})
    terminate(process)
