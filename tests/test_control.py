"""Commands that ask a node that runs: rpc, status, restart; and the journal of uses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from node_helpers import (
    TIMEOUT,
    App,
    MakeNode,
    Node,
    Process,
    eventually,
    finish,
    once_ready,
    read_until,
    recorder,
    terminate,
)
from underway_runtime.control import answers
from underway_runtime.control.client.client import Connection, NotAnswering
from underway_runtime.control.node_status import Report
from underway_runtime.process import usage_journal as journal
from underway_runtime.process.settings import from_environ
from underway_runtime.release.boot_script import BootScript, Load
from underway_runtime.release.errors import UnderwayError
from underway_runtime.release.manifest import Manifest, dump

BLOCKS = "import threading; print('blocks', flush=True); threading.Event().wait()"
"""Code for rpc that blocks the node's loop."""


def started(node: Node) -> Process:
    """Start a node of which one application is called ``one``, and wait until that has started."""
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    return process


class Meanwhile(Mapping[str, str]):
    """Nothing, of which something happens as soon as it is read."""

    def __init__(self, happens: Callable[[], object]) -> None:
        self._happens = happens

    def __getitem__(self, key: str) -> str:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        self._happens()
        return iter(())

    def __len__(self) -> int:
        return 0


def uses(node: Node) -> list[dict[str, object]]:
    journal = node.var / "journal/uses.jsonl"
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def test_a_status_is_of_one_version(tmp_path: Path) -> None:
    """Also one that is asked for while another version is installed in the process, which is done in another thread."""
    environ = {"RELEASE_ROOT": str(tmp_path), "RELEASE_NAME": "hello", "RELEASE_VSN": "1"}
    settings = from_environ(environ)
    scripts = {v: BootScript("start", "hello", v, (Load("hello", v, (), None),)) for v in ("1", "2")}
    report = Report(settings, scripts["1"])

    document = report.document({}, Meanwhile(lambda: report.became(settings.of("2"), scripts["2"])))

    assert [document["version"], *(each["version"] for each in document["applications"])] == ["1", "1"]
    assert report.document({}, {})["version"] == "2"


def test_each_field_of_a_status_is_looked_at(tmp_path: Path) -> None:
    """By whoever asks: the process that answers may be another user's, and none of what it says is taken as it is."""
    environ = {"RELEASE_ROOT": str(tmp_path), "RELEASE_NAME": "hello", "RELEASE_VSN": "1"}
    document = Report(from_environ(environ), BootScript("start", "hello", "1", ())).document({}, {"web": "it goes"})
    document["loop"] = {"answers": True, "seconds": 0.1}  # as the session adds it

    assert answers.status({"status": document}, "hello") == document
    for key in document:
        with pytest.raises(UnderwayError, match=f"fields of its status make no sense: {key}$"):
            answers.status({"status": {**document, key: [{"a": object()}]}}, "hello")


