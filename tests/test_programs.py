"""bin/NAME run: programs of the release, with its environment and its configuration."""

from __future__ import annotations

import json
import os
import signal

import pytest

from node_helpers import App, MakeNode, Node, read_until, recorder

SCRIPT = """#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
' '''
# -*- coding: utf-8 -*-
"""
"""As a wheel's entry point begins in a release."""

TOOL = """
import os, sys
from underway_runtime import config
def main():
    print(sys.argv[0].rsplit("/", 1)[-1], sys.argv[1:], __name__, os.getpid(), config.get("one", "port"), config.environment)
"""


@pytest.fixture
def node(make: MakeNode) -> Node:
    """A release with a module of its own, and a configuration that its host states."""
    node = make(recorder("one"), App("tool", TOOL, mode="load"))
    document = {"format": 1, "config": {"one": {"port": 1}}, "environment": "staging"}
    (node.version / "sys.config").write_text(
        json.dumps(
            {
                **document,
                "providers": [["underway_runtime.providers:PythonFile", {"path": str(node.version / "runtime.py")}]],
            }
        )
    )
    (node.version / "runtime.py").write_text(
        "from underway_runtime import config, env\nconfig('one', port=int(env('PORT', '8000')))\n"
    )
    return node


def program(node: Node, name: str, text: str) -> None:
    """Put a program into releases/V/bin."""
    file = node.version / "bin" / name
    file.write_text(text)
    file.chmod(0o755)


def test_a_script_runs_with_the_configuration_of_the_host(node: Node) -> None:
    """As the program of its name, with its arguments, in the process that was started."""
    program(node, "tool", f"{SCRIPT}from tool import main\nmain()\n")

    process = node.spawn("run", "tool", "--help", "-m", "--", "a b")
    out, err = process.communicate(timeout=60)
    node.environ["PORT"] = "9"

    assert (process.returncode, err) == (0, "")
    assert out == f"tool ['--help', '-m', '--', 'a b'] tool {process.pid} 8000 staging\n"
    assert " 9 staging" in node.run("run", "tool").stdout


def test_two_dashes_after_a_program_are_its_own(node: Node) -> None:
    """It is given each word that follows its name, the first one too; so is a module."""
    (node.root / "lib/tool-1.0/tool.py").write_text(f"{TOOL}\nif __name__ == '__main__':\n    main()\n")
    program(node, "tool", f"{SCRIPT}from tool import main\nmain()\n")

    assert node.run("run", "tool", "--", "-x").stdout.startswith("tool ['--', '-x'] ")
    assert node.run("run", "-m", "tool", "--", "-x").stdout.startswith("tool.py ['--', '-x'] ")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("raise LookupError('gone')", 1, "LookupError: gone\n"),
        ("pass", 0, ""),
    ],
)
def test_its_exit_status_is_the_command_s(node: Node, body: str, status: int, said: str) -> None:
    """With what Python would have said, and nothing of ours in a traceback."""
    program(node, "tool", f"{SCRIPT}import sys\n{body}\n")

    done = node.run("run", "tool")

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.endswith(said)
    assert "underway_runtime" not in done.stderr
    assert "runpy" not in done.stderr


@pytest.mark.parametrize("kind", ["script", "shell", "module"])
def test_signals_reach_it(node: Node, kind: str) -> None:
    """The pid that was started is the program's."""
    body = "import os, sys, time\nprint('here', os.getpid(), flush=True)\ntime.sleep(60)\n"
    program(node, "tool", f"{SCRIPT}{body}" if kind == "script" else "#!/bin/sh\necho here $$\nexec sleep 60\n")
    if kind == "module":
        (node.root / "lib/tool-1.0/tool.py").write_text(body)
    process = node.spawn("run", *(["-m"] if kind == "module" else []), "tool")

    assert int(read_until(process.stdout, r"here (\d+)")[1]) == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_a_module_runs_as_with_python_m(node: Node) -> None:
    """With its arguments, options too."""
    (node.root / "lib/tool-1.0/tool.py").write_text(f"{TOOL}\nif __name__ == '__main__':\n    main()\n")

    done = node.run("run", "-m", "tool", "--verbose", "x")

    assert done.stdout.startswith("tool.py ['--verbose', 'x'] __main__ ")
    assert done.stdout.endswith(" 8000 staging\n")


