"""What the keeper is made of, each by itself: the limit of restarts, the log, the messages."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disks import small_disk
from handover_helpers import may_raise_priority
from node_helpers import TIMEOUT
from underway_runtime.keeper import lock as keeper_lock
from underway_runtime.keeper import phases
from underway_runtime.keeper.child import SECOND_LOOK, Child
from underway_runtime.keeper.logs import Log
from underway_runtime.keeper.restart_policy import RestartPolicy
from underway_runtime.keeper.shared_resources import SharedResources
from underway_runtime.keeper.yielding import LOWER, Yielding
from underway_runtime.process import deadlines
from underway_runtime.process.process_table import family
from underway_runtime.release import channel
from underway_runtime.release.channel import datagram

# --------------------------------------------------------------------------------------------------------- the limit


def test_pauses_double_up_to_the_limit() -> None:
    """At most so many starts within so many seconds; then none."""
    heart = RestartPolicy(4, 60, 1)

    assert [heart.pause(now) for now in (0, 1, 3, 7, 15)] == [1, 2, 4, 8, None]


def test_what_was_long_ago_is_forgotten() -> None:
    """A node that has run well for a while begins again."""
    heart = RestartPolicy(2, 60, 1)

    assert [heart.pause(now) for now in (0, 1, 100, 101, 102)] == [1, 2, 1, 2, None]


@given(st.integers(1, 8), st.floats(0.1, 100), st.floats(0, 10), st.lists(st.floats(0, 50), min_size=1, max_size=60))
def test_never_more_starts_than_the_limit(restarts: int, within: float, delay: float, lives: list[float]) -> None:
    """However long each node lives: no window of `within` seconds sees more starts than the limit."""
    heart = RestartPolicy(restarts, within, delay)
    now, starts = 0.0, []
    for life in lives:
        now += life
        pause = heart.pause(now)
        if pause is None:
            break
        assert 0 <= pause <= within
        starts.append(now)
        now += pause

    assert all(sum(at <= other < at + within for other in starts) <= restarts for at in starts)


# --------------------------------------------------------------------------------------------------------- messages

SENT = [
    (
        channel.Hello("hello", "/l", "/p", "/r", "/log", 10, 1000, 900.0, "5 60.0 1.0 0.0"),
        "hello hello /l /p /r /log 10 1000 900.0 5|60.0|1.0|0.0",
    ),
    (channel.Hello("hello", "/l", "/p", "/r", "/log", 10, 1000, 900.0, ""), "hello hello /l /p /r /log 10 1000 900.0 "),
    (channel.About("{}", 60.0), "about {} 60.0"),
    (channel.Bind(("tcp4 h 1", "unix 600 /s")), "bind tcp4|h|1 unix|600|/s"),
    (channel.Bind(()), "bind"),
    (channel.Closed(("tcp4 h 1",)), "closed tcp4|h|1"),
    (channel.Ready("1, running web"), "ready 1,|running|web"),
    (channel.Ready("1", "nothing tells"), "ready 1 nothing|tells"),
    (channel.Status("1"), "status 1"),
    (channel.Failed("why"), "failed why"),
    (channel.Alive(60.0), "alive\x0060.0"),
    (channel.Beat(), "beat"),
    (channel.Restart(), "restart"),
    (channel.Stopping("asked"), "stopping asked"),
    (channel.Stopping(""), "stopping "),
    (channel.Successor("2", "id", 300.0, 0.0), "successor 2 id 300.0 0.0"),
    (channel.Prepared(("web", "jobs")), "prepared web jobs"),
    (channel.Go(), "go"),
    (channel.Stays("why"), "stays why"),
    (channel.GoesOn(), "on"),
    (channel.Accepting("1"), "accepting 1"),
    (channel.Leaving(), "leaving"),
    (channel.Committed(), "committed"),
    (channel.Installing("2", "id"), "installing 2 id"),
    (channel.Installed("2", 30.0), "installed 2 30.0"),
    (channel.Undone(), "undone"),
    (channel.Processes(4, "2"), "processes 4 2"),
    (channel.ProcessesStarted(), "processes started"),
    (channel.Scale(-1), "scale -1"),
    (channel.ProcessesStarted("why"), "processes started why"),
    (channel.Held(0, ""), "held 0 "),
    (channel.Held(0, "", 2), "held 0  2"),
    (channel.Held(2.5, "id"), "held 2.5 id"),
    (channel.Busy("{}"), "busy {}"),
    (channel.Unwritable("why"), "unwritable why"),
    (channel.Noted(), "noted"),
    (channel.Bound(("", "failed x")), "bound  failed|x"),
    (channel.SuccessorBusy("why"), "successor busy why"),
    (channel.SuccessorPrepared(("web",)), "successor prepared web"),
    (channel.SuccessorPrepared(()), "successor prepared"),
    (channel.SuccessorAccepting(), "successor accepting"),
    (channel.SuccessorFailed("why"), "successor failed why"),
    (channel.Accept(), "accept"),
    (channel.States(), "state"),
    (channel.Left(), "left"),
    (channel.Stop(), "stop"),
]
"""Each message, and what is sent for it, where a space stands for NUL and a bar for a space."""


def end_of(message: datagram.Message) -> type[channel.FromNode] | type[channel.FromKeeper]:
    """Whose message it is."""
    return channel.FromNode if isinstance(message, channel.FromNode) else channel.FromKeeper


@pytest.mark.parametrize(("message", "text"), SENT, ids=[text for _, text in SENT])
def test_messages_are_sent_as_they_always_were(message: datagram.Message, text: str) -> None:
    """The bytes are those of the first release: a keeper and its next node may be of different versions."""
    sent = text.replace(" ", "\0").replace("|", " ").encode()

    assert datagram.encode(message) == sent
    heard = datagram.decode(end_of(message), sent)
    assert type(heard) is type(message)
    assert [getattr(heard, name) for name in type(heard).fields] == [
        getattr(message, name) for name in type(message).fields
    ]


def test_each_message_is_in_that_table() -> None:
    """None is forgotten when another one comes."""
    known = {*channel.FromNode.by_word.values(), *channel.FromKeeper.by_word.values()}

    assert known == {type(message) for message, _ in SENT}


@given(st.binary(max_size=2000), st.sampled_from([channel.FromNode, channel.FromKeeper]))
def test_any_bytes_are_a_message_or_none(data: bytes, kind: type[channel.FromNode]) -> None:
    """What comes is never a reason to fall over: it is a message, or not known, or has not its fields."""
    with contextlib.suppress(ValueError):
        message = datagram.decode(kind, data)
        assert message is None or isinstance(message, kind)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=[]))))
def test_what_is_sent_is_what_arrives(sockets: list[str]) -> None:
    """Any text, also the names of files that are no UTF-8; NUL separates and becomes a space."""
    message = datagram.decode(channel.FromNode, datagram.encode(channel.Bind((*sockets,))))

    assert isinstance(message, channel.Bind)
    assert message.sockets == (*sockets,)
    cleaned = datagram.decode(channel.FromNode, datagram.encode(channel.Failed("b\0c")))
    assert isinstance(cleaned, channel.Failed)
    assert cleaned.reason == "b c"


def test_of_a_later_version_what_is_known_is_understood() -> None:
    """A message that is not known counts as none, and fields that are not known are left out."""
    longer = datagram.decode(channel.FromNode, b"about\0{}\0001.5\0and\0more")

    assert datagram.decode(channel.FromNode, b"later\0x") is None
    assert datagram.decode(channel.FromKeeper, b"hello\0x") is None
    assert isinstance(longer, channel.About)
    assert (longer.document, longer.stop_timeout) == ("{}", 1.5)


def test_what_is_wrong_with_a_message_is_said() -> None:
    """By its word and its field, for the log."""
    with pytest.raises(ValueError, match=r"^'about', which has no `stop_timeout`$"):
        datagram.decode(channel.FromNode, b"about\0{}")
    with pytest.raises(ValueError, match=r"^'about', whose `stop_timeout` is not understood: could not convert string"):
        datagram.decode(channel.FromNode, b"about\0{}\0soon")


def test_a_message_is_not_longer_than_the_limit() -> None:
    """A long traceback is cut, and still a message."""
    data = datagram.encode(channel.Failed("é" * datagram.LIMIT))

    assert len(data) == datagram.LIMIT
    assert isinstance(datagram.decode(channel.FromNode, data), channel.Failed)


# ----------------------------------------------------------------------------------------------------------- phases


def test_a_node_goes_one_way() -> None:
    """What is about to end serves no more, whatever it sends; it may still want that another one follows."""
    phase = phases.STARTING
    seen = [
        phase := phases.after(phase, wanted)
        for wanted in (
            phases.RUNNING,
            phases.STARTING,
            phases.STOPPING,
            phases.RUNNING,
            phases.FAILING,
            phases.RESTARTING,
            phases.RUNNING,
        )
    ]

    assert seen == [
        phases.RUNNING,
        phases.RUNNING,
        phases.STOPPING,
        phases.STOPPING,
        phases.STOPPING,
        phases.RESTARTING,
        phases.RESTARTING,
    ]


# -------------------------------------------------------------------------------------------------------- deadlines


def test_silence_counts_when_the_keeper_has_looked_twice() -> None:
    """Both may have been frozen, and go on only now: what speaks then lives, and what does not is killed."""
    node = Child(["/bin/sleep", "60"], {}, piped=False)
    try:
        node.lives(5)
        assert node.gone_at is not None
        first = node.gone_at + 1000
        assert node.strayed(first) == ""
        node.lives(2000)
        assert node.strayed(first + SECOND_LOOK) == ""
        later = node.gone_at
        assert node.strayed(later) == ""
        assert "no sign of life" in node.strayed(later + SECOND_LOOK)
        assert os.waitstatus_to_exitcode(os.waitpid(node.pid, 0)[1]) == -signal.SIGKILL
    finally:
        node.close()


def test_a_deadline_counts_what_could_be_used() -> None:
    """A second of it is a second, however long the process was stopped meanwhile."""

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    waits: list[float | None] = []
    timer = deadlines.Timer(2.5, lambda: waits.append(None))
    timer.finished = Waits()
    timer.run()

    assert waits == [1.0, 1.0, 0.5, None]


def test_a_deadline_begins_again() -> None:
    """All of it is left then, whatever was left."""

    class Waits(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 2:
                timer.begin_again()
            return False

    waits: list[float | None] = []
    timer = deadlines.Timer(1.5, lambda: waits.append(None))
    timer.finished = Waits()
    timer.run()

    assert waits == [1.0, 0.5, 1.0, 0.5, None]


# ------------------------------------------------------------------------------------------------------------- lock


def test_the_pid_file_is_there_before_a_new_lock_file_says_who_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the document of a lock that was removed, and is there again, finds the pid too."""
    seen: list[str] = []

    def recorded(path: str, text: str) -> None:
        seen.append((tmp_path / "run/lock").read_text().strip())
        replace(path, text)

    replace = keeper_lock.replace
    node = Child(["/bin/sleep", "60"], {}, piped=False)
    held = SharedResources([], print)
    try:
        assert held.admit(node, f"{tmp_path}/run/lock", f"{tmp_path}/run/pid", 1.0)
        document = (tmp_path / "run/lock").read_text()
        shutil.rmtree(tmp_path / "run")
        monkeypatch.setattr(keeper_lock, "replace", recorded)
        held.mend()
    finally:
        held.close()
        node.kill(signal.SIGKILL)
        os.waitpid(node.pid, 0)
        node.close()

    assert f'"node": {node.pid}' in document
    assert (seen, (tmp_path / "run/lock").read_text()) == ([f'{{"pid": {os.getpid()}}}'], document)