def test_what_is_asked_may_have_a_limit_of_time() -> None:
    """However slowly the answer comes; without a limit it takes as long as it does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, "hello")
        theirs.sendall(b"\0\0")
        with pytest.raises(NotAnswering, match="hello does not answer"):
            connection.ask({"do": "metrics"}, within=0.05)
        theirs.sendall(b'\0\x0d{"metrics":1}')
        assert connection.ask({"do": "metrics"}) == {"metrics": 1}


# -------------------------------------------------------------------------------------------------------------- rpc


def test_rpc_runs_code_in_the_node(make: MakeNode) -> None:
    """What it prints and the value of its last expression come out here, in order; nothing of it at the node."""
    node = make(recorder("one"))
    process = started(node)

    done = node.run("rpc", "import os, sys\nprint('out')\nprint('err', file=sys.stderr)\n(one.version, os.getppid())")
    nothing = node.run("rpc", "x = 1\nNone")
    awaited = node.run("rpc", "import asyncio\nawait asyncio.sleep(0, 'awaited')")
    from_input = node.spawn("rpc", "-", stdin=-1)
    out, _ = from_input.communicate("'from input'", timeout=TIMEOUT)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"out\n('1.0', {process.pid})\n", "err\n")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert (awaited.returncode, awaited.stdout) == (0, "'awaited'\n")
    assert out == "'from input'\n"
    assert terminate(process)[1:] == ("stop one\n", "")


def test_only_what_the_code_of_an_rpc_prints_goes_to_its_caller(make: MakeNode) -> None:
    """Also from tasks and threads of asyncio that it starts; the output of applications, meanwhile, stays the node's."""
    source = """
    import asyncio, sys
    from underway_runtime import Application

    class App(Application):
        async def start(self):
            print("start", self.name, flush=True)
            self.asked = asyncio.Event()
            self.said = asyncio.Event()
            return asyncio.create_task(self.serve())

        async def serve(self):
            await self.asked.wait()
            print("of the application", flush=True)
            self.said.set()
            await asyncio.Event().wait()

        async def stop(self):
            pass
    """
    code = """
import asyncio
one.asked.set()
await one.said.wait()
await asyncio.create_task(asyncio.to_thread(print, "of the thread"))
print("of the code")
"""
    node = make(App("one", source, {"class": "one:App"}))
    process = started(node)

    done = node.run("rpc", code)

    assert done.stdout == "of the thread\nof the code\n"
    assert terminate(process)[:2] == (0, "of the application\n")


def test_rpc_that_raises_is_status_7(make: MakeNode) -> None:
    """The traceback is of that code only, with its lines; the node goes on."""
    node = make(recorder("one"))
    process = started(node)

    raised = node.run("rpc", "def f():\n    return 1/0\nprint('before')\nf()")
    wrong = node.run("rpc", "1 +")

    assert (raised.returncode, raised.stdout) == (7, "before\n")
    assert [line for line in raised.stderr.splitlines() if "~" not in line] == [
        "Traceback (most recent call last):",
        '  File "<rpc>", line 4, in <module>',
        "    f()",
        '  File "<rpc>", line 2, in f',
        "    return 1/0",
        "ZeroDivisionError: division by zero",
    ]
    assert wrong.returncode == 7
    assert wrong.stderr.startswith('  File "<rpc>", line 1\n    1 +')
    assert terminate(process) == (0, "stop one\n", "")


@pytest.mark.parametrize(("code", "status", "said"), [("raise SystemExit(3)", 3, ""), ("exit('no')", 1, "no\n")])
def test_rpc_honours_sys_exit_and_the_node_runs_on(make: MakeNode, code: str, status: int, said: str) -> None:
    """Code can choose the status of the command, and not the node's."""
    node = make(recorder("one"))
    process = started(node)

    done = node.run("rpc", f"import sys, asyncio; await asyncio.sleep(0); {code}".replace("exit(", "sys.exit("))

    assert (done.returncode, done.stderr) == (status, said)
    assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio; print('in it'); await asyncio.Event().wait()",
        "print('in it')\nwhile True:\n    pass",
        "import time; print('in it'); time.sleep(1000)",
        "import asyncio; await asyncio.sleep(0); print('in it')\nwhile True:\n    pass",
    ],
    ids=["awaits", "loops", "blocks", "loops after an await"],
)
def test_ctrl_c_ends_code_that_never_ends(make: MakeNode, code: str) -> None:
    """It is interrupted in the node, which runs on, and the command ends with 130."""
    node = make(recorder("one"))
    process = started(node)
    asking = node.spawn("rpc", code)
    read_until(asking.stdout, "in it")

    asking.send_signal(signal.SIGINT)

    assert finish(asking)[0] == 130
    assert node.run("rpc", "1").stdout == "1\n"
    assert terminate(process)[0] == 0


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio, time\ntry:\n    print('in it'); time.sleep(1000)\nexcept KeyboardInterrupt:\n    await asyncio.sleep(0.1)",
        "import asyncio\ntry:\n    print('in it'); await asyncio.sleep(9**9)\nexcept BaseException:\n    await asyncio.sleep(0.1)",
    ],
    ids=["code", "await"],
)
def test_an_interruption_reaches_code_once(make: MakeNode, code: str) -> None:
    """What it does to clean up, it can do."""
    node = make(recorder("one"))
    process = started(node)
    asking = node.spawn("rpc", f"{code}\nprint('cleaned up')")
    read_until(asking.stdout, "in it")

    asking.send_signal(signal.SIGINT)

    assert finish(asking)[:2] == (0, "cleaned up\n")
    assert terminate(process)[0] == 0


