"""The shell in a node that runs, on terminals and on a pipe."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_helpers import (
    TIMEOUT,
    MakeNode,
    Node,
    Process,
    eventually,
    finish,
    read_until,
    recorder,
    terminate,
)
from serving import asking, web
from terminals import Terminal, open_terminal


@pytest.fixture
def terminal() -> Iterator[tuple[Terminal, int]]:
    with open_terminal() as both:
        yield both


@pytest.fixture
def other_terminal() -> Iterator[tuple[Terminal, int]]:
    with open_terminal() as both:
        yield both


def remote(node: Node, theirs: int, *command: str) -> Process:
    """A shell, by `remote` unless another command is said, whose terminal this is, and whose Ctrl-C it gets."""
    # The first terminal that the leader of a session opens becomes its own.
    opens = ["/bin/sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs)]
    process = subprocess.Popen(
        [*opens, str(node.command), *(command or ("remote",))], env=node.environ, start_new_session=True, text=True
    )
    node.processes.append(process)
    return process


def test_a_shell_in_the_node_on_a_terminal(make: MakeNode, terminal: tuple[Terminal, int], tmp_path: Path) -> None:
    """Names, await, several lines, completion, Ctrl-C, history, Ctrl-D; the node answers HTTP all the while and runs on."""
    ours, theirs = terminal
    node = make(web())
    node.environ |= {"HOME": str(tmp_path), "TERM": "dumb"}
    process = node.spawn("start")
    port = int(read_until(process.stdout, r"serving (\d+)")[1])
    with asking(port) as asked:
        shell = remote(node, theirs)
        ours.expect("hello 1, Python 3.")
        ours.expect(">>> ")
        ours.type("web.name * 2\r")
        ours.expect("'webweb'")
        ours.expect(">>> ")
        ours.type("for i in range(2):\r")
        ours.expect("... ")
        ours.type("    print('line', i)\r")
        ours.expect("... ")
        ours.type("\r")
        ours.expect("line 0\r\nline 1\r\n")
        ours.expect(">>> ")
        ours.type("import asyncio; await asyncio.sleep(0, 'awa' + 'ited')\r")
        ours.expect("'awaited'")
        ours.expect(">>> ")
        ours.type("web.serv\t.sockets is None\r")
        ours.expect("False")
        ours.expect(">>> ")
        ours.type("print('wai' + 'ting'); await asyncio.Event().wait()\r")
        ours.expect("waiting")
        ours.type("\x03")
        ours.expect("KeyboardInterrupt")
        ours.expect(">>> ")
        ours.type("half a li\x03")
        ours.type("\r")  # Python sees a signal that comes between two keys with the next line only
        ours.expect("KeyboardInterrupt")
        ours.expect(">>> ")
        ours.type("1/0\r")
        ours.expect('File "<console>", line 1, in <module>')
        ours.expect("ZeroDivisionError: division by zero")
        ours.expect(">>> ")
        hits = asked.answered
        ours.type("'still' + ' here'\r")
        ours.expect("'still here'")
        ours.expect(">>> ")
        ours.type("(1 +\r\r2\r)\r")
        ours.expect("\r\n3\r\n")
        ours.expect(">>> ")
        ours.type(
            "try: print('wai' + 'ting'); await asyncio.Event().wait()\rexcept BaseException: print('cau' + 'ght')\r\r"
        )
        ours.expect("waiting\r\n")
        ours.type("\x03")
        ours.expect("caught")
        ours.expect(">>> ")
        ours.type("\x04")
        assert shell.wait(TIMEOUT) == 0

    assert asked.failures == []
    assert asked.answered >= hits > 0
    history = tmp_path / ".local/state/underway/hello.history"
    assert "web.name * 2" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert stat.S_IMODE(history.parent.stat().st_mode) == 0o700
    assert terminate(process)[:2] == (0, "")


def test_what_was_typed_the_last_time_comes_back(
    make: MakeNode, terminal: tuple[Terminal, int], other_terminal: tuple[Terminal, int], tmp_path: Path
) -> None:
    """The arrow up in the next shell gives the line of the one before."""
    node = make(recorder("one"))
    node.environ |= {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "vt100"}
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    for (ours, theirs), typed in ((terminal, "'of the ' + 'first'\r"), (other_terminal, "\x1b[A\r")):
        shell = remote(node, theirs)
        ours.expect(">>> ")
        ours.type(typed)
        ours.expect("'of the first'")
        ours.expect(">>> ")
        ours.type("\x04")
        assert shell.wait(TIMEOUT) == 0
    assert terminate(process)[0] == 0


def test_several_shells_have_names_of_their_own(
    make: MakeNode, terminal: tuple[Terminal, int], other_terminal: tuple[Terminal, int]
) -> None:
    """What one binds or prints the other does not see, also while the other waits; both see the node."""
    node = make(recorder("one"))
    node.environ["TERM"] = "dumb"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    (first, theirs), (second, others) = terminal, other_terminal
    shells = [remote(node, theirs), remote(node, others)]
    first.expect(">>> ")
    second.expect(">>> ")

    first.type("x = 'of the first'; import asyncio; print('wai' + 'ting'); await asyncio.sleep(1000)\r")
    first.expect("waiting")
    second.type("x\r")
    second.expect("NameError")
    second.expect(">>> ")
    second.type("one.shared = 'see' + 'n'\r")
    second.expect(">>> ")
    first.type("\x03")
    first.expect("KeyboardInterrupt")
    first.expect(">>> ")
    first.type("one.shared\r")
    first.expect("'seen'")
    first.expect(">>> ")
    for ours in first, second:
        ours.type("\x04")

    assert [shell.wait(TIMEOUT) for shell in shells] == [0, 0]
    assert terminate(process) == (0, "stop one\n", "")


def test_a_shell_on_a_pipe(make: MakeNode) -> None:
    """No prompts; blocks end with an empty line or the end of input; exit leaves with its status."""
    node = make(recorder("one"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    lines = "one.version\n_\ndef f():\n    return 'f'\n\nf()\n"

    done = node.spawn("remote", stdin=-1)
    out, err = done.communicate(lines + "for i in range(2):\n    i", timeout=TIMEOUT)
    left = node.spawn("remote", stdin=-1)
    left.communicate("exit(4)\nprint('not reached')\n", timeout=TIMEOUT)

    assert (done.returncode, out.splitlines(), err) == (0, ["'1.0'", "'1.0'", "'f'", "0", "1"], "")
    assert left.returncode == 4
    assert terminate(process) == (0, "stop one\n", "")


def test_underscore_and_exit_of_a_shell_are_its_own(make: MakeNode) -> None:
    """`_` stays what the node's applications have made it, such as gettext's."""
    node = make(recorder("one", start="import builtins; builtins._ = 'of the node'"))
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    shell = node.spawn("remote", stdin=-1)
    out, _ = shell.communicate("41 + 1\n_\n", timeout=TIMEOUT)

    assert out == "42\n42\n"
    assert node.run("rpc", "_").stdout == "'of the node'\n"
    assert terminate(process)[0] == 0


def test_a_node_that_stops_takes_its_shells_along(make: MakeNode, terminal: tuple[Terminal, int]) -> None:
    """It does not wait for them, and they end with status 1 and say why."""
    ours, theirs = terminal
    node = make(recorder("one"))
    node.environ["TERM"] = "dumb"
    process = node.spawn("start")
    read_until(process.stdout, "start one")
    shell = remote(node, theirs)
    ours.expect(">>> ")
    ours.type("import asyncio; print('wai' + 'ting'); await asyncio.Event().wait()\r")
    ours.expect("waiting")

    assert terminate(process)[0] == 0
    ours.expect(">>> ")
    ours.type("1\r")
    ours.expect("error: hello is gone")
    assert finish(shell)[0] == 1


def test_a_daemon_with_a_shell(make: MakeNode, terminal: tuple[Terminal, int]) -> None:
    """The shell opens when the node is ready; Ctrl-D leaves it, and the daemon runs on."""
    ours, theirs = terminal
    node = make(recorder("one"))
    node.environ["TERM"] = "dumb"
    shell = remote(node, theirs, "daemon", "--shell")
    ours.expect("hello 1, Python 3.")
    ours.expect(">>> ")
    ours.type("one.name + ' runs'\r")
    ours.expect("'one runs'")
    ours.expect(">>> ")
    ours.type("\x04")

    assert shell.wait(TIMEOUT) == 0
    assert node.run("rpc", "one.name").stdout == "'one'\n"
    assert node.run("stop").returncode == 0


@pytest.mark.parametrize(("breaks", "status"), [("raise RuntimeError('no')", 1), ("__import__('os')._exit(9)", 9)])
def test_a_daemon_that_can_not_start_gets_no_shell(
    make: MakeNode, terminal: tuple[Terminal, int], breaks: str, status: int
) -> None:
    """What it said is shown, and its status is that of the command."""
    ours, theirs = terminal
    node = make(recorder("one", start=breaks))
    shell = remote(node, theirs, "daemon", "--shell")

    assert shell.wait(TIMEOUT) == status
    ours.expect("start one\r\n")
    ours.type("\x04")
    assert ">>>" not in ours.seen
    assert node.running() == []


def test_a_shell_is_not_opened_in_the_daemon_of_another_start(make: MakeNode, terminal: tuple[Terminal, int]) -> None:
    """One that runs already is told, as ever; `remote` is the command for it."""
    ours, theirs = terminal
    node = make(recorder("one"))
    assert node.run("daemon").returncode == 0

    assert remote(node, theirs, "daemon", "--shell").wait(TIMEOUT) == 1
    ours.expect("error: hello is running already, pid ")
    assert node.run("stop").returncode == 0


def test_a_terminal_that_is_held_holds_nothing_else(
    make: MakeNode, terminal: tuple[Terminal, int], tmp_path: Path
) -> None:
    """Ctrl-S stops what is shown; the node, its clients and other commands go on; Ctrl-Q shows the rest."""
    ours, theirs = terminal
    os.mkfifo(gate := tmp_path / "gate")
    node = make(web())
    node.environ["TERM"] = "dumb"
    process = node.spawn("start")
    port = int(read_until(process.stdout, r"serving (\d+)")[1])
    shell = remote(node, theirs)
    ours.expect(">>> ")
    waits = f"import asyncio; print('be' + 'gun'); await asyncio.to_thread(open({str(gate)!r}).read)"
    ours.type(f"{waits}; print('x' * 200_000); print('en' + 'ded')\r")
    ours.expect("begun\r\n")
    ours.type("\x13")
    gate.write_text("")
    with asking(port) as asked:
        eventually(lambda: asked.answered > 50, "answers")
    assert asked.failures == []
    assert node.run("rpc", "1").stdout == "1\n"
    assert "ended" not in ours.seen

    ours.type("\x11")
    ours.expect("ended\r\n")
    ours.expect(">>> ")
    ours.type("\x04")
    assert shell.wait(TIMEOUT) == 0
    assert terminate(process)[0] == 0