# -------------------------------------------------------------------------------------------------------------- log


def lines(log: Path) -> list[str]:
    """The lines of a log, with what marks say instead of when."""
    return [" ".join(line.split()[:2]) if line.startswith("=====") else line for line in log.read_text().splitlines()]


def test_silence_is_logged(tmp_path: Path) -> None:
    """After 15 minutes without output a line says that the service lives; the clock is given, and never a wall clock."""
    log = Log()
    log.open(f"{tmp_path}/log/hello.log", 5, 100_000, 900, now=0)
    log.add(b"one\n", 10)
    log.tick(800)
    due = log.due()
    log.tick(910)
    log.tick(911)
    log.add(b"two\n", 920)
    log.add(b"three\n", 1500)
    log.close()

    assert due == 910
    year = lines(tmp_path / "log/hello.log.1")[0].split()[1]
    assert lines(tmp_path / "log/hello.log.1") == [
        "===== STARTED",
        "one",
        "===== ALIVE",
        "two",
        lines(tmp_path / "log/hello.log.1")[4],
        "three",
        "===== ENDED",
    ]
    assert year == "STARTED"


def test_what_came_before_the_log_was_open_is_in_it(tmp_path: Path) -> None:
    """A node speaks before it can say where the log is."""
    log = Log()
    log.add(b"early\n", 0)
    log.open(f"{tmp_path}/hello.log", 5, 100_000, 0, now=0)
    log.close()

    assert lines(tmp_path / "hello.log.1") == ["===== STARTED", "early", "===== ENDED"]


