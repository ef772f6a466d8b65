"""Python at a node: the shell on a terminal and on a pipe, and eval."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Iterator

import pytest

from node_helpers import (
    TIMEOUT,
    App,
    MakeNode,
    Process,
    finish,
    read_until,
    recorder,
    terminate,
)
from terminals import Terminal, open_terminal
from underway_runtime.apps.main_function import MainThread

# ------------------------------------------------------------------------------------------------------------ shell


def type_in(process: Process, text: str, *, close: bool = True) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()
    if close:
        process.stdin.close()
        process.stdin = None


def test_a_shell_runs_code_in_the_node(make: MakeNode) -> None:
    """Applications are there by name, `await` works, compound statements too; the end of input stops the node."""
    node = make(recorder("one"))
    node.configure(one={"port": 8000})
    process = node.spawn("start", "--shell", stdin=-1)
    type_in(
        process,
        "one.version + '!'\n"
        "config.get('one', 'port')\n"
        "import asyncio\n"
        "await asyncio.sleep(0, 'awaited')\n"
        "for i in range(2):\n    print(i)\n\n"
        "_ = asyncio.get_running_loop(); print('loop')\n",
    )

    status, out, err = finish(process)

    assert (status, out.splitlines()) == (
        0,
        ["start one", "'1.0!'", "8000", "'awaited'", "0", "1", "loop", "stop one"],
    )
    assert "hello 1, Python 3." in err
    assert "running: one\n" in err


def test_an_error_in_the_shell_shows_what_was_typed(make: MakeNode) -> None:
    """The traceback has none of the frames that lead to it, and the node goes on."""
    node = make(recorder("one"))
    process = node.spawn("start", "--shell", stdin=-1)
    type_in(process, "1/0\nimport asyncio\nawait asyncio.sleep(1/0)\nprint('still here')\n")

    status, out, err = finish(process)

    assert (status, out.splitlines()) == (0, ["start one", "still here", "stop one"])
    tracebacks = err.split("Traceback (most recent call last):\n")[1:]
    assert [each.strip().splitlines()[-1] for each in tracebacks] == ["ZeroDivisionError: division by zero"] * 2
    assert all(each.startswith('  File "<console>", line 1, in <module>\n') for each in tracebacks)
    assert "underway_runtime" not in err


def test_exit_in_the_shell_stops_the_node_in_order(make: MakeNode) -> None:
    """As the end of input does, also from a task."""
    node = make(recorder("one"))
    for leave in ("raise SystemExit", "import asyncio\nawait asyncio.sleep(0); raise SystemExit"):
        process = node.spawn("start", "--shell", stdin=-1)
        type_in(process, f"{leave}\n", close=False)
        assert finish(process)[:2] == (0, "start one\nstop one\n")


def test_a_signal_stops_a_node_whose_shell_waits_for_input(make: MakeNode) -> None:
    """The reader of an open pipe does not keep or break the end of the process."""
    node = make(recorder("one"))
    process = node.spawn("start", "--shell", stdin=-1)
    type_in(process, "print('ready')\n", close=False)
    read_until(process.stdout, "ready")

    assert terminate(process)[:2] == (0, "stop one\n")


def test_a_shell_works_beside_a_main(make: MakeNode) -> None:
    """The main function has the main thread, and the shell another."""
    source = "import threading\n\ndef main():\n    threading.Event().wait()"
    node = make(App("tool", source, {"main": "tool:main"}))
    process = node.spawn("start", "--shell", stdin=-1)
    type_in(process, "tool.__name__\n")

    assert finish(process)[:2] == (0, "'main'\n")


def test_a_main_that_is_to_stop_before_it_begins_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signal may come when it is about to be called: then it is not, and the node does not wait for it."""
    called: list[str] = []
    main_thread = MainThread()
    monkeypatch.setattr(signal, "pthread_kill", lambda ident, number: main_thread.on_signal(number))
    main_thread._interrupt()

    assert main_thread._call(lambda: called.append("main")) is None
    assert called == []


@pytest.fixture
def terminal() -> Iterator[tuple[Terminal, int]]:
    with open_terminal() as both:
        yield both