def test_rpc_works_beside_a_main(make: MakeNode) -> None:
    """The main function has the main thread; code runs on the loop, in another, and an await can be interrupted."""
    source = "import threading\n\ndef main():\n    print('start one', flush=True)\n    threading.Event().wait()"
    node = make(App("tool", source, {"main": "tool:main"}))
    process = started(node)
    asking = node.spawn("rpc", "import asyncio; print('in it'); await asyncio.Event().wait()")
    read_until(asking.stdout, "in it")

    asking.send_signal(signal.SIGINT)

    assert finish(asking)[0] == 130
    eventually(lambda: node.run("rpc", "tool.__name__").stdout == "'main'\n", "it has run for a moment, and is known")
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("code", ["await asyncio.Event().wait()", "\n    while True:\n        pass"])
def test_a_caller_that_goes_away_takes_its_code_along(make: MakeNode, code: str) -> None:
    """The code is cancelled when its command is killed."""
    node = make(recorder("one"))
    process = started(node)
    whole = f"import asyncio\ntry:\n    print('in it'); {code}\nfinally:\n    one.left = True"
    asking = node.spawn("rpc", whole.replace("; \n", "\n"))
    read_until(asking.stdout, "in it")

    asking.kill()
    asking.wait(TIMEOUT)

    waits = "import asyncio\nwhile not hasattr(one, 'left'):\n    await asyncio.sleep(0.01)\none.left"
    assert node.run("rpc", waits).stdout == "True\n"
    assert terminate(process)[0] == 0


def test_output_without_end_ends_its_code_and_not_the_node(make: MakeNode) -> None:
    """What waits for a reader is bounded; the code that prints more gets an exception, and is shown it."""
    node = make(recorder("one"))
    process = started(node)
    asking = node.spawn("rpc", "line = 'x' * 1023\nwhile True:\n    print(line)")
    eventually(lambda: [use for use in uses(node) if use["outcome"] == "raised"], "the code ends, though nobody reads")

    status, out, err = finish(asking)

    assert status == 7
    assert len(out) >= 16 << 20
    assert [line for line in err.splitlines() if "^" not in line][:4] == [
        "Traceback (most recent call last):",
        '  File "<rpc>", line 3, in <module>',
        "    print(line)",
        err.splitlines()[-1],
    ]
    assert re.search(r"TooMuchOutput: \d+ characters wait to be taken by whoever runs this", err)
    assert terminate(process)[0] == 0


def test_a_large_report_arrives_whole(make: MakeNode) -> None:
    """Ten million characters, some of which JSON writes as twelve bytes each."""
    node = make(recorder("one"))
    process = started(node)

    done = node.run("rpc", "print('ab\\U0001f600\\n' * 2_500_000)")

    assert done.returncode == 0
    assert (
        hashlib.sha256(done.stdout.encode()).digest()
        == hashlib.sha256(b"ab\xf0\x9f\x98\x80\n" * 2_500_000 + b"\n").digest()
    )
    assert terminate(process)[0] == 0