def test_interpreters_that_it_starts_have_the_configuration_too(node: Node) -> None:
    """Also the interpreter itself as a program, and what starts another by spawn."""
    ask = "from underway_runtime import config; print(config.environment, config.get('one', 'port'))"
    program(
        node,
        "tool",
        f"{SCRIPT}import multiprocessing, subprocess, sys\n"
        "from tool import main\n"
        "if __name__ == '__main__':\n"
        f"    subprocess.run([sys.executable, '-c', {ask!r}], check=True)\n"
        f"    subprocess.run(['python', '-c', {ask!r}], check=True)\n"
        "    child = multiprocessing.get_context('spawn').Process(target=main)\n"
        "    child.start(); child.join(); sys.exit(child.exitcode)\n",
    )
    node.environ["PORT"] = "7"

    done = node.run("run", "tool")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:-1] == ["staging 7", "staging 7"]
    assert done.stdout.endswith(" 7 staging\n")
    assert node.run("run", "python", "-c", ask).stdout == "staging 7\n"


def test_what_is_no_python_takes_the_place_of_the_command(node: Node) -> None:
    """In the environment of the release."""
    program(node, "shell", '#!/bin/sh\necho "$$ $1 $RELEASE_COMMAND ${PATH%%:*}"; exit 5\n')

    process = node.spawn("run", "shell", "x")
    out, _ = process.communicate(timeout=30)

    assert (process.returncode, out) == (5, f"{process.pid} x run {node.version}/bin\n")


def test_a_shell_whose_path_says_python_is_a_shell(node: Node) -> None:
    """What a script is for is the name of its interpreter, and not where that is."""
    place = node.root / "python-tools"
    place.mkdir()
    (place / "sh").symlink_to("/bin/sh")
    program(node, "shell", f"#!{place}/sh -e\necho $((6 * 7))\n")
    program(node, "script", "#!/usr/bin/env -S PYTHONX=1 python3 -I\nprint(6 * 7)\n")

    assert node.run("run", "shell").stdout == node.run("run", "script").stdout == "42\n"