@given(
    st.integers(2, 5),
    st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"=", b"-") + b"\n"), max_size=40),
    st.lists(st.integers(0, 39), max_size=3),
)
def test_the_newest_lines_are_there_whatever_is_written(
    tmp_path_factory: pytest.TempPathFactory, generations: int, chunks: list[bytes], restarts: list[int]
) -> None:
    """Never more files than generations, none above its size, and the last lines in order, also across restarts."""
    place = tmp_path_factory.mktemp("log")
    log = Log()
    log.open(f"{place}/l", generations, 1000, 0, now=0)
    for index, chunk in enumerate(chunks):
        if index in restarts:
            log.close()
            log = Log()
            log.open(f"{place}/l", generations, 1000, 0, now=0)
        log.add(chunk, 0)
        assert len(list(place.iterdir())) <= generations
    newest = Path(log.path).read_bytes()
    log.close()

    assert all(file.stat().st_size <= 1000 for file in place.iterdir())
    said = b"".join(line for line in newest.splitlines(keepends=True) if not line.startswith(b"====="))
    assert b"".join(chunks).endswith(said)


@pytest.mark.needs_tool("mount", "mount")
def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    """The service goes on; when there is room again the log says what is missing."""
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        log = Log()
        log.open(f"{disk}/l", 5, 1_000_000, 0, now=0)
        for _ in range(20):
            log.add(b"x" * 9_999 + b"\n", 0)
        Path(log.path).write_bytes(b"")
        log.add(b"here again\n", 0)
        text = Path(log.path).read_bytes()
        log.close()

    assert b" bytes were lost here: the log could not be written\nhere again\n" in text