def test_code_of_an_rpc_has_no_input(make: MakeNode) -> None:
    """It reads the end of it, and neither the node's nor its terminal; the node's own stays open."""
    node = make(recorder("one", stop="print(sys.stdin.readline())"))
    process = node.spawn("start", stdin=-1)
    read_until(process.stdout, "start one")

    done = node.run(
        "rpc", "import sys\nprint(sys.stdin.read() == '', sys.stdin.isatty(), sys.stdout.isatty())\ninput()"
    )
    left = node.run("rpc", "exit(3)")

    assert (done.returncode, done.stdout) == (7, "True False False\n")
    assert done.stderr.endswith("EOFError: EOF when reading a line\n")
    assert left.returncode == 3
    process.send_signal(signal.SIGTERM)
    assert process.communicate("of the node\n", timeout=TIMEOUT)[0] == "stop one\nof the node\n\n"


def test_what_an_rpc_leaves_running_prints_where_the_node_prints(make: MakeNode) -> None:
    """The caller is gone; the task that its code started goes on."""
    node = make(recorder("one"))
    process = started(node)
    code = """
import asyncio
async def later():
    await one.go.wait()
    print("later", flush=True)
one.go = asyncio.Event()
one.task = asyncio.create_task(later())
"""
    assert node.run("rpc", code).returncode == 0

    assert node.run("rpc", "one.go.set()").returncode == 0

    read_until(process.stdout, "later")
    assert terminate(process)[0] == 0


def test_a_name_that_does_not_fit_into_a_frame_is_refused(make: MakeNode) -> None:
    """More than a mebibyte of code is one clear error."""
    node = make(recorder("one"))
    process = started(node)
    asking = node.spawn("rpc", "-", stdin=-1)

    out, err = asking.communicate("#" * (1 << 20), timeout=TIMEOUT)

    assert (asking.returncode, out) == (1, "")
    assert "the request is too long" in err
    assert terminate(process)[0] == 0


def test_rpc_needs_a_node(make: MakeNode) -> None:
    """One clear line, and status 1."""
    node = make(recorder("one"))

    for command in ("rpc", "1"), ("remote",), ("status",), ("restart",):
        done = node.run(*command)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: hello is not running\n")


def test_a_node_that_was_killed_does_not_run(make: MakeNode) -> None:
    """The socket file that it left names nobody; the next start replaces it."""
    node = make(recorder("one"))
    process = started(node)
    for pid in node.running():
        os.kill(pid, signal.SIGKILL)
    process.wait(TIMEOUT)
    eventually(lambda: node.running() == [], "its node has ended too")
    assert (node.var / "run/control").is_socket()

    assert node.run("rpc", "1").stderr == "error: hello is not running\n"
    process = started(node)
    assert node.run("rpc", "1").stdout == "1\n"
    assert terminate(process)[0] == 0
    assert not (node.var / "run/control").exists()


def test_the_control_socket_is_for_its_owner_and_works_at_any_length(make: MakeNode, tmp_path: Path) -> None:
    """Its address may have no more than 107 bytes; its path may have 300."""
    node = make(recorder("one"))
    var = tmp_path.joinpath(*["d" * 60] * 5)
    assert len(str(var)) > 300
    node.environ["RELEASE_VAR"] = str(var)
    process = started(node)

    assert node.run("rpc", "1").stdout == "1\n"
    assert stat.S_IMODE((var / "run/control").stat().st_mode) == 0o600
    assert terminate(process)[0] == 0