def test_a_shell_on_a_terminal(make: MakeNode, terminal: tuple[Terminal, int]) -> None:
    """Prompts; Ctrl-C interrupts what runs and not the node; Ctrl-D stops it."""
    ours, theirs = terminal
    node = make(recorder("one"))
    process = node.spawn("start", "--shell", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    ours.expect("running: one")
    ours.expect(">>> ")
    ours.type("one.name * 2\r")
    ours.expect("'oneone'")
    ours.type("import asyncio; print('wai' + 'ting'); await asyncio.Event().wait()\r")
    ours.expect("waiting")
    process.send_signal(signal.SIGINT)
    ours.expect("KeyboardInterrupt")
    ours.type("for i in range(10**12): i or print('loo' + 'ping')\r\r")
    ours.expect("looping")
    process.send_signal(signal.SIGINT)
    ours.expect("KeyboardInterrupt")
    ours.type("'still' + ' here'\r")
    ours.expect("'still here'")
    ours.expect(">>> ")
    process.send_signal(signal.SIGINT)
    ours.expect("(Ctrl-D stops the node)")
    ours.type("\x04")
    ours.expect("stop one")

    assert process.wait(timeout=TIMEOUT) == 0


# ------------------------------------------------------------------------------------------------------------- eval


def test_eval_runs_code_of_the_release_without_starting_it(make: MakeNode) -> None:
    """Modules and configuration are there; no application starts, and of var only the journal is made."""
    node = make(recorder("one"), App("lib", "VALUE = 42"))
    node.configure(one={"port": 8000})

    done = node.run(
        "eval", "import lib; from underway_runtime import config; print(lib.VALUE, config.get('one', 'port'))"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "42 8000\n", "")
    assert [path.name for path in node.var.rglob("*")] == ["journal", "uses.jsonl"]


def test_eval_awaits_and_takes_arguments(make: MakeNode) -> None:
    """Top-level await works; what follows the code is sys.argv."""
    code = "import asyncio, sys\nawait asyncio.sleep(0)\nprint(sys.argv, __name__)"

    done = make(recorder("one")).run("eval", code, "a b", "--c")

    assert (done.returncode, done.stdout) == (0, "['eval', 'a b', '--c'] __main__\n")


def test_eval_touches_no_running_node(make: MakeNode) -> None:
    """The node that runs keeps its pid, its lock and its files; the journal of uses is of both."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    node.run("rpc", "1")
    journal = node.var / "journal/uses.jsonl"
    before = {path: path.stat().st_mtime_ns for path in node.var.rglob("*") if path != journal}

    done = node.run("eval", "import os; print(os.getpid())")

    assert done.returncode == 0
    assert done.stdout != f"{process.pid}\n"
    assert {path: path.stat().st_mtime_ns for path in node.var.rglob("*") if path != journal} == before
    assert [json.loads(line)["command"] for line in journal.read_text().splitlines()] == ["rpc"] * 2 + ["eval"] * 2
    assert terminate(process)[0] == 0


def test_eval_is_one_process_and_its_end_is_the_end(make: MakeNode) -> None:
    """With a provider and a heart, too: no interpreter before it, none next to it, and none after it."""
    node = make(recorder("one"))
    (node.version / "runtime.py").write_text("import os\nprint(os.getpid(), flush=True)\n")
    providers = [["underway_runtime.providers:PythonFile", {"path": "runtime.py"}]]
    (node.version / "sys.config").write_text(json.dumps({"format": 1, "config": {}, "providers": providers}))
    node.environ["RELEASE_HEART"] = "true"

    process = node.spawn("eval", "import os; print(os.getpid(), flush=True); os.kill(os.getpid(), 9)")
    status, out, _ = finish(process)

    assert (status, out) == (-9, f"{process.pid}\n" * 2)
    assert node.running() == []


def test_eval_of_code_that_raises_is_status_7(make: MakeNode) -> None:
    """The traceback is of that code only."""
    code = "def f():\n    return 1/0\nprint('before')\nf()"

    done = make(recorder("one")).run("eval", code)

    assert (done.returncode, done.stdout) == (7, "before\n")
    assert [line for line in done.stderr.splitlines() if "~" not in line] == [
        "Traceback (most recent call last):",
        '  File "<eval>", line 4, in <module>',
        "    f()",
        '  File "<eval>", line 2, in f',
        "    return 1/0",
        "ZeroDivisionError: division by zero",
    ]


def test_eval_of_code_that_is_none_is_status_7(make: MakeNode) -> None:
    """A syntax error is one of the code given."""
    done = make(recorder("one")).run("eval", "1 +")

    assert done.returncode == 7
    assert done.stderr.startswith('  File "<eval>", line 1\n    1 +')


@pytest.mark.parametrize(("code", "status", "said"), [("raise SystemExit(3)", 3, ""), ("exit('no')", 1, "no\n")])
def test_eval_honours_sys_exit(make: MakeNode, code: str, status: int, said: str) -> None:
    """Code can choose the status of the command."""
    done = make(recorder("one")).run("eval", f"import sys; {code}".replace("exit(", "sys.exit("))

    assert (done.returncode, done.stderr) == (status, said)


def test_eval_with_a_damaged_release_is_status_1(make: MakeNode) -> None:
    """A failure of the release is not one of the code."""
    node = make(recorder("one"))
    (node.version / "start_clean.script").unlink()

    done = node.run("eval", "1")

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the boot script {node.version}/start_clean.script is missing")


def test_eval_can_be_turned_off(make: MakeNode) -> None:
    """The release refuses, says which key does it, and journals that somebody tried."""
    node = make(recorder("one"))
    node.configure(underway_runtime={"eval": False})

    done = node.run("eval", "print('ran')")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: eval is turned off in this release: `eval` of underway_runtime\n"
    uses = [json.loads(line) for line in (node.var / "journal/uses.jsonl").read_text().splitlines()]
    assert [(use["command"], use["outcome"]) for use in uses] == [("eval", "began"), ("eval", "refused")]


@pytest.mark.parametrize(("code", "outcome"), [("1", "done"), ("1/0", "raised"), ("raise SystemExit", "exit")])
def test_eval_is_journalled(make: MakeNode, code: str, outcome: str) -> None:
    """By digest and caller, with how it ended."""
    node = make(recorder("one"))

    node.run("eval", code)

    uses = [json.loads(line) for line in (node.var / "journal/uses.jsonl").read_text().splitlines()]
    assert [use["outcome"] for use in uses] == ["began", outcome]
    assert uses[0]["sha256"] == hashlib.sha256(code.encode()).hexdigest()


def test_eval_sees_the_environment_of_its_caller_and_loads_only_what_it_imports(make: MakeNode) -> None:
    """Loaded means: code can be imported, metadata found, configuration read; no module of an application runs by itself."""
    node = make(App("one", "print('imported')", {"class": "one:App"}))
    node.environ["OF_THE_CALLER"] = "yes"
    code = "import os, importlib.metadata as m; print(os.environ['OF_THE_CALLER'], m.version('one')); import one"

    done = node.run("eval", code)

    assert done.stdout == "yes 1.0\nimported\n"
