"""bin/NAME logs: what a daemon has printed, in order across its files, and as it comes."""

from __future__ import annotations

import doctest
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from node_helpers import MakeNode, Node, read_until, recorder, terminate
from underway_runtime.keeper.logs import Log
from underway_runtime.node import log_files
from underway_runtime.process.settings import Logs, from_environ

NEVER = 0.0


@pytest.fixture
def node(make: MakeNode) -> Node:
    """A release called hello, of which nothing runs."""
    return make(recorder("one"))


def write(node: Node, count: int, *, generations: int = 4, size: int = 300, first: int = 0) -> list[str]:
    """Write lines as a keeper does."""
    log = Log()
    log.open(f"{node.var}/log/hello.log", generations, size, NEVER, now=0)
    lines = [f"line {number}" for number in range(first, first + count)]
    for line in lines:
        log.add(f"{line}\n".encode(), 0)
    return lines


def shown(node: Node, *options: str) -> list[str]:
    """What is printed, without the keeper's own lines."""
    done = node.run("logs", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if not line.startswith("=====")]


@pytest.mark.parametrize("count", [1, 20, 60, 130, 131, 132, 133, 250, 1000])
def test_files_come_in_the_order_in_which_they_were_written(node: Node, count: int) -> None:
    """However often they have taken turns, up to the last line, and without a gap between."""
    lines = write(node, count)

    got = shown(node)

    assert got == lines[-len(got) :]
    assert len(got) == count or len(got) > 40
    assert all(int(one.split()[1]) + 1 == int(other.split()[1]) for one, other in pairwise(got))


@pytest.mark.parametrize("wanted", [0, 1, 2, 10, 25, 40])
def test_the_last_lines_are_those_of_all_files(node: Node, wanted: int) -> None:
    """So many, also where they lie in several."""
    lines = write(node, 500)

    assert shown(node, "-n", str(wanted)) == (lines[-wanted:] if wanted else [])


@pytest.mark.parametrize(
    ("text", "wanted", "got"),
    [
        ("a\nb\nc", "1", "c"),
        ("a\nb\nc", "2", "b\nc"),
        ("a\n\n\n", "2", "\n\n"),
        ("", "5", ""),
        ("x" * 200_000 + "\ny\n", "1", "y\n"),
        ("a\n" + "x" * 200_000, "2", "a\n" + "x" * 200_000),
        ("a\n" + "x" * 200_000, "1", "x" * 200_000),
        ("only", "3", "only"),
    ],
)
def test_lines_are_counted_as_tail_does(node: Node, text: str, wanted: str, got: str) -> None:
    """A line that has no end yet is one; long ones are whole."""
    (node.var / "log").mkdir(parents=True)
    (node.var / "log/hello.log.1").write_text(text)

    assert node.run("logs", "-n", wanted).stdout == got


def test_lines_have_an_end_whatever_the_file_is(node: Node) -> None:
    """Of one as large as they get, and without a line, the last 16 MiB are shown, and nothing that was before."""
    (node.var / "log").mkdir(parents=True)
    (node.var / "log/hello.log.1").write_text("before\n")
    (node.var / "log/hello.log.2").touch()
    os.truncate(node.var / "log/hello.log.2", 1 << 40)

    assert node.run("logs", "-n", "5").stdout == "\0" * (16 << 20)


def test_while_the_writer_turns_nothing_is_missing(node: Node) -> None:
    """Between a new file and the removal of the next one there is no gap: the newest is what was written last."""
    (node.var / "log").mkdir(parents=True)
    for age, number in enumerate((3, 1, 2)):
        file = node.var / f"log/hello.log.{number}"
        file.write_text(f"{number}\n")
        os.utime(file, ns=(age, age))

    assert shown(node) == ["3", "1", "2"]


def test_what_comes_is_followed_across_files(node: Node) -> None:
    """Begins with the last ten lines; each that comes is shown once and in order, however often the files turn."""
    lines = write(node, 100)
    process = node.spawn("logs", "-f")
    assert process.stdout is not None
    read_until(process.stdout, "line 99")
    for begin in (100, 110, 160):
        lines += write(node, 10 if begin == 100 else 30 if begin == 110 else 1, first=len(lines))
        got: list[str] = []
        while not got or got[-1] != lines[-1]:
            line = process.stdout.readline().rstrip("\n")
            got += [] if line.startswith("=====") else [line]
        assert got == lines[-len(got) :]
    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 130


def test_a_log_that_turned_too_fast_says_so(node: Node) -> None:
    """What was lost is not passed over in silence."""
    write(node, 100)
    process = node.spawn("logs", "-f", "-n", "1")
    read_until(process.stdout, "line 99")
    process.send_signal(signal.SIGSTOP)
    lines = write(node, 500, first=100)
    process.send_signal(signal.SIGCONT)

    read_until(process.stdout, "the log has turned faster than it was read")
    read_until(process.stdout, lines[-1])
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_a_daemon_s_own_log(node: Node) -> None:
    """What its applications print, from where it was started."""
    assert node.run("daemon").returncode == 0

    assert "start one" in shown(node)
    assert node.run("stop").returncode == 0
    assert "stop one" in shown(node)