SHELL_WITH_OPTIONS = SCRIPT.replace("'python' ", "'python' -O -W error ")
assert SHELL_WITH_OPTIONS != SCRIPT


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("#!/usr/bin/python3 -O\n", "1 []"),
        ("#!/usr/bin/env -S python3 -OO -W error\n", "2 ['error']"),
        ("#!/usr/bin/env -S OF_IT=yes python3\n", "0 [] yes"),
        ("#!/usr/bin/env -S OF_IT=yes python3 -I -O\n", "1 [] yes"),
        ("#!/usr/bin/env -S 'OF_IT=a  b' python3 -W \"ignore::UserWarning\"\n", "0 ['ignore::UserWarning'] a b"),
        ("#!/usr/bin/env -S -u RELEASE_PROG python -O\n", "1 []"),
        ("#!/usr/bin/env -Spython -O\n", "1 []"),
        (SHELL_WITH_OPTIONS, "1 ['error']"),
        ("#!python -B\n", "0 []"),
    ],
)
def test_what_the_first_line_of_a_script_says_holds(node: Node, first: str, said: str) -> None:
    """Options of the interpreter and variables of `env`; the interpreter is the release's, and the script has its configuration."""
    body = (
        "import os, sys\nfrom underway_runtime import config\n"
        "print(sys.flags.optimize, sys.warnoptions, os.environ.get('OF_IT', ''), config.environment, os.getpid(), sys.argv[1:])\n"
        "assert sys.executable.endswith('/hello/releases/1/bin/python')\n"
    )
    program(node, "tool", f"{first}{body}")

    process = node.spawn("run", "tool", "a b")
    out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert out.split() == f"{said} staging {process.pid} ['a b']".split()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("#!/bin/sh\r\necho\r\n", "there is no interpreter '/bin/sh\\r', which its first line names"),
        ("#!/nowhere/tool -x\n", "there is no interpreter '/nowhere/tool -x', which its first line names"),
        ("echo\n", "it is not a program of this machine, and its first line names no interpreter (`#!/bin/sh`, say)"),
        ("", "it is not a program of this machine, and its first line names no interpreter (`#!/bin/sh`, say)"),
    ],
)
def test_what_the_system_does_not_run_is_explained(node: Node, text: str, why: str) -> None:
    """Not by `No such file or directory`, of a file that is there."""
    with (node.version / "bin/odd").open("w", newline="") as file:
        file.write(text)
    (node.version / "bin/odd").chmod(0o755)

    done = node.run("run", "odd")

    assert (done.returncode, done.stderr) == (1, f"error: {node.version}/bin/odd can't be run: {why}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["directory"], "there is no program 'directory' in {bin}; there are alembic, "),
        (["alembci"], "there is no program 'alembci' in {bin}; did you mean 'alembic'? there are alembic, "),
        (["../../../bin/hello"], "there is no program '../../../bin/hello' in {bin}"),
        (["/bin/true"], "there is no program '/bin/true' in {bin}"),
        (["-m", "nowhere"], "there is no module 'nowhere' in the release"),
        (["-m", "nowhere.at.all"], "module 'nowhere.at.all' can't be run: No module named 'nowhere'"),
        (["-m"], "run needs PROGRAM; usage: hello run [-m] PROGRAM [ARGS...]"),
        ([], "run needs PROGRAM; usage: hello run [-m] PROGRAM [ARGS...]"),
        (["--verbose", "alembic"], "run does not take '--verbose'"),
    ],
)
def test_what_is_not_there_is_told(node: Node, words: list[str], said: str) -> None:
    """With what is like it; nothing of the host is run."""
    program(node, "alembic", SCRIPT)
    (node.version / "bin/directory").mkdir()

    done = node.run("run", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said.format(bin=node.version / 'bin')}")


def test_a_configuration_that_does_not_hold_is_told_first(node: Node) -> None:
    """As at a start; the program is not begun."""
    program(node, "tool", f"{SCRIPT}print('begun')\n")
    node.environ["PORT"] = "many"

    done = node.run("run", "tool")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {node.version}/runtime.py, line 2: ValueError: ")


@pytest.mark.parametrize("text", [f"{SCRIPT}print('begun')\n", "#!/bin/sh\necho begun\n"], ids=["python", "shell"])
def test_where_eval_is_turned_off_nothing_is_run(node: Node, text: str) -> None:
    """It is code all the same."""
    program(node, "tool", text)
    document = json.loads((node.version / "sys.config").read_text())
    document["config"]["underway_runtime"] = {"eval": False}
    (node.version / "sys.config").write_text(json.dumps(document))

    done = node.run("run", "tool")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: programs can't be run: `eval` of underway_runtime is turned off in this release\n"


def test_a_use_is_journalled_without_its_arguments(node: Node) -> None:
    """They may be secrets."""
    program(node, "tool", f"{SCRIPT}import os; assert 'RELEASE_COOKIE' not in os.environ\n")
    node.environ["RELEASE_COOKIE"] = "x" * 40

    assert node.run("run", "tool", "hunter2").returncode == 0

    journal = (node.var / "journal/uses.jsonl").read_text()
    assert [json.loads(line)["outcome"] for line in journal.splitlines()] == ["began", "done"]
    assert json.loads(journal.splitlines()[0])["command"] == "run"
    assert "hunter2" not in journal


def test_help_of_run_is_help_and_help_of_a_program_its_own(node: Node) -> None:
    """What follows the program is the program's."""
    program(node, "tool", f"{SCRIPT}import sys; print(sys.argv[1:])\n")

    assert node.run("run", "--help").stdout.startswith("Usage: hello run [-m] PROGRAM [ARGS...]\n")
    assert node.run("run", "-m", "--help").stdout.startswith("Usage: hello run")
    assert node.run("run", "tool", "--help").stdout == "['--help']\n"
    assert node.run("run", "tool", "-h").stdout == "['-h']\n"
    assert os.access(node.command, os.X_OK)