@pytest.mark.parametrize("arguments", [("rpc",), ("rpc", "1", "2"), ("status", "--yaml"), ("restart", "now")])
def test_commands_refuse_what_they_do_not_take(make: MakeNode, arguments: tuple[str, ...]) -> None:
    """The usage, and status 2."""
    done = make(recorder("one")).run(*arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {arguments[0]} ")


# ----------------------------------------------------------------------------------------------------------- status


def test_status_comes_from_the_node(make: MakeNode) -> None:
    """What runs, since when, with which memory, which applications in which state; for people and as JSON."""
    node = make(recorder("one"), App("two", "", mode="load"))
    manifest = Manifest("hello", "1", "x86_64-linux-gnu", "3.11.7", {})
    (node.version / "manifest.json").write_text(dump(manifest))
    process = started(node)

    def status_of_one_that_runs() -> Any:
        status = json.loads(node.run("status", "--json").stdout)
        return status if status["state"] == "running" and status["loop"]["answers"] else None

    status = eventually(status_of_one_that_runs, "it has started, and its loop answers")
    shown = node.run("status")

    assert status["name"] == "hello"
    assert status["version"] == "1"
    assert status["release_id"] == manifest.release_id
    assert status["keeper"] == process.pid
    assert int(Path(f"/proc/{status['pid']}/stat").read_text().rpartition(")")[2].split()[1]) == process.pid
    assert status["uptime"] > 0
    assert status["memory"] > 1_000_000
    assert {app["name"]: (app["mode"], app["state"]) for app in status["applications"]} == {
        "one": ("permanent", "running"),
        "two": ("load", "loaded"),
    }
    assert re.match(rf"hello 1 is running, for .*; pid {status['pid']}, keeper {process.pid}\n", shown.stdout)
    assert re.search(r"^    one  1\.0  permanent  running$", shown.stdout, re.MULTILINE)
    assert terminate(process)[0] == 0


def test_who_hears_that_it_is_ready_is_told_that_it_runs(make: MakeNode) -> None:
    """As soon as the keeper knows, and whoever waits for it: `daemon`, systemd."""
    asks = "[__import__('os').environ['RELEASE_ROOT'] + '/bin/hello', 'status']"
    said = (
        f"print(__import__('subprocess').run({asks}, capture_output=True, text=True).stdout.split(',')[0], flush=True)"
    )
    process = started(make(recorder("one", start=once_ready(said))))

    assert read_until(process.stdout, "hello").string == "hello 1 is running\n"
    assert terminate(process)[0] == 0


def test_status_of_a_node_that_starts(make: MakeNode) -> None:
    """It answers before the applications have started, and names the one that takes so long."""
    node = make(recorder("one", start="await asyncio.Event().wait()"))
    process = started(node)

    status = json.loads(node.run("status", "--json").stdout)

    assert status["state"] == "starting"
    assert status["changed"]["what"] == "one starting"
    assert status["applications"][0]["state"] == "starting"
    assert terminate(process)[0] == 0


def test_status_answers_while_code_blocks_the_loop(make: MakeNode) -> None:
    """And says for how long the loop has not answered."""
    node = make(recorder("one"))
    process = started(node)
    asking = node.spawn("rpc", BLOCKS)
    read_until(asking.stdout, "blocks")

    loop = json.loads(node.run("status", "--json").stdout)["loop"]
    shown = node.run("status").stdout

    assert loop["answers"] is False
    assert loop["seconds"] > 0
    assert re.search(r"loop +has not answered for [0-9.]+ s: something blocks it", shown)
    process.kill()


def test_status_without_a_node_is_status_1_also_as_json(make: MakeNode) -> None:
    """A program that asks gets JSON in any case."""
    done = make(recorder("one")).run("status", "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout) == {"name": "hello", "state": "not running"}


def test_status_of_an_application_that_has_ended(make: MakeNode) -> None:
    """A temporary one that failed is shown as failed, and is the last change."""
    source = """
    import asyncio
    from underway_runtime import Application

    class App(Application):
        async def start(self):
            return asyncio.create_task(self.fail())
        async def fail(self):
            raise RuntimeError("no")
        def stop(self):
            print("given up", flush=True)
    """
    node = make(recorder("one"), App("two", source, {"class": "two:App"}, mode="temporary"))
    process = started(node)
    read_until(process.stdout, "given up")

    status = json.loads(node.run("status", "--json").stdout)

    assert [app["state"] for app in status["applications"]] == ["running", "failed"]
    assert status["changed"]["what"] in {"two failed", "running"}
    assert terminate(process)[0] == 0


# ---------------------------------------------------------------------------------------------- toggles and journal


@pytest.mark.parametrize("command", ["rpc", "remote"])
def test_a_command_can_be_turned_off(make: MakeNode, command: str) -> None:
    """The node refuses, and says which key does it; the other one works."""
    node = make(recorder("one"))
    node.configure(underway_runtime={command: False})
    process = started(node)

    done = {each: node.run(*each.split(), stdin=-3) for each in ("rpc 1", "remote")}

    refused = next(each for name, each in done.items() if name.startswith(command))
    assert refused.returncode == 1
    assert refused.stderr == f"error: {command} is turned off in this release: `{command}` of underway_runtime\n"
    assert sorted(each.returncode for each in done.values()) == [0, 1]
    assert [use["outcome"] for use in uses(node) if use["command"] == command] == ["began", "refused"]
    assert terminate(process)[0] == 0


def test_a_toggle_that_is_none_is_refused_at_boot(make: MakeNode) -> None:
    """Nobody is to believe that something is off which is not."""
    node = make(recorder("one"))
    node.configure(underway_runtime={"rpc": "off"})

    done = node.run("start")

    assert (done.returncode, done.stderr) == (
        1,
        (
            "error: the configuration is not what the applications ask for:\n"
            '  - underway_runtime.rpc is "off", str (sys.config); its schema wants bool\n'
        ),
    )


def test_each_use_is_journalled_by_digest_and_caller(make: MakeNode) -> None:
    """Before it runs and when it has ended; the code itself is not written."""
    node = make(recorder("one"))
    process = started(node)

    asking = node.spawn("rpc", "'s3cret'")
    finish(asking)
    node.run("rpc", "1/0")

    digest = hashlib.sha256(b"'s3cret'").hexdigest()
    found = uses(node)
    assert [(use["command"], use["outcome"]) for use in found] == [
        ("rpc", "began"),
        ("rpc", "done"),
        ("rpc", "began"),
        ("rpc", "raised"),
    ]
    assert {key: found[0][key] for key in ("sha256", "uid", "pid")} == {
        "sha256": digest,
        "uid": os.getuid(),
        "pid": asking.pid,
    }
    assert found[0]["use"] == found[1]["use"]
    assert "s3cret" not in (node.var / "journal/uses.jsonl").read_text()
    assert terminate(process)[0] == 0


def test_the_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full it is put aside, in the place of the one before."""
    monkeypatch.setattr(journal, "LARGEST", 1000)
    path = tmp_path / "journal/uses.jsonl"

    for number in range(50):
        journal.begin(path, "rpc", str(number), 0, 0)("done")

    assert sorted(each.name for each in path.parent.iterdir()) == ["uses.jsonl", "uses.jsonl.1"]
    assert all(each.stat().st_size < 1400 for each in path.parent.iterdir())
    lines = [json.loads(line) for each in path.parent.iterdir() for line in each.read_text().splitlines()]
    assert hashlib.sha256(b"49").hexdigest() in {line["sha256"] for line in lines}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
def test_a_journal_that_root_makes_belongs_to_the_owner_of_var(tmp_path: Path) -> None:
    """An eval by root does not lock the node's own user out; and a link in its place is not followed."""
    os.chown(tmp_path, 65534, 65534)
    path = tmp_path / "journal/uses.jsonl"

    journal.begin(path, "eval", "1", 0, 0)("done")

    assert {(each.stat().st_uid, each.stat().st_gid) for each in (path, path.parent)} == {(65534, 65534)}
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    journal.begin(path, "eval", "1", 0, 0)("done")
    assert not (tmp_path / "elsewhere").exists()


def test_a_use_that_cannot_be_journalled_is_told_to_the_operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all that the line would have said; the use itself goes on."""
    (tmp_path / "journal").write_text("in the way")

    journal.begin(tmp_path / "journal/uses.jsonl", "rpc", "1", 1000, 42)("done")

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("can't be written" in line and '"uid": 1000, "pid": 42' in line for line in said)