def test_what_runs_in_the_foreground_has_no_log(node: Node) -> None:
    """It is said, with where its output is."""
    process = node.spawn("start")
    read_until(process.stdout, "start one")

    done = node.run("logs")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no log in {node.var}/log: hello (pid {process.pid}) runs in the foreground" in done.stderr


def test_under_systemd_the_journal_is_named(node: Node) -> None:
    """By the unit that the process is in; here it is put into a control group of that name, as systemd does."""
    for place in (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup")):
        group = place / f"underway-{os.getpid()}.service"
        try:
            group.mkdir()
        except OSError:
            continue
        break
    else:
        pytest.skip("needs the right to make a control group")
    try:
        enter = f'echo $$ >{group}/cgroup.procs && exec "$0" start'
        process = subprocess.Popen(
            ["sh", "-c", enter, str(node.command)], env=node.environ, stdout=subprocess.PIPE, text=True
        )
        node.processes.append(process)
        read_until(process.stdout, "start one")

        done = node.run("logs")

        assert f"and its output is in the journal: journalctl -u {group.name}\n" in done.stderr
        assert terminate(process)[0] == 0
    finally:
        for pid in (group / "cgroup.procs").read_text().split():  # of a test that has failed
            (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def test_the_words_for_a_journal_are_true() -> None:
    """What the docstring shows: services of the system and of a user, and what is not a service."""
    assert doctest.testmod(log_files).failed == 0


def test_no_log_is_a_sentence(node: Node) -> None:
    """And a number of lines that is none a mistake of usage."""
    none, wrong = node.run("logs"), node.run("logs", "-n", "many")

    assert (none.returncode, none.stderr) == (
        1,
        f"error: there is no log in {node.var}/log: it is written by `daemon`\n",
    )
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: -n takes a number of lines, not 'many'; usage: hello logs [-f] [-n N]\n",
    )


def test_who_reads_no_more_ends_it(node: Node) -> None:
    """Without a word, as with cat."""
    write(node, 100_000, size=10_000_000)
    process = node.spawn("logs")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(30) == -signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.fixture
def stranger_s() -> Iterator[Path]:
    """A directory for a var of another user."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
@pytest.mark.parametrize("what", ["escapes", "link", "fifo", "sparse"])
def test_the_log_of_another_user_is_read_as_a_stranger_s(node: Node, stranger_s: Path, what: str) -> None:
    """What moves a terminal is shown and not obeyed, a link is not followed, nothing blocks, and there is an end."""
    log = stranger_s / "log/hello.log.1"
    log.parent.mkdir()
    match what:
        case "escapes":
            log.write_bytes(b"\x1b[2J\xc2\x9b1m\xffplain \xe2\x82\xac\tx\n")
        case "link":
            (stranger_s / "secret").write_text("secret\n")
            log.symlink_to(stranger_s / "secret")
        case "fifo":
            os.mkfifo(log)
        case "sparse":
            log.touch()
            os.truncate(log, 2**40)
            with log.open("ab") as file:
                file.write(b"\nend\n")
    for path in (stranger_s, log.parent, log):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    node.environ["RELEASE_VAR"] = str(stranger_s)

    done = node.run("logs", "-n", "1")

    if what == "escapes":
        assert done.stdout == "\\x1b[2J\\x9b1m\\xffplain €\tx\n"
    elif what == "sparse":
        assert done.stdout == "end\n"
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert str(log) in done.stderr


def test_a_log_is_ten_files_of_ten_megabytes(node: Node) -> None:
    """By default; where another is wanted it is said in the environment."""
    environ = {"RELEASE_ROOT": str(node.root), "RELEASE_NAME": "hello", "RELEASE_VSN": "1"}

    assert from_environ(environ).log == Logs(10, 10_000_000, 900.0)
    assert from_environ({**environ, "RELEASE_LOG_SIZE": "5000", "RELEASE_LOG_GENERATIONS": "2"}).log == Logs(
        2, 5000, 900.0
    )


@pytest.mark.sample
@pytest.mark.parametrize("more", [2, 3, 5, 9])
@pytest.mark.parametrize("written", [30, 150, 171, 400])
def test_fewer_files_keep_the_last_lines(node: Node, more: int, written: int) -> None:
    """Where a daemon is to have fewer of them than there are, what is newest stays, in order, and the rest goes."""
    write(node, written, generations=10)
    for age, number in enumerate(order_of(node)):
        os.utime(node.var / f"log/hello.log.{number}", ns=(age, age))

    lines = [f"line {number}" for number in range(written)] + write(node, 40, generations=more, first=written)

    got = shown(node)
    assert got == lines[-len(got) :]
    assert len(list((node.var / "log").iterdir())) <= more


def order_of(node: Node) -> list[int]:
    """The numbers of the files, by their first whole line of an application."""
    first = {
        int(file.suffix[1:]): int(file.read_text().split("line ")[1].split()[0])
        for file in (node.var / "log").iterdir()
        if "line " in file.read_text()
    }
    return sorted(first, key=lambda number: first[number])