def test_a_place_that_can_not_be_written_loses_lines_only(tmp_path: Path) -> None:
    """Nothing is raised."""
    (tmp_path / "file").touch()
    log = Log()
    log.open(f"{tmp_path}/file/l", 5, 1000, 0, now=0)
    log.add(b"lost\n", 0)
    log.close()


# -------------------------------------------------------------------------------------------------------- yielding

BUSY = """
import os, subprocess, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = subprocess.Popen(["sleep", "1000"])
def own():
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + 3)
    print("ready", flush=True)
    threading.Event().wait()
threading.Thread(target=own, daemon=True).start()
sys.stdin.read()
child.kill()
"""

UNPRIVILEGED = """
import os, subprocess
from underway_runtime.keeper.yielding import Yielding
child = subprocess.Popen(["sleep", "1000"])
try:
    yielding = Yielding(child.pid)
    print(yielding.is_lowered, os.getpriority(os.PRIO_PROCESS, child.pid) - os.getpriority(os.PRIO_PROCESS, 0))
finally:
    child.kill()
"""


def _priorities(pid: int) -> list[int]:
    """What each thread of a process, and of its children, has more than this process."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    threads = [int(thread) for member in family(pid) for thread in os.listdir(f"/proc/{member}/task")]
    return sorted(os.getpriority(os.PRIO_PROCESS, thread) - mine for thread in threads)


@pytest.mark.skipif(not may_raise_priority(), reason="this user may not raise what was lowered")
def test_who_yields_has_its_priority_again_with_all_that_it_has_started() -> None:
    """Threads and children too; what a thread has lowered by itself stays lower."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input()\n" + BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yielding = Yielding(process.pid)
        assert yielding.is_lowered
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        assert _priorities(process.pid) == [LOWER, LOWER, LOWER, LOWER + 3]
        yielding.end()
        assert _priorities(process.pid) == [0, 0, 0, 3]


@pytest.mark.needs_tool("setpriv", "util-linux")
def test_nothing_is_lowered_that_could_not_be_raised_again() -> None:
    """As in a container, whose root may not."""
    drop = ["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"] if os.geteuid() == 0 else []
    told = subprocess.run([*drop, sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, timeout=TIMEOUT)
    assert told.stdout.split() == ["False", "0"], told.stderr


def test_a_keeper_has_all_of_its_own_from_its_start() -> None:
    """Its directory may be moved or replaced while it runs: what it imports later would be missing, or of another version."""
    later = [
        f"{file.name}:{node.lineno}"
        for file in Path(phases.__file__).parent.glob("*.py")
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert later == []
